// Package audit keeps the audit log of a module's database: who did what to
// which object, when and from where (OWASP ASVS 5.0, 16.2.1).
//
// An entry is written in the transaction of the action that it tells of, so
// that neither exists without the other. Each entry's hash covers the one
// before it, which makes the log a chain: Verify finds the first entry that was
// changed, removed, inserted or moved. The database itself refuses to change or
// delete entries. Against someone who controls the database and rewrites the
// whole chain, only a hash that was written down elsewhere helps: print the head
// at times and give it to Verify later.
//
// Appending takes a lock for the rest of the transaction, so that entries
// follow one another without forks. Administrative and security actions are
// audited, not the daily traffic of customers.
package audit

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.opentelemetry.io/otel/trace"

	"cleave/platform/auth"
	"cleave/platform/db"
	"cleave/platform/fault"
	"cleave/platform/telemetry"
)

// The longest texts of an entry in bytes, once control characters are escaped. What is longer is cut.
const (
	maxName   = 255 // issuer, subject, action, request id
	maxObject = 512
	maxValue  = 512 // of a detail
	maxDetail = 16  // details of an entry
)

// Actor is who did something: the subject that an issuer knows. Identity is both of them.
type Actor struct {
	Issuer  string // of the access token, or "cli" for the command line and "system" for the process itself
	Subject string // a user's id, or the name of the operating system's user; of an outside issuer see auth.SubjectOf
}

// String is the actor as ISSUER:SUBJECT.
func (a Actor) String() string { return a.Issuer + ":" + a.Subject }

// Entry is one line of the log.
//
// No entry can be taken back, not even when a person asks to be forgotten: name
// people by their ids, never by name or e-mail address.
type Entry struct {
	Seq       int64     // 1, 2, 3 … within the module's database
	At        time.Time // microseconds, UTC
	Actor     Actor
	Action    string // the permission or command that was used, such as user:disable
	Object    string // what it was done to, such as user/0197a5c2-…
	Address   string // the peer's network address
	RequestID string
	TraceID   string
	Detail    map[string]string // what else matters, such as an amount; at most 16
	Hash      []byte
}

// Log is the audit log of one module's database. It is safe for concurrent use.
type Log struct {
	db     *db.DB
	issuer string
	now    func() time.Time
}

// New returns the log in d; issuer is the one of the access tokens that the
// process accepts.
func New(d *db.DB, issuer string, now func() time.Time) *Log {
	return &Log{db: d, issuer: issuer, now: now}
}

// Append adds an entry in the transaction of ctx; outside of one it fails. Seq,
// At and Hash are set by the log. Actor, Address, RequestID and TraceID are
// those of ctx unless e has its own; without an actor it is an Internal fault,
// code audit_actor_missing, so that nothing is done by nobody.
//
// Until the transaction ends no other one can append to this log: call it last.
func (l *Log) Append(ctx context.Context, e Entry) error {
	if err := l.complete(ctx, &e); err != nil {
		return err
	}
	detail, err := encodeDetail(e.Detail)
	if err != nil {
		return err
	}
	query := "SELECT seq, hash FROM audit_head WHERE id = 1"
	if l.db.Dialect() == "postgres" {
		query += " FOR UPDATE"
	}
	var head Head
	if err := l.db.Conn(ctx).Raw(query).Scan(&head).Error; err != nil {
		return fmt.Errorf("read the head of the audit log: %w", err)
	}
	e.Seq = head.Seq + 1
	r := e.row(detail)
	r.Hash = r.chained(l.db.Module(), head.Hash)
	if err := l.db.Queue(ctx).Exec(`INSERT INTO audit (seq, at, issuer, subject, action, object, address, request_id, trace_id, detail, hash)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		r.Seq, r.At, r.Issuer, r.Subject, r.Action, r.Object, r.Address, r.RequestID, r.TraceID, r.Detail, r.Hash).Error; err != nil {
		return fmt.Errorf("append to the audit log: %w", err)
	}
	if err := l.db.Queue(ctx).Exec("UPDATE audit_head SET seq = ?, hash = ? WHERE id = 1", r.Seq, r.Hash).Error; err != nil {
		return fmt.Errorf("append to the audit log: %w", err)
	}
	return nil
}

// complete fills in what ctx knows, and makes every text fit to be shown on one line.
func (l *Log) complete(ctx context.Context, e *Entry) error {
	if e.Actor.Subject == "" {
		p, ok := auth.From(ctx)
		if !ok || p.Subject == "" {
			return fault.New(fault.Internal, "audit_actor_missing", "internal error").Wrap(fmt.Errorf("nobody is known to have done %s", e.Action))
		}
		e.Actor = Actor{Issuer: cmp.Or(p.Issuer, l.issuer), Subject: p.Subject}
		if p.IssuerSubject != "" { // the subject is a hash of it, which tells a reader nothing
			e.Detail = maps.Clone(e.Detail)
			if e.Detail == nil {
				e.Detail = map[string]string{}
			}
			e.Detail["issuer_subject"] = p.IssuerSubject
		}
	}
	if e.Address == "" {
		e.Address = telemetry.Peer(ctx)
		if host, _, err := net.SplitHostPort(e.Address); err == nil {
			e.Address = host
		}
	}
	if e.RequestID == "" {
		e.RequestID = telemetry.RequestID(ctx)
	}
	if sc := trace.SpanContextFromContext(ctx); e.TraceID == "" && sc.IsValid() {
		e.TraceID = sc.TraceID().String()
	}
	e.At = l.now()
	for _, f := range []*string{&e.Actor.Issuer, &e.Actor.Subject, &e.Action, &e.Address, &e.RequestID, &e.TraceID} {
		*f = printable(*f, maxName)
	}
	e.Object = printable(e.Object, maxObject)
	return nil
}

// encodeDetail is the detail as the table holds it and the hash covers it: JSON with sorted keys, or "".
func encodeDetail(detail map[string]string) (string, error) {
	if len(detail) == 0 {
		return "", nil
	}
	if len(detail) > maxDetail {
		return "", fault.New(fault.Internal, "audit_detail", "internal error").Wrap(fmt.Errorf("an audit entry has %d details, more than %d", len(detail), maxDetail))
	}
	clean := make(map[string]string, len(detail))
	for k, v := range detail {
		clean[printable(k, maxName)] = printable(v, maxValue)
	}
	b, err := json.Marshal(clean)
	return string(b), err
}

// printable is s with everything escaped that could break or forge a line where it is shown: control characters, line
// separators, marks that turn the direction of text, and bytes that are not UTF-8.
func printable(s string, limit int) string {
	var b strings.Builder
	for i, r := range s {
		text := string(r)
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)):
			text = fmt.Sprintf(`\x%02x`, s[i])
		case r == '\\':
			text = `\\`
		case r != ' ' && !unicode.IsPrint(r):
			text = fmt.Sprintf(`\u{%x}`, r)
		}
		if b.Len()+len(text) > limit {
			break
		}
		b.WriteString(text)
	}
	return b.String()
}
