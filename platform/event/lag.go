package event

import (
	"context"
	"fmt"
	"time"

	"cleave/platform/db"
)

// SubscriberLag is what waits for one subscriber.
type SubscriberLag struct {
	Subscriber string
	Type       string
	Pending    int       // received and not handled, Retrying included
	Retrying   int       // failed at least once
	Dead       int       // dead letters
	Oldest     time.Time // when the oldest pending one was published; zero without any
	Orphaned   bool      // no handler any more: nobody will handle what is pending
}

// Lag returns every subscriber of the module d, by name: those with a handler,
// and those without one that have events left.
func Lag(ctx context.Context, d *db.DB) ([]SubscriberLag, error) {
	var rows []struct {
		Subscriber, Type        string
		Pending, Retrying, Dead int
		Oldest                  int64
		Orphaned                bool
	}
	err := d.Conn(ctx).Raw(`SELECT l.subscriber, COALESCE(s.type, l.type) AS type, l.pending, l.retrying, l.dead, l.oldest,
			s.name IS NULL OR s.removed_at > 0 AS orphaned
		FROM (
			SELECT subscriber, max(type) AS type,
				sum(CASE WHEN state = 'pending' THEN 1 ELSE 0 END) AS pending,
				sum(CASE WHEN state = 'pending' AND attempts > 0 THEN 1 ELSE 0 END) AS retrying,
				sum(CASE WHEN state = 'dead' THEN 1 ELSE 0 END) AS dead,
				COALESCE(min(CASE WHEN state = 'pending' THEN at END), 0) AS oldest
			FROM (
				SELECT subscriber, type, state, attempts, at FROM inbox WHERE state = 'pending'
				UNION ALL SELECT subscriber, type, state, attempts, at FROM inbox WHERE state = 'dead'
			) AS waiting GROUP BY subscriber
		) AS l LEFT JOIN event_subscribers s ON s.name = l.subscriber
		UNION ALL SELECT name, type, 0, 0, 0, 0, false FROM event_subscribers
			WHERE removed_at = 0 AND NOT EXISTS (SELECT 1 FROM inbox WHERE subscriber = name AND state = 'pending')
			AND NOT EXISTS (SELECT 1 FROM inbox WHERE subscriber = name AND state = 'dead')
		ORDER BY 1`).Scan(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("read the lag of %s: %w", d.Module(), err)
	}
	lags := make([]SubscriberLag, len(rows))
	for i, r := range rows {
		lags[i] = SubscriberLag{
			Subscriber: r.Subscriber, Type: r.Type, Pending: r.Pending, Retrying: r.Retrying, Dead: r.Dead, Oldest: instant(r.Oldest),
			Orphaned: r.Orphaned,
		}
	}
	return lags, nil
}

// OutboxLag returns how many events of the module d the pipe has not taken yet,
// dead letters not counted, and when the oldest was published, zero without any.
func OutboxLag(ctx context.Context, d *db.DB) (waiting int, oldest time.Time, err error) {
	var row struct {
		Waiting int
		Oldest  int64
	}
	if err = d.Conn(ctx).Raw("SELECT count(*) AS waiting, COALESCE(min(at), 0) AS oldest FROM outbox").Scan(&row).Error; err != nil {
		return 0, time.Time{}, fmt.Errorf("read the outbox of %s: %w", d.Module(), err)
	}
	return row.Waiting, instant(row.Oldest), nil
}

// Topic is an event type as one module knows it.
type Topic struct {
	Type        string
	Waiting     int // published, and not taken by the pipe yet
	Dead        int // published, and refused by the pipe for good
	Kept        int // published, and kept for subscribers to come
	Subscribers []Subscriber
}

// Subscriber is a handler that the module has or has had.
type Subscriber struct {
	Name     string
	Type     string
	Since    time.Time // its first start
	Orphaned bool      // no handler any more
}

// Topics returns the event types that the module d has in its outbox, dead
// letters or history, or has a subscriber of, by name.
func Topics(ctx context.Context, d *db.DB) ([]Topic, error) {
	var rows []struct {
		Type                string
		Waiting, Dead, Kept int
	}
	var subscribers []struct {
		Name, Type       string
		Since, RemovedAt int64
	}
	err := d.Conn(ctx).Raw(`SELECT type, sum(waiting) AS waiting, sum(dead) AS dead, sum(kept) AS kept FROM (
			SELECT type, count(*) AS waiting, 0 AS dead, 0 AS kept FROM outbox GROUP BY type
			UNION ALL SELECT type, 0, count(*), 0 FROM outbox_dead GROUP BY type
			UNION ALL SELECT type, 0, 0, count(*) FROM event_history GROUP BY type
			UNION ALL SELECT DISTINCT type, 0, 0, 0 FROM event_subscribers
		) AS t GROUP BY type ORDER BY type`).Scan(&rows).Error
	if err == nil {
		err = d.Conn(ctx).Raw("SELECT name, type, since, removed_at FROM event_subscribers ORDER BY name").Scan(&subscribers).Error
	}
	if err != nil {
		return nil, fmt.Errorf("read the topics of %s: %w", d.Module(), err)
	}
	topics, index := make([]Topic, len(rows)), make(map[string]int, len(rows))
	for i, r := range rows {
		topics[i] = Topic{Type: r.Type, Waiting: r.Waiting, Dead: r.Dead, Kept: r.Kept}
		index[r.Type] = i
	}
	for _, s := range subscribers {
		if i, ok := index[s.Type]; ok { // else it came between the two reads
			topics[i].Subscribers = append(topics[i].Subscribers,
				Subscriber{Name: s.Name, Type: s.Type, Since: instant(s.Since), Orphaned: s.RemovedAt > 0})
		}
	}
	return topics, nil
}

// instant is the time of us, zero for 0.
func instant(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return db.FromMicros(us)
}
