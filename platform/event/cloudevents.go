package event

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// PayloadType is the media type of payloads, CloudEvents' datacontenttype.
const PayloadType = "application/protobuf"

// Attributes are the CloudEvents 1.0 context attributes of e, by name and
// without the prefix that a protocol binding puts before them: the four
// required ones, time, and the extensions partitionkey, traceparent
// (Distributed Tracing) and causationid as far as they are set.
func (e Envelope) Attributes() map[string]string {
	a := map[string]string{
		"specversion": "1.0", "id": e.ID, "type": e.Type, "source": e.Source, "time": e.Time.UTC().Format(time.RFC3339Nano),
	}
	for name, value := range map[string]string{"partitionkey": e.Key, "traceparent": e.Traceparent, "causationid": e.Causation} {
		if value != "" {
			a[name] = value
		}
	}
	return a
}

// FromAttributes is the event with the given CloudEvents attributes. It fails
// when a required one is missing and for values that no inbox can store.
func FromAttributes(a map[string]string, payload []byte) (Envelope, error) {
	if v := a["specversion"]; v != "1.0" {
		return Envelope{}, fmt.Errorf("CloudEvents specversion is %q, not 1.0", v)
	}
	for _, name := range []string{"id", "type", "source", "partitionkey", "traceparent", "causationid"} {
		v := a[name]
		if !utf8.ValidString(v) || strings.ContainsRune(v, 0) {
			return Envelope{}, fmt.Errorf("CloudEvents attribute %s is not text: %q", name, v)
		}
	}
	e := Envelope{
		Meta: Meta{
			ID: a["id"], Type: a["type"], Source: a["source"], Key: a["partitionkey"],
			Traceparent: a["traceparent"], Causation: a["causationid"],
		},
		Payload: payload,
	}
	if e.ID == "" || e.Type == "" || e.Source == "" {
		return Envelope{}, errors.New("a CloudEvents attribute is missing: id, type and source are required")
	}
	at, err := time.Parse(time.RFC3339Nano, a["time"])
	if err != nil {
		return Envelope{}, fmt.Errorf("CloudEvents attribute time: %w", err)
	}
	e.Time = at.UTC()
	return e, nil
}

// Waves splits events, oldest first, so that no two of one key are in the same
// wave and those of one key are in successive ones. A broker client that sends
// a wave at once, and the next only when it holds the whole one before, cannot
// put events of one key out of order, whatever gets lost.
func Waves(events []Envelope) [][]Envelope {
	var waves [][]Envelope
	next := map[string]int{}
	for _, e := range events {
		n := next[e.Key]
		next[e.Key]++
		if n == len(waves) {
			waves = append(waves, nil)
		}
		waves[n] = append(waves[n], e)
	}
	return waves
}
