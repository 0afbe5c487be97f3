package saga

import (
	"context"
	"fmt"
	"time"

	"cleave/platform/db"
)

// A saga's owner is the name of a process. On Postgres each process holds the
// lock of its name as long as it lives, and lists the name in saga_owners; who
// gets the lock of a listed name knows that its owner is gone, and takes its
// sagas over at once. Who cannot hold its lock is not listed: its sagas go over
// when their lease ends. Neither keeps two processes from running one saga at
// the same time, which only the guard of each record does.

// retryHold is how long to wait after a lock could not be had.
const retryHold = time.Second

func lockOf(owner string) string { return "saga owner " + owner }

func (r *Runner) owner() string { return *r.name.Load() }

// stayAlive keeps the lock of this process's name, which enlist took or failed
// to, until ctx ends. When it is lost, the process goes on under another name,
// because others may have taken over what it had under the old one.
func (r *Runner) stayAlive(ctx context.Context, hold *db.Hold, err error) {
	for n := 1; ; n++ {
		if err == nil {
			select {
			case <-ctx.Done():
				r.hold = hold
				return
			case <-hold.Lost():
				hold.Release()
			}
			err = fmt.Errorf("the connection that held the lock of %s has ended", r.owner())
		}
		if ctx.Err() != nil {
			return
		}
		next := fmt.Sprintf("%s-%d", r.o.Owner, n)
		r.name.Store(&next)
		r.o.Log.WarnContext(ctx, "other processes may take this one for dead and repeat steps of its sagas", "module", r.db.Module(), "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(retryHold):
		}
		hold, err = r.enlist(ctx)
	}
}

// enlist holds the lock and lists the name, in this order.
func (r *Runner) enlist(ctx context.Context) (*db.Hold, error) {
	hold, err := r.db.Hold(ctx, lockOf(r.owner()))
	if err != nil {
		return nil, err
	}
	err = r.db.Tx(ctx, func(ctx context.Context) error {
		return r.db.Queue(ctx).Exec("INSERT INTO saga_owners (owner, since) VALUES (?, ?)", r.owner(), db.Micros(r.o.Now())).Error
	})
	if err != nil {
		hold.Release()
		return nil, err
	}
	return hold, nil
}

// inherit frees the sagas of processes that are gone.
func (r *Runner) inherit(ctx context.Context) error {
	if r.db.Dialect() == "sqlite" {
		return nil
	}
	var others []string
	if err := r.db.Conn(ctx).Raw("SELECT owner FROM saga_owners WHERE owner <> ?", r.owner()).Scan(&others).Error; err != nil || len(others) == 0 {
		return err
	}
	var gone []string
	err := r.db.Tx(ctx, func(ctx context.Context) error {
		gone = nil
		for _, owner := range others {
			free, err := r.db.TryLock(ctx, lockOf(owner))
			if err != nil {
				return err
			}
			if !free {
				continue
			}
			gone = append(gone, owner)
			if err := r.free(ctx, "owner = ?", owner); err != nil {
				return err
			}
			if err := r.delist(ctx, owner); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && len(gone) > 0 {
		r.o.Log.InfoContext(ctx, "sagas of processes that are gone go on here", "module", r.db.Module(), "processes", gone)
	}
	return err
}

// surrender gives back what this process had claimed, so that the next owner
// need not wait.
func (r *Runner) surrender(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	err := r.db.Tx(ctx, func(ctx context.Context) error {
		if err := r.free(ctx, "owner = ?", r.owner()); err != nil {
			return err
		}
		return r.delist(ctx, r.owner())
	})
	if err != nil {
		r.o.Log.WarnContext(ctx, "claimed sagas wait for their lease", "module", r.db.Module(), "error", err)
	}
	if r.hold != nil {
		r.hold.Release()
		r.hold = nil
	}
}

// free makes the sagas due of which whose is true.
func (r *Runner) free(ctx context.Context, whose, owner string) error {
	return r.db.Queue(ctx).Exec("UPDATE sagas SET due_at = 0, owner = '' WHERE state IN ('running', 'compensating') AND "+whose, owner).Error
}

func (r *Runner) delist(ctx context.Context, owner string) error {
	return r.db.Queue(ctx).Exec("DELETE FROM saga_owners WHERE owner = ?", owner).Error
}
