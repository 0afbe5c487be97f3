package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"gorm.io/driver/postgres"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"cleave/platform/db"
	"cleave/platform/event"
	"cleave/platform/event/broker"
	"cleave/platform/event/eventtest"
)

// eventRates is what one way of delivering events manages.
type eventRates struct {
	Publish  float64       `json:"publish"`    // transactions a second
	EndToEnd float64       `json:"end_to_end"` // events a second, from the first publish to the last effect
	P50      time.Duration `json:"p50"`        // from the publisher's commit to the effect's, at pace
	P99      time.Duration `json:"p99"`
}

// The first events pay for plans and connections, and do not count.
const settling = 200

// publishers is how many goroutines publish at full speed.
const publishers = 8

// measureEvents publishes at full speed and at pace, beside bare transactions
// of gorm and beside other libraries.
func (o *options) measureEvents(ctx context.Context, b *bed, r *report) error {
	c, err := o.openCluster(ctx, b)
	if err != nil {
		return err
	}
	count := 5000
	backlog := 100_000
	if o.short {
		count, backlog = 200, 1000
	}
	for _, store := range []struct {
		name   string
		config func() db.Config
		bare   func(db.Config) (*gorm.DB, error)
	}{
		{"SQLite", func() db.Config { return db.Config{Dir: b.TempDir()} }, bareSQLite},
		{"Postgres", func() db.Config { return c.server.Database(b) }, barePostgres},
	} {
		r.section(fmt.Sprintf("Events on %s: a row and an event in each transaction, a row in each handler; %d publishers", store.name, publishers))
		base, err := measureBare(ctx, store.config(), store.bare, count)
		if err != nil {
			return fmt.Errorf("%s: bare transactions: %w", store.name, err)
		}
		r.figure("bare gorm inserts, one a transaction", "%s/s", short(base))
		rates, err := o.measureBus(ctx, b, store.config(), nil, count)
		if err != nil {
			return fmt.Errorf("%s: %w", store.name, err)
		}
		r.atLeast("in process: end to end, as a ratio to them", rates.EndToEnd/base, 0.4, fmt.Sprintf("%s/s, published %s/s", short(rates.EndToEnd), short(rates.Publish)))
		r.atMost("in process: median from commit to effect, 40/s", millisOf(rates.P50), 5, " ms", "p99 "+millis(rates.P99))
		if err := o.measureJetStream(ctx, b, store.config(), r, base, count); err != nil {
			return fmt.Errorf("%s: JetStream: %w", store.name, err)
		}
		if err := o.measureBacklog(ctx, b, store.config(), r, backlog); err != nil {
			return fmt.Errorf("%s: backlog: %w", store.name, err)
		}
	}
	return o.measurePeers(ctx, b, r, c, count)
}

func millisOf(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// measureJetStream measures the bus over a NATS server of its own, which syncs
// every write to the disk.
func (o *options) measureJetStream(ctx context.Context, b *bed, c db.Config, r *report, base float64, count int) (err error) {
	pipe, err := broker.Open(broker.Config{URL: eventtest.NATS(b).URL, Retention: time.Hour, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pipe.Close()) }()
	rates, err := o.measureBus(ctx, b, c, pipe, count)
	if err == nil {
		r.atLeast("over JetStream: end to end, as a ratio to them", rates.EndToEnd/base, 0.4, fmt.Sprintf("%s/s, published %s/s", short(rates.EndToEnd), short(rates.Publish)))
		r.figure("over JetStream: from commit to effect, 40/s", "p50 %s, p99 %s", millis(rates.P50), millis(rates.P99))
	}
	return err
}

// measureBus measures the bus on a new database.
func (o *options) measureBus(ctx context.Context, b *bed, c db.Config, pipe event.Pipe, count int) (r eventRates, err error) {
	total := settling + count + o.paced()
	e, err := openEvents(b, c, pipe, total)
	if err != nil {
		return r, err
	}
	e.run(ctx)
	defer func() { err = errors.Join(err, e.stop()) }()
	publish := func(id int64) error { return e.publish(ctx, id) }
	if err = errors.Join(parallel(publishers, 0, settling, publish), e.wait(ctx, settling)); err != nil {
		return r, err
	}
	began := time.Now()
	if err = parallel(publishers, settling, count, publish); err != nil {
		return r, err
	}
	r.Publish = float64(count) / time.Since(began).Seconds()
	if err = e.wait(ctx, settling+count); err != nil {
		return r, err
	}
	r.EndToEnd = float64(count) / time.Since(began).Seconds()
	first := settling + count
	if err = atPace(ctx, o.paced(), func(n int) error { return e.publish(ctx, int64(first+n)) }); err != nil {
		return r, err
	}
	if err = e.wait(ctx, total); err != nil {
		return r, err
	}
	var times []time.Duration
	for id := first; id < total; id++ {
		times = append(times, time.Duration(e.took[id].Load()-e.committed[id].Load()))
	}
	slices.Sort(times)
	r.P50, r.P99 = quantile(times, 0.5), quantile(times, 0.99)
	return r, nil
}

// measureBacklog publishes while nothing is delivered, then delivers.
func (o *options) measureBacklog(ctx context.Context, b *bed, c db.Config, r *report, n int) (err error) {
	e, err := openEvents(b, c, nil, n)
	if err != nil {
		return err
	}
	if err = parallel(publishers, 0, n, func(id int64) error { return e.publish(ctx, id) }); err != nil {
		return err
	}
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	e.run(ctx)
	defer func() { err = errors.Join(err, e.stop()) }()
	peak, stop := watchHeap()
	err = e.wait(ctx, n)
	took := time.Since(began)
	stop()
	if err == nil {
		r.figure(fmt.Sprintf("a backlog of %d events, delivered and handled", n), "lag 0 after %s, %s/s; heap %s MB before, %s MB at most meanwhile",
			took.Round(10*time.Millisecond), short(float64(n)/took.Seconds()), short(float64(before.HeapInuse)/1e6), short(float64(peak.Load())/1e6))
	}
	return err
}

// watchHeap records the largest heap in use until stop is called.
func watchHeap() (peak *atomic.Uint64, stop func()) {
	peak = &atomic.Uint64{}
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak.Store(max(peak.Load(), m.HeapInuse))
			select {
			case <-quit:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	return peak, func() { close(quit); wg.Wait() }
}

func bareSQLite(c db.Config) (*gorm.DB, error) {
	// The module's own settings: a write-ahead log, synced at each commit, and one writer.
	g, err := gorm.Open(sqlite.Dialector{DriverName: "sqlite", DSN: c.Dir + "/bare.db?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"}, bareConfig())
	if err != nil {
		return nil, err
	}
	d, err := g.DB()
	if err == nil {
		d.SetMaxOpenConns(1)
	}
	return g, err
}

func barePostgres(c db.Config) (*gorm.DB, error) {
	g, err := gorm.Open(postgres.Open(c.AdminDSN), bareConfig())
	if err != nil {
		return nil, err
	}
	d, err := g.DB()
	if err == nil {
		d.SetMaxOpenConns(publishers)
		d.SetMaxIdleConns(publishers)
	}
	return g, err
}

func bareConfig() *gorm.Config { return &gorm.Config{Logger: logger.Discard} }

// measureBare is the rate of gorm's own transactions, one row in each.
func measureBare(ctx context.Context, c db.Config, open func(db.Config) (*gorm.DB, error), count int) (float64, error) {
	g, err := open(c)
	if err != nil {
		return 0, err
	}
	d, err := g.DB()
	if err != nil {
		return 0, err
	}
	defer func() { _ = d.Close() }()
	if err := g.WithContext(ctx).AutoMigrate(&work{}); err != nil {
		return 0, err
	}
	insert := func(id int64) error { return g.WithContext(ctx).Create(&work{ID: id, At: time.Now()}).Error }
	if err := parallel(publishers, 0, settling, insert); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := parallel(publishers, settling, count, insert); err != nil {
		return 0, err
	}
	return float64(count) / time.Since(began).Seconds(), nil
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
					errs <- fmt.Errorf("event %d: %w", id, err)
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}

// measurePeers lets other libraries do the same work on the same cluster.
func (o *options) measurePeers(ctx context.Context, b *bed, r *report, c *cluster, count int) error {
	r.section("The same on Postgres by other libraries (test/bench/peers)")
	program := b.TempDir() + "/peers"
	build := exec.CommandContext(ctx, "go", "build", "-o", program, ".")
	build.Dir = "test/bench/peers"
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build test/bench/peers: %w\n%s", err, out)
	}
	for _, peer := range []struct{ name, flag, poll string }{
		{"watermill-sql, polling each second (its default)", "watermill", "1s"},
		{"watermill-sql, polling each 20 ms", "watermill", "20ms"},
		{"River, fetching each 5 ms, keys in no order", "river", "5ms"},
	} {
		config := c.server.Database(b)
		cmd := exec.CommandContext(ctx, program, "-dsn", config.AdminDSN, "-peer", peer.flag, "-poll", peer.poll,
			"-count", strconv.Itoa(count), "-paced", strconv.Itoa(o.paced()), "-publishers", strconv.Itoa(publishers))
		out, err := cmd.Output()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return fmt.Errorf("%s: %w: %s", peer.name, err, exit.Stderr)
		}
		var rates eventRates
		if err := errors.Join(err, json.Unmarshal(out, &rates)); err != nil {
			return fmt.Errorf("%s: %w", peer.name, err)
		}
		r.figure(peer.name, "%s/s end to end, published %s/s; p50 %s, p99 %s", short(rates.EndToEnd), short(rates.Publish), millis(rates.P50), millis(rates.P99))
	}
	return nil
}
