package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"cleave/modules/order"
	"cleave/platform/auth"
	"cleave/platform/module"
)

const (
	readPace = 5 * time.Millisecond // of the reads beside the log-ins
	loggers  = 16                   // people who log in as fast as they can
)

// measureAccess measures what asking who somebody is costs a request, and what logging in costs everybody else.
func (o *options) measureAccess(ctx context.Context, b *bed, r *report) error {
	r.section("Identity and permissions, of one request, on one core")
	known, first, err := measureTokens(ctx)
	if err != nil {
		return err
	}
	r.figure("token known, verified and permission decided", "%s", known)
	r.figure("token seen for the first time: its signature is checked", "%s", first)
	cached, missed, err := measurePolicies()
	if err != nil {
		return err
	}
	r.atMost("permission decided, of 1,000 policies", micros(cached), 1, " µs", "")
	r.atMost("the same, for the first time since the policies changed", micros(missed), 5, " µs", "")
	return o.measureLogIns(ctx, b, r)
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// measureTokens is the cost of a token that was seen before, and of one that was not.
func measureTokens(ctx context.Context) (known, first string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	policy, err := auth.NewPolicy(map[string]string{"order": order.Module.Policy})
	if err != nil {
		return "", "", err
	}
	const issuer = "http://127.0.0.1:8080"
	signer := auth.NewSigner(func() auth.SigningKey { return auth.SigningKey{ID: "k", Private: key} }, issuer, []string{"order"}, time.Hour, time.Now)
	tokens := make([]string, 10_000) // more than a verifier remembers
	for i := range tokens {
		if tokens[i], _, err = signer.Sign(auth.Principal{Subject: module.NewID(), Session: module.NewID(), Roles: []string{"customer"}}); err != nil {
			return "", "", err
		}
	}
	verifier := auth.NewVerifier(keys{"k": &key.PublicKey}, issuer, "order", &auth.Revocations{}, time.Now)
	check := func(token string) error {
		p, err := verifier.Verify(ctx, token)
		if err == nil && policy.Decide(p, "order:place") != auth.Own {
			err = errors.New("a customer may not place orders")
		}
		return err
	}
	if known, err = cost(func() error { return check(tokens[0]) }); err != nil {
		return "", "", err
	}
	next := 0
	first, err = cost(func() error {
		next = (next + 1) % len(tokens)
		return check(tokens[next])
	})
	return known, first, err
}

// measurePolicies is the time of a decision that was made before, and of one that was not since the policies changed.
func measurePolicies() (cached, missed time.Duration, err error) {
	const lines, changes = 1000, 50
	var text strings.Builder
	permissions := make([]string, lines)
	for i := range permissions {
		permissions[i] = fmt.Sprintf("many:thing%d:read", i)
		fmt.Fprintf(&text, "p, customer, %s, own\n", permissions[i])
	}
	policy, err := auth.NewPolicy(map[string]string{"many": text.String()})
	if err != nil {
		return 0, 0, err
	}
	who := auth.Principal{Roles: []string{"customer"}}
	all := func() (time.Duration, error) {
		began := time.Now()
		for _, p := range permissions {
			if policy.Decide(who, p) != auth.Own {
				return 0, errors.New("a customer may not have " + p)
			}
		}
		return time.Since(began) / lines, nil
	}
	var before, after []time.Duration
	for n := range changes {
		rule := auth.Rule{Module: "many", Origin: auth.FromRow, ID: strconv.Itoa(n), Role: "support", Permission: permissions[0], Scope: "any"}
		if err := policy.SetRows("many", []auth.Rule{rule}); err != nil {
			return 0, 0, err
		}
		for _, times := range []*[]time.Duration{&after, &before} {
			took, err := all()
			if err != nil {
				return 0, 0, err
			}
			*times = append(*times, took)
		}
	}
	slices.Sort(before)
	slices.Sort(after)
	return quantile(before, 0.5), quantile(after, 0.5), nil
}

// measureLogIns reads at a steady pace while nobody logs in, and while many do at once, in turn.
func (o *options) measureLogIns(ctx context.Context, b *bed, r *report) error {
	s, err := launch(ctx, b.TempDir(), []string{"CLEAVE_AUTH_ACCESS_TTL=1h", "CLEAVE_LIMITS_ENABLED=false"}, o.app, "serve")
	if err != nil {
		return err
	}
	defer func() { _ = s.stop() }()
	sh, err := openShop(s, loggers)
	if err != nil {
		return err
	}
	reader, err := dial(s.addr, sh.buyers[0].token)
	if err != nil {
		return err
	}
	defer reader.close()
	var ratios, rates, idle, busy []float64
	for n := o.warmUp(); n <= o.rounds; n++ {
		alone, err := readFor(ctx, reader, o.round)
		if err != nil {
			return err
		}
		var done atomic.Int64
		during, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- logInUntil(during, s, &done) }()
		beside, err := readFor(ctx, reader, o.round)
		stop()
		if err = errors.Join(err, <-ended); err != nil {
			return err
		}
		if n == 0 {
			continue
		}
		idle, busy = append(idle, micros(alone.quantile(0.99))/1000), append(busy, micros(beside.quantile(0.99))/1000)
		ratios = append(ratios, float64(beside.quantile(0.99))/float64(alone.quantile(0.99)))
		rates = append(rates, float64(done.Load())/beside.elapsed.Seconds()/float64(runtime.NumCPU()))
	}
	r.section(fmt.Sprintf("%d people log in as fast as they can, beside one who reads every %s, SQLite", loggers, readPace))
	r.figure("log-ins per second and core", "%s  (%s)", short(median(rates)), o.conditions())
	r.atMost("p99 of the reads, as a ratio to the same when nobody logs in", median(ratios), 3, "", fmt.Sprintf("p99 %.1f ms alone, %.1f ms beside", median(idle), median(busy)))
	return nil
}

// readFor reads the profile at the pace for a while. A read that comes late because the one before it was slow counts from when it was due.
func readFor(ctx context.Context, c *client, d time.Duration) (sample, error) {
	began := time.Now()
	out := sample{}
	for due := began; due.Before(began.Add(d)); due = due.Add(readPace) {
		select {
		case <-ctx.Done():
			return out, ctx.Err()
		case <-time.After(time.Until(due)):
		}
		if err := c.call(http.MethodGet, "/api/v1/me", "", nil, nil); err != nil {
			return out, err
		}
		out.times = append(out.times, time.Since(due))
		out.done++
	}
	out.elapsed = time.Since(began)
	slices.Sort(out.times)
	return out, nil
}

// logInUntil has everyone log in again and again until ctx ends. Who is told that too many do so at once tries again.
func logInUntil(ctx context.Context, s *server, done *atomic.Int64) error {
	errs := make(chan error, loggers)
	for n := range loggers {
		go func() {
			c, err := dial(s.addr, "")
			if err != nil {
				errs <- err
				return
			}
			defer c.close()
			p := person(n + 1)
			body := fmt.Appendf(nil, `{"email":%q,"password":%q}`, p["email"], p["password"])
			for ctx.Err() == nil && err == nil {
				var status int
				var answer []byte
				status, answer, err = c.do(http.MethodPost, "/api/v1/sessions", "", body)
				switch {
				case err != nil:
				case status == http.StatusCreated:
					done.Add(1)
				case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
					time.Sleep(10 * readPace)
				default:
					err = fmt.Errorf("log in: %d %s", status, answer)
				}
			}
			errs <- err
		}()
	}
	var all []error
	for range loggers {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}
