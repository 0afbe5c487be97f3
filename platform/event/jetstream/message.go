package jetstream

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"cleave/platform/event"
)

// Attributes travel in headers with this prefix, datacontenttype among them,
// and percent-encoded (CloudEvents NATS binding, binary content mode).
const attributePrefix = "ce-"

func (p *Pipe) message(e event.Envelope) *nats.Msg {
	m := nats.NewMsg(p.subject(e.Source, e.Type))
	for name, value := range e.Attributes() {
		m.Header.Set(attributePrefix+name, url.PathEscape(value))
	}
	m.Header.Set(attributePrefix+"datacontenttype", event.PayloadType)
	m.Data = e.Payload
	return m
}

func envelope(m jetstream.Msg) (event.Envelope, error) {
	attributes := map[string]string{}
	for header, values := range m.Headers() {
		name, ok := strings.CutPrefix(strings.ToLower(header), attributePrefix)
		if !ok || len(values) == 0 {
			continue
		}
		value, err := url.PathUnescape(values[0])
		if err != nil {
			return event.Envelope{}, fmt.Errorf("header %s: %w", header, err)
		}
		attributes[name] = value
	}
	return event.FromAttributes(attributes, m.Data())
}

func (p *Pipe) subject(source, typ string) string { return p.o.Prefix + "." + source + "." + typ }

func (p *Pipe) stream(source string) string { return p.o.Prefix + "-" + source }

// durable is the name of a subscriber's consumer; names cannot contain dots.
func durable(subscriber string) string { return strings.ReplaceAll(subscriber, ".", "-") }
