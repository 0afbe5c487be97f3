package front_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"cleave/platform/fault"
	"cleave/platform/front"
	frontv1 "cleave/platform/front/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// setup returns the URL of a front door to the module that handler stands for, and a client. Errors of the proxy are a 502 with
// the fault's code.
func setup(t *testing.T, handler http.Handler, o ...grpc.ServerOption) (url string, client *http.Client) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	server := grpc.NewServer(o...)
	frontv1.RegisterFrontServiceServer(server, front.NewServer(handler, log))
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	proxy := front.NewProxy(conn, log)
	door := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Both", "front door")
		w.Header().Set("X-Front", "front door")
		r.Body = http.MaxBytesReader(w, r.Body, 2<<20)
		if err := proxy.Serve(w, r); err != nil {
			var over *http.MaxBytesError
			w.WriteHeader(http.StatusBadGateway)
			fmt.Fprint(w, fault.CodeOf(err), errors.As(err, &over))
		}
	}))
	t.Cleanup(door.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return door.URL, &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

func do(t *testing.T, c *http.Client, method, url string, body io.Reader, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, body)
	require.NoError(t, err)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	resp, err := c.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(text)
}

func TestProxy_RequestAndAnswer(t *testing.T) {
	t.Parallel()
	url, c := setup(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		w.Header()["X-Values"] = r.Header["X-Values"]
		w.Header().Set("X-Both", "module")
		w.Header().Set("X-Seen", fmt.Sprint(r.Method, " ", r.RequestURI, " ", r.Host != "", " ", host, " ", r.ContentLength, " ", r.Header.Get("X-Forwarded-For"), " ", front.Handed(r.Context())))
		if r.Method == http.MethodDelete {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.Copy(w, r.Body)
	}))
	resp, body := do(t, c, http.MethodPost, url+"/a%2Fb?q=%ff&x=1;y=2", strings.NewReader("hello"), "X-Values", "1", "X-Values", "caf\xe9", "X-Forwarded-For", "192.0.2.1")
	require.Equal(t, http.StatusTeapot, resp.StatusCode)
	require.Equal(t, "hello", body)
	require.EqualValues(t, 5, resp.ContentLength)
	require.Equal(t, []string{"1", "caf\xe9"}, resp.Header["X-Values"])
	require.Equal(t, []string{"module"}, resp.Header["X-Both"])
	require.Equal(t, []string{"front door"}, resp.Header["X-Front"])
	require.Equal(t, "POST /a%2Fb?q=%ff&x=1;y=2 true 127.0.0.1 5 192.0.2.1 true", resp.Header.Get("X-Seen"))

	resp, body = do(t, c, http.MethodDelete, url+"/a", nil)
	require.Equal(t, http.StatusNoContent, resp.StatusCode)
	require.Empty(t, body)
	resp, body = do(t, c, http.MethodHead, url+"/a", nil)
	require.Equal(t, http.StatusTeapot, resp.StatusCode)
	require.Empty(t, body)
}

func TestProxy_LargeBodies(t *testing.T) {
	t.Parallel()
	url, c := setup(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body) // HTTP/1.1 is not made for answers that overtake the request
		if err == nil {
			_, _ = w.Write(body)
		}
	}))
	large := bytes.Repeat([]byte("0123456789abcde\n"), 1<<16)
	for name, body := range map[string]io.Reader{"Length": bytes.NewReader(large), "Chunked": io.MultiReader(bytes.NewReader(large))} {
		resp, got := do(t, c, http.MethodPost, url, body)
		require.Equal(t, http.StatusOK, resp.StatusCode, name)
		require.Equal(t, string(large), got, name)
	}
}

func TestProxy_AnswersEarly(t *testing.T) {
	t.Parallel()
	url, c := setup(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "who are you?", http.StatusUnauthorized) }))
	for range 20 {
		resp, body := do(t, c, http.MethodPost, url, bytes.NewReader(make([]byte, 100<<10)))
		require.Equal(t, http.StatusUnauthorized, resp.StatusCode)
		require.Equal(t, "who are you?\n", body)
	}
}

func TestProxy_BodyTooLarge(t *testing.T) {
	t.Parallel()
	url, c := setup(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	resp, got := do(t, c, http.MethodPost, url, io.MultiReader(bytes.NewReader(make([]byte, 3<<20))))
	require.Equal(t, http.StatusBadGateway, resp.StatusCode)
	require.Equal(t, "internaltrue", got)
}

func TestProxy_Stream(t *testing.T) {
	t.Parallel()
	next := make(chan string)
	gone := make(chan struct{})
	url, c := setup(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(gone)
		for {
			select {
			case line := <-next:
				fmt.Fprintln(w, line)
				if err := http.NewResponseController(w).Flush(); err != nil {
					return
				}
			case <-r.Context().Done():
				return
			}
		}
	}))
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	require.NoError(t, err)
	go func() { next <- "one" }()
	resp, err := c.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	require.True(t, lines.Scan())
	require.Equal(t, "one", lines.Text())
	next <- "two"
	require.True(t, lines.Scan(), "each line arrives before the next is written")
	require.Equal(t, "two", lines.Text())
	cancel()
	<-gone // the module learns that the client has left
}

func TestProxy_BreaksOff(t *testing.T) {
	t.Parallel()
	url, c := setup(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/late" {
			fmt.Fprint(w, "the beginning")
			_ = http.NewResponseController(w).Flush()
		}
		if r.URL.Path == "/panic" {
			panic("a defect")
		}
		panic(http.ErrAbortHandler)
	}))
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/late", nil)
	require.NoError(t, err)
	resp, err := c.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	_, err = io.ReadAll(resp.Body)
	require.Error(t, err, "what broke off does not look complete")
	for _, path := range []string{"/early", "/panic"} {
		resp, code := do(t, c, http.MethodGet, url+path, nil)
		require.Equal(t, http.StatusBadGateway, resp.StatusCode)
		require.Equal(t, "module_awayfalse", code)
	}
}

// TestProxy_Repeats fails the first attempts as a process that dies does.
func TestProxy_Repeats(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	dying := grpc.StreamInterceptor(func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		if calls.Add(1) <= 2 {
			return status.Error(codes.Unavailable, "gone")
		}
		return handler(srv, stream)
	})
	url, c := setup(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }), dying)
	for name, c2 := range map[string]struct {
		method string
		header []string
		want   int
		calls  int64
	}{
		"Get":            {http.MethodGet, nil, http.StatusOK, 3},
		"IdempotencyKey": {http.MethodPost, []string{"Idempotency-Key", "1"}, http.StatusOK, 3},
		"Post":           {http.MethodPost, nil, http.StatusBadGateway, 1},
		"Patch":          {http.MethodPatch, []string{"If-Match", `"1"`}, http.StatusBadGateway, 1},
	} {
		calls.Store(0)
		resp, body := do(t, c, c2.method, url, strings.NewReader("hello"), c2.header...)
		require.Equal(t, c2.want, resp.StatusCode, name)
		require.Equal(t, c2.calls, calls.Load(), name)
		if c2.want == http.StatusOK {
			require.Equal(t, "hello", body, name)
		}
	}
}

// TestProxy_NotInCircles hands a request to a process that would hand it on.
func TestProxy_NotInCircles(t *testing.T) {
	t.Parallel()
	conn, err := grpc.NewClient("127.0.0.1:1", grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	other := front.NewProxy(conn, slog.New(slog.DiscardHandler))
	url, c := setup(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, fault.CodeOf(other.Serve(w, r)))
	}))
	_, body := do(t, c, http.MethodGet, url, nil)
	require.Equal(t, "module_away", body)
}
