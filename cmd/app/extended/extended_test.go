package main

import (
	"context"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/cmd/app/demo"
	"cleave/platform/cli"
	"cleave/platform/event/eventtest"
	"cleave/platform/nettest"
)

func TestMain(m *testing.M) {
	eventtest.Main()
	m.Run()
}

// The event of a registration goes from the user module over Kafka to the notification module, which writes a mail.
func TestServe_Kafka(t *testing.T) {
	t.Parallel()
	kafka := eventtest.Kafka(t)
	url, data := "http://"+nettest.FreeAddress(t), t.TempDir()

	ctx, stop := context.WithCancel(t.Context())
	code := make(chan int, 1)
	env := []string{"CLEAVE_HTTP_ADDR=" + strings.TrimPrefix(url, "http://"), "CLEAVE_DATA_DIR=" + data, "CLEAVE_EVENTS_PIPE=" + kafka.URL}
	go func() {
		code <- cli.Main(ctx, []string{"serve"}, faults(cli.IO{Out: io.Discard, Err: t.Output(), Env: env}), version, modules, demo.Command)
	}()
	t.Cleanup(func() {
		stop()
		require.Equal(t, cli.OK, <-code)
	})
	require.Eventually(t, func() bool { return strings.Contains(get(url+"/readyz?verbose"), "[+] event pipe ok") }, time.Minute, 20*time.Millisecond)

	register, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/api/v1/users",
		strings.NewReader(`{"email":"ada@example.org","password":"a plain long sentence 1815","display_name":"Ada"}`))
	require.NoError(t, err)
	register.Header.Set("Content-Type", "application/json")
	register.Header.Set("Idempotency-Key", "the-first-registration")
	res, err := http.DefaultClient.Do(register)
	require.NoError(t, err)
	answer, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Less(t, res.StatusCode, 300, "%s", answer)
	require.Eventually(t, func() bool {
		mails, err := filepath.Glob(filepath.Join(data, "mail", "*.eml"))
		return err == nil && len(mails) > 0
	}, time.Minute, 20*time.Millisecond, "no mail")
}

// get is the body of an answer, and "" without one.
func get(url string) string {
	res, err := http.Get(url)
	if err != nil {
		return ""
	}
	defer func() { _ = res.Body.Close() }()
	body, _ := io.ReadAll(res.Body)
	return string(body)
}
