package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"cleave/platform/fault"
)

// SetupTracing makes this process's spans go to exporter and returns what ends
// it: shutdown sends the spans still held, until its context ends.
//
//   - none: no span is recorded and nothing connects. A trace that a caller
//     started still passes through, so log lines keep its id.
//   - stdout: one JSON object per span on standard output.
//   - otlp: OTLP over HTTP to where OTEL_EXPORTER_OTLP_ENDPOINT and its siblings
//     say (default http://localhost:4318); a collector that is down costs spans
//     and a warning in log, never a request.
//
// The sampler, limits and resource honour OTEL_TRACES_SAMPLER,
// OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME and the like, as the OpenTelemetry
// specification describes them. Trace context and baggage travel in the W3C
// headers. An unknown exporter and an unusable OTEL_ value are Invalid.
//
// The exporters are named here rather than by contrib's autoexport, which adds
// 3.2 MB of metric and log exporters to the binary where OTLP over HTTP adds 0.2
// MB, and which exports to a collector unless told otherwise.
func SetupTracing(ctx context.Context, exporter, service, version string, log *slog.Logger) (shutdown func(context.Context) error, err error) {
	otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}))
	if exporter == "none" || exporter == "" {
		otel.SetTracerProvider(noop.NewTracerProvider())
		return func(context.Context) error { return nil }, nil
	}
	out, err := newExporter(ctx, exporter)
	if err != nil {
		return nil, err
	}
	res, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", service), attribute.String("service.version", version)),
		resource.WithTelemetrySDK(),
		resource.WithFromEnv())
	if err != nil {
		return nil, fault.New(fault.Invalid, "trace_resource", "OTEL_RESOURCE_ATTRIBUTES is not a list of key=value pairs").Wrap(err)
	}
	// The default handler writes to the standard logger, past the process's own log.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("trace export failed", "error", err.Error()) }))
	tp := sdktrace.NewTracerProvider(sdktrace.WithBatcher(out), sdktrace.WithResource(res))
	otel.SetTracerProvider(tp)
	return func(ctx context.Context) error {
		if err := tp.Shutdown(ctx); err != nil && !errors.Is(err, context.Canceled) {
			return fmt.Errorf("send the last spans: %w", err)
		}
		return nil
	}, nil
}

func newExporter(ctx context.Context, name string) (sdktrace.SpanExporter, error) {
	switch name {
	case "stdout":
		return stdouttrace.New()
	case "otlp":
		for _, v := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
			switch p := os.Getenv(v); p {
			case "", "http/protobuf", "http/json":
			default:
				return nil, fault.New(fault.Invalid, "trace_protocol", "%s is %q, allowed: http/protobuf, http/json", v, p)
			}
		}
		if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" {
			// The specification's default is http; this exporter's own is https.
			return otlptracehttp.New(ctx, otlptracehttp.WithInsecure())
		}
		return otlptracehttp.New(ctx)
	default:
		return nil, fault.New(fault.Invalid, "trace_exporter", "trace.exporter is %q, allowed: none, stdout, otlp", name)
	}
}
