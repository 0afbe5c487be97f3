// Package repair is what an operator does about what is stuck in a module:
// events that failed for good, and sagas. The command line and the admin API
// both stand on it. Whatever it changes is written to the module's audit log in
// the same transaction.
package repair

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"cleave/platform/audit"
	"cleave/platform/db"
	"cleave/platform/event"
	"cleave/platform/fault"
	"cleave/platform/saga"
)

// Module is a module's database as operators see it.
type Module struct {
	DB    *db.DB
	Audit *audit.Log
	Actor audit.Actor // the zero value: the principal of the context
}

// Outcome is what an operation did, or with DryRun would have done.
type Outcome struct {
	Count  int  `json:"count"`
	DryRun bool `json:"dry_run"`
}

// Bulk says how far an operation on all that match goes.
type Bulk struct {
	DryRun bool
	All    bool // must be true when nothing else selects
}

var errNothingSelected = fault.New(fault.Unprocessable, "filter_missing", "nothing selects: give a filter, or ask for all")

// RetryDead has the dead letters that f selects tried again. It fails with NotFound for a subscriber that the module
// does not have, and with Unprocessable, filter_missing when neither f nor b selects.
func (m Module) RetryDead(ctx context.Context, f event.DeadFilter, b Bulk) (Outcome, error) {
	return m.dead(ctx, "ops:dead_letter:retry", f, b, event.RetryDead)
}

// DiscardDead gives up the dead letters that f selects, and fails as RetryDead does.
func (m Module) DiscardDead(ctx context.Context, f event.DeadFilter, b Bulk) (Outcome, error) {
	return m.dead(ctx, "ops:dead_letter:discard", f, b, event.DiscardDead)
}

type settle = func(context.Context, *db.DB, event.DeadFilter) (int, error)

func (m Module) dead(ctx context.Context, action string, f event.DeadFilter, b Bulk, do settle) (Outcome, error) {
	if f.Subscriber == "" && f.Type == "" && f.Key == "" && len(f.IDs) == 0 && f.After.IsZero() && f.Before.IsZero() && !b.All {
		return Outcome{}, errNothingSelected
	}
	if err := m.Subscriber(ctx, f.Subscriber); err != nil {
		return Outcome{}, err
	}
	if b.DryRun {
		letters, err := event.ListDead(ctx, m.DB, f)
		return Outcome{Count: len(letters), DryRun: true}, err
	}
	var out Outcome
	err := m.DB.Tx(ctx, func(ctx context.Context) (err error) {
		if out.Count, err = do(ctx, m.DB, f); err != nil || out.Count == 0 {
			return err
		}
		return m.audited(ctx, action, "dead-letters/"+m.DB.Module(), out.Count, f.Limit, f.After, f.Before,
			"subscriber", f.Subscriber, "type", f.Type, "key", f.Key, "ids", strings.Join(f.IDs, " "))
	})
	return out, err
}

// RetryLetter has one dead letter tried again, or is NotFound.
func (m Module) RetryLetter(ctx context.Context, subscriber, id string) (Outcome, error) {
	return m.letter(ctx, "ops:dead_letter:retry", subscriber, id, event.RetryDead)
}

// DiscardLetter gives one dead letter up, or is NotFound.
func (m Module) DiscardLetter(ctx context.Context, subscriber, id string) (Outcome, error) {
	return m.letter(ctx, "ops:dead_letter:discard", subscriber, id, event.DiscardDead)
}

func (m Module) letter(ctx context.Context, action, subscriber, id string, do settle) (Outcome, error) {
	err := m.DB.Tx(ctx, func(ctx context.Context) error {
		if err := m.Subscriber(ctx, subscriber); err != nil {
			return err
		}
		n, err := do(ctx, m.DB, event.DeadFilter{Subscriber: subscriber, IDs: []string{id}, Limit: 1})
		if err == nil && n == 0 {
			if _, err = event.ShowDead(ctx, m.DB, subscriber, id); err == nil {
				err = fault.New(fault.Conflict, "dead_letter_busy", "somebody else works on the dead letter %s at this moment", id)
			}
		}
		if err != nil {
			return err
		}
		return m.audited(ctx, action, "dead-letter/"+subscriber+"/"+id, 0, 0, time.Time{}, time.Time{})
	})
	return Outcome{Count: 1}, err
}

// Subscriber is NotFound unless the module has or had a subscriber of the name; "" and the outbox are always there.
func (m Module) Subscriber(ctx context.Context, name string) error {
	if name == "" || name == event.Outbox {
		return nil
	}
	lags, err := event.Lag(ctx, m.DB)
	if err != nil {
		return err
	}
	known := []string{event.Outbox}
	for _, l := range lags {
		known = append(known, l.Subscriber)
	}
	if !slices.Contains(known, name) {
		return fault.New(fault.NotFound, "subscriber_unknown", "%s has no subscriber %q; it has %s", m.DB.Module(), name, strings.Join(known, ", "))
	}
	return nil
}

// RetrySagas lets the sagas that f selects go on, and fails as RetryDead does.
func (m Module) RetrySagas(ctx context.Context, f saga.Filter, b Bulk) (Outcome, error) {
	if f.Name == "" && f.State == "" && f.After.IsZero() && f.Before.IsZero() && !b.All {
		return Outcome{}, errNothingSelected
	}
	out := Outcome{DryRun: b.DryRun}
	err := m.DB.Tx(ctx, func(ctx context.Context) (err error) {
		if out.Count, err = saga.Retry(ctx, m.DB, f); err != nil {
			return err
		}
		if b.DryRun {
			return errDryRun
		}
		if out.Count == 0 {
			return nil
		}
		return m.audited(ctx, "ops:saga:retry", "sagas/"+m.DB.Module(), out.Count, f.Limit, f.After, f.Before, "name", f.Name, "state", string(f.State))
	})
	if b.DryRun && fault.CodeOf(err) == errDryRun.Code {
		err = nil
	}
	return out, err
}

// errDryRun takes back what a dry run has tried.
var errDryRun = fault.New(fault.Canceled, "dry_run", "nothing was changed")

// RetrySaga lets one saga go on: NotFound, or Conflict, saga_state.
func (m Module) RetrySaga(ctx context.Context, name, id string) (Outcome, error) {
	return m.saga(ctx, "ops:saga:retry", name, id, func(ctx context.Context) error {
		_, err := saga.Retry(ctx, m.DB, saga.Filter{Name: name, ID: id})
		return err
	})
}

// CompensateSaga turns one saga round, and fails as saga.Compensate does.
func (m Module) CompensateSaga(ctx context.Context, name, id string) (Outcome, error) {
	return m.saga(ctx, "ops:saga:compensate", name, id, func(ctx context.Context) error { return saga.Compensate(ctx, m.DB, name, id) })
}

func (m Module) saga(ctx context.Context, action, name, id string, do func(context.Context) error) (Outcome, error) {
	err := m.DB.Tx(ctx, func(ctx context.Context) error {
		if err := do(ctx); err != nil {
			return err
		}
		return m.audited(ctx, action, "saga/"+name+"/"+id, 0, 0, time.Time{}, time.Time{})
	})
	return Outcome{Count: 1}, err
}

// audited records an action with what is not empty of its filter.
func (m Module) audited(ctx context.Context, action, object string, count, limit int, since, until time.Time, filter ...string) error {
	detail := map[string]string{}
	for i := 1; i < len(filter); i += 2 {
		if filter[i] != "" {
			detail[filter[i-1]] = filter[i]
		}
	}
	for name, n := range map[string]int{"count": count, "limit": limit} {
		if n > 0 {
			detail[name] = strconv.Itoa(n)
		}
	}
	for name, t := range map[string]time.Time{"since": since, "until": until} {
		if !t.IsZero() {
			detail[name] = t.UTC().Format(time.RFC3339Nano)
		}
	}
	if err := m.Audit.Append(ctx, audit.Entry{Actor: m.Actor, Action: action, Object: object, Detail: detail}); err != nil {
		return fmt.Errorf("audit %s: %w", action, err)
	}
	return nil
}
