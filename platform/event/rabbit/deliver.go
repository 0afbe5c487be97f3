package rabbit

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"cleave/platform/event"
)

// Deliver publishes events in waves and waits until the server has confirmed
// each, which is when all queues have it on disk. Nothing is published as
// mandatory: an event without a subscriber is none that failed.
func (p *Pipe) Deliver(ctx context.Context, source string, events []event.Envelope) error {
	var rejected event.Rejected
	for _, wave := range event.Waves(events) {
		for len(wave) > 0 {
			wave = p.sift(wave, &rejected)
			known := p.limit()
			err := p.send(ctx, source, wave)
			if err == nil {
				break
			}
			if p.limit() == known {
				return err
			}
			// The server has just told its limit: what fits is sent again.
		}
	}
	if len(rejected.IDs) > 0 {
		return &rejected
	}
	return nil
}

// sift takes out what is larger than the server allows.
func (p *Pipe) sift(wave []event.Envelope, rejected *event.Rejected) []event.Envelope {
	limit := p.limit()
	if limit == 0 {
		return wave
	}
	fits := wave[:0:0]
	for _, e := range wave {
		if len(e.Payload) <= limit {
			fits = append(fits, e)
			continue
		}
		rejected.IDs = append(rejected.IDs, e.ID)
		rejected.Err = fmt.Errorf("RabbitMQ takes no event of %d bytes, its max_message_size is %d", len(e.Payload), limit)
	}
	return fits
}

func (p *Pipe) limit() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.maxSize
}

func (p *Pipe) send(ctx context.Context, source string, wave []event.Envelope) error {
	ch, err := p.publisher(source)
	if err != nil {
		return err
	}
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	confirmations := make([]*amqp.DeferredConfirmation, 0, len(wave))
	for _, e := range wave {
		c, err := ch.PublishWithDeferredConfirmWithContext(ctx, p.exchange(), e.Type, false, false, publishing(e))
		if err != nil {
			return p.lost(ch, source, closed, err)
		}
		confirmations = append(confirmations, c)
	}
	for _, c := range confirmations {
		ok, err := c.WaitContext(ctx)
		if err == nil && !ok {
			err = errors.New("the server did not take it")
		}
		if err != nil {
			return p.lost(ch, source, closed, err)
		}
	}
	return nil
}

// publisher returns the channel for a source's events.
func (p *Pipe) publisher(source string) (*amqp.Channel, error) {
	p.mu.Lock()
	ch := p.channels[source]
	p.mu.Unlock()
	if ch != nil && !ch.IsClosed() {
		return ch, nil
	}
	ch, err := p.channel(&p.publish)
	if err != nil {
		return nil, err
	}
	if err := p.declareExchange(ch); err != nil {
		return nil, err
	}
	if err := ch.Confirm(false); err != nil {
		return nil, failed("ask RabbitMQ to confirm", err)
	}
	p.mu.Lock()
	p.channels[source] = ch
	p.mu.Unlock()
	return ch, nil
}

var sizeLimit = regexp.MustCompile(`message size \d+ is larger than .*max size (\d+)`)

// lost ends the channel after err: a later use of it could put events before
// those that it lost. The reason why the server closed it says more than err.
func (p *Pipe) lost(ch *amqp.Channel, source string, closed <-chan *amqp.Error, err error) error {
	p.mu.Lock()
	delete(p.channels, source)
	p.mu.Unlock()
	_ = ch.Close() // it may be closed already
	if reason := <-closed; reason != nil {
		err = reason
		if m := sizeLimit.FindStringSubmatch(reason.Reason); m != nil {
			if limit, convErr := strconv.Atoi(m[1]); convErr == nil {
				p.mu.Lock()
				p.maxSize = limit
				p.mu.Unlock()
			}
		}
	}
	return failed("publish to RabbitMQ", err)
}

// Attributes travel as application properties with this prefix, but for
// datacontenttype (CloudEvents AMQP binding, binary content mode).
const attributePrefix = "cloudEvents_"

func publishing(e event.Envelope) amqp.Publishing {
	headers := amqp.Table{}
	for name, value := range e.Attributes() {
		headers[attributePrefix+name] = value
	}
	return amqp.Publishing{
		Headers: headers, ContentType: event.PayloadType, DeliveryMode: amqp.Persistent, MessageId: e.ID, Timestamp: e.Time, Type: e.Type, Body: e.Payload,
	}
}

func envelope(d amqp.Delivery) (event.Envelope, error) {
	attributes := map[string]string{}
	for header, value := range d.Headers {
		if name, ok := strings.CutPrefix(header, attributePrefix); ok {
			attributes[name], _ = value.(string)
		}
	}
	return event.FromAttributes(attributes, d.Body)
}
