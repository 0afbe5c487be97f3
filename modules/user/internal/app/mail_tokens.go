package app

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"cleave/modules/user/internal/domain"
	"cleave/modules/user/internal/store"
	userv1 "cleave/modules/user/v1"
	"cleave/platform/audit"
)

// How long what was mailed is good for (ASVS 5.0 6.4.1 and 6.5.5).
const (
	verifyTTL = 24 * time.Hour
	resetTTL  = 20 * time.Minute
)

// askToVerify queues a mail to an address that asks a user to show that they read it.
func (a *App) askToVerify(ctx context.Context, userID string, address domain.Email) error {
	token, expires, err := a.mailToken(ctx, userID, address, domain.VerifyEmail, verifyTTL)
	if err != nil {
		return err
	}
	return a.Events.Publish(ctx, userID, &userv1.UserEmailVerificationRequested{
		UserId: userID, Token: token, ExpiresAt: timestamppb.New(expires), Email: string(address),
	})
}

// mailToken makes a token for a user that goes to an address. Only its hash stays here (ASVS 5.0 6.5.2: it has more than 112 bits); the token itself travels
// once, in the event that has it mailed.
func (a *App) mailToken(ctx context.Context, userID string, address domain.Email, p domain.MailPurpose, ttl time.Duration) (token string, expires time.Time, err error) {
	token, hash := newToken()
	expires = a.now().Add(ttl)
	return token, expires, a.Store.InsertMailToken(ctx, hash, store.MailToken{
		Purpose: p, UserID: userID, EmailLower: address.Lower(), ExpiresAt: expires,
	})
}

// mailNothing does the work of a mail for nobody, where an answer has to wait for it.
func (a *App) mailNothing(ctx context.Context) error {
	token, hash := newToken()
	expires := a.now().Add(resetTTL)
	_, err := proto.Marshal(&userv1.UserPasswordResetRequested{Token: token, ExpiresAt: timestamppb.New(expires)})
	if err != nil {
		return err
	}
	return a.Store.InsertMailToken(ctx, hash, store.MailToken{Purpose: domain.ResetPassword, ExpiresAt: expires})
}

// VerifyEmail takes the token that was mailed to a user's address, once. If it is the pending one, it takes the place of the present
// one, whose reader is told (ASVS 5.0 6.3.7). A token that does not hold is ErrMailToken, and so is one that was mailed to an address that
// is neither, or is somebody else's by now.
func (a *App) VerifyEmail(ctx context.Context, token string) error {
	return a.DB.Tx(ctx, func(ctx context.Context) error {
		t, err := a.Store.UseMailToken(ctx, hashToken(token), domain.VerifyEmail, a.now())
		if err != nil {
			return err
		}
		confirmed, err := a.confirmEmail(ctx, t)
		if err == nil && !confirmed {
			return domain.ErrMailToken
		}
		return err
	})
}

// confirmEmail notes that a user reads the mails of the address that a token was sent to; false when that is no news.
func (a *App) confirmEmail(ctx context.Context, t store.MailToken) (bool, error) {
	u, err := a.Store.UserForUpdate(ctx, t.UserID)
	if err != nil {
		return false, err
	}
	former := u.Email
	if !u.ConfirmEmail(t.EmailLower, a.now()) {
		return false, nil
	}
	err = a.Store.UpdateUser(ctx, u)
	switch {
	case errors.Is(err, domain.ErrEmailTaken):
		return false, nil
	case err != nil || u.Email == former:
		return true, err
	}
	if err := a.profileChanged(ctx, u); err != nil {
		return false, err
	}
	err = a.Audit.Append(ctx, audit.Entry{
		Actor: audit.Actor{Issuer: a.Issuer, Subject: u.ID}, Action: "user:email:change", Object: "user/" + u.ID,
	})
	if err != nil {
		return false, err
	}
	return true, a.Events.Publish(ctx, u.ID, &userv1.UserEmailChanged{UserId: u.ID, FormerEmail: string(former)})
}

// ResetPassword takes the token that was mailed to a user, once, and a new password. A token that does not hold is ErrMailToken; a
// password that is refused is Unprocessable at /new_password and leaves the token good. All sessions of the user end; none begins,
// so that a second factor is asked for at the next log-in (ASVS 5.0 6.4.3).
func (a *App) ResetPassword(ctx context.Context, token, wanted string) error {
	t, err := a.Store.MailToken(ctx, hashToken(token), domain.ResetPassword, a.now())
	if err != nil {
		return err
	}
	u, err := a.Store.User(ctx, t.UserID)
	switch {
	case errors.Is(err, domain.ErrUserNotFound):
		return domain.ErrMailToken
	case err != nil:
		return err
	case u.Email.Lower() != t.EmailLower:
		return domain.ErrMailToken
	}
	hash, err := a.hashPassword(ctx, "/new_password", wanted, u.Email, u.DisplayName)
	if err != nil {
		return err
	}
	return a.DB.Tx(ctx, func(ctx context.Context) error {
		if _, err := a.Store.UseMailToken(ctx, hashToken(token), domain.ResetPassword, a.now()); err != nil {
			return err
		}
		changed, err := a.Store.SetPassword(ctx, u.ID, u.PasswordHash, hash)
		switch {
		case err != nil:
			return err
		case !changed: // by somebody who was faster
			return domain.ErrMailToken
		}
		// Whoever has the token reads the mails of the address.
		if _, err := a.confirmEmail(ctx, t); err != nil {
			return err
		}
		return a.passwordChanged(ctx, u.ID, "")
	})
}
