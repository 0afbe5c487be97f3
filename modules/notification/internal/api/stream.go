package api

import (
	"context"
	"encoding/json"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"cleave/platform/fault"
	"cleave/platform/rest"
)

// keepAlive is shorter than the idle time-outs of common proxies.
const keepAlive = 15 * time.Second

// stream sends the caller's notifications as they come. An event's id is the
// notification's, so that a client can go on after the newest one in a list.
func (s server) stream(c *gin.Context) {
	ctx := c.Request.Context()
	user, err := caller(ctx)
	if err != nil {
		rest.HandlerError(c, err)
		return
	}
	last := c.GetHeader("Last-Event-ID")
	if id, err := uuid.Parse(last); err == nil {
		last = id.String()
	} else if last != "" {
		rest.RequestError(c, fault.New(fault.Invalid, "last_event_id_invalid", "Last-Event-ID is not the id of an event of this stream"))
		return
	}
	feed, err := s.app.Follow(ctx, user, last)
	if err != nil {
		rest.HandlerError(c, err)
		return
	}
	defer feed.Close()
	rest.Stream(c, keepAlive, func(ctx context.Context) (rest.Event, error) {
		n, err := feed.Next(ctx)
		if err != nil {
			return rest.Event{}, err
		}
		w, err := wireNotification(n)
		if err != nil {
			return rest.Event{}, err
		}
		data, err := json.Marshal(w)
		return rest.Event{ID: n.ID, Name: "notification", Data: data}, err
	})
}
