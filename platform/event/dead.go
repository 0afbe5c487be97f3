package event

import (
	"context"
	"strings"
	"time"
	"unicode/utf8"

	"cleave/platform/db"
	"cleave/platform/fault"
)

// Outbox stands for a subscriber in a DeadLetter of an event that never left
// the outbox, because the pipe refuses it for good.
const Outbox = "outbox"

// How many dead letters one call takes.
const (
	DefaultDeadLimit = 100
	MaxDeadLimit     = 1000
)

// DeadLetter is an event that will not be tried again by itself.
type DeadLetter struct {
	Subscriber  string // or Outbox
	ID          string // unique within a subscriber
	Type        string
	Source      string // the publishing module
	Key         string
	Time        time.Time // of publishing
	DeadAt      time.Time // zero for those that an earlier release set aside
	Attempts    int
	Cause       string // kind, code and message of the last failure
	Stack       string // of a panic; only from ShowDead
	Traceparent string
	Causation   string // what the event was published in reaction to
	Size        int    // of the payload, in bytes
	Payload     []byte // protobuf; only from ShowDead
}

// Cursor is the position behind this letter in the order of ListDead.
func (l DeadLetter) Cursor() DeadCursor {
	return DeadCursor{DeadAt: l.DeadAt, Subscriber: l.Subscriber, ID: l.ID}
}

// DeadCursor is a position in the order of ListDead; the zero value is its start.
type DeadCursor struct {
	DeadAt     time.Time
	Subscriber string
	ID         string
}

// DeadFilter selects dead letters; fields that are set must all match.
type DeadFilter struct {
	Subscriber string // or Outbox
	Type       string
	Key        string
	IDs        []string  // at most MaxDeadLimit
	After      time.Time // dead at or after
	Before     time.Time // dead before
	Cursor     DeadCursor
	Limit      int // 1 to MaxDeadLimit; 0 means DefaultDeadLimit
}

// deadRow is a dead letter of either table.
type deadRow struct {
	Seq                                  int64
	Subscriber, ID, Type, Source, Key    string
	At, DeadAt                           int64
	Attempts                             int
	Cause, Stack, Traceparent, Causation string
	Size                                 int
	Payload                              []byte
}

func (r deadRow) letter() DeadLetter {
	return DeadLetter{
		Subscriber: r.Subscriber, ID: r.ID, Type: r.Type, Source: r.Source, Key: r.Key, Time: db.FromMicros(r.At), DeadAt: instant(r.DeadAt),
		Attempts: r.Attempts, Cause: r.Cause, Stack: r.Stack, Traceparent: r.Traceparent, Causation: r.Causation, Size: r.Size, Payload: r.Payload,
	}
}

const (
	inboxDead = "SELECT seq, subscriber, id, type, source, key, at, dead_at, attempts, cause, traceparent, causation, length(payload) AS size" +
		" FROM inbox WHERE state = 'dead'"
	outboxDead = "SELECT seq, ? AS subscriber, id, type, ? AS source, key, at, dead_at, attempts, cause, traceparent, causation, length(payload) AS size" +
		" FROM outbox_dead WHERE 1 = 1"
)

// where is the filter as conditions of both tables; ok is false when nothing
// in the table can match.
func (f DeadFilter) where(outbox bool) (conditions string, args []any, ok bool) {
	var b strings.Builder
	and := func(condition string, values ...any) {
		b.WriteString(" AND ")
		b.WriteString(condition)
		args = append(args, values...)
	}
	if outbox {
		if f.Subscriber != "" && f.Subscriber != Outbox {
			return "", nil, false
		}
	} else if f.Subscriber != "" {
		and("subscriber = ?", f.Subscriber)
	}
	if f.Type != "" {
		and("type = ?", f.Type)
	}
	if f.Key != "" {
		and("key = ?", f.Key)
	}
	if len(f.IDs) > 0 {
		and("id IN ?", f.IDs)
	}
	if !f.After.IsZero() {
		and("dead_at >= ?", db.Micros(f.After))
	}
	if !f.Before.IsZero() {
		and("dead_at < ?", db.Micros(f.Before))
	}
	return b.String(), args, true
}

// check returns the limit, and Invalid for a filter that cannot be searched for.
func (f DeadFilter) check() (limit int, err error) {
	switch {
	case f.Limit < 0 || f.Limit > MaxDeadLimit:
		return 0, fault.New(fault.Invalid, "dead_limit", "the limit of dead letters must be between 1 and %d", MaxDeadLimit)
	case len(f.IDs) > MaxDeadLimit:
		return 0, fault.New(fault.Invalid, "dead_limit", "at most %d dead letters can be named at once", MaxDeadLimit)
	}
	for _, s := range append([]string{f.Subscriber, f.Type, f.Key, f.Cursor.Subscriber, f.Cursor.ID}, f.IDs...) {
		if !storable(s) {
			return 0, fault.New(fault.Invalid, "dead_filter", "a filter of dead letters must be UTF-8 text without NUL")
		}
	}
	if f.Limit == 0 {
		return DefaultDeadLimit, nil
	}
	return f.Limit, nil
}

// storable reports whether both databases can hold s as text.
func storable(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

// find reads the dead letters of f in the order of their death.
func (f DeadFilter) find(ctx context.Context, d *db.DB) ([]deadRow, error) {
	limit, err := f.check()
	if err != nil {
		return nil, err
	}
	var parts []string
	var args []any
	if conditions, values, ok := f.where(false); ok {
		parts, args = append(parts, inboxDead+conditions), append(args, values...)
	}
	if conditions, values, ok := f.where(true); ok {
		parts, args = append(parts, outboxDead+conditions), append(append(args, Outbox, d.Module()), values...)
	}
	query := "SELECT * FROM (" + strings.Join(parts, " UNION ALL ") + ") AS dead"
	if c := f.Cursor; c != (DeadCursor{}) {
		var at int64
		if !c.DeadAt.IsZero() {
			at = db.Micros(c.DeadAt)
		}
		query += " WHERE (dead_at, subscriber, id) > (?, ?, ?)"
		args = append(args, at, c.Subscriber, c.ID)
	}
	var rows []deadRow
	err = d.Conn(ctx).Raw(query+" ORDER BY dead_at, subscriber, id LIMIT ?", append(args, limit)...).Scan(&rows).Error
	return rows, err
}
