package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"

	"cleave/platform/event"
)

// Deliver publishes events in waves, each event once all in-sync replicas have
// those before it of the same key.
func (p *Pipe) Deliver(ctx context.Context, source string, events []event.Envelope) error {
	topic := p.topic(source)
	publisher, err := p.publish(source)
	if err != nil {
		return err
	}
	var rejected event.Rejected
	for _, wave := range event.Waves(events) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		errs := make([]error, len(wave))
		var sent sync.WaitGroup
		for i, e := range wave {
			sent.Go(func() { errs[i] = publisher.Publish(topic, toMessage(e)) })
		}
		sent.Wait()
		for i, err := range errs {
			switch {
			case err == nil:
			case tooLarge(err):
				rejected.IDs = append(rejected.IDs, wave[i].ID)
				rejected.Err = fmt.Errorf("an event of %d bytes is too large for Kafka: %w", len(wave[i].Payload), err)
			default:
				// A producer that failed may have lost count of what it sent.
				return errors.Join(failed("publish to topic "+topic, err), p.drop())
			}
		}
	}
	if len(rejected.IDs) > 0 {
		return &rejected
	}
	return nil
}

func tooLarge(err error) bool {
	var c sarama.ConfigurationError // the client's own limit
	return errors.Is(err, sarama.ErrMessageSizeTooLarge) || errors.As(err, &c)
}

// publish returns the publisher, for which it makes sure of the topic.
func (p *Pipe) publish(source string) (*kafka.Publisher, error) {
	if err := p.ensureTopics(source); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.publisher == nil {
		publisher, err := kafka.NewPublisher(kafka.PublisherConfig{Brokers: p.o.Brokers, Marshaler: wire{}, OverwriteSaramaConfig: p.config()}, logger{p.o.Log})
		if err != nil {
			return nil, failed("connect to Kafka", err)
		}
		p.publisher = publisher
	}
	return p.publisher, nil
}

// Attributes travel in headers with this prefix, but for datacontenttype
// (CloudEvents Kafka binding, binary content mode).
const (
	attributePrefix = "ce_"
	contentType     = "content-type"
)

func toMessage(e event.Envelope) *message.Message {
	m := message.NewMessage(e.ID, e.Payload)
	for name, value := range e.Attributes() {
		m.Metadata.Set(attributePrefix+name, value)
	}
	m.Metadata.Set(contentType, event.PayloadType)
	return m
}

func envelope(m *message.Message) (event.Envelope, error) {
	attributes := map[string]string{}
	for header, value := range m.Metadata {
		if name, ok := strings.CutPrefix(strings.ToLower(header), attributePrefix); ok {
			attributes[name] = value
		}
	}
	return event.FromAttributes(attributes, m.Payload)
}

// wire translates between Watermill's messages and Kafka's. It never fails: a
// message that is no event must not hold up its partition.
type wire struct{}

func (wire) Marshal(topic string, m *message.Message) (*sarama.ProducerMessage, error) {
	k := &sarama.ProducerMessage{Topic: topic, Key: sarama.StringEncoder(m.Metadata.Get(attributePrefix + "partitionkey")), Value: sarama.ByteEncoder(m.Payload)}
	for name, value := range m.Metadata {
		k.Headers = append(k.Headers, sarama.RecordHeader{Key: []byte(name), Value: []byte(value)})
	}
	return k, nil
}

func (wire) Unmarshal(k *sarama.ConsumerMessage) (*message.Message, error) {
	m := message.NewMessage(fmt.Sprintf("%d/%d", k.Partition, k.Offset), k.Value)
	for _, h := range k.Headers {
		m.Metadata.Set(string(h.Key), string(h.Value))
	}
	return m, nil
}
