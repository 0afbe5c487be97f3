package rest

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"
)

// openStream connects to the stream and returns its lines.
func openStream(t *testing.T, f *fixture) (*bufio.Reader, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", f.server.URL+"/api/v1/notes/stream", nil)
	require.NoError(t, err)
	h := f.as(t, "u1")
	req.Header.Set(h[0], h[1])
	res, err := f.server.Client().Do(req)
	require.NoError(t, err)
	t.Cleanup(func() { _ = res.Body.Close() })
	require.Equal(t, 200, res.StatusCode)
	require.Equal(t, eventStream, res.Header.Get("Content-Type"))
	require.Equal(t, "no", res.Header.Get("X-Accel-Buffering"))
	require.Equal(t, "no-store", res.Header.Get("Cache-Control"))
	return bufio.NewReader(res.Body), cancel
}

// readEvent returns the next block of lines that is not a comment.
func readEvent(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	var b strings.Builder
	for {
		line, err := r.ReadString('\n')
		require.NoError(t, err)
		switch {
		case strings.HasPrefix(line, ":"):
			_, err = r.ReadString('\n')
			require.NoError(t, err)
		case line == "\n":
			return b.String()
		default:
			b.WriteString(line)
		}
	}
}

func TestStream(t *testing.T) {
	t.Parallel()

	t.Run("Events", func(t *testing.T) {
		t.Parallel()
		// The request's time limit must not end a stream.
		f := setup(t, func(o *Options) { o.RequestTimeout = 50 * time.Millisecond })
		r, _ := openStream(t, f)
		line, err := r.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, ": open\n", line)
		_, err = r.ReadString('\n')
		require.NoError(t, err)
		for range 5 { // 20 ms each
			line, err = r.ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, ": keep-alive\n", line)
			_, err = r.ReadString('\n')
			require.NoError(t, err)
		}
		f.notes.events <- Event{ID: "1", Name: "note", Data: []byte("a\nb\r\nc\rd")}
		require.Equal(t, "id: 1\nevent: note\ndata: a\ndata: b\ndata: c\ndata: d\n", readEvent(t, r))
		f.notes.events <- Event{}
		require.Equal(t, "data: \n", readEvent(t, r))
		close(f.notes.events)
		_, err = io.ReadAll(r)
		require.NoError(t, err, "io.EOF ends the stream in order")
	})

	t.Run("EndsWhenDraining", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		r, _ := openStream(t, f)
		f.notes.events <- Event{Data: []byte("x")}
		require.Equal(t, "data: x\n", readEvent(t, r))
		f.api.Draining()
		_, err := io.ReadAll(r)
		require.NoError(t, err)
	})

	t.Run("EndsWithTheClient", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		r, leave := openStream(t, f)
		f.notes.events <- Event{Data: []byte("x")}
		require.Equal(t, "data: x\n", readEvent(t, r))
		leave()
		require.Eventually(t, func() bool { return strings.Contains(f.log.String(), `"route":"/api/v1/notes/stream"`) }, 5*time.Second, 5*time.Millisecond)
	})

	t.Run("BadEvent", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		r, _ := openStream(t, f)
		f.notes.events <- Event{ID: "1\ndata: forged"}
		rest, err := io.ReadAll(r)
		require.NoError(t, err)
		require.NotContains(t, string(rest), "forged")
		require.Eventually(t, func() bool { return strings.Contains(f.log.String(), "line break or NUL") }, 5*time.Second, 5*time.Millisecond)
	})
}

func TestEvent_Write(t *testing.T) {
	t.Parallel()
	for _, e := range []Event{{ID: "a\nb"}, {ID: "a\rb"}, {ID: "a\x00b"}, {Name: "a\nb"}, {Name: "a\rb"}} {
		require.Error(t, e.write(&bytes.Buffer{}))
	}
}

// deadlines records the write deadlines that were set.
type deadlines struct {
	*httptest.ResponseRecorder
	set []time.Time
}

func (d *deadlines) SetWriteDeadline(t time.Time) error { d.set = append(d.set, t); return nil }

func TestStream_WriteDeadlineEndsWithIt(t *testing.T) {
	t.Parallel()
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	c, _ := gin.CreateTestContext(w)
	c.Request = httptest.NewRequest("GET", "/", nil)
	Stream(c, time.Minute, func(context.Context) (Event, error) { return Event{}, io.EOF })
	require.Len(t, w.set, 2)
	require.False(t, w.set[0].IsZero(), "a client that does not read is left after a while")
	require.True(t, w.set[1].IsZero())
}
