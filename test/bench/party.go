package main

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"cleave/platform/event/eventtest"
)

// The journey of a buyer: an order placed and read, the credit looked at, and
// the messages that there are.
const (
	journeyRequests = 4
	journeyClients  = 4
	journeyPause    = 200 * time.Millisecond // from the start of one to that of the next, of each client
	turnsPerRound   = 4                      // sides take turns often: what else happens on the machine comes in bursts
)

// party is a side of a comparison: processes that are used by journeys.
type party struct {
	p         *processes
	c         *cluster                                            // its own database; nil without
	journey   func(c *client, k int, body []byte) ([]byte, error) // one, of buyer k; body is scratch
	settled   func(context.Context) error                         // waits for what follows from journeys
	times     []time.Duration                                     // of journeys
	confirmed []time.Duration                                     // from placing to confirmation, sorted
	cpu       time.Duration
}

// party starts processes of the application on a new database, over a broker of their own.
func (o *options) party(ctx context.Context, b *bed, c *cluster, groups ...[]string) (*party, error) {
	fresh, err := o.freshShop(ctx, b, c)
	if err != nil {
		return nil, err
	}
	env := append(fresh.env(), "CLEAVE_EVENTS_PIPE="+eventtest.NATS(b).URL)
	p, err := startSplit(ctx, b, program{path: o.app, args: []string{"serve"}, env: env, front: "order"}, groups...)
	if err != nil {
		return nil, err
	}
	s := &party{p: p, c: fresh, journey: fresh.shop.travel, settled: fresh.told}
	return s, p.connected(ctx, fresh.shop.buyers[0].token, "/api/v1/me", "/api/v1/orders?limit=1", "/api/v1/notifications?limit=1")
}

// freshShop is the cluster with another database, filled like the first one.
func (o *options) freshShop(ctx context.Context, b *bed, c *cluster) (*cluster, error) {
	fresh := *c
	fresh.config = c.server.Database(b)
	s, err := launch(ctx, b.TempDir(), fresh.env(), o.app, "serve")
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
	return &fresh, errors.Join(stock(ctx, d, "postgres", fresh.shop), d.Close())
}

// takeTurns lets each side make journeys for a part of a round, in an order
// that reverses. Turn 0 warms up and does not count.
func (o *options) takeTurns(ctx context.Context, turn int, sides ...*party) error {
	if turn%2 == 1 {
		slices.Reverse(sides)
	}
	for _, s := range sides {
		if err := s.turn(ctx, o.round/turnsPerRound, turn > 0); err != nil {
			return err
		}
	}
	return nil
}

// turn lets the clients make journeys for a while, and waits for all that follows.
func (s *party) turn(ctx context.Context, d time.Duration, counts bool) error {
	used := s.p.cpu()
	times, err := s.travel(ctx, d)
	if err == nil {
		err = s.settled(ctx)
	}
	if counts {
		s.times, s.cpu = append(s.times, times...), s.cpu+s.p.cpu()-used
	}
	return err
}

// finish stops the processes, after it has read what only the application's orders tell.
func (s *party) finish() (err error) {
	slices.Sort(s.times)
	if s.c != nil && s.p.counted {
		admin, err := dial(s.p.front.addr, s.c.shop.admin.token)
		if err != nil {
			return err
		}
		s.confirmed, _, err = newest(admin, len(s.times))
		admin.close()
		if err != nil {
			return err
		}
		slices.Sort(s.confirmed)
	}
	return s.p.stop()
}

// perThousand is the processor time of 1,000 requests, in seconds.
func (s *party) perThousand() float64 {
	return s.cpu.Seconds() / float64(len(s.times)*journeyRequests) * 1000
}

// travel makes journeys at an even pace for a while.
func (s *party) travel(ctx context.Context, d time.Duration) (times []time.Duration, err error) {
	clients, err := s.clients()
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
				body, err = s.journey(cl, i, body)
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

func (s *party) clients() (all []*client, err error) {
	if s.c != nil {
		return s.c.shop.clients(s.p.front, journeyClients)
	}
	for range journeyClients {
		c, err := dial(s.p.front.addr, "")
		if err != nil {
			closeAll(all)
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
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
