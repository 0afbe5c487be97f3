package journey_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	noterest "cleave/modules/notification/v1/rest"
)

// stream is the live notifications of one caller.
type stream struct {
	events chan noterest.Notification
	close  context.CancelFunc
	ended  chan struct{}
}

// follow opens the stream, after the notification last if there is one.
func (c *caller) follow(t testing.TB, last *uuid.UUID) *stream {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &stream{events: make(chan noterest.Notification, 100), ended: make(chan struct{})}
	s.close = func() {
		cancel()
		<-s.ended
	}
	// A stream may last longer than any other request.
	client, err := noterest.NewClient(c.url, noterest.WithHTTPClient(&http.Client{Transport: c.http.Transport}), noterest.WithRequestEditorFn(c.authorise))
	require.NoError(t, err)
	resp, err := client.StreamNotifications(ctx, &noterest.StreamNotificationsParams{LastEventID: last})
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, "text/event-stream", resp.Header.Get("Content-Type"))
	go func() {
		defer close(s.ended)
		defer func() { _ = resp.Body.Close() }()
		s.read(t, bufio.NewScanner(resp.Body))
	}()
	t.Cleanup(s.close)
	return s
}

// read parses events (WHATWG HTML, section 9.2) until the stream ends.
func (s *stream) read(t testing.TB, lines *bufio.Scanner) {
	fields := map[string]string{}
	for lines.Scan() {
		name, text, _ := strings.Cut(lines.Text(), ":")
		if lines.Text() != "" {
			fields[name] += strings.TrimPrefix(text, " ")
			continue
		}
		if fields["event"] == "notification" {
			var n noterest.Notification
			if err := json.Unmarshal([]byte(fields["data"]), &n); err != nil || n.ID.String() != fields["id"] {
				t.Errorf("event %q with data %q: %v", fields["id"], fields["data"], err)
			}
			s.events <- n
		}
		clear(fields)
	}
}

func (s *stream) next(t testing.TB) noterest.Notification {
	t.Helper()
	select {
	case n := <-s.events:
		return n
	case <-s.ended:
		t.Fatal("the stream has ended")
	case <-time.After(patience):
		t.Fatal("nothing comes through the stream")
	}
	return noterest.Notification{}
}
