package front

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	frontv1 "cleave/platform/front/v1"
)

// Server answers the requests that other processes hand over.
type Server struct {
	frontv1.UnimplementedFrontServiceServer
	handler http.Handler
	log     *slog.Logger
}

// NewServer hands requests to handler, which sees the client's address as
// theirs. Whoever can call it is believed, so it must only be reachable for the
// project's own processes.
func NewServer(handler http.Handler, log *slog.Logger) *Server {
	return &Server{handler: handler, log: log}
}

// Exchange serves one request.
func (s *Server) Exchange(stream frontv1.FrontService_ExchangeServer) (err error) {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	r, err := request(stream, first)
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	w := &writer{stream: stream, header: http.Header{}, length: r.Method != http.MethodHead}
	defer func() {
		switch v := recover(); {
		case v == nil:
		case v == http.ErrAbortHandler: //nolint:errorlint // the value itself is the signal
			err = status.Error(codes.Aborted, "the answer was broken off")
		default:
			s.log.ErrorContext(r.Context(), "a request that another process handed over failed", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			err = status.Error(codes.Internal, "internal error")
		}
	}()
	s.handler.ServeHTTP(w, r)
	return w.finish()
}

// request is what the other process was asked.
func request(stream frontv1.FrontService_ExchangeServer, first *frontv1.ExchangeRequest) (*http.Request, error) {
	h := first.GetHead()
	if h == nil {
		return nil, errors.New("the first message has no head")
	}
	uri := string(h.GetUri())
	u, err := url.ParseRequestURI(uri)
	if err != nil {
		return nil, fmt.Errorf("the request's URI: %w", err)
	}
	r := &http.Request{
		Method: h.GetMethod(), URL: u, RequestURI: uri, Host: h.GetHost(), RemoteAddr: h.GetRemoteAddress(),
		Header: fromHeaders(h.GetHeaders()), ContentLength: h.GetContentLength(), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: http.NoBody,
	}
	if r.ContentLength != 0 {
		r.Body = &body{rest: first.GetBody(), next: func() ([]byte, error) {
			part, err := stream.Recv()
			return part.GetBody(), err
		}}
	}
	return r.WithContext(context.WithValue(stream.Context(), servedKey{}, true)), nil
}

// writer collects an answer and sends it when it is complete, large, or
// flushed.
type writer struct {
	stream  frontv1.FrontService_ExchangeServer
	header  http.Header
	status  int
	pending []byte
	sent    bool // the head has been sent
	length  bool // whether an answer without a length gets one
	err     error
}

func (w *writer) Header() http.Header { return w.header }

func (w *writer) WriteHeader(code int) {
	if w.status == 0 && code >= http.StatusOK { // informational ones stay here
		w.status = code
	}
}

func (w *writer) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	w.pending = append(w.pending, p...)
	if len(w.pending) >= chunk {
		w.send()
	}
	if w.err != nil {
		return 0, w.err
	}
	return len(p), nil
}

// FlushError implements what http.ResponseController looks for.
func (w *writer) FlushError() error {
	w.send()
	return w.err
}

// Flush implements http.Flusher, which gin asks for.
func (w *writer) Flush() { w.send() }

func (w *writer) send() {
	w.WriteHeader(http.StatusOK)
	for w.err == nil && (len(w.pending) > 0 || !w.sent) {
		part := &frontv1.ExchangeResponse{Body: w.pending[:min(len(w.pending), chunk)]}
		if !w.sent {
			part.Head = &frontv1.ResponseHead{Status: int32(w.status), Headers: toHeaders(w.header)} // #nosec G115 -- a status has three digits
			w.sent = true
		}
		w.err = w.stream.Send(part)
		w.pending = w.pending[len(part.GetBody()):]
	}
}

func (w *writer) finish() error {
	if w.length && !w.sent && w.header.Get("Content-Length") == "" && bodyAllowed(w.status) {
		w.header.Set("Content-Length", fmt.Sprint(len(w.pending)))
	}
	w.send()
	if errors.Is(w.err, io.EOF) {
		return nil
	}
	return w.err
}

// bodyAllowed is RFC 9110 section 6.4.1.
func bodyAllowed(code int) bool {
	return code != http.StatusNoContent && code != http.StatusNotModified
}
