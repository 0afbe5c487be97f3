package app

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"cleave/modules/user/internal/domain"
	"cleave/modules/user/internal/store"
	userv1 "cleave/modules/user/v1"
	"cleave/platform/backoff"
)

const (
	// mailRequestPoll is how long a request waits whose process has ended before it was answered.
	mailRequestPoll  = 5 * time.Second
	mailRequestBatch = 20 // requests per transaction
	// mailRequestRest is how long a request waits at most before it is answered, and half of it at least. A mail to somebody takes more
	// work than none: right after the request, it would compete with the answer to the client, who could tell by the time.
	mailRequestRest = 200 * time.Millisecond
)

// RequestEmailVerification has a token mailed to the user who has an address that is not verified. It notes the request and nothing else, for
// any address: who has it is looked up afterwards, by AnswerMailRequests, so that neither answer nor time tells (ASVS 5.0 6.3.8).
func (a *App) RequestEmailVerification(ctx context.Context, email string) error {
	return a.requestMail(ctx, domain.VerifyEmail, email)
}

// RequestPasswordReset has a token mailed to the user who has an address, as RequestEmailVerification does.
func (a *App) RequestPasswordReset(ctx context.Context, email string) error {
	return a.requestMail(ctx, domain.ResetPassword, email)
}

func (a *App) requestMail(ctx context.Context, p domain.MailPurpose, email string) error {
	e, err := domain.NewEmail("/email", email)
	if err != nil {
		return err
	}
	return a.DB.Tx(ctx, func(ctx context.Context) error {
		a.DB.AfterCommit(ctx, a.nudgeMail)
		return a.Store.InsertMailRequest(ctx, a.NewID(), store.MailRequest{Purpose: p, EmailLower: e.Lower()})
	})
}

func (a *App) nudgeMail() {
	select {
	case a.mailRequested <- struct{}{}:
	default: // a look at all of them is due anyway
	}
}

// AnswerRequests answers requests for mails as they come, until ctx ends.
func (a *App) AnswerRequests(log *slog.Logger) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		ticker := time.NewTicker(mailRequestPoll)
		defer ticker.Stop()
		for {
			if err := a.AnswerMailRequests(ctx); err != nil && ctx.Err() == nil {
				log.WarnContext(ctx, "mails that were asked for wait for now", "error", err)
			}
			select {
			case <-ctx.Done():
				return nil
			case <-ticker.C:
			case <-a.mailRequested:
				backoff.Pause(ctx, backoff.Delay(1, mailRequestRest, mailRequestRest))
			}
		}
	}
}

// AnswerMailRequests queues the mails that were asked for by now. A request goes away, with its address, in the transaction that queues its mail, and
// one for an address that nobody has, or has to verify, goes away alone.
func (a *App) AnswerMailRequests(ctx context.Context) error {
	for {
		waiting, err := a.Store.HasMailRequests(ctx)
		if err != nil || !waiting {
			return err
		}
		err = a.DB.Tx(ctx, func(ctx context.Context) error {
			requests, err := a.Store.TakeMailRequests(ctx, mailRequestBatch)
			if err != nil {
				return err
			}
			for _, r := range requests {
				if err := a.answer(ctx, r); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
}

// answer queues a mail to the user who has the address and may log in, if there is one.
func (a *App) answer(ctx context.Context, r store.MailRequest) error {
	u, err := a.Store.UserByEmail(ctx, domain.Email(r.EmailLower))
	switch {
	case errors.Is(err, domain.ErrUserNotFound):
		return nil
	case err != nil:
		return err
	case u.Disabled:
		return nil
	case r.Purpose == domain.ResetPassword:
		return a.askToReset(ctx, u)
	case u.EmailVerified:
		return nil
	}
	return a.askToVerify(ctx, u.ID, u.Email)
}

func (a *App) askToReset(ctx context.Context, u domain.User) error {
	token, expires, err := a.mailToken(ctx, u.ID, u.Email, domain.ResetPassword, resetTTL)
	if err != nil {
		return err
	}
	return a.Events.Publish(ctx, u.ID, &userv1.UserPasswordResetRequested{UserId: u.ID, Token: token, ExpiresAt: timestamppb.New(expires)})
}
