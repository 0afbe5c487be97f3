package event

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"cleave/platform/backoff"
)

// Pipe carries events from the outbox of the module that published them to the
// inboxes of their subscribers, in this process or over a broker. It gives
// every event to each subscriber at least once and keeps the order per key;
// inboxes refuse repeats. All methods may be called at the same time.
type Pipe interface {
	// Subscribe makes durable subscriptions and returns once events delivered
	// from now on reach them, also while nobody receives. A subscription that
	// exists already keeps its position.
	Subscribe(ctx context.Context, subs []Subscription) error

	// Deliver hands over events of one source, oldest first. It returns nil
	// once the next hop holds all of them durably, in this order per key. After
	// an error any of them may have been handed over, in order per key, and all
	// are to be delivered again. A *Rejected error names those that never can
	// be; the others were handed over.
	Deliver(ctx context.Context, source string, events []Envelope) error

	// Receive gives what arrives for sub to accept, in order per key, until ctx
	// ends, and then returns nil; no call of accept outlasts it. Events are
	// acknowledged after accept returned nil and given again after an error. It
	// keeps trying while the broker is away. sub must have been subscribed.
	Receive(ctx context.Context, sub Subscription, accept func(context.Context, []Envelope) error) error

	// Ping reports why the next hop cannot be reached, nil if it can.
	Ping(ctx context.Context) error

	// Close ends the connection; nothing else may be running.
	Close() error
}

// Subscription is one subscriber's durable claim on the events of one type. It
// begins with the events delivered after its first Subscribe.
type Subscription struct {
	Subscriber string // module.handler
	Type       string // protobuf full name
	Source     string // the module that publishes Type
	History    bool   // begin with the oldest event that the next hop still holds
	Database   string // names the database with the subscriber's inbox; "" if that does not matter
}

// ErrUnreachable is in the errors of a pipe whose broker is away. It passes
// without anybody's doing, unlike other errors.
var ErrUnreachable = errors.New("the broker cannot be reached")

// ErrTaken is in the errors of Subscribe and Receive when the subscription belongs to the subscriber of another database: each would
// get a part of the events.
var ErrTaken = errors.New("another database has the subscription")

// Rejected is the error of Deliver for events that the next hop will never
// take, such as one larger than the broker allows. It says nothing against the
// other events of the call.
type Rejected struct {
	IDs []string
	Err error // why
}

func (e *Rejected) Error() string {
	return fmt.Sprintf("events %s can never be delivered: %v", strings.Join(e.IDs, ", "), e.Err)
}

func (e *Rejected) Unwrap() error { return e.Err }

// Source is the module that publishes t: what stands before the version in the
// package of its message, such as order for cleave.order.v1.OrderPlaced.
func (t Type) Source() string {
	parts := strings.Split(t.Name(), ".")
	return parts[max(0, len(parts)-3)]
}

// Insist calls accept until it takes events, and returns false when ctx ended
// before. It is how a pipe's Receive keeps its place: what follows must not
// overtake a batch that the inbox refuses for now.
func Insist(ctx context.Context, log *slog.Logger, sub Subscription, events []Envelope, accept func(context.Context, []Envelope) error) bool {
	if len(events) == 0 {
		return true
	}
	for attempt := 1; ; attempt++ {
		err := accept(ctx, events)
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		if attempt == 1 {
			log.WarnContext(ctx, "the inbox does not take events; retrying", "subscriber", sub.Subscriber, "error", err)
		}
		backoff.Pause(ctx, backoff.Delay(attempt, 20*time.Millisecond, time.Second))
	}
}
