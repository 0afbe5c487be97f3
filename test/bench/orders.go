package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// serveOrders starts a server on the cluster in which nothing follows from an
// order but its answer.
func (o *options) serveOrders(ctx context.Context, b *bed, c *cluster) (*server, error) {
	args := []string{"serve", "-idle-sagas", "-idle-events"}
	if o.profile != "" {
		args = append(args, "-pprof", o.pprofAddr)
	}
	return launch(ctx, b.TempDir(), c.env(), o.self, args...)
}

// placeOne returns what places an order.
func placeOne(c *cluster) func(*client) error {
	var body []byte
	return func(cl *client) (err error) {
		body, err = c.shop.place(cl, body)
		return err
	}
}

// measurePlacing compares what happens until an order is answered with pgbench.
func (o *options) measurePlacing(ctx context.Context, b *bed, r *report) error {
	c, err := o.openCluster(ctx, b)
	if err != nil {
		return err
	}
	s, err := o.serveOrders(ctx, b, c)
	if err != nil {
		return err
	}
	defer s.kill()
	if err = c.check(ctx, s, placing, placeOne(c), nil); err != nil {
		return err
	}
	values, err := c.sizes(ctx)
	if err != nil {
		return err
	}
	plain, err := c.newPgbench(b, placing, false, values)
	if err != nil {
		return err
	}
	pipelined, err := c.newPgbench(b, placing, true, values)
	if err != nil {
		return err
	}
	r.section("Orders placed on Postgres, as a ratio to pgbench running the same statements (" + o.conditions() + ")")
	for _, n := range o.clients {
		cmp, err := o.compare(ctx, "placing", n, c.served(s, placeMany(c, s)), plain.side("pgbench"), pipelined.side("pgbench pipelined"))
		if err != nil {
			return err
		}
		goal := 0.5
		if n >= 32 {
			goal = 0.75
		}
		r.atLeast(fmt.Sprintf("placed per second, %d clients", n), cmp.ratio(1, rate), goal, cmp.rates())
		r.atMost(fmt.Sprintf("99th percentile, %d clients", n), cmp.ratio(1, p99), 3, "", cmp.tails())
		r.figure(fmt.Sprintf("processor time of an order, %d clients", n), "%s", cmp.processor())
	}
	if err = o.takeProfiles(ctx, "placing", placeMany(c, s)); err != nil {
		return err
	}
	return errors.Join(s.stop(), c.forget(ctx))
}

// measureReading compares the reading of orders with pgbench.
func (o *options) measureReading(ctx context.Context, b *bed, r *report) error {
	c, err := o.openCluster(ctx, b)
	if err != nil {
		return err
	}
	s, err := o.serveOrders(ctx, b, c)
	if err != nil {
		return err
	}
	defer s.kill()
	if err = c.check(ctx, s, reading, func(cl *client) error { return c.shop.read(cl, 0) }, nil); err != nil {
		return err
	}
	selects, err := c.newPgbench(b, reading, false, nil)
	if err != nil {
		return err
	}
	r.section("Orders read on Postgres, as a ratio to pgbench running the same SELECT")
	for _, n := range o.clients {
		cmp, err := o.compare(ctx, "reading", n, c.served(s, readMany(c, s)), selects.side("pgbench"))
		if err != nil {
			return err
		}
		r.atLeast(fmt.Sprintf("read per second, %d clients", n), cmp.ratio(1, rate), 0.35, cmp.rates())
		r.figure(fmt.Sprintf("99th percentile, %d clients", n), "%s  (%s)", short(cmp.ratio(1, p99)), cmp.tails())
		r.figure(fmt.Sprintf("processor time of a read, %d clients", n), "%s", cmp.processor())
	}
	return errors.Join(o.takeProfiles(ctx, "reading", readMany(c, s)), s.stop())
}

// measureJourney compares the whole way to confirmed orders with pgbench, and
// then lets the application do all that it does.
func (o *options) measureJourney(ctx context.Context, b *bed, r *report) error {
	c, err := o.openCluster(ctx, b)
	if err != nil {
		return err
	}
	way := append(append([]transaction{}, placing...), confirming...)
	plain, err := o.checkJourney(ctx, b, c, way)
	if err != nil {
		return err
	}
	s, err := launch(ctx, b.TempDir(), c.env(), o.self, "serve", "-idle-events")
	if err != nil {
		return err
	}
	defer s.kill()
	r.section("Orders placed and confirmed on Postgres, as a ratio to pgbench running all statements until then")
	for _, n := range o.clients {
		cmp, err := o.compare(ctx, "confirming", n, c.served(s, until(placeMany(c, s), c.confirmed)), plain.side("pgbench"))
		if err != nil {
			return err
		}
		r.figure(fmt.Sprintf("confirmed per second, %d clients", n), "%s  (%s)", short(cmp.ratio(1, rate)), cmp.rates())
		r.figure(fmt.Sprintf("processor time of an order, %d clients", n), "%s", cmp.processor())
	}
	if err = errors.Join(s.stop(), c.forget(ctx)); err != nil {
		return err
	}
	return o.measureAll(ctx, b, c, r, plain)
}

// checkJourney checks the statements until an order is confirmed, and returns
// pgbench for them.
func (o *options) checkJourney(ctx context.Context, b *bed, c *cluster, way []transaction) (*pgbenchRun, error) {
	s, err := launch(ctx, b.TempDir(), c.env(), o.self, "serve", "-idle-events", "-no-saga-poll")
	if err != nil {
		return nil, err
	}
	defer s.kill()
	if err = errors.Join(c.check(ctx, s, way, placeOne(c), c.confirmed), s.stop()); err != nil {
		return nil, err
	}
	values, err := c.sizes(ctx)
	if err != nil {
		return nil, err
	}
	return c.newPgbench(b, way, false, values)
}

// measureAll lets the application do all that it does for an order.
func (o *options) measureAll(ctx context.Context, b *bed, c *cluster, r *report, plain *pgbenchRun) error {
	s, err := launch(ctx, b.TempDir(), c.env(), o.app, "serve")
	if err != nil {
		return err
	}
	defer s.kill()
	r.section("All that the application does: orders placed, confirmed, their events delivered, buyers told, mails written")
	for _, n := range o.clients {
		cmp, err := o.compare(ctx, "everything", n, c.served(s, until(placeMany(c, s), c.told)), plain.side("pgbench until confirmed"))
		if err != nil {
			return err
		}
		r.figure(fmt.Sprintf("orders per second, %d clients", n), "%s", cmp.rates())
	}
	if err = o.confirmationRow(ctx, r, c.shop, s); err != nil {
		return err
	}
	return s.stop()
}

// workload is a way to use a server.
type workload func(ctx context.Context, n int, d time.Duration) (sample, error)

func placeMany(c *cluster, s *server) workload {
	return func(ctx context.Context, n int, d time.Duration) (sample, error) {
		clients, err := c.shop.polled(s, n)
		if err != nil {
			return sample{}, err
		}
		defer closeAll(clients)
		var body []byte
		return converse(ctx, clients, d, func(w int) (err error) {
			body, err = c.shop.order(clients[w], body)
			return err
		}, func(_, status int, answer []byte) error { return placed(status, answer) })
	}
}

func readMany(c *cluster, s *server) workload {
	return func(ctx context.Context, n int, d time.Duration) (sample, error) {
		clients, err := c.shop.polled(s, n)
		if err != nil {
			return sample{}, err
		}
		defer closeAll(clients)
		ids := make([][]byte, n)
		return converse(ctx, clients, d, func(w int) (err error) {
			ids[w], err = c.shop.request(clients[w], w%maxBuyers)
			return err
		}, func(w, status int, answer []byte) error { return found(ids[w], status, answer) })
	}
}

// until makes a workload last until what follows from it is done.
func until(w workload, done func(context.Context) error) workload {
	return func(ctx context.Context, n int, d time.Duration) (sample, error) {
		began := time.Now()
		s, err := w(ctx, n, d)
		if err == nil {
			err = done(ctx)
		}
		s.elapsed = time.Since(began)
		return s, err
	}
}

// served is the side of the server.
func (c *cluster) served(s *server, w workload) side {
	return side{name: "server", run: w, cpu: func() []part {
		return []part{{"server", cpu(s.pid())}, {"Postgres", cpuOfFamily(c.process)}, {"load generator", cpu(os.Getpid())}}
	}}
}

// takeProfiles stores profiles of a server under load, if they are wanted.
func (o *options) takeProfiles(ctx context.Context, name string, w workload) error {
	if o.profile == "" {
		return nil
	}
	n, loaded := o.clients[len(o.clients)-1], make(chan error, 1)
	go func() { _, err := w(ctx, n, 8*time.Second); loaded <- err }()
	for kind, path := range map[string]string{"cpu": "profile?seconds=6", "allocs": "allocs"} {
		cl, err := dial(o.pprofAddr, "")
		if err != nil {
			return err
		}
		status, answer, err := cl.do(http.MethodGet, "/debug/pprof/"+path, "", nil)
		cl.close()
		if err != nil || status != http.StatusOK {
			return fmt.Errorf("take the profile %s: %d %w", kind, status, err)
		}
		if err = os.WriteFile(filepath.Join(o.profile, name+"-"+kind+".pb.gz"), answer, 0o600); err != nil {
			return err
		}
	}
	return <-loaded
}
