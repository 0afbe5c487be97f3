package api

import (
	"context"

	"cleave/platform/db"
	"cleave/platform/event"
	"cleave/platform/ops/repair"
	"cleave/platform/rest"
)

// GetTopics implements GET /api/v1/admin/modules/{module}/topics.
func (s server) GetTopics(ctx context.Context, r GetTopicsRequestObject) (GetTopicsResponseObject, error) {
	m, err := s.module(r.Module)
	if err != nil {
		return nil, err
	}
	topics, err := event.Topics(ctx, m.DB)
	if err != nil {
		return nil, err
	}
	out := GetTopics200JSONResponse{Items: make([]Topic, len(topics))}
	for i, t := range topics {
		subscribers := make([]TopicSubscriber, len(t.Subscribers))
		for j, sub := range t.Subscribers {
			subscribers[j] = TopicSubscriber{Name: sub.Name, Since: rest.Optional(sub.Since), Orphaned: sub.Orphaned}
		}
		out.Items[i] = Topic{Type: t.Type, Waiting: int64(t.Waiting), Dead: int64(t.Dead), Kept: int64(t.Kept), Subscribers: subscribers}
	}
	return out, nil
}

// GetLag implements GET /api/v1/admin/modules/{module}/lag.
func (s server) GetLag(ctx context.Context, r GetLagRequestObject) (GetLagResponseObject, error) {
	m, err := s.module(r.Module)
	if err != nil {
		return nil, err
	}
	waiting, oldest, err := event.OutboxLag(ctx, m.DB)
	if err != nil {
		return nil, err
	}
	lags, err := event.Lag(ctx, m.DB)
	if err != nil {
		return nil, err
	}
	out := GetLag200JSONResponse{Waiting: int64(waiting), OldestAt: rest.Optional(oldest), Subscribers: make([]SubscriberLag, len(lags))}
	for i, l := range lags {
		out.Subscribers[i] = SubscriberLag{
			Subscriber: l.Subscriber, Type: l.Type, Pending: int64(l.Pending), Retrying: int64(l.Retrying), Dead: int64(l.Dead),
			OldestAt: rest.Optional(l.Oldest), Orphaned: l.Orphaned,
		}
	}
	return out, nil
}

// ListDeadLetters implements GET /api/v1/admin/modules/{module}/dead-letters.
func (s server) ListDeadLetters(ctx context.Context, r ListDeadLettersRequestObject) (ListDeadLettersResponseObject, error) {
	m, err := s.module(r.Module)
	if err != nil {
		return nil, err
	}
	const list = "dead-letters"
	p := r.Params
	filter := join(rest.Deref(p.Subscriber), rest.Deref(p.Type), rest.Deref(p.Key), instant(p.Since), instant(p.Until))
	at, err := m.position(list, filter, p.Cursor)
	if err != nil {
		return nil, err
	}
	if err := m.Subscriber(ctx, rest.Deref(p.Subscriber)); err != nil {
		return nil, err
	}
	limit := pageSize(p.Limit)
	f := event.DeadFilter{
		Subscriber: rest.Deref(p.Subscriber), Type: rest.Deref(p.Type), Key: rest.Deref(p.Key), After: rest.Deref(p.Since), Before: rest.Deref(p.Until), Limit: limit + 1,
	}
	if at.ID != "" {
		f.Cursor.Subscriber, f.Cursor.ID = split(at.ID)
		if at.At != 0 {
			f.Cursor.DeadAt = db.FromMicros(at.At)
		}
	}
	letters, err := event.ListDead(ctx, m.DB, f)
	if err != nil {
		return nil, err
	}
	out := ListDeadLetters200JSONResponse{Items: make([]DeadLetter, min(len(letters), limit))}
	for i := range out.Items {
		out.Items[i] = wireLetter(letters[i])
	}
	if len(letters) > limit {
		last := letters[limit-1]
		next := rest.Position{ID: join(last.Subscriber, last.ID)}
		if !last.DeadAt.IsZero() {
			next.At = db.Micros(last.DeadAt)
		}
		out.NextCursor = m.next(list, filter, next)
	}
	return out, nil
}

func wireLetter(l event.DeadLetter) DeadLetter {
	return DeadLetter{
		Subscriber: l.Subscriber, ID: l.ID, Type: l.Type, Source: l.Source, Key: l.Key, PublishedAt: l.Time, DeadAt: rest.Optional(l.DeadAt),
		Attempts: int64(l.Attempts), Cause: l.Cause, Traceparent: rest.Optional(l.Traceparent), Size: int64(l.Size),
	}
}

// GetDeadLetter implements GET /api/v1/admin/modules/{module}/dead-letters/{subscriber}/{event_id}.
func (s server) GetDeadLetter(ctx context.Context, r GetDeadLetterRequestObject) (GetDeadLetterResponseObject, error) {
	m, err := s.module(r.Module)
	if err != nil {
		return nil, err
	}
	if err := m.Subscriber(ctx, r.Subscriber); err != nil {
		return nil, err
	}
	l, err := event.ShowDead(ctx, m.DB, r.Subscriber, r.EventID)
	if err != nil {
		return nil, err
	}
	w := wireLetter(l)
	return GetDeadLetter200JSONResponse{
		Subscriber: w.Subscriber, ID: w.ID, Type: w.Type, Source: w.Source, Key: w.Key, PublishedAt: w.PublishedAt, DeadAt: w.DeadAt,
		Attempts: w.Attempts, Cause: w.Cause, Traceparent: w.Traceparent, Size: w.Size,
		Causation: rest.Optional(l.Causation), Stack: rest.Optional(l.Stack), Payload: l.Payload, PayloadJSON: rest.Optional(repair.PayloadJSON(l)),
	}, nil
}

// RetryDeadLetter implements POST /api/v1/admin/modules/{module}/dead-letters/{subscriber}/{event_id}/retry.
func (s server) RetryDeadLetter(ctx context.Context, r RetryDeadLetterRequestObject) (RetryDeadLetterResponseObject, error) {
	m, err := s.module(r.Module)
	if err != nil {
		return nil, err
	}
	o, err := m.RetryLetter(ctx, r.Subscriber, r.EventID)
	return RetryDeadLetter200JSONResponse(outcome(o)), err
}

// DiscardDeadLetter implements POST /api/v1/admin/modules/{module}/dead-letters/{subscriber}/{event_id}/discard.
func (s server) DiscardDeadLetter(ctx context.Context, r DiscardDeadLetterRequestObject) (DiscardDeadLetterResponseObject, error) {
	m, err := s.module(r.Module)
	if err != nil {
		return nil, err
	}
	o, err := m.DiscardLetter(ctx, r.Subscriber, r.EventID)
	return DiscardDeadLetter200JSONResponse(outcome(o)), err
}

// RetryDeadLetters implements POST /api/v1/admin/modules/{module}/dead-letters/retry.
func (s server) RetryDeadLetters(ctx context.Context, r RetryDeadLettersRequestObject) (RetryDeadLettersResponseObject, error) {
	m, err := s.module(r.Module)
	if err != nil {
		return nil, err
	}
	f, b := selectLetters(r.Body)
	o, err := m.RetryDead(ctx, f, b)
	return RetryDeadLetters200JSONResponse(outcome(o)), err
}

// DiscardDeadLetters implements POST /api/v1/admin/modules/{module}/dead-letters/discard.
func (s server) DiscardDeadLetters(ctx context.Context, r DiscardDeadLettersRequestObject) (DiscardDeadLettersResponseObject, error) {
	m, err := s.module(r.Module)
	if err != nil {
		return nil, err
	}
	f, b := selectLetters(r.Body)
	o, err := m.DiscardDead(ctx, f, b)
	return DiscardDeadLetters200JSONResponse(outcome(o)), err
}

func selectLetters(body *SelectDeadLetters) (event.DeadFilter, repair.Bulk) {
	return event.DeadFilter{
		Subscriber: rest.Deref(body.Subscriber), Type: rest.Deref(body.Type), Key: rest.Deref(body.Key), IDs: rest.Deref(body.Ids),
		After: rest.Deref(body.Since), Before: rest.Deref(body.Until), Limit: int(rest.Deref(body.Limit)),
	}, repair.Bulk{DryRun: rest.Deref(body.DryRun), All: rest.Deref(body.All)}
}
