package store

import (
	"cmp"
	"context"
	"slices"
	"time"

	"cleave/modules/notification/internal/domain"
	"cleave/platform/db"
)

// MailState is what has become of a mail.
type MailState string

// The states. Only a queued mail changes.
const (
	MailQueued MailState = "queued"
	MailSent   MailState = "sent"
	MailFailed MailState = "failed"
)

// QueuedMail is a mail that this process has claimed, with the address that
// its user has now, or that it is for in particular.
type QueuedMail struct {
	ID        string
	News      domain.News
	To        domain.Contact
	Attempts  int // including the one that the claim is for
	CreatedAt time.Time
}

// InsertMail queues a mail that is due at once, unless the user has muted its
// kind or was erased.
func (s *Store) InsertMail(ctx context.Context, id string, n domain.News, now time.Time) error {
	at, expires := db.Micros(now), int64(0)
	if !n.CodeExpires.IsZero() {
		expires = db.Micros(n.CodeExpires)
	}
	return s.db.Queue(ctx).Exec(`INSERT INTO mails (id, user_id, kind, number, reason, tracking, code, code_expires_at, address, due_at, created_at)
		SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM mutes WHERE user_id = ? AND kind = ? AND channel = ?)
		AND NOT EXISTS (SELECT 1 FROM erased_users WHERE user_id = ?)`,
		id, n.UserID, n.Kind, n.Number, n.Reason, n.Tracking, n.Code, expires, n.Address, at, at, n.UserID, n.Kind, domain.Email, n.UserID).Error
}

// dueMails selects the mails to send now: those whose address is known. The
// others wait for their user to become known, and cost no attempt.
const dueMails = `SELECT m.id FROM mails m JOIN recipients r ON r.user_id = m.user_id
	WHERE m.state = 'queued' AND m.due_at <= ? AND r.email <> '' ORDER BY m.due_at LIMIT ?`

// HasDueMails reports whether ClaimMails has something to claim.
func (s *Store) HasDueMails(ctx context.Context, now time.Time) (bool, error) {
	var ids []string
	err := s.db.Conn(ctx).Raw(dueMails, db.Micros(now), 1).Scan(&ids).Error
	return len(ids) > 0, err
}

// ClaimMails takes up to limit due mails for the time of the lease, the oldest
// first, and passes over those that another process is taking. A mail that is
// not settled by the end of the lease is due again.
func (s *Store) ClaimMails(ctx context.Context, now time.Time, lease time.Duration, limit int) ([]QueuedMail, error) {
	due := dueMails
	if s.db.Dialect() == "postgres" {
		due += " FOR UPDATE OF m SKIP LOCKED"
	}
	var rows []struct {
		ID, UserID               string
		Kind                     domain.Kind
		Number, Reason, Tracking string
		Code                     string
		CodeExpiresAt            int64
		Attempts                 int
		CreatedAt                int64
		Email, DisplayName       string
	}
	err := s.db.Conn(ctx).Raw("WITH due AS MATERIALIZED ("+due+`)
		UPDATE mails SET attempts = attempts + 1, due_at = ? WHERE id IN (SELECT id FROM due)
		RETURNING id, user_id, kind, number, reason, tracking, code, code_expires_at, attempts, created_at,
			CASE address WHEN '' THEN (SELECT r.email FROM recipients r WHERE r.user_id = mails.user_id) ELSE address END AS email,
			(SELECT r.display_name FROM recipients r WHERE r.user_id = mails.user_id) AS display_name`,
		db.Micros(now), limit, db.Micros(now.Add(lease))).Scan(&rows).Error
	claimed := make([]QueuedMail, len(rows))
	for i, r := range rows {
		claimed[i] = QueuedMail{
			ID:   r.ID,
			News: domain.News{Kind: r.Kind, UserID: r.UserID, Number: r.Number, Reason: r.Reason, Tracking: r.Tracking, Code: r.Code},
			To:   domain.Contact{UserID: r.UserID, Email: r.Email, DisplayName: r.DisplayName}, Attempts: r.Attempts,
			CreatedAt: db.FromMicros(r.CreatedAt),
		}
		if r.CodeExpiresAt != 0 {
			claimed[i].News.CodeExpires = db.FromMicros(r.CodeExpiresAt)
		}
	}
	slices.SortFunc(claimed, func(a, b QueuedMail) int { return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID)) })
	return claimed, err
}

// Outcome is what an attempt to send a mail came to.
type Outcome struct {
	State    MailState
	Attempts int       // made so far
	DueAt    time.Time // of the next attempt, if it stays queued
	SentAt   time.Time // zero unless it was sent
	Cause    string    // why it was not sent
}

// SettleMail ends a claim. It changes nothing once the lease has run out and
// another process has claimed the mail. A code goes away with the last attempt.
func (s *Store) SettleMail(ctx context.Context, m QueuedMail, o Outcome) error {
	var sentAt int64
	if !o.SentAt.IsZero() {
		sentAt = db.Micros(o.SentAt)
	}
	return s.db.Queue(ctx).Exec(`UPDATE mails SET state = ?, attempts = ?, due_at = ?, sent_at = ?, cause = ?, code = CASE WHEN ? THEN code ELSE '' END
		WHERE id = ? AND state = 'queued' AND attempts = ?`,
		o.State, o.Attempts, db.Micros(o.DueAt), sentAt, o.Cause, o.State == MailQueued, m.ID, m.Attempts).Error
}

// FailUnaddressed gives the mails up that have waited for their user to become
// known since before a time.
func (s *Store) FailUnaddressed(ctx context.Context, before time.Time) (int64, error) {
	res := s.db.Conn(ctx).Exec(`UPDATE mails SET state = 'failed', code = '', cause = 'the address never became known' WHERE state = 'queued' AND created_at < ?
		AND NOT EXISTS (SELECT 1 FROM recipients r WHERE r.user_id = mails.user_id AND r.email <> '')`, db.Micros(before))
	return res.RowsAffected, res.Error
}

// PurgeMails removes up to limit mails that were sent or given up, and made
// before a time, and returns how many.
func (s *Store) PurgeMails(ctx context.Context, before time.Time, limit int) (int64, error) {
	res := s.db.Conn(ctx).Exec("DELETE FROM mails WHERE id IN (SELECT id FROM mails WHERE state <> 'queued' AND created_at < ? LIMIT ?)",
		db.Micros(before), limit)
	return res.RowsAffected, res.Error
}
