package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// measureFloor holds the application, merged and split, against services that
// are wired by hand over plain gRPC, with and without a database in the path.
func (o *options) measureFloor(ctx context.Context, b *bed, c *cluster, r *report) error {
	r.section(fmt.Sprintf("The same journey merged, split, and by hand-wired services that do nothing else (%s each): processor time of 1,000 requests; a journey",
		o.round*time.Duration(o.rounds)))
	merged, err := o.party(ctx, b, c, whole)
	if err != nil {
		return err
	}
	defer merged.p.kill()
	split, err := o.party(ctx, b, c, apart...)
	if err != nil {
		return err
	}
	defer split.p.kill()
	wired, err := o.wiredParty(ctx, b, c)
	if err != nil {
		return err
	}
	defer wired.p.kill()
	if err = o.floor(ctx, r, "with Postgres and JetStream", merged, split, wired); err != nil {
		return err
	}
	near := program{path: o.self, args: []string{"bare"}, front: "near"}
	if merged, err = o.bareParty(ctx, b, near, []string{"near", "far"}); err != nil {
		return err
	}
	defer merged.p.kill()
	if split, err = o.bareParty(ctx, b, near, []string{"near"}, []string{"far"}); err != nil {
		return err
	}
	defer split.p.kill()
	if wired, err = o.wiredParty(ctx, b, nil); err != nil {
		return err
	}
	defer wired.p.kill()
	return o.floor(ctx, r, "without a database", merged, split, wired)
}

// floor lets the sides take turns and adds their rows.
func (o *options) floor(ctx context.Context, r *report, how string, merged, split, wired *party) error {
	for turn := o.warmUp(); turn <= o.rounds*turnsPerRound; turn++ {
		if err := o.takeTurns(ctx, turn, merged, split, wired); err != nil {
			return fmt.Errorf("%s: %w", how, err)
		}
	}
	if err := errors.Join(merged.finish(), split.finish(), wired.finish()); err != nil {
		return fmt.Errorf("%s: %w", how, err)
	}
	for _, side := range []struct {
		name string
		*party
	}{{"merged", merged}, {"split by Cleave", split}, {"hand-wired over plain gRPC", wired}} {
		r.figure(how+": "+side.name, "%.2f s; p50 %s, p99 %s", side.perThousand(), millis(quantile(side.times, 0.5)), millis(quantile(side.times, 0.99)))
	}
	return nil
}

// wiredParty starts the hand-wired services, on a new database if there is a cluster.
func (o *options) wiredParty(ctx context.Context, b *bed, c *cluster) (s *party, err error) {
	s = &party{p: &processes{}, journey: bareJourney, settled: func(context.Context) error { return nil }}
	defer func() {
		if err != nil {
			s.p.kill()
		}
	}()
	var dsn string
	if c != nil {
		if s.c, err = o.freshShop(ctx, b, c); err != nil {
			return s, err
		}
		s.journey, dsn = s.c.shop.travel, s.c.superuser(s.c.database())
	}
	args := []string{"wired", "-dsn", dsn}
	for _, role := range []string{"-user", "-notification"} {
		addr, err := freeAddress(ctx)
		if err != nil {
			return s, err
		}
		args = append(args, role, addr)
		service, err := launch(ctx, b.TempDir(), nil, o.self, "wired", "-dsn", dsn, "-rpc", addr)
		if err != nil {
			return s, err
		}
		s.p.all = append(s.p.all, service)
		if c == nil { // the bare modules are two
			args = append(args, "-notification", addr)
			break
		}
	}
	s.p.front, err = launch(ctx, b.TempDir(), nil, o.self, args...)
	if err == nil {
		s.p.all = append(s.p.all, s.p.front)
	}
	return s, err
}

// bareParty starts the modules without a database in their path.
func (o *options) bareParty(ctx context.Context, b *bed, prog program, groups ...[]string) (*party, error) {
	p, err := startSplit(ctx, b, prog, groups...)
	if err != nil {
		return nil, err
	}
	return &party{p: p, journey: bareJourney, settled: func(context.Context) error { return nil }}, p.connected(ctx, "", barePaths...)
}

func bareJourney(c *client, _ int, body []byte) ([]byte, error) {
	for _, path := range barePaths {
		if err := c.call("GET", path, "", nil, nil); err != nil {
			return body, err
		}
	}
	return body, nil
}
