package metrics

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"cleave/platform/db"
	"cleave/platform/event"
	"cleave/platform/saga"
)

const (
	stateTimeout = 2 * time.Second // for what one scrape asks of all databases
	stateAge     = 5 * time.Second // for which an answer is used again
)

// The gauges that are read from the modules' databases, which every process of a module reads alike.
var (
	outboxWaiting = describe("event_outbox_waiting", "Events that were published and that the next hop does not have yet.", "module")
	oldest        = describe("event_oldest_undelivered_seconds", "Age of the oldest event that waits in the outbox; 0 without one.", "module")
	pending       = describe("event_subscriber_pending", "Events that a subscriber has received and not handled.", "module", "subscriber")
	retrying      = describe("event_subscriber_retrying", "Pending events that failed at least once.", "module", "subscriber")
	lag           = describe("event_subscriber_lag_seconds", "Age of the oldest event that a subscriber has not handled; 0 without one.", "module", "subscriber")
	orphaned      = describe("event_subscriber_orphaned", "1 when events wait for a subscriber that no handler stands behind.", "module", "subscriber")
	dead          = describe("event_dead_letters", "Events that need an operator: they are not tried again by themselves.", "module", "subscriber")
	sagas         = describe("sagas", "Sagas that have not ended well: running, compensating or compensation_failed.", "module", "saga", "state")
	sagaOldest    = describe("saga_oldest_seconds", "Time since the start of the oldest of them.", "module", "saga", "state")
	poolOpen      = prometheus.NewDesc("db_client_connection_count", "Database connections.", []string{"db_client_connection_pool_name", "db_client_connection_state"}, nil)
	poolMax       = prometheus.NewDesc("db_client_connection_max", "Database connections allowed.", []string{"db_client_connection_pool_name"}, nil)
	poolWaits     = prometheus.NewDesc("cleave_db_connection_waits_total", "Times that a database connection had to be waited for.", []string{"db_client_connection_pool_name"}, nil)
	poolWaited    = prometheus.NewDesc("cleave_db_connection_wait_seconds_total", "Time spent waiting for a database connection.", []string{"db_client_connection_pool_name"}, nil)
	unread        = describe("state_unread", "1 when the module's database did not answer in time: its other gauges are missing.", "module")
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("cleave_"+name, help, labels, nil)
}

// Watch adds gauges of what waits in the modules' databases and of their
// connections. A scrape asks the databases at most every 5 seconds and for at
// most 2; a database that does not answer leaves its gauges out.
func (m *Metrics) Watch(now func() time.Time, databases func() []*db.DB) {
	m.registry.MustRegister(&state{now: now, databases: databases})
}

// state is a prometheus.Collector.
type state struct {
	now       func() time.Time
	databases func() []*db.DB

	mu    sync.Mutex
	read  time.Time
	known []prometheus.Metric
}

// Describe sends nothing: which series there are is known only when they are read.
func (*state) Describe(chan<- *prometheus.Desc) {}

// Collect sends the gauges.
func (s *state) Collect(to chan<- prometheus.Metric) {
	for _, d := range s.databases() {
		pool(to, d)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.now(); s.read.IsZero() || now.Sub(s.read) >= stateAge {
		s.known, s.read = s.ask(), now
	}
	for _, m := range s.known {
		to <- m
	}
}

func pool(to chan<- prometheus.Metric, d *db.DB) {
	p := d.PoolStats()
	name := d.Module()
	to <- gauge(poolOpen, float64(p.InUse), name, "used")
	to <- gauge(poolOpen, float64(p.Idle), name, "idle")
	to <- gauge(poolMax, float64(p.MaxOpenConnections), name)
	to <- prometheus.MustNewConstMetric(poolWaits, prometheus.CounterValue, float64(p.WaitCount), name)
	to <- prometheus.MustNewConstMetric(poolWaited, prometheus.CounterValue, p.WaitDuration.Seconds(), name)
}

// ask reads all databases at once.
func (s *state) ask() []prometheus.Metric {
	ctx, cancel := context.WithTimeout(context.Background(), stateTimeout)
	defer cancel()
	databases := s.databases()
	read := make([][]prometheus.Metric, len(databases))
	var wg sync.WaitGroup
	for i, d := range databases {
		wg.Go(func() {
			metrics, err := s.module(ctx, d)
			failed := 0.0
			if err != nil {
				metrics, failed = nil, 1
			}
			read[i] = append(metrics, gauge(unread, failed, d.Module()))
		})
	}
	wg.Wait()
	var all []prometheus.Metric
	for _, metrics := range read {
		all = append(all, metrics...)
	}
	return all
}

func (s *state) module(ctx context.Context, d *db.DB) ([]prometheus.Metric, error) {
	waiting, since, err := event.OutboxLag(ctx, d)
	if err != nil {
		return nil, err
	}
	lags, err := event.Lag(ctx, d)
	if err != nil {
		return nil, err
	}
	name := d.Module()
	out := []prometheus.Metric{gauge(outboxWaiting, float64(waiting), name), gauge(oldest, s.age(since), name)}
	for _, l := range lags {
		out = append(out, gauge(pending, float64(l.Pending), name, l.Subscriber), gauge(retrying, float64(l.Retrying), name, l.Subscriber),
			gauge(lag, s.age(l.Oldest), name, l.Subscriber), gauge(dead, float64(l.Dead), name, l.Subscriber),
			gauge(orphaned, flag(l.Orphaned), name, l.Subscriber))
	}
	counts, err := saga.Counts(ctx, d)
	if err != nil {
		return nil, err
	}
	for _, c := range counts {
		out = append(out, gauge(sagas, float64(c.Sagas), name, c.Name, string(c.State)),
			gauge(sagaOldest, s.age(c.Oldest), name, c.Name, string(c.State)))
	}
	return out, nil
}

// age is how long ago t was, 0 for the zero time and for one in the future of this machine's clock.
func (s *state) age(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return max(0, s.now().Sub(t).Seconds())
}

func gauge(d *prometheus.Desc, v float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
