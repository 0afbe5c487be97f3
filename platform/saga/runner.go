package saga

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"cleave/platform/db"
	"cleave/platform/fault"
	"cleave/platform/telemetry"
	"cleave/platform/traffic"
)

// Options tune a runner. The zero value of a field means its default.
type Options struct {
	Poll    time.Duration // how often to look for sagas that are due; default 500 ms
	Lease   time.Duration // how long a claimed saga is left to an owner that is out of reach; default 10 s
	Workers int           // sagas run at once; default 16
	Log     *slog.Logger
	Now     func() time.Time
	Owner   string // this process, unique
	// Observer may be nil. Its methods must return at once.
	Observer Observer
	// Traffic counts what sagas do, and who starts them; nil: not at all.
	Traffic *traffic.Recorder
}

// Observer learns what sagas do, for metrics.
type Observer interface {
	// SagaAttempted tells of one attempt: kind is KindDo, KindUndo or KindEnd, and
	// err is nil when it succeeded.
	SagaAttempted(saga, kind, step string, err error)
	// SagaEnded tells that a saga has reached a final state, and how long after
	// its start.
	SagaEnded(saga string, state State, took time.Duration)
}

// Runner runs one module's sagas in this process. Several processes may run
// the same module: a saga belongs to the one that claimed it, until that has
// ended or let the lease run out, and a step's record is written only by the
// owner.
type Runner struct {
	db       *db.DB
	o        Options
	programs map[string]*Program
	ready    chan *instance
	wake     chan struct{}
	stuck    sync.Map // name and id of sagas with an attempt that was left behind
	foreign  map[kind]bool
	name     atomic.Pointer[string] // of this process, as owner
	hold     *db.Hold               // of the lock of name, once Run has ended
	claims   atomic.Bool            // the process is known as the owner of what it claims
}

// kind is what decides whether this process can run a saga.
type kind struct{ name, plan string }

// NewRunner returns a runner without definitions. Log, Now and Owner must be set.
func NewRunner(d *db.DB, o Options) *Runner {
	if o.Poll == 0 {
		o.Poll = 500 * time.Millisecond
	}
	if o.Lease == 0 {
		o.Lease = 10 * time.Second
	}
	if o.Workers == 0 {
		o.Workers = 16
	}
	r := &Runner{db: d, o: o, programs: map[string]*Program{}, foreign: map[kind]bool{}, ready: make(chan *instance, queueSize), wake: make(chan struct{}, 1)}
	r.name.Store(&o.Owner)
	return r
}

func (r *Runner) add(p *Program) {
	if _, ok := r.programs[p.Name]; ok {
		panic("saga " + p.Name + " is registered twice")
	}
	r.programs[p.Name] = p
}

// source is what the sagas of a definition are counted as.
func (r *Runner) source(name string) *traffic.Source { return r.o.Traffic.Saga(r.db.Module(), name) }

// queueSize bounds the claimed sagas that wait in memory for a worker.
const queueSize = 1024

// start inserts the saga as already claimed by this process, which saves the
// claim. Under a backlog, and before Run, it is left unclaimed, for poll to take
// when a worker is free.
func (r *Runner) start(ctx context.Context, p *Program, id string, data []byte) error {
	now := r.o.Now()
	in := instance{
		Name: p.Name, ID: id, State: Running, Data: data, DueAt: db.Micros(now),
		Traceparent: telemetry.Traceparent(ctx), Plan: p.plan(), CreatedAt: db.Micros(now), UpdatedAt: db.Micros(now),
	}
	claimed := r.claims.Load() && len(r.ready) < queueSize/2
	if claimed {
		in.Owner, in.DueAt = r.owner(), db.Micros(now.Add(r.o.Lease))
	}
	if p.Timeout > 0 {
		in.Deadline = db.Micros(now.Add(p.Timeout))
	}
	err := r.db.Queue(ctx).Exec(
		"INSERT INTO sagas (name, id, state, step, data, due_at, deadline, owner, traceparent, plan, created_at, updated_at) VALUES (?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?)",
		in.Name, in.ID, string(in.State), string(in.Data), in.DueAt, in.Deadline, in.Owner, in.Traceparent, in.Plan, in.CreatedAt, in.UpdatedAt).Error
	if err != nil {
		return fault.From(err)
	}
	source := traffic.From(ctx)
	r.db.AfterCommit(ctx, func() {
		source.Started(r.source(p.Name))
		if !claimed {
			return
		}
		select {
		case r.ready <- &in:
		default: // the queue filled up meanwhile: it runs when its lease has run out
		}
	})
	return nil
}

// Run works until ctx ends, then returns nil; steps under way are cancelled
// and run again later.
func (r *Runner) Run(ctx context.Context) error {
	if len(r.programs) == 0 {
		return nil
	}
	g, ctx := errgroup.WithContext(ctx)
	if r.db.Dialect() == "sqlite" {
		// One process owns the data folder, so whatever is claimed was claimed by one that is gone.
		err := r.db.Tx(ctx, func(ctx context.Context) error { return r.free(ctx, "owner <> ? AND owner <> ''", r.owner()) })
		if err != nil && ctx.Err() == nil {
			r.o.Log.ErrorContext(ctx, "sagas of the last run wait for their lease", "error", err)
		}
	} else {
		hold, err := r.enlist(ctx)
		g.Go(func() error {
			r.stayAlive(ctx, hold, err)
			return nil
		})
	}
	r.claims.Store(true)
	for range r.o.Workers {
		g.Go(func() error {
			for {
				select {
				case <-ctx.Done():
					return nil
				case in := <-r.ready:
					r.run(ctx, *in)
				}
			}
		})
	}
	g.Go(func() error { return r.poll(ctx) })
	err := g.Wait()
	r.surrender(ctx)
	return err
}
