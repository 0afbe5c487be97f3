package saga

import (
	"context"
	"log/slog"
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
}

// Runner runs one module's sagas in this process. Several processes may run
// the same module: a saga is claimed by a lease, and a step's record is
// written only while the lease still holds.
type Runner struct {
	db       *db.DB
	o        Options
	programs map[string]*program
	ready    chan *instance
	wake     chan struct{}
}

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
	return &Runner{db: d, o: o, programs: map[string]*program{}, ready: make(chan *instance, queueSize), wake: make(chan struct{}, 1)}
}

func (r *Runner) add(p *program) {
	if _, ok := r.programs[p.name]; ok {
		panic("saga " + p.name + " is registered twice")
	}
	r.programs[p.name] = p
}

// instance is a row of the table sagas.
type instance struct {
	Name        string
	ID          string
	State       State
	Step        int // steps done; while compensating, steps still to undo
	Data        []byte
	Attempts    int
	DueAt       int64
	Deadline    int64
	Owner       string
	Cause       string
	Traceparent string
	CreatedAt   int64
	UpdatedAt   int64
}

func (instance) TableName() string { return "sagas" }

// queueSize bounds the claimed sagas that wait in memory for a worker.
const queueSize = 1024

// start inserts the saga as already claimed by this process, which saves the
// claim; if the process dies before it runs it, the lease runs out. Under a
// backlog it is left unclaimed, for poll to take when a worker is free.
func (r *Runner) start(ctx context.Context, name, id string, data []byte, timeout time.Duration) error {
	now := r.o.Now()
	in := instance{
		Name: name, ID: id, State: Running, Data: data, DueAt: db.Micros(now),
		Traceparent: telemetry.Traceparent(ctx), CreatedAt: db.Micros(now), UpdatedAt: db.Micros(now),
	}
	claimed := len(r.ready) < queueSize/2
	if claimed {
		in.Owner, in.DueAt = r.o.Owner, db.Micros(now.Add(r.o.Lease))
	}
	if timeout > 0 {
		in.Deadline = db.Micros(now.Add(timeout))
	}
	err := r.db.Queue(ctx).Exec(
		"INSERT INTO sagas (name, id, state, step, data, due_at, deadline, owner, traceparent, created_at, updated_at) VALUES (?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?)",
		in.Name, in.ID, string(in.State), string(in.Data), in.DueAt, in.Deadline, in.Owner, in.Traceparent, in.CreatedAt, in.UpdatedAt).Error
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

// poll claims sagas that are due: retries, expired leases, passed deadlines.
func (r *Runner) poll(ctx context.Context) error {
	ticker := time.NewTicker(r.o.Poll)
	defer ticker.Stop()
	for {
		claimed, err := r.claim(ctx)
		if err != nil && ctx.Err() == nil {
			r.o.Log.ErrorContext(ctx, "sagas cannot be claimed; retrying", "module", r.db.Module(), "error", err)
		}
		for i := range claimed {
			select {
			case r.ready <- &claimed[i]:
			case <-ctx.Done():
				return nil
			}
		}
		if len(claimed) > 0 && err == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
		case <-ticker.C:
		}
	}
}

func (r *Runner) claim(ctx context.Context) ([]instance, error) {
	now := db.Micros(r.o.Now())
	const due = "SELECT * FROM sagas WHERE state IN ('running', 'compensating') AND due_at <= ? ORDER BY due_at LIMIT ?"
	var some []instance
	if err := r.db.Conn(ctx).Raw(due, now, 1).Scan(&some).Error; err != nil || len(some) == 0 {
		return nil, err
	}
	var rows []instance
	err := r.db.Tx(ctx, func(ctx context.Context) error {
		rows = nil
		query := due
		if r.db.Dialect() == "postgres" {
			query += " FOR UPDATE SKIP LOCKED"
		}
		if err := r.db.Conn(ctx).Raw(query, now, r.o.Workers).Scan(&rows).Error; err != nil {
			return err
		}
		for i := range rows {
			rows[i].Owner, rows[i].DueAt = r.o.Owner, now+r.o.Lease.Microseconds()
			if err := r.db.Queue(ctx).Exec("UPDATE sagas SET owner = ?, due_at = ? WHERE name = ? AND id = ?",
				rows[i].Owner, rows[i].DueAt, rows[i].Name, rows[i].ID).Error; err != nil {
				return err
			}
		}
		return nil
	})
	return rows, err
}
