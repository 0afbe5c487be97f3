// Package telemetry holds what a process says about itself: its log, with the
// request and trace that each line belongs to, and its traces.
package telemetry

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/mattn/go-isatty"
	"go.opentelemetry.io/otel/trace"
)

const redacted = "[redacted]"

type originKey struct{}

// origin is where the work under a context comes from, in one value because each request makes one.
type origin struct{ requestID, peer string }

// WithRequestID returns ctx carrying id, which every log line written under it shows.
func WithRequestID(ctx context.Context, id string) context.Context { return WithRequest(ctx, id, "") }

// WithRequest is WithRequestID for a request that came from peer, a network address.
func WithRequest(ctx context.Context, id, peer string) context.Context {
	return context.WithValue(ctx, originKey{}, origin{id, peer})
}

// RequestID is the id that ctx carries, and "" when it carries none.
func RequestID(ctx context.Context) string {
	o, _ := ctx.Value(originKey{}).(origin)
	return o.requestID
}

// Peer is the network address of the request that ctx belongs to, and "" when that is not known.
func Peer(ctx context.Context) string {
	o, _ := ctx.Value(originKey{}).(origin)
	return o.peer
}

// NewLogger returns a logger that writes to w the lines of at least level
// (debug, info, warn or error; anything else is info) as text or json; an empty
// format is text when w is a terminal and json otherwise. Times are UTC. Lines
// written under a context show its request_id, trace_id and span_id. The value
// of an attribute whose name tells of a secret, such as password or
// refresh_token, is replaced: this is a net below the rule not to log secrets,
// and it does not look inside values.
func NewLogger(w io.Writer, level, format string) *slog.Logger {
	var min slog.Level
	if err := min.UnmarshalText([]byte(level)); err != nil {
		min = slog.LevelInfo
	}
	o := &slog.HandlerOptions{Level: min}
	lines, _ := w.(*Lines)
	if format == "text" || format == "" && isTerminal(w) {
		return slog.New(&handler{base: slog.NewTextHandler(w, o), lines: lines})
	}
	return slog.New(&handler{base: slog.NewJSONHandler(w, o), lines: lines})
}

func isTerminal(w io.Writer) bool {
	if lines, ok := w.(*Lines); ok {
		w = lines.out
	}
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// secret reports whether the attribute, or one in its group, is to be replaced.
func secret(a slog.Attr) bool {
	if v := a.Value.Resolve(); v.Kind() == slog.KindGroup {
		return slices.ContainsFunc(v.Group(), secret)
	}
	return secretName(a.Key)
}

func redact(attrs []slog.Attr) []slog.Attr {
	if !slices.ContainsFunc(attrs, secret) {
		return attrs
	}
	out := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		switch v := a.Value.Resolve(); {
		case v.Kind() == slog.KindGroup:
			a.Value = slog.GroupValue(redact(v.Group())...)
		case secretName(a.Key):
			a.Value = slog.StringValue(redacted)
		}
		out[i] = a
	}
	return out
}

// redactRecord looks before it copies, because hardly any line has a secret.
// The ReplaceAttr of slog's handlers would build each attribute anew.
func redactRecord(r slog.Record) slog.Record {
	found := false
	r.Attrs(func(a slog.Attr) bool {
		found = secret(a)
		return !found
	})
	if !found {
		return r
	}
	attrs := make([]slog.Attr, 0, r.NumAttrs())
	r.Attrs(func(a slog.Attr) bool {
		attrs = append(attrs, a)
		return true
	})
	out := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	out.AddAttrs(redact(attrs)...)
	return out
}

var secretWords = [...]string{"password", "secret", "token", "authorization", "cookie", "dsn", "passwd"}

func secretName(key string) bool {
	for i := len(key) - 1; i >= 0; i-- {
		if key[i] == '_' || key[i] == '-' || key[i] == '.' {
			key = key[i+1:]
			break
		}
	}
	for _, word := range secretWords {
		if len(key) == len(word) && strings.EqualFold(key, word) {
			return true
		}
	}
	return false
}

// handler adds to each record what its context says, and takes secrets out. The attributes of the
// context stay at the top level, wherever the logger's group is: what follows
// the first group is therefore kept aside and applied after them.
type handler struct {
	base   slog.Handler
	lines  *Lines // that base writes to; nil: another writer
	nested []func(slog.Handler) slog.Handler
}

func (h *handler) Enabled(ctx context.Context, l slog.Level) bool { return h.base.Enabled(ctx, l) }

func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	r = redactRecord(r)
	r.Time = r.Time.UTC()
	attrs := make([]slog.Attr, 0, 3)
	if id := RequestID(ctx); id != "" {
		attrs = append(attrs, slog.String("request_id", id))
	}
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
		attrs = append(attrs, slog.String("trace_id", sc.TraceID().String()), slog.String("span_id", sc.SpanID().String()))
	}
	out := h.base
	if len(h.nested) == 0 {
		r.AddAttrs(attrs...)
	} else {
		out = out.WithAttrs(attrs)
		for _, apply := range h.nested {
			out = apply(out)
		}
	}
	err := out.Handle(ctx, r)
	if h.lines != nil && r.Level >= slog.LevelWarn {
		err = errors.Join(err, h.lines.Flush())
	}
	return err
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	attrs = redact(attrs)
	if len(h.nested) == 0 {
		return &handler{base: h.base.WithAttrs(attrs), lines: h.lines}
	}
	return h.nest(func(b slog.Handler) slog.Handler { return b.WithAttrs(attrs) })
}

func (h *handler) WithGroup(name string) slog.Handler {
	return h.nest(func(b slog.Handler) slog.Handler { return b.WithGroup(name) })
}

func (h *handler) nest(apply func(slog.Handler) slog.Handler) slog.Handler {
	return &handler{base: h.base, lines: h.lines, nested: append(h.nested[:len(h.nested):len(h.nested)], apply)}
}
