package saga

import (
	"encoding/json"
	"slices"
	"time"

	"cleave/platform/db"
	"cleave/platform/fault"
)

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
	Plan        string
	History     string
	CreatedAt   int64
	UpdatedAt   int64

	entries []Entry // History, decoded; changed on copies alone
}

func (instance) TableName() string { return "sagas" }

// What an entry of the history tells of.
const (
	KindDo         = "do"         // a step's work
	KindUndo       = "undo"       // a step's compensation
	KindEnd        = "end"        // what the definition does when all is undone
	KindRetry      = "retry"      // a person let it go on
	KindCompensate = "compensate" // the saga was turned round from outside
)

// Entry is one step of the history, in one direction, with all its attempts.
type Entry struct {
	Kind     string    `json:"kind"`
	Step     string    `json:"step,omitempty"`
	Attempts int       `json:"attempts,omitempty"` // that failed
	Error    string    `json:"error,omitempty"`    // of the last one that failed
	Began    time.Time `json:"began"`
	Ended    time.Time `json:"ended,omitzero"` // zero: not yet
}

// maxHistory bounds the history; the oldest entries go first.
const maxHistory = 100

// stored is an Entry in the table: short, because every saga has some.
type stored struct {
	Kind     string `json:"k,omitempty"` // do, when left out
	Step     string `json:"s,omitempty"`
	Attempts int    `json:"n,omitempty"`
	Error    string `json:"e,omitempty"`
	Began    int64  `json:"t"`
	Took     int64  `json:"d,omitempty"` // microseconds, at least 1; left out while it is not over
}

func decodeHistory(text string) []Entry {
	var rows []stored
	if text == "" || json.Unmarshal([]byte(text), &rows) != nil {
		return nil
	}
	entries := make([]Entry, len(rows))
	for i, r := range rows {
		e := Entry{Kind: r.Kind, Step: r.Step, Attempts: r.Attempts, Error: r.Error, Began: db.FromMicros(r.Began)}
		if e.Kind == "" {
			e.Kind = KindDo
		}
		if r.Took > 0 {
			e.Ended = db.FromMicros(r.Began + r.Took)
		}
		entries[i] = e
	}
	return entries
}

func encodeHistory(entries []Entry) (string, error) {
	if len(entries) == 0 {
		return "", nil
	}
	entries = entries[max(0, len(entries)-maxHistory):]
	rows := make([]stored, len(entries))
	for i, e := range entries {
		r := stored{Kind: e.Kind, Step: e.Step, Attempts: e.Attempts, Error: e.Error, Began: db.Micros(e.Began)}
		if r.Kind == KindDo {
			r.Kind = ""
		}
		if !e.Ended.IsZero() {
			r.Took = max(1, db.Micros(e.Ended)-r.Began)
		}
		rows[i] = r
	}
	text, err := json.Marshal(rows)
	return string(text), err
}

// at is the entry of the attempts under way; one that begins now if there is
// none yet.
func (in *instance) at(kind, step string, now time.Time) Entry {
	if n := len(in.entries); n > 0 {
		if e := in.entries[n-1]; e.Kind == kind && e.Step == step && e.Ended.IsZero() {
			return e
		}
	}
	return Entry{Kind: kind, Step: step, Began: now}
}

// note puts e in the place of the entry that at returned.
func (in *instance) note(e Entry) {
	entries := slices.Clone(in.entries)
	if n := len(entries); n > 0 {
		if last := entries[n-1]; last.Kind == e.Kind && last.Step == e.Step && last.Ended.IsZero() {
			entries = entries[:n-1]
		}
	}
	in.entries = append(entries, e)
}

// maxError bounds the text of an error in the history, in bytes.
const maxError = 500

// describe is a fault for the history: with its cause, because that is what a
// person needs who has to repair it.
func describe(f *fault.Error) string {
	text := f.Code + ": " + f.Error()
	if len(text) > maxError {
		text = text[:maxError]
	}
	return text
}

// storedCause is a fault as the table keeps it.
type storedCause struct{ Kind, Code, Message string }

func encodeCause(f *fault.Error) (string, error) {
	text, err := json.Marshal(storedCause{Kind: f.Kind.String(), Code: f.Code, Message: f.Message})
	return string(text), err
}

// cause is what turned the saga round, or nil.
func (in *instance) cause() *fault.Error {
	if in.Cause == "" {
		return nil
	}
	var c storedCause
	if err := json.Unmarshal([]byte(in.Cause), &c); err != nil {
		return fault.New(fault.Internal, "", "%s", in.Cause)
	}
	return fault.New(fault.ParseKind(c.Kind), c.Code, "%s", c.Message)
}
