package metrics_test

import (
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"cleave/platform/metrics"
)

func TestMeter(t *testing.T) {
	t.Parallel()
	m := metrics.New("test")
	meter := m.Meter()
	handled, err := meter.Int64Counter("cleave.event.handled", metric.WithDescription("Events."))
	require.NoError(t, err)
	took, err := meter.Float64Histogram("cleave.event.latency", metric.WithExplicitBucketBoundaries(0.1, 1))
	require.NoError(t, err)
	other, err := meter.Float64Gauge("cleave.other")
	require.NoError(t, err)
	handled.Add(t.Context(), 1, metric.WithAttributes(attribute.String("subscriber", "a")))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 10 {
				handled.Add(t.Context(), 2, metric.WithAttributeSet(attribute.NewSet(attribute.String("subscriber", "a"))))
				handled.Add(t.Context(), 1, metric.WithAttributes(attribute.String("subscriber", "b")))
				handled.Add(t.Context(), 1, metric.WithAttributes(attribute.String("reason", "none")))
				took.Record(t.Context(), 0.5)
				other.Record(t.Context(), 1)
			}
		})
	}
	wg.Wait()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	text := w.Body.String()
	require.Equal(t, 200, w.Code)
	require.Contains(t, text, `cleave_event_latency_seconds_bucket{le="1"} 40`)
	require.Contains(t, text, `cleave_event_latency_seconds_bucket{le="0.1"} 0`)
	for _, series := range []string{`{subscriber="a"} 81`, `{subscriber="b"} 40`, `{subscriber=""} 40`} {
		require.Contains(t, text, "cleave_event_handled_total"+series)
	}
	require.Contains(t, text, "# HELP cleave_event_handled_total Events.")
	require.NotContains(t, text, "cleave_other")
}
