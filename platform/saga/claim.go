package saga

import (
	"context"
	"time"

	"cleave/platform/db"
)

func (r *Runner) wakeUp() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// poll claims sagas that are due: retries, expired leases, passed deadlines.
func (r *Runner) poll(ctx context.Context) error {
	ticker := time.NewTicker(r.o.Poll)
	defer ticker.Stop()
	look := true // whether other processes are still there
	for {
		if look {
			if err := r.inherit(ctx); err != nil && ctx.Err() == nil {
				r.o.Log.ErrorContext(ctx, "sagas of processes that are gone wait for their lease", "module", r.db.Module(), "error", err)
			}
		}
		look = false
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
			look = true
		}
	}
}

// claim takes sagas that are due and that this process can run.
func (r *Runner) claim(ctx context.Context) ([]instance, error) {
	now := db.Micros(r.o.Now())
	query, args := r.due(now)
	var some []instance
	if err := r.db.Conn(ctx).Raw(query, append(args, 1)...).Scan(&some).Error; err != nil || len(some) == 0 {
		return nil, err
	}
	var rows []instance
	err := r.db.Tx(ctx, func(ctx context.Context) error {
		var found []instance
		if err := r.db.Conn(ctx).Raw(query+r.skipLocked(), append(args, r.o.Workers)...).Scan(&found).Error; err != nil {
			return err
		}
		rows = nil
		for _, in := range found {
			if !r.knows(ctx, in) {
				continue
			}
			in.Owner, in.DueAt = r.owner(), now+r.o.Lease.Microseconds()
			if err := r.db.Queue(ctx).Exec("UPDATE sagas SET owner = ?, due_at = ? WHERE name = ? AND id = ?", in.Owner, in.DueAt, in.Name, in.ID).Error; err != nil {
				return err
			}
			rows = append(rows, in)
		}
		return nil
	})
	return rows, err
}

func (r *Runner) skipLocked() string {
	if r.db.Dialect() == "postgres" {
		return " FOR UPDATE SKIP LOCKED"
	}
	return ""
}

// due is the query for sagas that can go on, but for those of the kinds that
// this process has met and cannot run.
func (r *Runner) due(now int64) (query string, args []any) {
	query = "SELECT * FROM sagas WHERE state IN ('running', 'compensating') AND due_at <= ?"
	args = []any{now}
	for k := range r.foreign {
		query += " AND (name <> ? OR plan <> ?)"
		args = append(args, k.name, k.plan)
	}
	return query + " ORDER BY due_at LIMIT ?", args
}

// knows reports whether this process has all steps of the saga. It says once
// what it lacks.
func (r *Runner) knows(ctx context.Context, in instance) bool {
	missing := "the definition"
	if p := r.programs[in.Name]; p != nil {
		if _, missing = p.follow(in.Plan); missing == "" {
			return true
		}
	}
	r.foreign[kind{in.Name, in.Plan}] = true
	r.o.Log.WarnContext(ctx, "sagas wait for a process that knows all their steps", "saga", in.Name, "id", in.ID, "plan", in.Plan, "missing", missing)
	return false
}
