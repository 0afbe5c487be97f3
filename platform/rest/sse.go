package rest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
)

const (
	eventStream        = "text/event-stream"
	streamWriteTimeout = 10 * time.Second // for a client to take one event
)

// Event is one message of a stream (WHATWG HTML, section 9.2).
type Event struct {
	ID   string // comes back as Last-Event-ID; no line breaks, no NUL; "" for none
	Name string // no line breaks; "" means "message"
	Data []byte // any text; its line breaks are kept
}

// Stream answers with an event stream that lasts until the client leaves, its access token expires or
// is revoked, the process drains, or next returns an error, of which io.EOF is the orderly end. next
// waits for the next event; its context ends after keepalive, or with the request, and next must then
// return the context's error without having taken an event. A comment keeps the connection alive
// meanwhile. Use it for a GET whose document answers 200 with text/event-stream: only such a one is
// free of the request's time limit.
func Stream(c *gin.Context, keepalive time.Duration, next func(ctx context.Context) (Event, error)) {
	ctx := c.Request.Context()
	h := c.Writer.Header()
	h.Set("Content-Type", eventStream)
	h.Set("X-Accel-Buffering", "no") // nginx would hold the events back
	c.Status(http.StatusOK)
	control := http.NewResponseController(c.Writer)
	// The connection may serve another request, for which net/http does not lift the deadline.
	defer func() { _ = control.SetWriteDeadline(time.Time{}) }()
	var b bytes.Buffer
	b.WriteString(": open\n\n") // the client sees at once that it is connected
	for {
		// Not every writer has deadlines; the server's own limits hold then.
		_ = control.SetWriteDeadline(time.Now().Add(streamWriteTimeout))
		if _, err := c.Writer.Write(b.Bytes()); err != nil {
			return
		}
		if err := control.Flush(); err != nil {
			return
		}
		b.Reset()
		wait, cancel := context.WithTimeout(ctx, keepalive)
		e, err := next(wait)
		idle := wait.Err() != nil
		cancel()
		switch {
		case ctx.Err() != nil || errors.Is(err, io.EOF):
			return
		case err != nil && idle:
			b.WriteString(": keep-alive\n\n")
			continue
		case err == nil:
			err = e.write(&b)
		}
		if err != nil {
			HandlerError(c, fmt.Errorf("event stream: %w", err))
			return
		}
	}
}

func (e Event) write(b *bytes.Buffer) error {
	if strings.ContainsAny(e.ID, "\r\n\x00") || strings.ContainsAny(e.Name, "\r\n") {
		return errors.New("an event's id or name holds a line break or NUL")
	}
	if e.ID != "" {
		b.WriteString("id: " + e.ID + "\n")
	}
	if e.Name != "" {
		b.WriteString("event: " + e.Name + "\n")
	}
	data := bytes.ReplaceAll(e.Data, []byte("\r\n"), []byte("\n"))
	data = bytes.ReplaceAll(data, []byte("\r"), []byte("\n"))
	for line := range bytes.SplitSeq(data, []byte("\n")) {
		b.WriteString("data: ")
		b.Write(line)
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	return nil
}
