package module

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"cleave/platform/db"
	"cleave/platform/event"
	"cleave/platform/event/broker"
	"cleave/platform/ops"
	opsv1 "cleave/platform/ops/v1"
	"cleave/platform/repeat"
	"cleave/platform/rest"
)

// assemble opens and builds the modules with which the process starts, and the
// API in front of them.
func (h *Host) assemble(ctx context.Context) error {
	reading := h.readDocuments()
	defer reading.Wait()
	opened, err := h.open(ctx, h.start)
	if err != nil {
		return err
	}
	if err := h.openPipe(); err != nil {
		for _, r := range opened {
			err = errors.Join(err, r.db.Close())
		}
		return err
	}
	if h.cfg.Events.Pipe == broker.InProcess {
		h.bus = h.newBus()
	}
	h.placed.Lock()
	h.running = opened // so that Stop closes them all
	h.placed.Unlock()
	for _, r := range opened {
		if err := h.wire(ctx, r); err != nil {
			return err
		}
	}
	h.metrics.Watch(h.o.Now, func() (all []*db.DB) {
		for _, r := range h.modules() {
			all = append(all, r.db)
		}
		return all
	})
	_, err = h.openDoor()
	return err
}

// readDocuments reads the OpenAPI documents that a door mounts, while the databases are opened and the modules wired. Each takes about as
// long as the other, so that the documents have half of the processors.
func (h *Host) readDocuments() *sync.WaitGroup {
	documents := make(chan func(), len(h.specs)+1)
	for _, s := range h.specs {
		if s.OpenAPI != nil {
			documents <- func() { h.documents.Read(s.Name, s.OpenAPI) }
		}
	}
	documents <- func() { h.documents.Read(ops.Name, opsv1.OpenAPI) }
	close(documents)
	var reading sync.WaitGroup
	for range max(1, runtime.GOMAXPROCS(0)/2) {
		reading.Go(func() {
			for read := range documents {
				read()
			}
		})
	}
	return &reading
}

// open opens the databases of modules and brings them up to date, all at once.
func (h *Host) open(ctx context.Context, specs []Spec) ([]*running, error) {
	c := h.cfg.Database()
	c.Commit = h.o.Faults.Commit
	names := make([]string, len(specs))
	opened := make([]*running, len(specs))
	for i, s := range specs {
		names[i] = s.Name
		opened[i] = &running{spec: s, tasks: tasks{fail: h.fail}}
	}
	if len(names) > 0 && (h.cfg.DB.MigrateOnStart || c.Dialect() == "sqlite") {
		if err := db.Setup(ctx, c, names); err != nil {
			return nil, err
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, r := range opened {
		g.Go(func() error {
			d, err := db.Open(ctx, c, r.spec.Name, r.spec.Constraints)
			if err != nil {
				return err
			}
			r.db = d
			if err := d.Own(); err != nil {
				return err
			}
			if h.cfg.DB.MigrateOnStart {
				_, err = d.Migrate(ctx, r.spec.Migrations)
			} else {
				err = d.CheckSchema(ctx, r.spec.Migrations)
			}
			if err != nil {
				return err
			}
			r.database, err = d.Identity(ctx)
			return err
		})
	}
	err := g.Wait()
	if err != nil {
		for _, r := range opened {
			if r.db != nil {
				err = errors.Join(err, r.db.Close())
			}
		}
		return nil, err
	}
	return opened, nil
}

// openPipe connects to what carries events.
func (h *Host) openPipe() (err error) {
	e := h.cfg.Events
	h.pipe, err = broker.Open(broker.Config{URL: e.Pipe, Retention: e.PipeRetention, Folder: filepath.Join(h.cfg.Data.Dir, "nats"), Log: h.o.Log, Kafka: h.o.Kafka})
	if err != nil {
		return fmt.Errorf("open events.pipe: %w", err)
	}
	if p, ok := h.pipe.(identified); ok {
		h.identity.Store(&p)
	}
	close(h.links.piped)
	if h.o.Faults.Pipe != nil {
		h.pipe = h.o.Faults.Pipe(h.pipe)
	}
	return nil
}

// newBus returns a bus on the pipe. Within the process all modules share one;
// with a broker each has its own, so that a module can stop alone.
func (h *Host) newBus() *event.Bus {
	e := h.cfg.Events
	history := e.History
	if e.Pipe != broker.InProcess {
		history = 0 // the broker keeps it, see events.pipe_retention
	}
	return event.NewBus(event.Options{
		Batch: e.Batch, Poll: e.Poll, MaxAttempts: e.MaxAttempts, BackoffMin: e.BackoffMin, BackoffMax: e.BackoffMax,
		Retention: e.Retention, History: history, Pipe: h.pipe, Log: h.o.Log, Now: h.o.Now, NewID: NewID, Meter: h.metrics.Meter(), Traffic: h.traffic,
	})
}

// serve starts the listener and everything that runs beside it.
func (h *Host) serve() error {
	for _, r := range h.running {
		h.runModule(r)
	}
	h.tasks.start("outside issuers", h.issuers.Run)
	for module, issuers := range h.links.accounts {
		h.tasks.start(module+" service accounts", issuers.Run)
	}
	if h.bus != nil {
		h.tasks.start("events", h.bus.Run)
	}
	for _, b := range h.buses() {
		if err := h.awaitSubscriptions(b, h.failed); err != nil {
			return err
		}
	}
	h.server = &http.Server{
		Handler: h, ReadHeaderTimeout: h.cfg.HTTP.HeaderTimeout, IdleTimeout: h.cfg.HTTP.IdleTimeout, MaxHeaderBytes: h.cfg.HTTP.MaxHeader,
		BaseContext: func(net.Listener) context.Context { return context.Background() },
	}
	for _, r := range h.modules() {
		h.offer(r)
	}
	server, listener := h.server, h.listener
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			h.fail(fmt.Errorf("serve HTTP: %w", err))
		}
	}()
	return nil
}

// runModule starts what a module does besides answering.
func (h *Host) runModule(r *running) {
	name := r.spec.Name
	if r.worker != nil {
		r.tasks.start(name+" worker", r.worker.Run)
	}
	r.tasks.start(name+" revocations", r.feed.Run)
	r.tasks.start(name+" policy", r.rules.Run)
	r.tasks.start(name+" sagas", r.env.Sagas.Run)
	for _, fn := range r.parts.Background {
		r.tasks.start(name, fn)
	}
	r.tasks.start(name+" idempotency keys", func(ctx context.Context) error { return h.purge(ctx, r.db) })
	if r.bus != nil {
		r.tasks.start(name+" events", r.bus.Run)
	}
}

func (h *Host) buses() (all []*event.Bus) {
	if h.bus != nil {
		return []*event.Bus{h.bus}
	}
	for _, r := range h.running {
		all = append(all, r.bus)
	}
	return all
}

// awaitSubscriptions waits until the broker has the subscriptions, so that a
// process that says it is ready misses no event. One that cannot be reached
// holds up nobody's orders: their events wait in the outboxes.
func (h *Host) awaitSubscriptions(b *event.Bus, failed <-chan error) error {
	const patience = 3 * time.Second
	select {
	case <-b.Subscribed():
	case err := <-failed:
		return err
	case <-time.After(patience):
		h.o.Log.Warn("serving without the broker of events.pipe; events wait in the outboxes until it takes them")
	}
	return nil
}

func (h *Host) purge(ctx context.Context, d *db.DB) error {
	const every, keep = time.Hour, 24 * time.Hour
	return repeat.Every(ctx, every, repeat.Report{
		Log: h.o.Log.With("module", d.Module()), Level: slog.LevelWarn, Failing: "old idempotency keys stay", Again: "old idempotency keys are removed again",
	}, func(ctx context.Context) error {
		_, err := rest.PurgeIdempotency(ctx, d, h.o.Now().Add(-keep))
		return err
	})
}

// tasks run until they are stopped, in reverse order of starting.
type tasks struct {
	list []*task
	fail func(error) // learns of one that ended with an error
}

type task struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
}

func (ts *tasks) start(name string, fn func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	t := &task{cancel: cancel}
	ts.list = append(ts.list, t)
	t.done.Go(func() {
		if err := fn(ctx); err != nil && ctx.Err() == nil {
			ts.fail(fmt.Errorf("%s: %w", name, err))
		}
	})
}

func (ts *tasks) stop() {
	for _, t := range slices.Backward(ts.list) {
		t.cancel()
		t.done.Wait()
	}
	ts.list = nil
}

func (h *Host) fail(err error) {
	select {
	case h.failed <- err:
	default:
	}
}
