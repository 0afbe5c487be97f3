package rest

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"

	"cleave/platform/telemetry"
)

func TestContinueTrace(t *testing.T) {
	t.Parallel()
	_, err := telemetry.SetupTracing(t.Context(), "none", "test", "test", slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	var got trace.SpanContext
	h := continueTrace(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = trace.SpanContextFromContext(r.Context()) }))
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	h.ServeHTTP(httptest.NewRecorder(), r)
	require.False(t, got.IsValid())
	r.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	h.ServeHTTP(httptest.NewRecorder(), r)
	require.Equal(t, "0af7651916cd43dd8448eb211c80319c", got.TraceID().String())
}
