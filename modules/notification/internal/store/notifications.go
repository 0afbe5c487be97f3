package store

import (
	"context"
	"time"

	"cleave/modules/notification/internal/domain"
	"cleave/platform/db"
)

// notificationRow is a row of notifications.
type notificationRow struct {
	ID        string
	UserID    string
	Seq       int64
	Kind      domain.Kind
	Title     string
	Body      string
	OrderID   string
	ReadAt    int64
	CreatedAt int64
}

const notificationColumns = "id, user_id, seq, kind, title, body, order_id, read_at, created_at"

func notifications(rows []notificationRow) []domain.Notification {
	list := make([]domain.Notification, len(rows))
	for i, r := range rows {
		list[i] = domain.Notification{
			ID: r.ID, UserID: r.UserID, Seq: r.Seq, Kind: r.Kind, Title: r.Title, Body: r.Body, OrderID: r.OrderID,
			CreatedAt: db.FromMicros(r.CreatedAt),
		}
		if r.ReadAt != 0 {
			list[i].ReadAt = db.FromMicros(r.ReadAt)
		}
	}
	return list
}

// InsertNotification queues a notification with the user's next number, unless
// the user has muted its kind or was erased. Transactions that number take turns, so numbers
// appear in their order; one whose transaction rolls back is given again: there
// are no gaps.
func (s *Store) InsertNotification(ctx context.Context, n domain.Notification) error {
	if err := s.queueTurn(ctx); err != nil {
		return err
	}
	var order any
	if n.OrderID != "" {
		order = n.OrderID
	}
	q := s.db.Queue(ctx)
	if err := q.Exec("INSERT INTO recipients (user_id) SELECT ? WHERE NOT EXISTS (SELECT 1 FROM erased_users WHERE user_id = ?)"+
		" ON CONFLICT (user_id) DO NOTHING", n.UserID, n.UserID).Error; err != nil {
		return err
	}
	if err := q.Exec(`INSERT INTO notifications (id, user_id, seq, kind, title, body, order_id, created_at)
		SELECT ?, r.user_id, r.last_seq + 1, ?, ?, ?, ?, ? FROM recipients r WHERE r.user_id = ?
		AND NOT EXISTS (SELECT 1 FROM mutes m WHERE m.user_id = r.user_id AND m.kind = ? AND m.channel = ?)`,
		n.ID, n.Kind, n.Title, n.Body, order, db.Micros(n.CreatedAt), n.UserID, n.Kind, domain.InApp).Error; err != nil {
		return err
	}
	return q.Exec("UPDATE recipients SET last_seq = last_seq + 1 WHERE user_id = ? AND EXISTS (SELECT 1 FROM notifications WHERE id = ?)", n.UserID, n.ID).Error
}

// Filter selects from a user's notifications.
type Filter struct {
	Unread *bool // nil: read or not
	Before int64 // the number of the last one on the page before; 0: from the newest
	Limit  int
}

// Notifications reads a page, the newest first.
func (s *Store) Notifications(ctx context.Context, userID string, f Filter) ([]domain.Notification, error) {
	query := "SELECT " + notificationColumns + " FROM notifications WHERE user_id = ?"
	args := []any{userID}
	if f.Unread != nil {
		if *f.Unread {
			query += " AND read_at = 0"
		} else {
			query += " AND read_at <> 0"
		}
	}
	if f.Before != 0 {
		query += " AND seq < ?"
		args = append(args, f.Before)
	}
	return s.read(ctx, query+" ORDER BY seq DESC LIMIT ?", append(args, f.Limit)...)
}

// NotificationsAfter reads what came after a number, the oldest first.
func (s *Store) NotificationsAfter(ctx context.Context, userID string, seq int64, limit int) ([]domain.Notification, error) {
	return s.read(ctx, "SELECT "+notificationColumns+" FROM notifications WHERE user_id = ? AND seq > ? ORDER BY seq LIMIT ?", userID, seq, limit)
}

func (s *Store) read(ctx context.Context, query string, args ...any) ([]domain.Notification, error) {
	var rows []notificationRow
	err := s.db.Conn(ctx).Raw(query, args...).Scan(&rows).Error
	return notifications(rows), err
}

// CountUnread counts a user's unread notifications.
func (s *Store) CountUnread(ctx context.Context, userID string) (int64, error) {
	var n int64
	err := s.db.Conn(ctx).Raw("SELECT count(*) FROM notifications WHERE user_id = ? AND read_at = 0", userID).Scan(&n).Error
	return n, err
}

// MarkRead marks one of a user's notifications as read, unless it is, and
// returns it; false when the user has no such notification.
func (s *Store) MarkRead(ctx context.Context, userID, id string, now time.Time) (domain.Notification, bool, error) {
	var rows []notificationRow
	err := s.db.Conn(ctx).Raw(`UPDATE notifications SET read_at = CASE read_at WHEN 0 THEN ? ELSE read_at END
		WHERE id = ? AND user_id = ? RETURNING `+notificationColumns, db.Micros(now), id, userID).Scan(&rows).Error
	if err != nil || len(rows) == 0 {
		return domain.Notification{}, false, err
	}
	return notifications(rows)[0], true, nil
}

// MarkAllRead marks a user's unread notifications and returns how many there were.
func (s *Store) MarkAllRead(ctx context.Context, userID string, now time.Time) (int64, error) {
	res := s.db.Conn(ctx).Exec("UPDATE notifications SET read_at = ? WHERE user_id = ? AND read_at = 0", db.Micros(now), userID)
	return res.RowsAffected, res.Error
}

// SeqOf reads the number of one of a user's notifications; 0 when the user has
// no such notification.
func (s *Store) SeqOf(ctx context.Context, userID, id string) (int64, error) {
	var seq int64
	err := s.db.Conn(ctx).Raw("SELECT seq FROM notifications WHERE id = ? AND user_id = ?", id, userID).Scan(&seq).Error
	return seq, err
}

// LastSeqs reads the number of the newest notification of each of the users
// that have any.
func (s *Store) LastSeqs(ctx context.Context, userIDs []string) (map[string]int64, error) {
	var rows []struct {
		UserID  string
		LastSeq int64
	}
	err := s.db.Conn(ctx).Raw("SELECT user_id, last_seq FROM recipients WHERE user_id IN ?", userIDs).Scan(&rows).Error
	last := make(map[string]int64, len(rows))
	for _, r := range rows {
		last[r.UserID] = r.LastSeq
	}
	return last, err
}
