package app

import (
	"context"
	"errors"
	"time"

	"cleave/modules/notification/internal/domain"
	"cleave/modules/notification/internal/store"
	"cleave/platform/backoff"
	"cleave/platform/fault"
)

const (
	mailBatch = 20          // claimed at once
	mailPoll  = time.Second // how soon mails leave that another process has queued, or whose retry is due
	// mailLease is how long a claim holds; mailTime, in which the batch is sent
	// or given back, is well within it.
	mailLease = 2 * time.Minute
	mailTime  = time.Minute
	// mailGrace is what the mail on its way gets to arrive when the process stops.
	mailGrace = 3 * time.Second
)

// MailPolicy is how long to try.
type MailPolicy struct {
	RetryMin time.Duration // the wait after the first attempt, about; doubles with each
	RetryMax time.Duration
	GiveUp   time.Duration // the age at which a mail that has not left is given up
}

// SendMails sends what is queued until ctx ends. Several processes share the
// work: a mail belongs to the one that has claimed it, until it is settled or
// the lease runs out.
func (a *App) SendMails(ctx context.Context) error {
	defer a.Post.Idle()
	a.every(ctx, mailPoll, a.wake, "sending mails", func(ctx context.Context) error {
		for {
			n, err := a.sendBatch(ctx)
			if err != nil || n < mailBatch || ctx.Err() != nil {
				a.Post.Idle()
				return err
			}
		}
	})
	return nil
}

// sendBatch returns how many mails it claimed.
func (a *App) sendBatch(ctx context.Context) (int, error) {
	if due, err := a.Store.HasDueMails(ctx, a.now()); err != nil || !due {
		return 0, err
	}
	var claimed []store.QueuedMail
	err := a.DB.Tx(ctx, func(ctx context.Context) (err error) {
		claimed, err = a.Store.ClaimMails(ctx, a.now(), mailLease, mailBatch)
		return err
	})
	if err != nil {
		return 0, err
	}
	// What was claimed is settled even when ctx ends meanwhile.
	work, cancel := context.WithTimeout(context.WithoutCancel(ctx), mailTime)
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(mailGrace, cancel) })()
	var errs []error
	var down error
	for _, m := range claimed {
		if ctx.Err() != nil || work.Err() != nil { // give it back untried
			errs = append(errs, a.settle(ctx, m, store.Outcome{State: store.MailQueued, Attempts: m.Attempts - 1, DueAt: a.now()}))
			continue
		}
		err := down
		if err == nil {
			if err = a.send(work, m); err != nil && fault.KindOf(err) == fault.Unavailable {
				down = err
			}
		}
		o := a.outcome(m, err)
		a.logOutcome(ctx, m, o, err)
		errs = append(errs, a.settle(ctx, m, o))
	}
	return len(claimed), errors.Join(errs...)
}

func (a *App) send(ctx context.Context, m store.QueuedMail) error {
	if !m.News.CodeExpires.IsZero() && !a.now().Before(m.News.CodeExpires) {
		return fault.New(fault.Unprocessable, "mail_code_expired", "the code in the mail has expired")
	}
	subject, text, html, err := a.Writer.Mail(m.News, m.To.DisplayName)
	if err != nil {
		return err
	}
	return a.Post.Send(ctx, domain.Mail{
		ID: m.ID, Kind: m.News.Kind, To: m.To, Subject: subject, Text: text, HTML: html, CreatedAt: m.CreatedAt,
	})
}

// outcome decides what follows from an attempt that ended in err.
func (a *App) outcome(m store.QueuedMail, err error) store.Outcome {
	now := a.now()
	if err == nil {
		return store.Outcome{State: store.MailSent, Attempts: m.Attempts, DueAt: now, SentAt: now}
	}
	o := store.Outcome{State: store.MailQueued, Attempts: m.Attempts, Cause: domain.Text(err.Error())}
	o.DueAt = now.Add(backoff.Delay(m.Attempts, a.Mail.RetryMin, a.Mail.RetryMax))
	if fault.KindOf(err) == fault.Unprocessable || o.DueAt.After(m.CreatedAt.Add(a.Mail.GiveUp)) {
		o.State = store.MailFailed
	}
	return o
}

// logOutcome tells what went wrong without saying whose mail it was.
func (a *App) logOutcome(ctx context.Context, m store.QueuedMail, o store.Outcome, err error) {
	if err == nil {
		a.Log.DebugContext(ctx, "mail sent", "mail", m.ID, "kind", m.News.Kind, "attempts", m.Attempts)
		return
	}
	f := fault.From(err)
	cause := f.Message
	if f.Kind == fault.Unavailable || f.Kind == fault.Internal {
		cause = f.Error()
	}
	what, level := "mail not sent; will retry", a.Log.WarnContext
	if o.State == store.MailFailed {
		what, level = "mail given up", a.Log.ErrorContext
	}
	level(ctx, what, "mail", m.ID, "kind", m.News.Kind, "attempts", m.Attempts, "code", f.Code, "cause", cause)
}

// settle records the outcome. When that fails, the mail is sent once more
// after its lease.
func (a *App) settle(ctx context.Context, m store.QueuedMail, o store.Outcome) error {
	const limit = 5 * time.Second
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	return a.DB.Tx(ctx, func(ctx context.Context) error { return a.Store.SettleMail(ctx, m, o) })
}
