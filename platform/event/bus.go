package event

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"cleave/platform/backoff"
	"cleave/platform/db"
)

// Options tune delivery. The zero value of a field means its default.
type Options struct {
	Batch       int           // events per transaction; default 50
	Poll        time.Duration // how often to look without a nudge; default 500 ms
	MaxAttempts int           // then a dead letter; default 10
	BackoffMin  time.Duration // default 50 ms
	BackoffMax  time.Duration // default 30 s
	Timeout     time.Duration // of one handler's run; default 10 s
	Retention   time.Duration // of handled events, which are remembered to refuse repeats; default 7 days
	Pipe        Pipe          // default NewInProcess(); closed by whoever made it
	Log         *slog.Logger
	Now         func() time.Time
	NewID       func() string
}

func (o Options) withDefaults() Options {
	setDefault(&o.Batch, 50)
	setDefault(&o.Poll, 500*time.Millisecond)
	setDefault(&o.MaxAttempts, 10)
	setDefault(&o.BackoffMin, 50*time.Millisecond)
	setDefault(&o.BackoffMax, 30*time.Second)
	setDefault(&o.Timeout, 10*time.Second)
	setDefault(&o.Retention, 7*24*time.Hour)
	if o.Pipe == nil {
		o.Pipe = NewInProcess()
	}
	return o
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Bus connects the publishers and subscribers of one process.
type Bus struct {
	o          Options
	relays     []*relay
	workers    []*worker
	inboxes    []*inbox
	subscribed chan struct{} // closed by Run
}

// NewBus returns a bus without modules. Log, Now and NewID must be set.
func NewBus(o Options) *Bus {
	return &Bus{o: o.withDefaults(), subscribed: make(chan struct{})}
}

// Publisher returns the publisher of a module that may publish the given types.
func (b *Bus) Publisher(module string, d *db.DB, publishes []Type) *Publisher {
	allowed := make(map[string]bool, len(publishes))
	for _, t := range publishes {
		allowed[t.Name()] = true
	}
	r := &relay{module: module, db: d, o: b.o, pipe: b.o.Pipe, wake: make(chan struct{}, 1)}
	b.relays = append(b.relays, r)
	return &Publisher{module: module, db: d, allowed: allowed, now: b.o.Now, newID: b.o.NewID, nudge: func() { nudge(r.wake) }}
}

// Subscribe adds a module's handlers. It fails when two have one name or when
// one handles a type outside declared, the module's Spec.
func (b *Bus) Subscribe(module string, d *db.DB, declared []Type, handlers []Handler) error {
	may := map[Type]bool{}
	for _, t := range declared {
		may[t] = true
	}
	seen := map[string]bool{}
	for _, h := range handlers {
		name := module + "." + h.Name
		if seen[name] {
			return fmt.Errorf("module %s has two event handlers named %s", module, h.Name)
		}
		if !may[h.Type] {
			return fmt.Errorf("module %s handles %s, which its Subscribes does not name", module, h.Type.Name())
		}
		seen[name] = true
		w := &worker{subscriber: name, handler: h, db: d, o: b.o, wake: make(chan struct{}, 1)}
		b.workers = append(b.workers, w)
		b.inboxes = append(b.inboxes, &inbox{
			sub: Subscription{Subscriber: name, Type: h.Type.Name(), Source: h.Type.Source()}, db: d, wake: w.wake,
		})
	}
	return nil
}

// inbox is where one subscriber receives.
type inbox struct {
	sub  Subscription
	db   *db.DB
	wake chan struct{}
}

// accept stores events in the inbox and returns once they are durable. Those
// that it holds already are passed over.
func (in *inbox) accept(ctx context.Context, events []Envelope) error {
	rows := make([]inboxRow, len(events))
	for i, e := range events {
		rows[i] = e.inboxRow(in.sub.Subscriber)
	}
	if err := receive(ctx, in.db, rows); err != nil {
		return err
	}
	nudge(in.wake)
	return nil
}

// Subscribed is closed once Run has made every subscription durable. Until
// then nothing leaves the outboxes, so that no subscriber of this process
// misses an event that the process publishes.
func (b *Bus) Subscribed() <-chan struct{} { return b.subscribed }

// Run delivers until ctx ends, then returns nil. What it had begun is finished
// or rolled back by then. It may be called once.
func (b *Bus) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, w := range b.workers {
		g.Go(func() error { return loop(ctx, w.wake, w.o, w.subscriber, w.step) })
	}
	for d, workers := range b.byDatabase() {
		g.Go(func() error { return housekeep(ctx, d, workers, b.o) })
	}
	g.Go(func() error {
		if !b.subscribe(ctx) {
			return nil
		}
		for _, in := range b.inboxes {
			g.Go(func() error { return b.o.Pipe.Receive(ctx, in.sub, in.accept) })
		}
		for _, r := range b.relays {
			g.Go(func() error { return loop(ctx, r.wake, r.o, r.module+" outbox", r.step) })
		}
		return nil
	})
	return g.Wait()
}

// subscribe tries until the subscriptions are durable. It returns false when
// ctx ended before.
func (b *Bus) subscribe(ctx context.Context) bool {
	subs := make([]Subscription, len(b.inboxes))
	for i, in := range b.inboxes {
		subs[i] = in.sub
	}
	for attempt := 1; ; attempt++ {
		err := b.o.Pipe.Subscribe(ctx, subs)
		if err == nil {
			close(b.subscribed)
			return true
		}
		if attempt == 1 && ctx.Err() == nil {
			b.o.Log.Log(ctx, severity(err), "events wait in the outboxes: the pipe does not take the subscriptions; retrying", "error", err)
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(backoff.Delay(attempt, b.o.BackoffMin, time.Second)):
		}
	}
}

// byDatabase is every module's database with its subscribers.
func (b *Bus) byDatabase() map[*db.DB][]*worker {
	all := map[*db.DB][]*worker{}
	for _, r := range b.relays {
		all[r.db] = nil
	}
	for _, w := range b.workers {
		all[w.db] = append(all[w.db], w)
	}
	return all
}

// loop calls step while it reports progress, and otherwise waits for a nudge
// or the poll interval. Errors are logged once in a row and retried.
func loop(ctx context.Context, wake chan struct{}, o Options, what string, step func(context.Context) (more bool, err error)) error {
	timer := time.NewTimer(o.Poll)
	defer timer.Stop()
	failing := false
	for {
		more, err := step(ctx)
		if ctx.Err() != nil {
			return nil
		}
		switch {
		case err != nil && !failing:
			failing = true
			o.Log.Log(ctx, severity(err), "event delivery failed; retrying", "at", what, "error", err)
		case err == nil && failing:
			failing = false
			o.Log.InfoContext(ctx, "event delivery recovered", "at", what)
		}
		if more && err == nil {
			continue
		}
		timer.Reset(o.Poll)
		if err != nil {
			select { // a nudge does not make a broken database work
			case <-ctx.Done():
				return nil
			case <-timer.C:
			}
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-wake:
		case <-timer.C:
		}
	}
}

// severity is lower for what mends itself.
func severity(err error) slog.Level {
	if errors.Is(err, ErrUnreachable) {
		return slog.LevelWarn
	}
	return slog.LevelError
}

func nudge(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}
