package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"cleave/platform/event/eventtest"
	"cleave/platform/forecast"
	"cleave/platform/traffic"
)

// The journey of a buyer: an order placed and read, the credit looked at, and
// the messages that there are.
const (
	journeyRequests = 4
	journeyClients  = 4
	journeyPause    = 200 * time.Millisecond // from the start of one to that of the next, of each client
	turnsPerRound   = 4                      // the two sides take turns often: what else happens on the machine comes in bursts
)

// splits are the real ones of three modules.
var splits = [][][]string{
	{{"user"}, {"order", "notification"}},
	{{"order"}, {"user", "notification"}},
	{{"user"}, {"order"}, {"notification"}},
}

// party is a side of the comparison: processes with a database and a broker of their own.
type party struct {
	c         *cluster
	p         *processes
	times     []time.Duration // of journeys
	cpu       time.Duration
	confirmed []time.Duration // from placing to confirmation, sorted
}

// measureSplit forecasts each split from one process, and measures both in turn.
func (o *options) measureSplit(ctx context.Context, b *bed, r *report) error {
	c, err := o.openCluster(ctx, b)
	if err != nil {
		return err
	}
	r.section(fmt.Sprintf("Splits, forecast from one process and measured in turn with it: journeys of %d requests, %.0f a second, events over JetStream (%s each)",
		journeyRequests, journeyClients/journeyPause.Seconds(), o.round*time.Duration(o.rounds)))
	for _, groups := range splits {
		if err = o.compareSplit(ctx, b, c, r, groups); err != nil {
			return fmt.Errorf("%v: %w", groups, err)
		}
	}
	return nil
}

// compareSplit lets one process and those of the split take turns, so that what
// changes on the machine meanwhile hits both. The forecast is made in the midst
// of it, from what the one process has counted until then.
func (o *options) compareSplit(ctx context.Context, b *bed, c *cluster, r *report, groups [][]string) (err error) {
	one, err := o.party(ctx, b, c, []string{"user", "order", "notification"})
	if err != nil {
		return err
	}
	defer one.p.kill()
	split, err := o.party(ctx, b, c, groups...)
	if err != nil {
		return err
	}
	defer split.p.kill()
	var (
		seen traffic.Snapshot
		f    forecast.Forecast
	)
	turns := o.rounds * turnsPerRound
	for turn := o.warmUp(); turn <= turns; turn++ {
		sides := []*party{one, split}
		if turn%2 == 1 {
			slices.Reverse(sides)
		}
		for _, side := range sides {
			if err = side.turn(ctx, o.round/turnsPerRound, turn > 0); err != nil {
				return err
			}
		}
		counts, err := one.p.counts(one.c.shop)
		switch {
		case err != nil:
			return err
		case turn == 0:
			seen = counts
		case turn == (turns+1)/2:
			if f, err = o.plan(ctx, b, counts.Minus(seen), groups); err != nil {
				return err
			}
		}
	}
	if err = errors.Join(one.finish(), split.finish()); err != nil {
		return err
	}
	r.compareForecast(f, one, split)
	return nil
}

// compareForecast adds the rows of a split.
func (r *report) compareForecast(f forecast.Forecast, one, split *party) {
	var added, later time.Duration
	for _, op := range f.Operations {
		added += time.Duration(float64(op.AddedP50) * float64(op.Requests) / float64(f.Requests) * journeyRequests)
		if op.Name == "placeOrder" {
			later = op.AddedLater
		}
	}
	p50, p99 := func(t []time.Duration) time.Duration { return quantile(t, 0.5) }, func(t []time.Duration) time.Duration { return quantile(t, 0.99) }
	r.accuracy(f.Split+": p50 of a journey", p50(one.times)+added, p50(split.times), p50(one.times))
	r.accuracy(f.Split+": p50 from placed to confirmed", p50(one.confirmed)+later, p50(split.confirmed), p50(one.confirmed))
	now, measured := one.perThousand(), split.perThousand()
	r.within(f.Split+": processor time of 1,000 requests", (now+f.CPU.Added)/measured,
		fmt.Sprintf("forecast %.2f s, measured %.2f s, one process %.2f s", now+f.CPU.Added, measured, now))
	r.figure(f.Split+": p99 of a journey", "%s; one process %s", millis(p99(split.times)), millis(p99(one.times)))
	r.figure(f.Split+": cost of hops", "call p50 %s, processor %s; handed on p50 %s, processor %s", millis(f.Hops.Call.P50), millis(f.Hops.Call.CPU),
		millis(f.Hops.Front.P50), millis(f.Hops.Front.CPU))
}

// party starts processes on a new database.
func (o *options) party(ctx context.Context, b *bed, c *cluster, groups ...[]string) (*party, error) {
	fresh := *c
	fresh.config = c.server.Database(b)
	nats := eventtest.NATS(b).URL
	s, err := launch(ctx, b.TempDir(), append(fresh.env(), "CLEAVE_EVENTS_PIPE="+nats), o.app, "serve")
	if err != nil {
		return nil, err
	}
	fresh.shop, err = openShop(s, maxBuyers)
	if err = errors.Join(err, s.stop()); err != nil {
		return nil, err
	}
	d, err := fresh.open(fresh.database())
	if err != nil {
		return nil, err
	}
	if err = errors.Join(stock(ctx, d, "postgres", fresh.shop), d.Close()); err != nil {
		return nil, err
	}
	p, err := o.startSplit(ctx, b, &fresh, nats, groups...)
	return &party{c: &fresh, p: p}, err
}

// turn lets the clients make journeys for a while, and waits for all that follows.
func (s *party) turn(ctx context.Context, d time.Duration, counts bool) error {
	used := s.p.cpu()
	times, err := s.travel(ctx, d)
	if err == nil {
		err = s.c.told(ctx)
	}
	if counts {
		s.times, s.cpu = append(s.times, times...), s.cpu+s.p.cpu()-used
	}
	return err
}

// finish reads what only the orders tell, and stops the processes.
func (s *party) finish() error {
	admin, err := dial(s.p.front.addr, s.c.shop.admin.token)
	if err != nil {
		return err
	}
	s.confirmed, _, err = newest(admin, len(s.times))
	admin.close()
	slices.Sort(s.times)
	slices.Sort(s.confirmed)
	return errors.Join(err, s.p.stop())
}

// perThousand is the processor time of 1,000 requests, in seconds.
func (s *party) perThousand() float64 {
	return s.cpu.Seconds() / float64(len(s.times)*journeyRequests) * 1000
}

// accuracy adds the ratio of a forecast to what was measured.
func (r *report) accuracy(what string, forecast, measured, single time.Duration) {
	r.within(what, float64(forecast)/float64(measured), fmt.Sprintf("forecast %s, measured %s, one process %s", millis(forecast), millis(measured), millis(single)))
}

// within adds a ratio that should be at most a fifth off 1.
func (r *report) within(what string, ratio float64, note string) {
	const tolerance = 0.2
	r.judge(what, ratio, "within 20 % of ", 1, "", note, math.Abs(ratio-1) <= tolerance)
}

// plan asks the program for a forecast.
func (o *options) plan(ctx context.Context, b *bed, counts traffic.Snapshot, groups [][]string) (f forecast.Forecast, err error) {
	file, err := store(b, counts)
	if err != nil {
		return f, err
	}
	names := make([]string, len(groups))
	for i, g := range groups {
		names[i] = strings.Join(g, ",")
	}
	cmd := exec.CommandContext(ctx, o.app, "plan", "--from", file, "--split", strings.Join(names, "|"), "--front", "order", "--output", "json")
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return f, fmt.Errorf("forecast: %w: %s", err, exit.Stderr)
	}
	return f, errors.Join(err, json.Unmarshal(out, &f))
}

// travel makes journeys at an even pace for a while.
func (s *party) travel(ctx context.Context, d time.Duration) (times []time.Duration, err error) {
	clients, err := s.c.shop.clients(s.p.front, journeyClients)
	if err != nil {
		return nil, err
	}
	defer closeAll(clients)
	var (
		mu   sync.Mutex
		wg   sync.WaitGroup
		errs []error
	)
	for i, cl := range clients {
		wg.Go(func() {
			time.Sleep(journeyPause / journeyClients * time.Duration(i))
			tick := time.NewTicker(journeyPause)
			defer tick.Stop()
			var body []byte
			for range d / journeyPause {
				began := time.Now()
				var err error
				body, err = s.c.shop.travel(cl, i, body)
				took := time.Since(began)
				mu.Lock()
				times, errs = append(times, took), append(errs, err)
				mu.Unlock()
				if err != nil {
					return
				}
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
			}
		})
	}
	wg.Wait()
	return times, errors.Join(append(errs, ctx.Err())...)
}

// travel is one journey of buyer k.
func (sh *shop) travel(c *client, k int, body []byte) ([]byte, error) {
	body, err := sh.place(c, body)
	if err == nil {
		err = sh.read(c, k)
	}
	for _, path := range []string{"/api/v1/users/" + sh.buyers[k].id + "/credit", "/api/v1/notifications?limit=5"} {
		if err == nil {
			err = c.call(http.MethodGet, path, "", nil, nil)
		}
	}
	return body, err
}
