// Package revocation carries the end of access tokens from the issuer into every process.
//
// The issuer publishes an event. The platform subscribes to it for each module and keeps what it says in the module's table
// revocations. Each process reads that table, at the start and then several times a second, because an event is handled by one
// replica of a module alone. Requests look into memory only.
package revocation

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/protobuf/proto"

	"cleave/platform/auth"
	"cleave/platform/db"
	"cleave/platform/event"
	"cleave/platform/repeat"
)

const (
	poll       = 250 * time.Millisecond
	purgeEvery = time.Minute
	page       = 1000
	// overlap is how many rows each look reads once more: a transaction may commit after one that has taken a higher number.
	overlap = 16
)

// Source is an event of the issuer that ends access tokens.
type Source struct {
	Type   event.Type
	handle func(save func(context.Context, auth.Revocation) error) event.Handler
}

// On makes t a source; read says which tokens an event ends. Until is set by the platform. The name is that of the handler in each
// module.
func On[T proto.Message](t event.Type, name string, read func(T) auth.Revocation) Source {
	return Source{Type: t, handle: func(save func(context.Context, auth.Revocation) error) event.Handler {
		return event.On(t, name, func(ctx context.Context, m event.Meta, e T) error {
			r := read(e)
			r.Until = auth.RevokedUntil(m.Time)
			return save(ctx, r)
		})
	}}
}

// Feed fills a process's revocations from one module's database.
type Feed struct {
	db   *db.DB
	set  *auth.Revocations
	now  func() time.Time
	log  *slog.Logger
	last int64 // the highest number read
}

// New returns the feed of d into set. Call Load before serving and Run while serving.
func New(d *db.DB, set *auth.Revocations, log *slog.Logger, now func() time.Time) *Feed {
	return &Feed{db: d, set: set, now: now, log: log}
}

// Handler returns what keeps a source's events in the module's database.
func (f *Feed) Handler(s Source) event.Handler { return s.handle(f.save) }

func (f *Feed) save(ctx context.Context, r auth.Revocation) error {
	err := f.db.Queue(ctx).Exec("INSERT INTO revocations (subject, session, before_generation, until_at) VALUES (?, ?, ?, ?)",
		r.Subject, r.Session, r.Before, db.Micros(r.Until)).Error
	if err == nil {
		f.db.AfterCommit(ctx, func() { f.set.Add(r) })
	}
	return err
}

// Load reads all that still matters.
func (f *Feed) Load(ctx context.Context) error {
	f.last = 0
	return f.read(ctx)
}

func (f *Feed) read(ctx context.Context) error {
	for {
		var rows []struct {
			Seq              int64
			Subject          string
			Session          string
			BeforeGeneration int64
			UntilAt          int64
		}
		err := f.db.Conn(ctx).Raw(`SELECT seq, subject, session, before_generation, until_at FROM revocations
			WHERE seq > ? AND until_at > ? ORDER BY seq LIMIT ?`, f.last-overlap, db.Micros(f.now()), page).Scan(&rows).Error
		if err != nil || len(rows) == 0 {
			return err
		}
		list := make([]auth.Revocation, len(rows))
		for i, r := range rows {
			list[i] = auth.Revocation{Subject: r.Subject, Session: r.Session, Before: r.BeforeGeneration, Until: db.FromMicros(r.UntilAt)}
		}
		f.set.Add(list...)
		f.last = rows[len(rows)-1].Seq
		if len(rows) < page {
			return nil
		}
	}
}

// Run follows the table and removes from it what no longer matters, until ctx ends. While the database does not answer, what is
// known stays in force.
func (f *Feed) Run(ctx context.Context) error {
	purged := f.now()
	return repeat.Every(ctx, poll, repeat.Report{
		Log: f.log.With("module", f.db.Module()), Level: slog.LevelError,
		Failing: "sign-outs of other processes are not heard of; retrying", Again: "sign-outs of other processes are heard of again",
	}, func(ctx context.Context) error {
		err := f.read(ctx)
		if now := f.now(); err == nil && now.Sub(purged) >= purgeEvery {
			purged = now
			err = f.purge(ctx, now)
		}
		return err
	})
}

func (f *Feed) purge(ctx context.Context, now time.Time) error {
	if lost := f.set.Forget(now); lost > 0 {
		f.log.ErrorContext(ctx, "too many sign-outs to remember: tokens that were about to expire are accepted again", "lost", lost)
	}
	return f.db.Tx(ctx, func(ctx context.Context) error {
		return f.db.Queue(ctx).Exec("DELETE FROM revocations WHERE until_at <= ?", db.Micros(now)).Error
	})
}
