package store

import (
	"context"
	"time"

	"cleave/modules/user/internal/domain"
	"cleave/platform/db"
)

// SecondFactor is a user's authenticator.
type SecondFactor struct {
	UserID      string
	Secret      []byte // as it is sealed
	SealedBy    string
	Confirmed   bool
	LastStep    int64 // of the last code that was used
	Failures    int
	LockedUntil time.Time
}

const selectFactor = "SELECT user_id, secret, sealed_by, confirmed_at, last_step, failures, locked_until FROM second_factors "

// SecondFactor reads a user's authenticator; false when there is none. In a transaction no other one changes it until that ends.
func (s *Store) SecondFactor(ctx context.Context, userID string) (SecondFactor, bool, error) {
	lock := ""
	if db.InTx(ctx) {
		lock = s.forUpdate("second_factors")
	}
	factors, err := s.factors(ctx, "WHERE user_id = ?"+lock, userID)
	if err != nil || len(factors) == 0 {
		return SecondFactor{}, false, err
	}
	return factors[0], true, nil
}

// FactorsSealedOtherwise reads up to limit authenticators that are not sealed by the given secret.
func (s *Store) FactorsSealedOtherwise(ctx context.Context, by string, limit int) ([]SecondFactor, error) {
	return s.factors(ctx, "WHERE sealed_by <> ? LIMIT ?", by, limit)
}

func (s *Store) factors(ctx context.Context, where string, args ...any) ([]SecondFactor, error) {
	var rows []struct {
		UserID                             string
		Secret                             []byte
		SealedBy                           string
		ConfirmedAt, LastStep, LockedUntil int64
		Failures                           int
	}
	err := s.db.Conn(ctx).Raw(selectFactor+where, args...).Scan(&rows).Error
	factors := make([]SecondFactor, len(rows))
	for i, r := range rows {
		factors[i] = SecondFactor{
			UserID: r.UserID, Secret: r.Secret, SealedBy: r.SealedBy, Confirmed: r.ConfirmedAt != 0, LastStep: r.LastStep, Failures: r.Failures,
			LockedUntil: db.FromMicros(r.LockedUntil),
		}
	}
	return factors, err
}

// InsertSecondFactor puts an authenticator that waits for its first code in the place of one that does too; false when the user has one
// in use.
func (s *Store) InsertSecondFactor(ctx context.Context, f SecondFactor) (bool, error) {
	res := s.db.Conn(ctx).Exec(`INSERT INTO second_factors (user_id, secret, sealed_by) VALUES (?, ?, ?)
		ON CONFLICT (user_id) DO UPDATE SET secret = excluded.secret, sealed_by = excluded.sealed_by, last_step = 0
		WHERE second_factors.confirmed_at = 0`, f.UserID, f.Secret, f.SealedBy)
	return res.RowsAffected == 1, res.Error
}

// UpdateSecondFactor queues what guessing changes.
func (s *Store) UpdateSecondFactor(ctx context.Context, f SecondFactor) error {
	return s.db.Queue(ctx).Exec("UPDATE second_factors SET last_step = ?, failures = ?, locked_until = ? WHERE user_id = ?",
		f.LastStep, f.Failures, db.Micros(f.LockedUntil), f.UserID).Error
}

// ResealSecondFactor queues another encryption of a secret; it changes nothing when another replica has been faster.
func (s *Store) ResealSecondFactor(ctx context.Context, f SecondFactor, before string) error {
	return s.db.Queue(ctx).Exec("UPDATE second_factors SET secret = ?, sealed_by = ? WHERE user_id = ? AND sealed_by = ?",
		f.Secret, f.SealedBy, f.UserID, before).Error
}

// ConfirmSecondFactor queues that an authenticator is in use, with the hashes of its recovery codes.
func (s *Store) ConfirmSecondFactor(ctx context.Context, userID string, codes []string, now time.Time) error {
	q := s.db.Queue(ctx)
	if err := q.Exec("UPDATE second_factors SET confirmed_at = ? WHERE user_id = ?", db.Micros(now), userID).Error; err != nil {
		return err
	}
	for _, hash := range codes {
		if err := q.Exec("INSERT INTO recovery_codes (hash, user_id) VALUES (?, ?)", hash, userID).Error; err != nil {
			return err
		}
	}
	return nil
}

// DeleteSecondFactor queues the end of a user's authenticator and recovery codes.
func (s *Store) DeleteSecondFactor(ctx context.Context, userID string) error {
	q := s.db.Queue(ctx)
	if err := q.Exec("DELETE FROM recovery_codes WHERE user_id = ?", userID).Error; err != nil {
		return err
	}
	return q.Exec("DELETE FROM second_factors WHERE user_id = ?", userID).Error
}

// UseRecoveryCode takes a recovery code of a user away, and reports whether this call was the one that did.
func (s *Store) UseRecoveryCode(ctx context.Context, userID, hash string) (bool, error) {
	res := s.db.Conn(ctx).Exec("DELETE FROM recovery_codes WHERE hash = ? AND user_id = ?", hash, userID)
	return res.RowsAffected == 1, res.Error
}

// Challenge is a log-in whose second factor is missing.
type Challenge struct {
	UserID    string
	Password  string // what the password's hash hashed to
	ExpiresAt time.Time
}

// InsertChallenge queues a challenge.
func (s *Store) InsertChallenge(ctx context.Context, hash string, c Challenge) error {
	return s.db.Queue(ctx).Exec("INSERT INTO log_in_challenges (hash, user_id, password, expires_at) VALUES (?, ?, ?, ?)",
		hash, c.UserID, c.Password, db.Micros(c.ExpiresAt)).Error
}

// TryChallenge counts an attempt at a challenge that holds and has attempts left; else it is ErrChallenge.
func (s *Store) TryChallenge(ctx context.Context, hash string, now time.Time) (Challenge, error) {
	var rows []struct{ UserID, Password string }
	err := s.db.Conn(ctx).Raw(`UPDATE log_in_challenges SET attempts = attempts + 1 WHERE hash = ? AND expires_at > ? AND attempts < ?
		RETURNING user_id, password`, hash, db.Micros(now), domain.MaxChallengeAttempts).Scan(&rows).Error
	if err != nil {
		return Challenge{}, err
	}
	if len(rows) == 0 {
		return Challenge{}, domain.ErrChallenge
	}
	return Challenge{UserID: rows[0].UserID, Password: rows[0].Password}, nil
}

// UseChallenge takes a challenge away, and reports whether this call was the one that did.
func (s *Store) UseChallenge(ctx context.Context, hash string) (bool, error) {
	res := s.db.Conn(ctx).Exec("DELETE FROM log_in_challenges WHERE hash = ?", hash)
	return res.RowsAffected == 1, res.Error
}

// PurgeChallenges removes challenges that expired before a time.
func (s *Store) PurgeChallenges(ctx context.Context, before time.Time) error {
	return s.db.Tx(ctx, func(ctx context.Context) error {
		return s.db.Queue(ctx).Exec("DELETE FROM log_in_challenges WHERE expires_at < ?", db.Micros(before)).Error
	})
}
