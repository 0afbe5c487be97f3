package journey_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	noterest "cleave/modules/notification/v1/rest"
	"cleave/platform/event/eventtest"
)

// TestBroker takes orders while events travel over a broker, and while that is
// away.
func TestBroker(t *testing.T) {
	t.Parallel()
	broker := eventtest.NATS(t)
	w := newWorld(t, sqliteSite(t, "CLEAVE_EVENTS_PIPE="+broker.URL))
	t.Run("Delivered", func(t *testing.T) { delivered(t, w) })
	t.Run("CancelledWithItsBuyer", func(t *testing.T) { cancelledWithItsBuyer(t, w) })
	t.Run("BrokerAway", func(t *testing.T) {
		buyer := w.customer(t, 10000)
		buyer.told(t, noterest.NotificationKindRegistered, nil)
		pen := w.newProduct(t, 350, 5)
		broker.Kill()
		o := buyer.place(t, 1, pen)
		require.True(t, happens(func() bool {
			return readiness(t, w) == "[-] event pipe failed: the broker does not answer; events wait in the outboxes"
		}))
		broker.Start(t)
		buyer.told(t, noterest.NotificationKindConfirmed, &o.ID)
		require.True(t, happens(func() bool { return readiness(t, w) == "[+] event pipe ok" }))
	})
	w.server.stop(t)
	broker.Kill()
	w.restarted(t)
	t.Run("StartedWithoutIt", func(t *testing.T) {
		buyer := w.customer(t, 10000)
		o := buyer.place(t, 1, w.newProduct(t, 350, 5))
		broker.Start(t)
		buyer.told(t, noterest.NotificationKindConfirmed, &o.ID)
	})
	w.balanced(t)
}

// readiness is what a ready process says of its event pipe.
func readiness(t *testing.T, w *world) string {
	t.Helper()
	r, err := http.Get(w.server.url + "/readyz?verbose")
	require.NoError(t, err)
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, r.StatusCode, "%s", body)
	for line := range strings.Lines(string(body)) {
		if strings.Contains(line, "event pipe") {
			return strings.TrimSpace(line)
		}
	}
	return ""
}
