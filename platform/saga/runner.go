package saga

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"cleave/platform/db"
	"cleave/platform/fault"
	"cleave/platform/telemetry"
)

// Options tune a runner. The zero value of a field means its default.
type Options struct {
	Poll    time.Duration // how often to look for sagas that are due; default 500 ms
	Lease   time.Duration // how long a claimed saga is left to its owner; default 10 s
	Workers int           // sagas run at once; default 16
	Log     *slog.Logger
	Now     func() time.Time
	Owner   string // this process, unique
	// Observer may be nil. Its methods must return at once.
	Observer Observer
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
// the same module: a saga is claimed by a lease, and a step's record is
// written only while the lease still holds.
type Runner struct {
	db       *db.DB
	o        Options
	programs map[string]*Program
	ready    chan *instance
	wake     chan struct{}
	stuck    sync.Map // name and id of sagas with an attempt that was left behind
	foreign  map[kind]bool
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
	return &Runner{db: d, o: o, programs: map[string]*Program{}, foreign: map[kind]bool{}, ready: make(chan *instance, queueSize), wake: make(chan struct{}, 1)}
}

func (r *Runner) add(p *Program) {
	if _, ok := r.programs[p.Name]; ok {
		panic("saga " + p.Name + " is registered twice")
	}
	r.programs[p.Name] = p
}

// queueSize bounds the claimed sagas that wait in memory for a worker.
const queueSize = 1024

// start inserts the saga as already claimed by this process, which saves the
// claim; if the process dies before it runs it, the lease runs out. Under a
// backlog it is left unclaimed, for poll to take when a worker is free.
func (r *Runner) start(ctx context.Context, p *Program, id string, data []byte) error {
	now := r.o.Now()
	in := instance{
		Name: p.Name, ID: id, State: Running, Data: data, DueAt: db.Micros(now),
		Traceparent: telemetry.Traceparent(ctx), Plan: p.plan(), CreatedAt: db.Micros(now), UpdatedAt: db.Micros(now),
	}
	claimed := len(r.ready) < queueSize/2
	if claimed {
		in.Owner, in.DueAt = r.o.Owner, db.Micros(now.Add(r.o.Lease))
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
	r.db.AfterCommit(ctx, func() {
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
	if r.db.Dialect() == "sqlite" {
		// One process owns the data folder, so whatever is claimed was claimed by one that is gone.
		if err := r.release(ctx); err != nil && ctx.Err() == nil {
			r.o.Log.ErrorContext(ctx, "sagas of the last run wait for their lease", "error", err)
		}
	}
	g, ctx := errgroup.WithContext(ctx)
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

// surrender gives back what this process had claimed, so that the next owner
// need not wait for the lease.
func (r *Runner) surrender(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	err := r.db.Tx(ctx, func(ctx context.Context) error {
		return r.db.Queue(ctx).Exec("UPDATE sagas SET due_at = 0, owner = '' WHERE state IN ('running', 'compensating') AND owner = ?", r.o.Owner).Error
	})
	if err != nil {
		r.o.Log.WarnContext(ctx, "claimed sagas wait for their lease", "module", r.db.Module(), "error", err)
	}
}

func (r *Runner) release(ctx context.Context) error {
	return r.db.Tx(ctx, func(ctx context.Context) error {
		return r.db.Queue(ctx).Exec("UPDATE sagas SET due_at = 0, owner = '' WHERE state IN ('running', 'compensating') AND owner <> ? AND owner <> ''", r.o.Owner).Error
	})
}
