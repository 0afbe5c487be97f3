package event

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"cleave/platform/db"
)

// An event that a subscriber of the in-process pipe does not take in time stays
// in the outbox, marked as owed to that subscriber alone, and the relay goes on
// with the next ones. Until it has all that it is owed, later events are owed to
// it as well, so that it gets them in their order. A release that knows nothing
// of the mark delivers such an event to everyone again, which the inboxes refuse.

// laggard gives one subscriber what it is owed.
type laggard struct {
	hop    *hop
	source *relay
	wake   chan struct{}
}

// A laggard's own delivery keeps nobody waiting: it is given up after this many times the patience of the relay.
const laggardPatience = 10

// mark is how a subscriber is named in owed_to.
func mark(subscriber string) string { return "|" + subscriber + "|" }

// watch makes a laggard of each live subscriber that the pipe reaches by itself.
func (b *Bus) watch(live []*inbox) {
	p, ok := b.o.Pipe.(*inProcess)
	if !ok {
		return
	}
	for _, in := range live {
		source := b.relayOf(in.sub.Type)
		p.mu.Lock()
		h := p.find(in.sub)
		p.mu.Unlock()
		if source != nil && h != nil {
			source.laggards[in.sub.Subscriber] = &laggard{hop: h, source: source, wake: make(chan struct{}, 1)}
		}
	}
}

// run delivers from when the relay first says that something is owed.
func (l *laggard) run(ctx context.Context, name string) error {
	select {
	case <-ctx.Done():
		return nil
	case <-l.wake:
		return loop(ctx, l.wake, l.source.o, "what "+name+" is owed", l.step)
	}
}

// step delivers one batch, if there is reason to expect one. Several processes
// may deliver the same one; what comes after it is not read before it is taken.
func (l *laggard) step(ctx context.Context, signalled bool) (more bool, err error) {
	if !signalled {
		return false, nil
	}
	d, name := l.source.db, l.hop.subscriber
	rows, err := db.Select(ctx, d, (*outboxRow).columns, "SELECT seq, id, type, key, at, traceparent, causation, payload FROM outbox "+
		"WHERE owed_to <> '' AND replace(owed_to, ?, '') <> owed_to ORDER BY seq LIMIT ?", mark(name), l.source.o.Batch)
	if err != nil || len(rows) == 0 {
		return err != nil, err
	}
	events, seqs := make([]Envelope, len(rows)), make([]int64, len(rows))
	for i, row := range rows {
		events[i], seqs[i] = row.envelope(l.source.module), row.Seq
	}
	limited, cancel := context.WithTimeout(ctx, laggardPatience*l.source.o.Patience)
	defer cancel()
	if err := l.hop.deliver(limited, events); err != nil {
		return true, fmt.Errorf("deliver what %s is owed: %w", name, err)
	}
	return true, d.Tx(ctx, func(ctx context.Context) error {
		list := numbers(seqs, d)
		err := d.Queue(ctx).Exec("UPDATE outbox SET owed_to = replace(owed_to, ?, '|') WHERE "+among("seq", d), mark(name), list).Error
		if err != nil {
			return err
		}
		return d.Queue(ctx).Exec("DELETE FROM outbox WHERE "+among("seq", d)+" AND owed_to = '|'", list).Error
	})
}

// debts is to whom events are owed. Those of subscribers that this process does
// not have, because of another release or another pipe, become everyone's again;
// then settled is false, and the outbox has to be read anew.
func (r *relay) debts(ctx context.Context) (owed map[string]bool, settled bool, err error) {
	marks, err := db.Select(db.Detach(ctx), r.db, func(s *string) []any { return []any{s} }, "SELECT DISTINCT owed_to FROM outbox WHERE owed_to <> ''")
	if err != nil {
		return nil, false, err
	}
	owed, settled = map[string]bool{}, true
	for _, m := range marks {
		for _, name := range strings.Split(strings.Trim(m, "|"), "|") {
			if l := r.laggards[name]; l != nil {
				owed[name] = true
				nudge(l.wake)
				continue
			}
			settled = false
			if err := r.db.Queue(ctx).Exec("UPDATE outbox SET owed_to = '' WHERE owed_to = ?", m).Error; err != nil {
				return nil, false, err
			}
			break
		}
	}
	return owed, settled, nil
}

// owe queues the marks of events for those who are behind, and returns the numbers of the others.
func (r *relay) owe(ctx context.Context, rows []outboxRow, behind map[string]error) (rest []int64, err error) {
	byMark := map[string][]int64{}
	r.owing = true
	for _, row := range rows {
		m := ""
		for name, l := range r.laggards {
			if _, late := behind[name]; late && l.hop.kind == row.Type {
				m += "|" + name
			}
		}
		if m == "" {
			rest = append(rest, row.Seq)
			continue
		}
		names := strings.Split(m[1:], "|")
		slices.Sort(names)
		m = "|" + strings.Join(names, "|") + "|"
		byMark[m] = append(byMark[m], row.Seq)
		r.floor = max(r.floor, row.Seq)
	}
	for m, seqs := range byMark {
		if err := r.keep(ctx, seqs); err != nil {
			return nil, err
		}
		if err := r.db.Queue(ctx).Exec("UPDATE outbox SET owed_to = ? WHERE "+among("seq", r.db), m, numbers(seqs, r.db)).Error; err != nil {
			return nil, err
		}
	}
	return rest, nil
}

// after is where to look for what is nobody's yet: behind what is owed, so that
// a long debt is not read through each time, and from the beginning every
// second, for transactions that took long to commit.
func (r *relay) after() int64 {
	if time.Since(r.looked) >= time.Second {
		r.looked, r.floor = time.Now(), math.MinInt64
	}
	return r.floor
}
