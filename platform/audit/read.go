package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"cleave/platform/db"
)

const verifyBatch = 1000

// Filter selects entries; its zero value selects all.
type Filter struct {
	Action  string // exactly
	Object  string // exactly
	Subject string // exactly
	Since   time.Time
	Until   time.Time // not included
	Before  int64     // only entries with a lower Seq; 0: all
	Limit   int       // 0: all
}

// List returns the entries that f selects, the newest first.
func (l *Log) List(ctx context.Context, f Filter) ([]Entry, error) {
	where, args := []string{"1 = 1"}, []any{}
	add := func(condition string, arg any) { where, args = append(where, condition), append(args, arg) }
	for column, want := range map[string]string{"action": f.Action, "object": f.Object, "subject": f.Subject} {
		if want != "" {
			add(column+" = ?", want)
		}
	}
	if !f.Since.IsZero() {
		add("at >= ?", db.Micros(f.Since))
	}
	if !f.Until.IsZero() {
		add("at < ?", db.Micros(f.Until))
	}
	if f.Before > 0 {
		add("seq < ?", f.Before)
	}
	query := "SELECT * FROM audit WHERE " + strings.Join(where, " AND ") + " ORDER BY seq DESC"
	if f.Limit > 0 {
		query += " LIMIT ?"
		args = append(args, f.Limit)
	}
	var rows []row
	if err := l.db.Conn(ctx).Raw(query, args...).Scan(&rows).Error; err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	entries := make([]Entry, len(rows))
	for i, r := range rows {
		var err error
		if entries[i], err = r.entry(); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

// Report is what Verify found.
type Report struct {
	Entries int64 // that hold, from the first one on
	Head    Head  // the last entry that holds
	// Broken says what is wrong with the first entry that does not hold, and is empty when all do.
	Broken string
}

// Verify follows the chain from the first entry to the head that the log had when Verify began, and reports the first
// entry that was changed, removed, inserted or moved. An anchor is a head that was written down earlier: with it a log
// that was cut or rewritten since is found too, even by who could change all of the database. Without one, a log that was
// cut together with its head looks whole.
func (l *Log) Verify(ctx context.Context, anchor *Head) (Report, error) {
	var now struct {
		Seq  int64
		Hash []byte
		Last int64
	}
	res := l.db.Conn(ctx).Raw("SELECT seq, hash, (SELECT coalesce(max(seq), 0) FROM audit) AS last FROM audit_head WHERE id = 1").Scan(&now)
	if res.Error != nil {
		return Report{}, fmt.Errorf("read the head of the audit log: %w", res.Error)
	}
	at := Head{Hash: make([]byte, sha256.Size)}
	if res.RowsAffected == 0 {
		return Report{Head: at, Broken: "the head of the log is missing"}, nil
	}
	head := Head{Seq: now.Seq, Hash: now.Hash}
	anchored := anchor == nil || anchor.Seq == 0
	for at.Seq < head.Seq {
		var rows []row
		if err := l.db.Conn(ctx).Raw("SELECT * FROM audit WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?",
			at.Seq, head.Seq, verifyBatch).Scan(&rows).Error; err != nil {
			return Report{}, fmt.Errorf("read the audit log: %w", err)
		}
		if len(rows) == 0 {
			return report(at, "entry %d is missing, and all after it: the log was cut", at.Seq+1), nil
		}
		for _, r := range rows {
			next := Head{Seq: r.Seq, Hash: r.Hash}
			switch {
			case r.Seq != at.Seq+1:
				return report(at, "entry %d is missing", at.Seq+1), nil
			case !bytes.Equal(r.Hash, r.chained(l.db.Module(), at.Hash)):
				return report(at, "entry %d is not what was written: it or its place was changed", r.Seq), nil
			case anchor != nil && anchor.Seq == r.Seq:
				if !next.equal(*anchor) {
					return report(at, "entry %d is not the one that was written down: the log was rewritten", r.Seq), nil
				}
				anchored = true
			}
			at = next
		}
	}
	switch {
	case !at.equal(head):
		return report(at, "entry %d is not the head that the log names", at.Seq), nil
	case now.Last > head.Seq:
		return report(at, "there are entries after %d, which is the head: they were inserted", head.Seq), nil
	case !anchored:
		return report(at, "entry %d, which was written down, is missing: the log was cut", anchor.Seq), nil
	}
	return Report{Entries: at.Seq, Head: at}, nil
}

func report(last Head, format string, args ...any) Report {
	return Report{Entries: last.Seq, Head: last, Broken: fmt.Sprintf(format, args...)}
}
