package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"cleave/modules/order"
	orderv1 "cleave/modules/order/v1"
	userv1 "cleave/modules/user/v1"
	"cleave/platform/auth"
	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/event"
	"cleave/platform/module"
	"cleave/platform/rpc"
)

// measureParts measures single parts.
func (o *options) measureParts(ctx context.Context, b *bed, r *report) error {
	r.section("Parts, on one core")
	call, err := measureCall()
	if err != nil {
		return err
	}
	r.figure("call between modules in one process", "%s", call)
	check, err := measureCheck(ctx)
	if err != nil {
		return err
	}
	r.figure("token verified and permission decided, known token", "%s", check)
	r.section(fmt.Sprintf("Events from commit to the commit of their effect in another module, %d per second", time.Second/pace))
	c, err := o.openCluster(ctx, b)
	if err != nil {
		return err
	}
	for _, config := range []struct {
		name string
		db   db.Config
	}{{"SQLite", db.Config{Dir: b.TempDir()}}, {"Postgres", c.server.Database(b)}} {
		times, err := measureEvents(ctx, b, config.db, o.paced())
		if err != nil {
			return err
		}
		r.figure(config.name, "p50 %s, p99 %s", millis(quantile(times, 0.5)), millis(quantile(times, 0.99)))
	}
	return nil
}

// users answers without doing anything.
type users struct {
	userv1.UnimplementedUserServiceServer
}

func (users) CaptureCredit(context.Context, *userv1.CaptureCreditRequest) (*userv1.CaptureCreditResponse, error) {
	return &userv1.CaptureCreditResponse{}, nil
}

func measureCall() (string, error) {
	channel := rpc.NewInProcess(slog.New(slog.DiscardHandler))
	userv1.RegisterUserServiceServer(channel, users{})
	client := userv1.NewUserServiceClient(rpc.NewEdge("order", "user", rpc.Local{}, channel))
	return cost(func() error {
		_, err := client.CaptureCredit(context.Background(), &userv1.CaptureCreditRequest{ReservationKey: "0190b8f6-9c1e-7000-8000-000000000001"})
		return err
	})
}

type keys map[string]*ecdsa.PublicKey

func (k keys) PublicKeys(context.Context) (map[string]*ecdsa.PublicKey, error) { return k, nil }

func measureCheck(ctx context.Context) (string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	policy, err := auth.NewPolicy(map[string]string{"order": order.Module.Policy})
	if err != nil {
		return "", err
	}
	const issuer = "http://127.0.0.1:8080"
	signer := auth.NewSigner(key, "k", issuer, []string{"order"}, time.Hour, time.Now)
	token, _, err := signer.Sign(auth.Principal{Subject: module.NewID(), Session: module.NewID(), Roles: []string{"customer"}})
	if err != nil {
		return "", err
	}
	verifier := auth.NewVerifier(keys{"k": &key.PublicKey}, issuer, "order", time.Now)
	return cost(func() error {
		p, err := verifier.Verify(ctx, token)
		if err == nil && policy.Decide(p.Roles, "order:place") != auth.Own {
			err = errors.New("a customer may not place orders")
		}
		return err
	})
}

// cost is the time and the allocations of one call of fn.
func cost(fn func() error) (string, error) {
	var failure error
	result := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := fn(); err != nil {
				failure = err
				return
			}
		}
	})
	return fmt.Sprintf("%s µs, %d allocations", short(float64(result.NsPerOp())/1000), result.AllocsPerOp()), failure
}

// measureEvents publishes events in one module and handles them in another.
func measureEvents(ctx context.Context, b *bed, c db.Config, count int) ([]time.Duration, error) {
	from, to := dbtest.Open(b, c, "order", nil, nil), dbtest.Open(b, c, "notification", nil, nil)
	bus := event.NewBus(event.Options{Log: slog.New(slog.DiscardHandler), Now: time.Now, NewID: module.NewID})
	publisher := bus.Publisher("order", from, []event.Type{orderv1.Placed})
	var (
		mu        sync.Mutex
		committed = make([]time.Time, count)
		times     []time.Duration
		done      = make(chan struct{})
	)
	handler := event.On(orderv1.Placed, "measure", func(ctx context.Context, _ event.Meta, e *orderv1.OrderPlaced) error {
		n, err := strconv.Atoi(e.GetOrderId())
		to.AfterCommit(ctx, func() {
			mu.Lock()
			defer mu.Unlock()
			if times = append(times, time.Since(committed[n])); len(times) == count {
				close(done)
			}
		})
		return err
	})
	if err := bus.Subscribe("notification", to, []event.Type{orderv1.Placed}, []event.Handler{handler}); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- bus.Run(ctx) }()
	err := atPace(ctx, count, func(n int) error {
		mu.Lock()
		committed[n] = time.Now() // in case that the effect is faster than this goroutine
		mu.Unlock()
		err := from.Tx(ctx, func(ctx context.Context) error {
			from.AfterCommit(ctx, func() {
				mu.Lock()
				defer mu.Unlock()
				committed[n] = time.Now()
			})
			return publisher.Publish(ctx, strconv.Itoa(n), &orderv1.OrderPlaced{OrderId: strconv.Itoa(n), Number: "O-6MEMV5Q-K3W8X2T"})
		})
		return err
	})
	if err == nil {
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			err = errors.New("not every event was handled")
		}
	}
	cancel()
	slices.Sort(times)
	return times, errors.Join(err, <-ended)
}
