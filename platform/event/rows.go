package event

import (
	"fmt"

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
	Payload     []byte
}

func (outboxRow) TableName() string { return "outbox" }

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
	Payload     []byte
	State       string
	Attempts    int
	DueAt       int64
	DoneAt      int64
	Cause       string
}

func (inboxRow) TableName() string { return "inbox" }

func (r inboxRow) meta() Meta {
	return Meta{ID: r.ID, Type: r.Type, Source: r.Source, Key: r.Key, Time: db.FromMicros(r.At), Traceparent: r.Traceparent}
}

// Envelope is an event on its way from an outbox to the inboxes.
type Envelope struct {
	Meta
	Payload []byte
}

func (r outboxRow) envelope(source string) Envelope {
	return Envelope{
		Meta:    Meta{ID: r.ID, Type: r.Type, Source: source, Key: r.Key, Time: db.FromMicros(r.At), Traceparent: r.Traceparent},
		Payload: r.Payload,
	}
}

func (e Envelope) inboxRow(subscriber string) inboxRow {
	return inboxRow{
		Subscriber: subscriber, ID: e.ID, Type: e.Type, Source: e.Source, Key: e.Key,
		At: db.Micros(e.Time), Traceparent: e.Traceparent, Payload: e.Payload, State: statePending,
	}
}

func undecodable(t Type, err error) error {
	return fault.New(fault.Invalid, "event_undecodable", "the payload is not a %s", t.Name()).Wrap(err)
}

// permanent reports whether no retry can mend err.
func permanent(err error) bool {
	switch fault.KindOf(err) {
	case fault.Invalid, fault.NotFound, fault.Unprocessable:
		return true
	default:
		return false
	}
}

// cause is err as an operator should find it in the dead letter.
func cause(err error) string {
	const limit = 4000
	f := fault.From(err)
	s := fmt.Sprintf("%s/%s: %s", f.Kind, f.Code, f.Error())
	if len(s) > limit {
		s = s[:limit]
	}
	return s
}
