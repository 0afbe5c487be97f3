package front

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"cleave/platform/backoff"
	"cleave/platform/fault"
	frontv1 "cleave/platform/front/v1"
)

// attempts of a request that may be repeated, each at another replica if there
// is one.
const attempts = 3

// Transport sends requests to the processes at the other end of a connection
// to a module. It is for ReverseProxy and http.Client: scheme and host of the
// URL say nothing about where the request goes.
type Transport struct{ client frontv1.FrontServiceClient }

// NewTransport sends over conn.
func NewTransport(conn grpc.ClientConnInterface) *Transport {
	return &Transport{frontv1.NewFrontServiceClient(conn)}
}

// Proxy answers requests with what the module at the other end of a connection
// says.
type Proxy struct {
	reverse *httputil.ReverseProxy
	serving func() bool
	here    http.Handler
}

type outcomeKey struct{}

// NewProxy sends over conn.
func NewProxy(conn grpc.ClientConnInterface, log *slog.Logger) *Proxy {
	return &Proxy{reverse: &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", r.In.Host
			r.Out.Host = r.In.Host
			r.Out.URL.RawQuery = r.In.URL.RawQuery // ReverseProxy leaves out what it cannot read, and the module refuses it
			// They were taken out so that a client cannot invent them. The other process believes as little of them as this one.
			for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
				if v := r.In.Header[name]; v != nil {
					r.Out.Header[name] = v
				}
			}
			otel.GetTextMapPropagator().Inject(r.In.Context(), propagation.HeaderCarrier(r.Out.Header))
		},
		Transport:     NewTransport(conn),
		FlushInterval: -1, // event streams
		ErrorHandler: func(_ http.ResponseWriter, r *http.Request, err error) {
			*r.Context().Value(outcomeKey{}).(*error) = err
		},
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}}
}

// Else makes here answer what no other process does: what comes while serving says no, and what may be repeated and got no answer. Call it
// before Serve.
func (p *Proxy) Else(serving func() bool, here http.Handler) { p.serving, p.here = serving, here }

// Serve answers r. An error means that nothing was written: a fault of kind
// Unavailable, Timeout or Canceled, or why the body could not be read. An answer
// that breaks off is a panic with http.ErrAbortHandler. A header that both
// sides set is the module's.
func (p *Proxy) Serve(w http.ResponseWriter, r *http.Request) error {
	if Handed(r.Context()) {
		return failure(status.Error(codes.Unavailable, "two processes take each other for the one that has the module"))
	}
	if p.here != nil && !p.serving() {
		p.here.ServeHTTP(&once{ResponseWriter: w}, r)
		return nil
	}
	var sent []byte
	again := p.here != nil && idempotent(r) && r.ContentLength >= 0 && r.ContentLength <= chunk
	var err error
	if again && r.Body != nil {
		if sent, err = io.ReadAll(r.Body); err != nil {
			return err
		}
		r.Body = io.NopCloser(bytes.NewReader(sent))
	}
	p.reverse.ServeHTTP(&once{ResponseWriter: w}, r.WithContext(context.WithValue(r.Context(), outcomeKey{}, &err)))
	if again && err != nil && fault.KindOf(err) == fault.Unavailable && r.Context().Err() == nil {
		r.Body = io.NopCloser(bytes.NewReader(sent))
		p.here.ServeHTTP(&once{ResponseWriter: w}, r)
		return nil
	}
	return err
}

// once lets the module's header fields replace those that this process has set
// for an answer of its own; ReverseProxy would add to them.
type once struct {
	http.ResponseWriter
	header http.Header
}

func (o *once) Header() http.Header {
	if o.header == nil {
		o.header = http.Header{}
	}
	return o.header
}

func (o *once) WriteHeader(code int) {
	to := o.ResponseWriter.Header()
	for name, values := range o.header {
		to[name] = values
	}
	o.ResponseWriter.WriteHeader(code)
}

// FlushError implements what http.ResponseController looks for.
func (o *once) FlushError() error { return http.NewResponseController(o.ResponseWriter).Flush() }

// RoundTrip implements http.RoundTripper. Its errors are faults of kind
// Unavailable, Timeout or Canceled, or those of reading the body.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	repeatable := idempotent(r)
	var sent []byte
	if repeatable && r.Body != nil && r.Body != http.NoBody {
		if r.ContentLength < 0 || r.ContentLength > chunk {
			repeatable = false
		} else {
			var err error
			if sent, err = io.ReadAll(r.Body); err != nil {
				return nil, errors.Join(err, r.Body.Close())
			}
			_ = r.Body.Close() // all of it has been read
		}
	}
	for attempt := 1; ; attempt++ {
		if sent != nil {
			r.Body = io.NopCloser(bytes.NewReader(sent))
		}
		resp, err := t.exchange(r)
		if err == nil || !repeatable || attempt == attempts || status.Code(err) != codes.Unavailable || r.Context().Err() != nil {
			return resp, failure(err)
		}
		backoff.Pause(r.Context(), backoff.Delay(attempt, 10*time.Millisecond, 100*time.Millisecond))
	}
}

// failure is what an exchange without an answer means for the client.
func failure(err error) error {
	if _, ok := status.FromError(err); !ok || err == nil {
		return err
	}
	kind := fault.Unavailable
	switch status.Code(err) {
	case codes.DeadlineExceeded:
		kind = fault.Timeout
	case codes.Canceled:
		kind = fault.Canceled
	}
	return fault.New(kind, "module_away", "the module that answers this cannot be reached").Wrap(err)
}

func (t *Transport) exchange(r *http.Request) (resp *http.Response, err error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	var answered atomic.Bool
	defer func() {
		if err != nil {
			if cause := context.Cause(ctx); cause != nil && cause != ctx.Err() { //nolint:errorlint // the same value
				err = cause // the body could not be read
			}
			cancel(nil)
		}
	}()
	stream, err := t.client.Exchange(ctx)
	if err != nil {
		return nil, err
	}
	first := &frontv1.ExchangeRequest{Head: &frontv1.RequestHead{
		Method: r.Method, Uri: []byte(r.URL.RequestURI()), Host: r.Host, RemoteAddress: r.RemoteAddr,
		Headers: toHeaders(r.Header), ContentLength: r.ContentLength,
	}}
	more, err := begin(first, r)
	if err != nil {
		return nil, err
	}
	// io.EOF means that the stream has ended; Recv tells why.
	if err := stream.Send(first); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if more {
		go upload(stream, r.Body, &answered, cancel)
	} else if err := stream.CloseSend(); err != nil {
		return nil, err
	}
	answer, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	answered.Store(true)
	h := answer.GetHead()
	if h == nil {
		return nil, status.Error(codes.Internal, "an answer without a head")
	}
	return &http.Response{
		StatusCode: int(h.GetStatus()), Status: fmt.Sprintf("%d %s", h.GetStatus(), http.StatusText(int(h.GetStatus()))),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: fromHeaders(h.GetHeaders()), ContentLength: -1, Request: r,
		Body: &body{rest: answer.GetBody(), end: func() { cancel(nil) }, next: func() ([]byte, error) {
			part, err := stream.Recv()
			switch {
			case err == nil || errors.Is(err, io.EOF):
			case errors.Is(context.Cause(ctx), io.EOF):
				err = io.EOF
			default:
				err = failure(err)
			}
			return part.GetBody(), err
		}},
	}, nil
}

// begin puts a body that is known to be short into the first message, and
// reports whether there is more to send.
func begin(first *frontv1.ExchangeRequest, r *http.Request) (more bool, err error) {
	if r.Body == nil || r.Body == http.NoBody {
		first.Head.ContentLength = 0
		return false, nil
	}
	if r.ContentLength < 0 || r.ContentLength > chunk {
		return true, nil
	}
	first.Body, err = io.ReadAll(r.Body)
	return false, errors.Join(err, r.Body.Close())
}

// upload sends the body. A client that breaks off ends the exchange, unless the
// module has answered without waiting for the whole body.
func upload(stream grpc.BidiStreamingClient[frontv1.ExchangeRequest, frontv1.ExchangeResponse], from io.ReadCloser, answered *atomic.Bool, cancel context.CancelCauseFunc) {
	defer func() { _ = from.Close() }() // what was read has been sent
	buffer := make([]byte, chunk)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if stream.Send(&frontv1.ExchangeRequest{Body: buffer[:n]}) != nil {
				return // Recv tells why
			}
		}
		switch {
		case errors.Is(err, io.EOF) || err != nil && answered.Load():
			_ = stream.CloseSend() // never fails
			return
		case err != nil:
			cancel(err)
			return
		}
	}
}
