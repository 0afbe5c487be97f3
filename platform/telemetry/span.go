package telemetry

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

const tracerName = "cleave"

// StartClient starts the span of a call to another module.
func StartClient(ctx context.Context, name string) (context.Context, trace.Span) {
	return start(ctx, name, trace.SpanKindClient)
}

// StartServer starts the span of a call from another module.
func StartServer(ctx context.Context, name string) (context.Context, trace.Span) {
	return start(ctx, name, trace.SpanKindServer)
}

// StartConsumer starts the span of an event's handling or of a saga's run.
func StartConsumer(ctx context.Context, name string) (context.Context, trace.Span) {
	return start(ctx, name, trace.SpanKindConsumer)
}

func start(ctx context.Context, name string, kind trace.SpanKind) (context.Context, trace.Span) {
	if _, off := otel.GetTracerProvider().(noop.TracerProvider); off { // its spans would carry ctx's own span on
		return ctx, noop.Span{}
	}
	return otel.Tracer(tracerName).Start(ctx, name, trace.WithSpanKind(kind))
}

// End closes the span, marked as failed when err is not nil.
func End(span trace.Span, err error) {
	if err != nil && span.IsRecording() {
		span.RecordError(err)
		span.SetStatus(codes.Error, "")
	}
	span.End()
}

// Traceparent is ctx's span in the form of W3C Trace Context, to be stored with
// work that goes on later; "" without a span.
func Traceparent(ctx context.Context) string {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ""
	}
	c := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, c)
	return c["traceparent"]
}

// FromTraceparent returns ctx with the remote span that Traceparent stored.
func FromTraceparent(ctx context.Context, traceparent string) context.Context {
	if traceparent == "" {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": traceparent})
}
