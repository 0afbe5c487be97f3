package event

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"cleave/platform/db"
	"cleave/platform/fault"
)

// outboxRow is an event that has not been handed to the pipe.
type outboxRow struct {
	Seq         int64 `gorm:"primaryKey;->"`
	ID          string
	Type        string
	Key         string
	At          int64
	Traceparent string
	Causation   string
	Payload     []byte
	OwedTo      string `gorm:"-"`
}

func (outboxRow) TableName() string { return "outbox" }

// among is the condition that column is one of the numbers of one argument, so
// that any count of them is one and the same statement.
func among(column string, d *db.DB) string {
	if d.Dialect() == "postgres" {
		return column + " = ANY(CAST(? AS bigint[]))"
	}
	return column + " IN (SELECT value FROM json_each(?))"
}

// numbers is the argument of among.
func numbers(list []int64, d *db.DB) string {
	opening, closing := byte('['), byte(']') // JSON
	if d.Dialect() == "postgres" {
		opening, closing = '{', '}'
	}
	b := []byte{opening}
	for i, n := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, n, 10)
	}
	return string(append(b, closing))
}

// States of an inbox row.
const (
	statePending = "pending"
	stateDone    = "done"
	stateDead    = "dead"
)

// inboxRow is an event as one subscriber has received it.
type inboxRow struct {
	Seq         int64 `gorm:"primaryKey;->"`
	Subscriber  string
	ID          string
	Type        string
	Source      string
	Key         string
	At          int64
	Traceparent string
	Causation   string
	Payload     []byte
	State       string
	Attempts    int
	DueAt       int64
	DoneAt      int64
	DeadAt      int64
	Cause       string
	Stack       string
}

func (inboxRow) TableName() string { return "inbox" }

func (r inboxRow) meta() Meta {
	return Meta{ID: r.ID, Type: r.Type, Source: r.Source, Key: r.Key, Time: db.FromMicros(r.At), Traceparent: r.Traceparent, Causation: r.Causation}
}

// Envelope is an event on its way from an outbox to the inboxes.
type Envelope struct {
	Meta
	Payload []byte
}

func (r outboxRow) envelope(source string) Envelope {
	return Envelope{
		Meta:    Meta{ID: r.ID, Type: r.Type, Source: source, Key: r.Key, Time: db.FromMicros(r.At), Traceparent: r.Traceparent, Causation: r.Causation},
		Payload: r.Payload,
	}
}

func (e Envelope) inboxRow(subscriber string) inboxRow {
	return inboxRow{
		Subscriber: subscriber, ID: e.ID, Type: e.Type, Source: e.Source, Key: e.Key,
		At: db.Micros(e.Time), Traceparent: e.Traceparent, Causation: e.Causation, Payload: e.Payload, State: statePending,
	}
}

func undecodable(t Type, err error) error {
	return fault.New(fault.Invalid, "event_undecodable", "the payload is not a %s", t.Name()).Wrap(err)
}

// permanent reports whether no retry can mend err. A handler that did not
// return is not tried again because each attempt stays behind.
func permanent(err error) bool {
	if errors.Is(err, errNeverReturned) {
		return true
	}
	switch fault.KindOf(err) {
	case fault.Invalid, fault.NotFound, fault.Unprocessable:
		return true
	default:
		return false
	}
}

// How much of a failure an inbox row keeps, in bytes.
const (
	maxCause = 4000
	maxStack = 16000
)

// cause is err as an operator should find it in the dead letter.
func cause(err error) string {
	f := fault.From(err)
	return clip(fmt.Sprintf("%s/%s: %s", f.Kind, f.Code, f.Error()), maxCause)
}

// stack is where err's panic was, "" without one.
func stack(err error) string {
	var p *panicked
	if !errors.As(err, &p) {
		return ""
	}
	return clip(string(p.stack), maxStack)
}

// clip is s as both databases can hold it, cut to limit bytes.
func clip(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}
