package store

import (
	"context"

	"cleave/modules/user/internal/domain"
)

// MailRequest is what somebody has asked to be mailed to an address.
type MailRequest struct {
	Purpose    domain.MailPurpose
	EmailLower string
}

// InsertMailRequest queues a request.
func (s *Store) InsertMailRequest(ctx context.Context, id string, r MailRequest) error {
	return s.db.Queue(ctx).Exec("INSERT INTO mail_requests (id, purpose, email_lower) VALUES (?, ?, ?)", id, r.Purpose, r.EmailLower).Error
}

// HasMailRequests reports whether a request waits.
func (s *Store) HasMailRequests(ctx context.Context) (bool, error) {
	var n int
	err := s.db.Conn(ctx).Raw("SELECT count(*) FROM (SELECT 1 FROM mail_requests LIMIT 1) AS one").Scan(&n).Error
	return n > 0, err
}

// TakeMailRequests takes up to limit requests away, the oldest ones. A replica that takes the same ones at the same time gets none of them.
func (s *Store) TakeMailRequests(ctx context.Context, limit int) ([]MailRequest, error) {
	var rows []MailRequest
	err := s.db.Conn(ctx).Raw(`DELETE FROM mail_requests WHERE id IN (SELECT id FROM mail_requests ORDER BY id LIMIT ?)
		RETURNING purpose, email_lower`, limit).Scan(&rows).Error
	return rows, err
}
