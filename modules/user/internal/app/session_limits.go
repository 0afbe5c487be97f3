package app

import (
	"context"
	"slices"
	"time"

	"cleave/modules/user/internal/domain"
	"cleave/modules/user/internal/store"
)

// openSession stores a session that begins now. A user has MaxSessions at most: those beyond that were not used for the longest time end, with
// their access tokens (ASVS 5.0 7.1.2). The caller holds the user's row, so that two log-ins at once count each other.
func (a *App) openSession(ctx context.Context, s store.Session, tokenHash string, now time.Time) error {
	if err := a.Store.InsertSession(ctx, s, tokenHash, now); err != nil {
		return err
	}
	ended, err := a.Store.RevokeSessionsBeyond(ctx, s.UserID, a.MaxSessions, now)
	if err != nil {
		return err
	}
	return a.revoke(ctx, s.UserID, ended...)
}

// idle reports whether a session has ended because its tokens were not renewed for SessionIdle (ASVS 5.0 7.3.1).
func (a *App) idle(s store.Session, now time.Time) bool {
	return !now.Before(s.LastUsedAt.Add(a.SessionIdle))
}

// rolesOf are the roles that a user's tokens may name. One of FactorRoles is there only while the user has a second factor in use, which every
// session has then shown: enrolling one ends the others (ASVS 5.0 6.3.3). Without it they are let in as what they are besides, to enrol.
func (a *App) rolesOf(ctx context.Context, u domain.User) ([]string, error) {
	demands := func(role string) bool { return slices.Contains(a.FactorRoles, role) }
	if !slices.ContainsFunc(u.Roles, demands) {
		return u.Roles, nil
	}
	f, exists, err := a.Store.SecondFactor(ctx, u.ID)
	if err != nil || exists && f.Confirmed {
		return u.Roles, err
	}
	roles := slices.DeleteFunc(slices.Clone(u.Roles), demands)
	if len(roles) == 0 {
		roles = []string{domain.RoleCustomer}
	}
	return roles, nil
}

// EndSessionsOf ends all sessions of a user, with their access tokens, and returns how many there were (ASVS 5.0 7.4.5). ErrUserNotFound.
func (a *App) EndSessionsOf(ctx context.Context, userID string) (n int, err error) {
	err = a.DB.Tx(ctx, func(ctx context.Context) error {
		if _, err := a.Store.UserForUpdate(ctx, userID); err != nil {
			return err
		}
		ended, err := a.Store.RevokeOtherSessions(ctx, userID, "", a.now())
		if err != nil {
			return err
		}
		if n = len(ended); n == 0 {
			return nil
		}
		if err := a.revoke(ctx, userID, ended...); err != nil {
			return err
		}
		return a.audited(ctx, "user:session:end_any", userID, nil)
	})
	return n, err
}

// sessionUsers is how many users EndAllSessions looks up at once.
const sessionUsers = 200

// EndAllSessions is EndSessionsOf for every user who has one, each in a transaction of its own: when it fails, the rest waits for another try. It returns how
// many sessions have ended.
func (a *App) EndAllSessions(ctx context.Context) (n int, err error) {
	for {
		users, err := a.Store.UsersWithSessions(ctx, a.now(), sessionUsers)
		if err != nil || len(users) == 0 {
			return n, err
		}
		for _, id := range users {
			ended, err := a.EndSessionsOf(ctx, id)
			if err != nil {
				return n, err
			}
			n += ended
		}
	}
}
