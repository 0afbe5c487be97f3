package event_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/platform/event"
)

func TestWaves(t *testing.T) {
	t.Parallel()
	var events []event.Envelope
	for _, id := range strings.Fields("a1 b1 a2 c1 a3 b2") {
		events = append(events, event.Envelope{Meta: event.Meta{ID: id, Key: id[:1]}})
	}
	var waves []string
	for _, wave := range event.Waves(events) {
		ids := make([]string, len(wave))
		for i, e := range wave {
			ids[i] = e.ID
		}
		waves = append(waves, strings.Join(ids, " "))
	}
	require.Equal(t, []string{"a1 b1 c1", "a2 b2", "a3"}, waves)
	require.Empty(t, event.Waves(nil))
}

func TestAttributes(t *testing.T) {
	t.Parallel()
	e := event.Envelope{Meta: event.Meta{ID: "1", Type: "cleave.order.v1.OrderPlaced", Source: "order", Key: "k", Time: time.Unix(1, 5000).UTC(), Causation: "c"}}
	a := e.Attributes()
	require.Equal(t, map[string]string{
		"specversion": "1.0", "id": "1", "type": "cleave.order.v1.OrderPlaced", "source": "order", "time": "1970-01-01T00:00:01.000005Z",
		"partitionkey": "k", "causationid": "c",
	}, a)
	got, err := event.FromAttributes(a, nil)
	require.NoError(t, err)
	require.Equal(t, e, got)
	for name, bad := range map[string]string{"specversion": "0.3", "id": "", "type": "", "source": "a\x00b", "time": "yesterday", "partitionkey": "\xff"} {
		broken := e.Attributes()
		broken[name] = bad
		_, err := event.FromAttributes(broken, nil)
		require.Error(t, err, name)
	}
}
