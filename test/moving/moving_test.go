package moving_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/platform/nettest"
)

// TestExtractAndMerge moves the user module out of a process and back.
func TestExtractAndMerge(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	home, away := nettest.FreeAddress(t), nettest.FreeAddress(t)
	whole := s.start(t, "whole", "all", "user,order,notification", home, nil)
	s.start(t, "user", "user", "user", away, map[string]string{"order": home, "notification": home})
	shop := newShop(t, whole.url, whole.token, 4)

	settle := 2 * time.Second
	if options.times > 1 {
		settle = 15 * time.Second // enough requests for a percentile
	}
	end := shop.load(options.rate)
	began := time.Now()
	time.Sleep(settle)
	quiet := time.Now()
	for range options.times {
		code, _, errs := s.command(t, whole.url, shop.admin.token, "extract", "user", "--to", away, "--compare", "1s")
		require.Zero(t, code, errs)
		t.Log(errs)
		require.Regexp(t, `[1-9]\d* reads compared, 0 different`, errs)
		code, out, errs := s.command(t, whole.url, shop.admin.token, "edge", "list")
		require.Zero(t, code, errs)
		require.Contains(t, out, away)
		code, _, errs = s.command(t, whole.url, shop.admin.token, "merge", "user", "--compare", "1s")
		require.Zero(t, code, errs)
		t.Log(errs)
	}
	moved := time.Now()
	samples := end()
	for _, r := range samples {
		require.NoError(t, r.err, "a request of %s", r.at.Sub(began))
	}
	before, n := p99(samples, began, quiet)
	during, m := p99(samples, quiet, moved)
	t.Logf("%d requests in all; p99 of %d before %s, of %d while moving %s, ratio %.2f", len(samples), n, before, m, during, float64(during)/float64(before))
	shop.complete(t)
}
