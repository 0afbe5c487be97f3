package event

import (
	"context"
	"fmt"
	"time"

	"cleave/platform/db"
	"cleave/platform/fault"
)

// ListDead returns the dead letters of one module's subscribers and outbox that
// match f, by the time of their death, the longest dead first, without Stack
// and Payload. The next page begins at the last letter's Cursor. A filter that
// cannot be searched for is Invalid.
func ListDead(ctx context.Context, d *db.DB, f DeadFilter) ([]DeadLetter, error) {
	rows, err := f.find(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("list the dead letters of %s: %w", d.Module(), err)
	}
	letters := make([]DeadLetter, len(rows))
	for i, r := range rows {
		letters[i] = r.letter()
	}
	return letters, nil
}

// ShowDead returns one dead letter with Stack and Payload, or NotFound.
func ShowDead(ctx context.Context, d *db.DB, subscriber, id string) (DeadLetter, error) {
	if _, err := (DeadFilter{Subscriber: subscriber, IDs: []string{id}}).check(); err != nil {
		return DeadLetter{}, err
	}
	query, args := "SELECT *, length(payload) AS size FROM inbox WHERE state = 'dead' AND subscriber = ? AND id = ?", []any{subscriber, id}
	if subscriber == Outbox {
		query = "SELECT *, ? AS subscriber, ? AS source, length(payload) AS size FROM outbox_dead WHERE id = ?"
		args = []any{Outbox, d.Module(), id}
	}
	var rows []deadRow
	if err := d.Conn(ctx).Raw(query, args...).Scan(&rows).Error; err != nil {
		return DeadLetter{}, fmt.Errorf("read a dead letter of %s: %w", d.Module(), err)
	}
	if len(rows) == 0 {
		return DeadLetter{}, fault.New(fault.NotFound, "dead_letter_unknown", "%s has no dead letter %q of %q", d.Module(), id, subscriber)
	}
	return rows[0].letter(), nil
}

// RetryDead has the dead letters that match f, at most its limit, tried again
// from their first attempt, and returns how many.
//
// Each returns to its place in the order of its key: before the later events of
// the key that still wait. Those that were handled meanwhile, because a dead
// letter holds nobody back, stay handled: the handler meets an event that is
// older than what it has seen, and has to tell by the event's data or
// Meta.Time when that matters. The cause and the stack stay until the next
// failure.
func RetryDead(ctx context.Context, d *db.DB, f DeadFilter) (int, error) {
	return f.settle(ctx, d, "retry", func(ctx context.Context, inbox, outbox []int64) (n int64, err error) {
		if len(inbox) > 0 {
			res := d.Conn(ctx).Exec("UPDATE inbox SET state = ?, attempts = 0, due_at = 0, dead_at = 0 WHERE seq IN ? AND state = ?",
				statePending, inbox, stateDead)
			if n, err = res.RowsAffected, res.Error; err != nil {
				return 0, err
			}
		}
		if len(outbox) == 0 {
			return n, nil
		}
		number := ""
		if d.Dialect() == "postgres" {
			number = " OVERRIDING SYSTEM VALUE"
		}
		const columns = "seq, id, type, key, at, traceparent, causation, payload"
		err = d.Conn(ctx).Exec("INSERT INTO outbox ("+columns+")"+number+" SELECT "+columns+
			" FROM outbox_dead WHERE seq IN ? ON CONFLICT DO NOTHING", outbox).Error // another retry at the same moment
		if err != nil {
			return 0, err
		}
		res := d.Conn(ctx).Exec("DELETE FROM outbox_dead WHERE seq IN ?", outbox)
		return n + res.RowsAffected, res.Error
	})
}

// DiscardDead gives up the dead letters that match f, at most its limit, and
// returns how many. A subscriber's stays in its inbox as handled until the
// retention has passed, so that the same event coming again is refused.
func DiscardDead(ctx context.Context, d *db.DB, f DeadFilter) (int, error) {
	return f.settle(ctx, d, "discard", func(ctx context.Context, inbox, outbox []int64) (n int64, err error) {
		if len(inbox) > 0 {
			res := d.Conn(ctx).Exec("UPDATE inbox SET state = ?, done_at = ?, payload = '' WHERE seq IN ? AND state = ?",
				stateDone, db.Micros(time.Now()), inbox, stateDead)
			if n, err = res.RowsAffected, res.Error; err != nil {
				return 0, err
			}
		}
		if len(outbox) == 0 {
			return n, nil
		}
		res := d.Conn(ctx).Exec("DELETE FROM outbox_dead WHERE seq IN ?", outbox)
		return n + res.RowsAffected, res.Error
	})
}

// settle runs change with the numbers of the rows that match, in one transaction.
func (f DeadFilter) settle(ctx context.Context, d *db.DB, verb string, change func(ctx context.Context, inbox, outbox []int64) (int64, error)) (int, error) {
	var n int64
	err := d.Tx(ctx, func(ctx context.Context) error {
		rows, err := f.find(ctx, d)
		if err != nil {
			return err
		}
		var inbox, outbox []int64
		for _, r := range rows {
			if r.Subscriber == Outbox {
				outbox = append(outbox, r.Seq)
			} else {
				inbox = append(inbox, r.Seq)
			}
		}
		n, err = change(ctx, inbox, outbox)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("%s dead letters of %s: %w", verb, d.Module(), err)
	}
	return int(n), nil
}
