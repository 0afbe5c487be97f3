package metrics

import (
	"context"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
)

// Meter returns an OpenTelemetry meter whose integer counters and histograms of
// seconds are among the metrics: cleave.event.handled is
// cleave_event_handled_total there. Its other instruments do nothing.
func (m *Metrics) Meter() metric.Meter { return meter{registry: m.registry, known: &m.instruments} }

type meter struct {
	noop.Meter
	registry prometheus.Registerer
	known    *sync.Map // by name: who asks for an instrument again gets the same one
}

func prometheusName(name, suffix string) string { return strings.ReplaceAll(name, ".", "_") + suffix }

// Int64Counter implements metric.Meter.
func (m meter) Int64Counter(name string, o ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	c := metric.NewInt64CounterConfig(o...)
	made, _ := m.known.LoadOrStore(name, &counter{children: children[prometheus.Counter]{make: func(labels []string) func(...string) prometheus.Counter {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: prometheusName(name, "_total"), Help: c.Description()}, labels)
		m.registry.MustRegister(v)
		return v.WithLabelValues
	}}})
	return made.(*counter), nil
}

// Float64Histogram implements metric.Meter.
func (m meter) Float64Histogram(name string, o ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	c := metric.NewFloat64HistogramConfig(o...)
	made, _ := m.known.LoadOrStore(name, &histogram{children: children[prometheus.Observer]{make: func(labels []string) func(...string) prometheus.Observer {
		v := prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: prometheusName(name, "_seconds"), Help: c.Description(), Buckets: c.ExplicitBucketBoundaries(),
		}, labels)
		m.registry.MustRegister(v)
		return v.WithLabelValues
	}}})
	return made.(*histogram), nil
}

type counter struct {
	noop.Int64Counter
	children children[prometheus.Counter]
}

// Add implements metric.Int64Counter.
func (c *counter) Add(_ context.Context, n int64, o ...metric.AddOption) {
	c.children.of(metric.NewAddConfig(o).Attributes()).Add(float64(n))
}

type histogram struct {
	noop.Float64Histogram
	children children[prometheus.Observer]
}

// Record implements metric.Float64Histogram.
func (h *histogram) Record(_ context.Context, v float64, o ...metric.RecordOption) {
	h.children.of(metric.NewRecordConfig(o).Attributes()).Observe(v)
}

// children are the series of an instrument. Its labels are those of the first
// measurement; later ones leave them empty or are not told apart by others.
type children[T any] struct {
	make  func(labels []string) func(values ...string) T
	once  sync.Once
	keys  []attribute.Key
	with  func(values ...string) T
	known sync.Map // by attribute.Distinct
}

func (c *children[T]) of(set attribute.Set) T {
	id := set.Equivalent()
	if child, ok := c.known.Load(id); ok {
		return child.(T)
	}
	c.once.Do(func() {
		labels := make([]string, 0, set.Len())
		for _, kv := range set.ToSlice() {
			c.keys = append(c.keys, kv.Key)
			labels = append(labels, strings.ReplaceAll(string(kv.Key), ".", "_"))
		}
		c.with = c.make(labels)
	})
	values := make([]string, len(c.keys))
	for i, k := range c.keys {
		if v, ok := set.Value(k); ok {
			values[i] = v.String()
		}
	}
	child := c.with(values...)
	c.known.Store(id, child)
	return child
}
