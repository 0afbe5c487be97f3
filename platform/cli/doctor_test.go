package cli

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDiagnose(t *testing.T) {
	t.Parallel()
	require.Equal(t, []finding{
		{"order database", "ok", ""},
		{"event pipe", "failed", "the broker does not answer; events wait in the outboxes"},
		{"module user", "failed", "the connection is failing: connection refused, at user:7443"},
		{"module notification", "ok", "at notification:7443"},
	}, diagnose("[+] order database ok\n[-] event pipe failed: the broker does not answer; events wait in the outboxes\n"+
		"[-] module user failed: the connection is failing: connection refused\n[+] module notification ok\nready\n",
		map[string]string{"user": "user:7443", "notification": "notification:7443"}))
}
