// Command peers does with other libraries for transactional events what the
// bench does with Cleave's: each publisher's transaction writes one row and one
// event, and each event's handler writes one row in a transaction.
//
// It is a module of its own, so that the application's go.mod knows nothing of
// them. The bench runs it and reads its one line of JSON.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

// peer is a library under measurement.
type peer interface {
	// publish writes the row and the event id in one transaction.
	publish(ctx context.Context, id int64) error
	// handle starts handling; each event's effect is written by effect, which done follows.
	handle(ctx context.Context, done func(id int64)) error
	close()
}

// work is the row that a publisher's transaction writes.
type work struct {
	ID int64 `gorm:"primaryKey;autoIncrement:false"`
	At time.Time
}

// effect is the row that a handler writes.
type effect struct {
	ID int64 `gorm:"primaryKey;autoIncrement:false"`
	At time.Time
}

// result is what one measurement found. Latencies are from the publisher's
// commit to the effect's, at pace.
type result struct {
	Publish  float64       `json:"publish"`    // transactions a second
	EndToEnd float64       `json:"end_to_end"` // events a second, from the first publish to the last effect
	P50      time.Duration `json:"p50"`
	P99      time.Duration `json:"p99"`
}

type options struct {
	dsn        string
	peer       string
	count      int
	paced      int
	publishers int
	poll       time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.dsn, "dsn", "", "the address of an empty Postgres database")
	flag.StringVar(&o.peer, "peer", "", "watermill or river")
	flag.IntVar(&o.count, "count", 5000, "events at full speed")
	flag.IntVar(&o.paced, "paced", 200, "events at 40 a second")
	flag.IntVar(&o.publishers, "publishers", 8, "publishers at full speed")
	flag.DurationVar(&o.poll, "poll", 20*time.Millisecond, "how often the library looks for events")
	flag.Parse()
	r, err := measure(context.Background(), o)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(r)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func open(ctx context.Context, o options) (peer, error) {
	pool, err := pgxpool.New(ctx, o.dsn)
	if err != nil {
		return nil, err
	}
	g, err := gorm.Open(postgres.Open(o.dsn), &gorm.Config{Logger: logger.Discard, SkipDefaultTransaction: true})
	if err != nil {
		return nil, err
	}
	sqlDB, err := g.DB()
	if err != nil {
		return nil, err
	}
	sqlDB.SetMaxOpenConns(o.publishers + 8)
	sqlDB.SetMaxIdleConns(o.publishers + 8)
	if err := g.WithContext(ctx).AutoMigrate(&work{}, &effect{}); err != nil {
		return nil, err
	}
	switch o.peer {
	case "watermill":
		return newWatermill(g, sqlDB, o.poll)
	case "river":
		return newRiver(ctx, pool, o.poll)
	default:
		return nil, fmt.Errorf("-peer %q: watermill or river", o.peer)
	}
}

func measure(ctx context.Context, o options) (result, error) {
	p, err := open(ctx, o)
	if err != nil {
		return result{}, err
	}
	defer p.close()

	const settle = 200 // first events, which pay for plans and connections
	total := settle + o.count + o.paced
	committed, took := make([]atomic.Int64, total), make([]atomic.Int64, total)
	var handled atomic.Int64
	if err := p.handle(ctx, func(id int64) {
		took[id].Store(time.Now().UnixNano())
		handled.Add(1)
	}); err != nil {
		return result{}, err
	}
	publish := func(id int64) error {
		err := p.publish(ctx, id)
		committed[id].Store(time.Now().UnixNano())
		return err
	}
	wait := func(n int) error {
		for until := time.Now().Add(2 * time.Minute); handled.Load() < int64(n); time.Sleep(time.Millisecond) {
			if time.Now().After(until) {
				return fmt.Errorf("%d of %d events had their effect after two minutes", handled.Load(), n)
			}
		}
		return nil
	}

	if err := parallel(o.publishers, 0, settle, publish); err != nil {
		return result{}, err
	}
	if err := wait(settle); err != nil {
		return result{}, err
	}
	var r result
	began := time.Now()
	if err := parallel(o.publishers, settle, o.count, publish); err != nil {
		return result{}, err
	}
	r.Publish = float64(o.count) / time.Since(began).Seconds()
	if err := wait(settle + o.count); err != nil {
		return result{}, err
	}
	r.EndToEnd = float64(o.count) / time.Since(began).Seconds()

	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for id := settle + o.count; id < total; id++ {
		<-tick.C
		if err := publish(int64(id)); err != nil {
			return result{}, err
		}
	}
	if err := wait(total); err != nil {
		return result{}, err
	}
	var times []time.Duration
	for id := settle + o.count; id < total; id++ {
		times = append(times, time.Duration(took[id].Load()-committed[id].Load()))
	}
	slices.Sort(times)
	if len(times) > 0 {
		r.P50, r.P99 = times[len(times)/2], times[len(times)*99/100]
	}
	return r, nil
}

// parallel calls fn for n ids from first on, by several goroutines.
func parallel(workers, first, n int, fn func(id int64) error) error {
	var next atomic.Int64
	next.Store(int64(first))
	var wg sync.WaitGroup
	errs := make(chan error, workers)
	for range workers {
		wg.Go(func() {
			for {
				id := next.Add(1) - 1
				if id >= int64(first+n) {
					return
				}
				if err := fn(id); err != nil {
					errs <- fmt.Errorf("event %s: %w", strconv.FormatInt(id, 10), err)
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}
