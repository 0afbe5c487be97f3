package event

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

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
	o       Options
	relays  []*relay
	workers []*worker
	inboxes map[string][]*inbox // by event type name
}

// NewBus returns a bus without modules. Log, Now and NewID must be set.
func NewBus(o Options) *Bus {
	return &Bus{o: o.withDefaults(), inboxes: map[string][]*inbox{}}
}

// Publisher returns the publisher of a module that may publish the given types.
func (b *Bus) Publisher(module string, d *db.DB, publishes []Type) *Publisher {
	allowed := make(map[string]bool, len(publishes))
	for _, t := range publishes {
		allowed[t.Name()] = true
	}
	r := &relay{module: module, db: d, o: b.o, pipe: b, wake: make(chan struct{}, 1)}
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
		b.inboxes[h.Type.Name()] = append(b.inboxes[h.Type.Name()], &inbox{module: module, db: d, subscriber: name, wake: w.wake})
	}
	return nil
}

// inbox is where one subscriber receives.
type inbox struct {
	module     string
	db         *db.DB
	subscriber string
	wake       chan struct{}
}

// Deliver is the in-process pipe: it stores the events in the inbox of every
// subscriber in this process, one transaction a module, and returns once all
// are durable. Events that an inbox holds already are passed over.
func (b *Bus) Deliver(ctx context.Context, events []Envelope) error {
	rows := map[*db.DB][]inboxRow{}
	woken := map[chan struct{}]bool{}
	for _, e := range events {
		for _, in := range b.inboxes[e.Type] {
			rows[in.db] = append(rows[in.db], e.inboxRow(in.subscriber))
			woken[in.wake] = true
		}
	}
	for d, rows := range rows {
		if err := receive(ctx, d, rows); err != nil {
			return err
		}
	}
	for wake := range woken {
		nudge(wake)
	}
	return nil
}

// Run delivers until ctx ends, then returns nil. What it had begun is finished
// or rolled back by then.
func (b *Bus) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, r := range b.relays {
		g.Go(func() error { return loop(ctx, r.wake, r.o, r.module+" outbox", r.step) })
	}
	for _, w := range b.workers {
		g.Go(func() error { return loop(ctx, w.wake, w.o, w.subscriber, w.step) })
	}
	purged := map[*db.DB]bool{}
	for _, w := range b.workers {
		if !purged[w.db] {
			purged[w.db] = true
			g.Go(func() error { return purgeLoop(ctx, w.db, w.o) })
		}
	}
	return g.Wait()
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
			o.Log.ErrorContext(ctx, "event delivery failed; retrying", "at", what, "error", err)
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

func nudge(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}
