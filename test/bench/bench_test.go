package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestQuantile(t *testing.T) {
	t.Parallel()
	times := []time.Duration{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	require.EqualValues(t, 5, quantile(times, 0.5))
	require.EqualValues(t, 10, quantile(times, 0.99))
	require.EqualValues(t, 1, quantile(times, 0))
	require.Zero(t, quantile(nil, 0.5))
}

func TestMedian(t *testing.T) {
	t.Parallel()
	require.EqualValues(t, 2, median([]float64{9, 1, 2}))
	require.EqualValues(t, 1.5, median([]float64{2, 1}))
}

// The ratios are those of each round: one slow round of both sides changes
// nothing.
func TestComparison_Ratio(t *testing.T) {
	t.Parallel()
	round := func(done int) sample { return sample{done: done, elapsed: time.Second} }
	c := comparison{rounds: [][]sample{{round(50), round(5), round(60)}, {round(100), round(10), round(100)}}}
	require.InDelta(t, 0.5, c.ratio(1, rate), 1e-9)
}

func TestScript(t *testing.T) {
	t.Parallel()
	way := []transaction{
		{{"SELECT a FROM b WHERE c = $1", []string{"id"}}},
		{{"INSERT INTO b (a,\n\t\tc) VALUES ($1,$2)", []string{"'x'", "text"}}, {"DELETE FROM b WHERE c = $1", []string{"now"}}},
	}
	const statements = `SELECT a FROM b WHERE c = lpad(:id, 32, '0')::uuid;
BEGIN;
INSERT INTO b (a, c) VALUES ('x',lpad(:id, 36, '0'));
DELETE FROM b WHERE c = :id;
COMMIT;
`
	require.Contains(t, script(way, false), statements)
	require.Contains(t, script(way, true), "\\startpipeline\nBEGIN;\nINSERT")
	require.Equal(t, map[string]int{
		"SELECT a FROM b WHERE c = ?": 1, "INSERT INTO b (a, c) VALUES (?,?)": 1, "DELETE FROM b WHERE c = ?": 1,
	}, count(way))
}

// pg_stat_statements keeps some statements as they were sent, and of others it
// replaces the literals.
func TestShape(t *testing.T) {
	t.Parallel()
	sent := shape("UPDATE b SET a = $1, n = n + 1 WHERE state = 'new'\n\t\tAND c2 IN ($2,$3)")
	require.Equal(t, sent, shape("UPDATE b SET a = $1, n = n + $4 WHERE state = $5 AND c2 IN ($2,$3)"))
	require.NotEqual(t, sent, shape("UPDATE b SET a = $1, n = n + 1 WHERE state = 'new' AND c3 IN ($2,$3)"))
}

func TestStatements_BindAllPlaceholders(t *testing.T) {
	t.Parallel()
	for _, way := range [][]transaction{placing, confirming, reading} {
		for _, tx := range way {
			for _, s := range tx {
				require.Len(t, s.args, len(numbered.FindAllString(s.sql, -1)), s.sql)
				require.NotRegexp(t, numbered, s.pgbench())
			}
		}
	}
}

func TestLatencies(t *testing.T) {
	t.Parallel()
	prefix := filepath.Join(t.TempDir(), "run1")
	require.NoError(t, os.WriteFile(prefix+".7", []byte("0 1 2500 0 1700000000 1\n1 1 900 0 1700000000 2\n"), 0o600))
	require.NoError(t, os.WriteFile(prefix+".7.1", []byte("2 1 1200 0 1700000000 3\n"), 0o600))
	times, err := latencies(prefix)
	require.NoError(t, err)
	require.Equal(t, []time.Duration{900 * time.Microsecond, 1200 * time.Microsecond, 2500 * time.Microsecond}, times)
}

func TestClient(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 10_000) // too long to be sent with its length
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch r.URL.Path {
		case "/long":
			_, _ = io.WriteString(w, long)
		case "/empty":
			w.WriteHeader(http.StatusNoContent)
		default:
			w.WriteHeader(http.StatusCreated)
			_, _ = fmt.Fprintf(w, "%s %s %s %s", r.Method, r.Header.Get("Authorization"), r.Header.Get("Idempotency-Key"), body)
		}
	}))
	defer server.Close()
	c, err := dial(server.Listener.Addr().String(), "t")
	require.NoError(t, err)
	defer c.close()
	for range 2 { // on one connection
		for _, want := range []struct {
			path   string
			status int
			answer string
		}{{"/long", 200, long}, {"/empty", 204, ""}, {"/", 201, "POST Bearer t k {}"}} {
			status, answer, err := c.do(http.MethodPost, want.path, "k", []byte("{}"))
			require.NoError(t, err)
			require.Equal(t, want.status, status)
			require.Equal(t, want.answer, string(answer))
		}
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	r := &report{}
	r.section("Start")
	r.atMost("first answer", 152.4, 150, " ms", "")
	r.atLeast("ratio", 0.512, 0.5, "a 1/s, b 2/s")
	r.figure("also", "%d µs", 5)
	var b bytes.Buffer
	r.print(&b)
	require.Equal(t, "\nStart\n"+
		"  first answer  152 ms                ≤ 150 ms  MISSED\n"+
		"  ratio         0.51  (a 1/s, b 2/s)  ≥ 0.50    met\n"+
		"  also          5 µs\n", b.String())
}
