package module_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/platform/config"
	"cleave/platform/db/dbtest"
	"cleave/platform/module"
	"cleave/platform/moduletest"
	"cleave/platform/nettest"
)

func scrape(t *testing.T, url string, headers ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/metrics", nil)
	require.NoError(t, err)
	for i := 0; i < len(headers); i += 2 {
		if r.Header.Set(headers[i], headers[i+1]); headers[i] == "Host" {
			r.Host = headers[i+1]
		}
	}
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(body)
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	shop := withKeys(t, spec("shop", hello))
	moduletest.Each(t, []module.Spec{shop}, func(t *testing.T, cfg *config.Config) {
		h := moduletest.Start(t, cfg, shop)
		get(t, h.URL()+"/api/v1/shop")
		get(t, h.URL()+"/api/v1/nothing")
		status, text := scrape(t, h.URL())
		require.Equal(t, http.StatusOK, status)
		for _, series := range []string{
			`http_server_request_duration_seconds_count{http_request_method="GET",http_response_status_code="200",http_route="/api/v1/shop",operation="getshop"} 1`,
			`http_server_request_duration_seconds_count{http_request_method="GET",http_response_status_code="404",http_route="",operation=""} 1`,
			`cleave_event_oldest_undelivered_seconds{module="shop"} 0`, `cleave_event_outbox_waiting{module="shop"} 0`,
			`cleave_state_unread{module="shop"} 0`, `cleave_build_info{version="test"} 1`, `db_client_connection_max{db_client_connection_pool_name="shop"}`,
			"go_goroutines ", "process_resident_memory_bytes ",
		} {
			require.Contains(t, text, series)
		}
	})
}

// The metrics tell of load, versions and names: nobody but this machine gets them from the public listener.
func TestMetrics_NotPublic(t *testing.T) {
	t.Parallel()
	shop := withKeys(t, spec("shop", hello))
	h := moduletest.Start(t, moduletest.Config(t, dbtest.SQLite(t), shop), shop)
	for name, headers := range map[string][]string{
		"XForwardedFor": {"X-Forwarded-For", "192.0.2.1"}, "Forwarded": {"Forwarded", "for=192.0.2.1"}, "Via": {"Via", "1.1 proxy"},
		"XRealIP": {"X-Real-Ip", "192.0.2.1"}, "OtherHost": {"Host", "shop.example"}, "Rebound": {"Host", "127.0.0.1.evil.example:80"},
	} {
		t.Run(name, func(t *testing.T) {
			status, text := scrape(t, h.URL(), headers...)
			require.Equal(t, http.StatusNotFound, status)
			require.NotContains(t, text, "cleave_build_info")
		})
	}
	status, _ := scrape(t, h.URL())
	require.Equal(t, http.StatusOK, status)
}

func TestMetrics_OwnListener(t *testing.T) {
	t.Parallel()
	addr := nettest.FreeAddress(t)
	shop := withKeys(t, spec("shop", hello))
	cfg := moduletest.Config(t, dbtest.SQLite(t), shop)
	cfg.Metrics.Addr = addr
	h := moduletest.Start(t, cfg, shop)
	status, _ := scrape(t, h.URL())
	require.Equal(t, http.StatusNotFound, status, "one place is enough")
	status, text := scrape(t, "http://"+addr, "X-Forwarded-For", "192.0.2.1")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, text, "cleave_build_info")

	taken := moduletest.Config(t, dbtest.SQLite(t), shop)
	taken.Metrics.Addr = addr
	other, err := module.NewHost(taken, module.Options{}, shop)
	require.NoError(t, err)
	require.ErrorContains(t, other.Start(t.Context()), "listen on metrics.addr "+addr)
}

// A database that is gone costs its own gauges, not the scrape.
func TestMetrics_DatabaseGone(t *testing.T) {
	t.Parallel()
	shop := withKeys(t, spec("shop", hello))
	h := moduletest.Start(t, moduletest.Config(t, dbtest.Postgres(t), shop), shop)
	require.NoError(t, h.DB("shop").Close())
	status, text := scrape(t, h.URL())
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, text, `cleave_state_unread{module="shop"} 1`)
	require.NotContains(t, text, "cleave_event_outbox_waiting")
}
