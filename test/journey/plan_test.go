package journey_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	orderrest "cleave/modules/order/v1/rest"
	"cleave/platform/forecast"
)

// What the journey makes the modules ask of each other stays within the budget, wherever the program is cut.
func TestPlan(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		buyer, lamp := w.customer(t, 100_000), w.newProduct(t, 1299, 100)
		for range 3 {
			o := buyer.reaches(t, buyer.place(t, 1, lamp).ID, orderrest.OrderStatusConfirmed)
			w.admin.ship(t, o.ID)
			w.admin.deliver(t, o.ID)
		}
		require.True(t, happens(func() bool { return buyer.credit(t, buyer.id).Captured == 3*1299 }), "the credit is not captured")
		s, token := w.site, filepath.Join(t.TempDir(), "token")
		require.NoError(t, os.WriteFile(token, []byte(w.admin.token+"\n"), 0o600))
		plan := func(args ...string) []string {
			return append([]string{"plan", "--url", w.server.url, "--token-file", token}, args...)
		}

		var f forecast.Forecast
		o := s.do(t, plan("--split", "user", "--budget", "3", "--output", "json")...)
		require.Zero(t, o.code, o.err)
		require.Contains(t, o.err, "measuring hops")
		require.NoError(t, json.Unmarshal([]byte(o.out), &f))
		require.Equal(t, "user|order,notification", f.Split)
		require.Equal(t, "order,notification", f.Front)
		require.Empty(t, f.Verdict.Over)
		place := f.Operations[slices.IndexFunc(f.Operations, func(o forecast.Operation) bool { return o.Name == "placeOrder" })]
		require.EqualValues(t, 3, place.Requests)
		require.Zero(t, place.Calls, "nobody waits for another module when an order is placed")
		require.InDelta(t, 1, place.LaterCalls, 0.01, "its saga reserves the credit")
		require.Positive(t, place.P50)
		require.Positive(t, f.Hops.Call.P50)
		require.Positive(t, f.Hops.Front.CPU)
		require.Contains(t, o.out, "/cleave.user.v1.UserService/ReserveCredit")
		require.Contains(t, f.Verdict.Words, "The saga place_order of order spans processes: it calls user.")
		require.Contains(t, f.Verdict.Words, "need a broker")

		hops := filepath.Join(t.TempDir(), "hops.json")
		text, err := json.Marshal(f.Hops)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(hops, text, 0o600))
		o = s.do(t, plan("--split", "user|order", "--budget", "0.5", "--hops", hops)...)
		require.Equal(t, 3, o.code, o.err)
		require.Contains(t, o.err, "more than 0.5 calls to other processes per request: order.placeOrder")
		require.Contains(t, o.out, "Do not split like this")
		require.Contains(t, o.out, "order.placeOrder with 1,")
		require.Contains(t, o.out, "notification.tell")

		counts := filepath.Join(t.TempDir(), "edges.json")
		r := w.admin.send(t, http.MethodGet, "/api/v1/admin/process/traffic", "")
		require.Equal(t, http.StatusOK, r.status)
		require.NoError(t, os.WriteFile(counts, r.body, 0o600))
		require.Zero(t, s.do(t, "plan", "--from", counts, "--hops", hops, "--split", "order", "--budget", "3").code)

		bad := filepath.Join(t.TempDir(), "bad")
		require.NoError(t, os.WriteFile(bad, []byte("x"), 0o600))
		for name, c := range map[string]struct {
			args []string
			code int
			says string
		}{
			"NoSplit":     {plan(), 2, "say with --split what to split"},
			"UnknownName": {plan("--split", "users"), 2, `the split "users" names "users", allowed: user, order, notification`},
			"Budget":      {plan("--split", "user", "--budget", "-1"), 2, "--budget is -1"},
			"Front":       {plan("--split", "user", "--front", "mail"), 2, `requests cannot arrive at "mail"`},
			"NoToken":     {[]string{"plan", "--split", "user", "--url", w.server.url}, 2, "--token-file"},
			"BadToken":    {[]string{"plan", "--split", "user", "--url", w.server.url, "--token-file", bad}, 1, "token_invalid"},
			"BadCounts":   {[]string{"plan", "--split", "user", "--from", bad}, 2, "is not what it should hold"},
			"BadHops":     {plan("--split", "user", "--hops", bad), 2, "is not what it should hold"},
			"NoServer":    {[]string{"plan", "--split", "user", "--url", "http://127.0.0.1:1", "--token-file", token}, 1, "no server answers at http://127.0.0.1:1"},
			"During":      {[]string{"plan", "--split", "user", "--from", counts, "--during", "1s"}, 2, "--during"},
		} {
			o := s.do(t, c.args...)
			require.Equal(t, c.code, o.code, "%s: %s", name, o.err)
			require.Contains(t, o.err, c.says, name)
			require.Empty(t, o.out, name)
		}
	})
}
