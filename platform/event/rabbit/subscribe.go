package rabbit

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"cleave/platform/event"
)

// Subscribe makes a queue for each subscription. It fails for one that asks
// for history, of which RabbitMQ has none.
func (p *Pipe) Subscribe(_ context.Context, subs []event.Subscription) error {
	for _, s := range subs {
		if s.History {
			return fmt.Errorf("%s asks for the history of %s, and RabbitMQ keeps none", s.Subscriber, s.Type)
		}
		if err := p.ensureQueue(s); err != nil {
			return err
		}
	}
	return nil
}

func (p *Pipe) declareExchange(ch *amqp.Channel) error {
	if err := ch.ExchangeDeclare(p.exchange(), amqp.ExchangeTopic, true, false, false, false, nil); err != nil {
		return failed("make the exchange "+p.exchange(), err)
	}
	return nil
}

// ensureQueue makes a subscriber's queue unless it exists; one that does stays
// as it was made, since RabbitMQ cannot change it. Its limits can be overruled
// by a policy.
func (p *Pipe) ensureQueue(s event.Subscription) error {
	queue := p.queue(s.Subscriber)
	ch, err := p.channel(&p.receive)
	if err != nil {
		return err
	}
	_, err = ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	var refused *amqp.Error
	if errors.As(err, &refused) && refused.Code == amqp.NotFound { // which closes the channel
		if ch, err = p.channel(&p.receive); err != nil {
			return err
		}
		_, err = ch.QueueDeclare(queue, true, false, false, false, p.arguments())
	}
	if err != nil {
		return failed("make the queue "+queue, err)
	}
	defer ch.Close()
	if err := p.declareExchange(ch); err != nil {
		return err
	}
	if err := ch.QueueBind(queue, s.Type, p.exchange(), false, nil); err != nil {
		return failed("bind the queue "+queue, err)
	}
	return nil
}

func (p *Pipe) arguments() amqp.Table {
	keep := min(p.o.Retention.Milliseconds(), math.MaxUint32) // 49 days; RabbitMQ takes no more
	a := amqp.Table{amqp.SingleActiveConsumerArg: true, amqp.QueueMessageTTLArg: keep, amqp.QueueTTLArg: keep}
	if p.o.Quorum {
		a[amqp.QueueTypeArg] = amqp.QueueTypeQuorum
		if p.major() >= 4 { // which by default drops an event that came 20 times
			a["x-delivery-limit"] = -1
		}
	}
	return a
}

// major is the server's version; 0 if it does not say.
func (p *Pipe) major() int {
	p.receive.mu.Lock()
	defer p.receive.mu.Unlock()
	version, _ := p.receive.conn.Properties["version"].(string)
	first, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(first)
	if err != nil {
		return 0
	}
	return n
}
