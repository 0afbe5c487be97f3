package telemetry_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"cleave/platform/fault"
	"cleave/platform/telemetry"
)

const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func line(t *testing.T, b *bytes.Buffer) map[string]any {
	t.Helper()
	var m map[string]any
	require.NoError(t, json.Unmarshal(b.Bytes(), &m), "one JSON object per line: %s", b)
	b.Reset()
	return m
}

func TestLogger(t *testing.T) {
	t.Parallel()
	ctx := telemetry.FromTraceparent(telemetry.WithRequestID(context.Background(), "req-1"), traceparent)

	t.Run("NamesRequestAndTrace", func(t *testing.T) {
		t.Parallel()
		var b bytes.Buffer
		telemetry.NewLogger(&b, "info", "").InfoContext(ctx, "hello", "n", 1)
		m := line(t, &b)
		require.Equal(t, "req-1", m["request_id"])
		require.Equal(t, "0af7651916cd43dd8448eb211c80319c", m["trace_id"])
		require.Equal(t, "b7ad6b7169203331", m["span_id"])
		require.InDelta(t, 1, m["n"], 0)
		at, err := time.Parse(time.RFC3339Nano, m["time"].(string))
		require.NoError(t, err)
		require.Equal(t, time.UTC, at.Location())
	})
	t.Run("PlainContext", func(t *testing.T) {
		t.Parallel()
		var b bytes.Buffer
		telemetry.NewLogger(&b, "info", "json").Info("hello")
		m := line(t, &b)
		for _, k := range []string{"request_id", "trace_id", "span_id"} {
			require.NotContains(t, m, k)
		}
	})
	t.Run("IDsStayOutsideGroups", func(t *testing.T) {
		t.Parallel()
		var b bytes.Buffer
		l := telemetry.NewLogger(&b, "info", "json").With("module", "order").WithGroup("sql").With("table", "orders")
		l.InfoContext(ctx, "query", "rows", 2)
		m := line(t, &b)
		require.Equal(t, "req-1", m["request_id"])
		require.Equal(t, "order", m["module"])
		require.Equal(t, map[string]any{"table": "orders", "rows": 2.0}, m["sql"])
	})
	t.Run("Level", func(t *testing.T) {
		t.Parallel()
		var b bytes.Buffer
		l := telemetry.NewLogger(&b, "warn", "json")
		l.Info("not this")
		require.Zero(t, b.Len())
		require.False(t, l.Enabled(ctx, slog.LevelInfo))
		l.Warn("this")
		require.Equal(t, "this", line(t, &b)["msg"])
	})
	t.Run("Text", func(t *testing.T) {
		t.Parallel()
		var b bytes.Buffer
		telemetry.NewLogger(&b, "info", "text").InfoContext(ctx, "hello")
		require.Contains(t, b.String(), "msg=hello")
		require.Contains(t, b.String(), "request_id=req-1")
	})
	t.Run("SecretsAreReplaced", func(t *testing.T) {
		t.Parallel()
		for _, format := range []string{"text", "json"} {
			var b bytes.Buffer
			l := telemetry.NewLogger(&b, "info", format).With("Authorization", "Bearer hush")
			l.WithGroup("login").Info("x", "password", "hush", "refresh_token", "hush", "smtp.password", "hush",
				slog.Group("db", "dsn", "postgres://u:hush@h/d"), "login", login{"hush"}, "token_count", 3, "err", errors.New("fine"))
			require.NotContains(t, b.String(), "hush")
			require.Contains(t, b.String(), "anna")
			require.Equal(t, 6, strings.Count(b.String(), "[redacted]"))
			require.Contains(t, b.String(), "fine")
			require.Contains(t, b.String(), "token_count")
		}
	})
}

// login writes itself into a log as a group.
type login struct{ password string }

func (l login) LogValue() slog.Value {
	return slog.GroupValue(slog.String("name", "anna"), slog.Group("with", slog.String("password", l.password)))
}

// The tracer provider is the process's, so these cases run one after another.
func TestTracing(t *testing.T) {
	ctx, log := context.Background(), slog.New(slog.DiscardHandler)

	t.Run("NonePassesTheTraceOn", func(t *testing.T) {
		shutdown, err := telemetry.SetupTracing(ctx, "none", "app", "1", log)
		require.NoError(t, err)
		c, span := telemetry.StartServer(telemetry.FromTraceparent(ctx, traceparent), "op")
		require.False(t, span.IsRecording())
		require.Equal(t, traceparent, telemetry.Traceparent(c))
		telemetry.End(span, nil)
		require.NoError(t, shutdown(ctx))

		out := propagation.MapCarrier{}
		otel.GetTextMapPropagator().Inject(c, out)
		require.Equal(t, traceparent, out["traceparent"])
		require.Contains(t, otel.GetTextMapPropagator().Fields(), "baggage")
	})
	t.Run("OTLPReachesTheCollector", func(t *testing.T) {
		got := make(chan *coltrace.ExportTraceServiceRequest, 8)
		collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			req := &coltrace.ExportTraceServiceRequest{}
			if r.URL.Path != "/v1/traces" || proto.Unmarshal(body, req) != nil {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			w.Header().Set("Content-Type", "application/x-protobuf")
			got <- req
		}))
		t.Cleanup(collector.Close)
		t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
		t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")

		shutdown, err := telemetry.SetupTracing(ctx, "otlp", "app", "1.2.3", log)
		require.NoError(t, err)
		_, span := telemetry.StartServer(telemetry.FromTraceparent(ctx, traceparent), "POST /orders")
		telemetry.End(span, errors.New("no"))
		require.NoError(t, shutdown(ctx))

		rs := (<-got).ResourceSpans[0]
		res := rs.Resource.String()
		for _, want := range []string{"service.name", "app", "service.version", "1.2.3", "deployment.environment.name"} {
			require.Contains(t, res, want)
		}
		sent := rs.ScopeSpans[0].Spans[0]
		require.Equal(t, "POST /orders", sent.Name)
		require.Equal(t, "b7ad6b7169203331", hex.EncodeToString(sent.ParentSpanId))
		require.Equal(t, "STATUS_CODE_ERROR", sent.Status.Code.String())
	})
	t.Run("ACollectorThatIsDownCostsNoError", func(t *testing.T) {
		t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
		shutdown, err := telemetry.SetupTracing(ctx, "otlp", "app", "1", log)
		require.NoError(t, err)
		end, cancel := context.WithCancel(ctx)
		cancel()
		require.NoError(t, shutdown(end))
	})
	t.Run("UnusableEnvironment", func(t *testing.T) {
		for name, set := range map[string][2]string{
			"Protocol": {"OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"},
			"Resource": {"OTEL_RESOURCE_ATTRIBUTES", "no-pairs"},
		} {
			t.Run(name, func(t *testing.T) {
				t.Setenv(set[0], set[1])
				_, err := telemetry.SetupTracing(ctx, "otlp", "app", "1", log)
				require.Equal(t, fault.Invalid, fault.KindOf(err))
				require.ErrorContains(t, err, set[0])
			})
		}
	})
	t.Run("UnknownExporter", func(t *testing.T) {
		_, err := telemetry.SetupTracing(ctx, "jaeger", "app", "1", log)
		require.Equal(t, fault.Invalid, fault.KindOf(err))
	})
}
