package event

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"golang.org/x/sync/errgroup"

	"cleave/platform/backoff"
	"cleave/platform/db"
	"cleave/platform/traffic"
)

// Options tune delivery. The zero value of a field means its default.
type Options struct {
	Batch       int               // events per transaction; default 50
	Poll        time.Duration     // how often to look without a nudge; default 500 ms
	MaxAttempts int               // then a dead letter; default 10
	BackoffMin  time.Duration     // default 50 ms
	BackoffMax  time.Duration     // default 30 s
	Timeout     time.Duration     // of one handler's run; default 10 s
	Patience    time.Duration     // how long an outbox waits for one inbox in this process before it goes on without it; default 2 s
	Retention   time.Duration     // of handled events, which are remembered to refuse repeats; default 7 days
	History     time.Duration     // how long publishers keep events for subscribers to come, at most Retention; 0 with a pipe that keeps them itself
	Pipe        Pipe              // default NewInProcess(); closed by whoever made it
	Traffic     *traffic.Recorder // counts what handlers do, and who publishes; default: not at all
	Meter       metric.Meter      // counts and times deliveries, see instruments; default: not at all
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
	setDefault(&o.Patience, 2*time.Second)
	setDefault(&o.Retention, 7*24*time.Hour)
	o.History = min(o.History, o.Retention) // so that what a subscriber had before it asked is known by its mark
	if o.Pipe == nil {
		o.Pipe = NewInProcess()
	}
	if o.Meter == nil {
		o.Meter = noop.Meter{}
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
	measures   instruments
	relays     []*relay
	workers    []*worker
	inboxes    []*inbox
	subscribed chan struct{} // closed by Run
}

// NewBus returns a bus without modules. Log, Now and NewID must be set.
func NewBus(o Options) *Bus {
	o = o.withDefaults()
	measures, err := newInstruments(o.Meter)
	if err != nil {
		o.Log.Warn("deliveries of events are not measured", "error", err)
	}
	return &Bus{o: o, measures: measures, subscribed: make(chan struct{})}
}

// Publisher returns the publisher of a module that may publish the given types.
func (b *Bus) Publisher(module string, d *db.DB, publishes []Type) *Publisher {
	allowed := make(map[string]bool, len(publishes))
	for _, t := range publishes {
		allowed[t.Name()] = true
	}
	r := &relay{module: module, db: d, o: b.o, stats: b.measures.of("module", module), publishes: allowed, wake: make(chan struct{}, 1), laggards: map[string]*laggard{}}
	r.keeps = b.o.History > 0
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
		w := &worker{
			module: module, subscriber: name, handler: h, db: d, o: h.options(b.o), stats: b.measures.of("subscriber", name), wake: make(chan struct{}, 1),
			source: b.o.Traffic.Handler(module, name, h.Type.Name()),
		}
		for _, old := range h.formerly {
			w.formerly = append(w.formerly, module+"."+old)
		}
		b.workers = append(b.workers, w)
		b.inboxes = append(b.inboxes, &inbox{
			sub: Subscription{Subscriber: name, Type: h.Type.Name(), Source: h.Type.Source(), History: h.history},
			db:  d, o: b.o, stats: w.stats, wake: w.wake, ignored: map[string]bool{},
		})
	}
	return nil
}

// Subscribed is closed once Run has made every subscription durable. Until
// then nothing leaves the outboxes, so that no subscriber of this process
// misses an event that the process publishes.
func (b *Bus) Subscribed() <-chan struct{} { return b.subscribed }

// Run delivers until ctx ends, then returns nil. What it had begun is finished
// or rolled back by then. It fails at once when a handler asks for history that
// nobody keeps, and with ErrTaken. It may be called once.
func (b *Bus) Run(ctx context.Context) error {
	if err := b.checkHistory(); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, w := range b.workers {
		g.Go(func() error { return loop(ctx, w.wake, w.o, w.subscriber, w.step) })
	}
	g.Go(func() error {
		following, ok := b.register(ctx)
		if !ok {
			return nil
		}
		live := b.follow(following)
		if err := b.subscribe(ctx, live); err != nil || ctx.Err() != nil {
			return err
		}
		b.watch(live)
		for _, in := range live {
			g.Go(func() error { return b.o.Pipe.Receive(ctx, in.sub, in.accept) })
		}
		for _, r := range b.relays {
			g.Go(func() error { return loop(ctx, r.wake, r.o, r.module+" outbox", r.step) })
			for _, f := range r.followers {
				g.Go(func() error { return loop(ctx, f.wake, b.o, f.inbox.sub.Subscriber+" history", f.step) })
			}
			for name, l := range r.laggards {
				g.Go(func() error { return l.run(ctx, name) })
			}
		}
		b.purge(ctx, g)
		return nil
	})
	return g.Wait()
}

// subscribe tries until the subscriptions are durable, or taken, or ctx ended.
func (b *Bus) subscribe(ctx context.Context, live []*inbox) error {
	var taken error
	ok := b.persist(ctx, "the pipe does not take the subscriptions", func() error {
		subs := make([]Subscription, len(live))
		for i, in := range live {
			id, err := in.db.Identity(ctx)
			if err != nil {
				return err
			}
			in.sub.Database = id
			subs[i] = in.sub
		}
		err := b.o.Pipe.Subscribe(ctx, subs)
		if errors.Is(err, ErrTaken) {
			taken, err = err, nil
		}
		return err
	})
	if ok && taken == nil {
		close(b.subscribed)
	}
	return taken
}

// persist tries until fn succeeds. It returns false when ctx ended before.
func (b *Bus) persist(ctx context.Context, what string, fn func() error) bool {
	for attempt := 1; ; attempt++ {
		err := fn()
		if err == nil {
			return true
		}
		if attempt == 1 && ctx.Err() == nil {
			b.o.Log.Log(ctx, severity(err), "events wait in the outboxes: "+what+"; retrying", "error", err)
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
// or the poll interval; step learns whether there is reason to expect work.
// Errors are logged once in a row and retried.
func loop(ctx context.Context, wake chan struct{}, o Options, what string, step func(ctx context.Context, signalled bool) (more bool, err error)) error {
	timer := time.NewTimer(o.Poll)
	defer timer.Stop()
	failing, signalled := false, true
	for {
		more, err := step(ctx, signalled)
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
		if signalled = more; more && err == nil {
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
			signalled = true
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
