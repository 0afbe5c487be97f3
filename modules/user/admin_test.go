package user_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"cleave/modules/user"
	userv1 "cleave/modules/user/v1"
	userrest "cleave/modules/user/v1/rest"
	"cleave/platform/cli"
	"cleave/platform/config"
	"cleave/platform/module"
	"cleave/platform/moduletest"
)

func TestCreateFirstAdmin(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		token := f.firstAdminToken(t)
		body := func(token, email string) string {
			return fmt.Sprintf(`{"token": %q, "email": %q, "password": "correct horse", "display_name": "Grace"}`, token, email)
		}
		const path = "/api/v1/users/first-admin"
		f.refused(t, f.do(t, http.MethodPost, path, "", body("0123456789abcdef0123456789abcdef", "eve@example.com")), http.StatusForbidden, "first_admin_token_invalid")
		require.Equal(t, http.StatusUnprocessableEntity, f.do(t, http.MethodPost, path, "", body(token, "nonsense")).status)

		var made, refused atomic.Int64
		g, ctx := errgroup.WithContext(t.Context())
		for n := range 8 {
			g.Go(func() error {
				r, err := f.client.CreateFirstAdminWithResponse(ctx, nil, userrest.CreateFirstAdmin{
					Token: token, Email: fmt.Sprintf("root%d@example.com", n), Password: secret, DisplayName: "Grace",
				})
				if err != nil {
					return err
				}
				switch r.StatusCode() {
				case http.StatusCreated:
					made.Add(1)
				case http.StatusConflict, http.StatusForbidden:
					refused.Add(1)
				}
				return nil
			})
		}
		require.NoError(t, g.Wait())
		require.Equal(t, [2]int64{1, 7}, [2]int64{made.Load(), refused.Load()})
		f.refused(t, f.do(t, http.MethodPost, path, "", body(token, "late@example.com")), http.StatusConflict, "first_admin_exists")
		f.refused(t, f.do(t, http.MethodPost, path, "", body("0123456789abcdef0123456789abcdef", "late@example.com")), http.StatusConflict, "first_admin_exists")
		_, e := next[*userv1.UserRegistered](t, f)
		require.Contains(t, e.GetEmail(), "root")
	})
}

// TestCreateAdminCommand makes the administrator as an operator does, with the token from the start-up block.
func TestCreateAdminCommand(t *testing.T) {
	t.Parallel()
	moduletest.Each(t, []module.Spec{user.Module}, func(t *testing.T, cfg *config.Config) {
		t.Parallel()
		var block bytes.Buffer
		h, err := module.NewHost(cfg, module.Options{Version: "test", Out: &block}, user.Module)
		require.NoError(t, err)
		require.NoError(t, h.Start(t.Context()))
		t.Cleanup(func() { require.NoError(t, h.Stop(context.Background())) }) // t.Context has ended by then
		token := regexp.MustCompile(`first admin token\s+(\S+)`).FindStringSubmatch(block.String())
		require.Len(t, token, 2, block.String())

		run := func(stdin string, args ...string) (int, string, string) {
			var stdout, stderr bytes.Buffer
			stdio := cli.IO{In: strings.NewReader(stdin), Out: &stdout, Err: &stderr, Env: []string{"CLEAVE_DATA_DIR=" + t.TempDir()}}
			code := cli.Main(t.Context(), append([]string{"user", "create-admin"}, args...), stdio, "test", []module.Spec{user.Module})
			return code, stdout.String(), stderr.String()
		}
		email := []string{"--email", "root@example.com"}
		good := append(email, "--url", h.URL(), "--token", token[1], "--password-stdin", "--output", "json")
		for name, c := range map[string]struct {
			stdin  string
			args   []string
			code   int
			stderr string
		}{
			"NoEmail":       {secret, []string{"--password-stdin"}, cli.Usage, "email"},
			"NoToken":       {secret, append(email, "--url", h.URL(), "--password-stdin"), cli.Usage, "--token"},
			"NoTerminal":    {secret, append(email, "--token", token[1]), cli.Usage, "--password-stdin"},
			"WrongToken":    {secret, append(email, "--url", h.URL(), "--token", "0123456789abcdef", "--password-stdin"), cli.Failed, "first_admin_token_invalid"},
			"ShortPassword": {"short\n", good, cli.Usage, "password"},
			"NoServer":      {secret, append(email, "--url", "http://127.0.0.1:1", "--token", token[1], "--password-stdin"), cli.Failed, "127.0.0.1:1"},
		} {
			t.Run(name, func(t *testing.T) {
				code, stdout, stderr := run(c.stdin, c.args...)
				require.Equal(t, c.code, code, stderr)
				require.Contains(t, stderr, c.stderr)
				require.Empty(t, stdout)
				require.Equal(t, 1, strings.Count(stderr, "\n"), "one line: %s", stderr)
			})
		}
		code, stdout, stderr := run(secret+"\n", good...)
		require.Equal(t, cli.OK, code, stderr)
		var u userrest.User
		require.NoError(t, json.Unmarshal([]byte(stdout), &u))
		require.Equal(t, []string{"admin", "customer"}, u.Roles)
		require.Equal(t, "Administrator", u.DisplayName)
		require.NotContains(t, stdout+stderr, secret)

		code, _, stderr = run(secret+"\n", good...)
		require.Equal(t, cli.Failed, code)
		require.Contains(t, stderr, "first_admin_exists")
	})
}
