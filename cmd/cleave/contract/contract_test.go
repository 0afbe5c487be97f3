package contract_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/cmd/cleave/contract"
)

// setup copies what the contracts of this tree consist of, and its release.
func setup(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	tree := os.DirFS("../../..")
	for _, pattern := range []string{
		"go.mod", "buf.yaml", "tools/go.*", "tools/oasdiff.*", "modules/*/v1/*.proto", "modules/*/v1/openapi.yaml",
		"modules/*/migrations/*/*.sql", "platform/db/migrations/*/*.sql", "release/*", "release/openapi/*", "release/migrations/*/*/*",
	} {
		files, err := fs.Glob(tree, pattern)
		require.NoError(t, err)
		require.NotEmpty(t, files, pattern)
		for _, f := range files {
			if info, err := fs.Stat(tree, f); err != nil || info.IsDir() {
				continue
			}
			b, err := fs.ReadFile(tree, f)
			require.NoError(t, err)
			write(t, root, f, string(b))
		}
	}
	write(t, root, "release/VERSION", "0.1.0\n") // whatever it is by now
	return root
}

// edit replaces text in a file of the copy, where it stands exactly once.
func edit(t *testing.T, root, name, before, after string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(b), before), "%q in %s", before, name)
	write(t, root, name, strings.Replace(string(b), before, after, 1))
}

func rules(r *contract.Report) map[string]string {
	found := map[string]string{}
	for _, f := range r.Findings {
		found[f.File+" "+f.Rule] = f.What
	}
	return found
}

func TestCheck_ThisTree(t *testing.T) {
	t.Parallel()
	r, err := contract.Check(t.Context(), "../../..")
	require.NoError(t, err)
	require.Empty(t, r.Findings)
}

func TestCheck_Compatible(t *testing.T) {
	t.Parallel()
	root := setup(t)
	edit(t, root, "modules/user/v1/user.proto", "message UserEnabled {\n", "message UserEnabled {\n  // Who let the user in.\n  string by = 2;\n")
	edit(t, root, "modules/user/v1/openapi.yaml", "      operationId: getProfile\n", `      operationId: getProfile
      parameters:
        - { name: fields, in: query, required: false, description: What to read., schema: { type: string, maxLength: 10 } }
`)
	write(t, root, "modules/user/migrations/postgres/00002_nickname.sql", "-- +goose Up\nALTER TABLE users ADD COLUMN nickname text NOT NULL DEFAULT '';\n")
	r, err := contract.Check(t.Context(), root)
	require.NoError(t, err)
	require.Empty(t, r.Findings)
}

func TestCheck_Breaking(t *testing.T) {
	t.Parallel()
	root := setup(t)
	const (
		user     = "modules/user/v1/user.proto"
		order    = "modules/order/v1/order.proto"
		document = "modules/user/v1/openapi.yaml"
	)
	edit(t, root, user, "rpc CaptureCredit(CaptureCreditRequest)", "rpc TakeCredit(CaptureCreditRequest)")
	edit(t, root, user, "  // True for a user who may not log in or act.\n  bool disabled = 4;\n", "")
	edit(t, root, user, "  int64 version = 4;", "  string version = 4;") // of an event
	edit(t, root, order, "  int64 quantity = 3;", "  int64 pieces = 3;") // of an event's part
	edit(t, root, order, "  repeated OrderLine lines = 5;", "  repeated OrderLine lines = 6;")
	edit(t, root, document, "      operationId: getProfile\n", `      operationId: getProfile
      parameters:
        - { name: fields, in: query, required: true, description: What to read., schema: { type: string, maxLength: 10 } }
`)
	edit(t, root, document, "      required: [token, email, password, display_name]\n", "      required: [token, email, password, display_name, reason]\n")
	edit(t, root, document, "          description: The one-time token that the first start printed.\n", "          description: The one-time token that the first start printed.\n        reason: { type: string, maxLength: 10 }\n")
	require.NoError(t, os.Remove(filepath.Join(root, "modules/notification/v1/openapi.yaml")))
	edit(t, root, "platform/db/migrations/sqlite/00001_platform.sql", "CREATE TABLE outbox (", "CREATE TABLE outgoing (")
	write(t, root, "modules/order/migrations/sqlite/00002_less.sql", "-- +goose Up\nALTER TABLE orders DROP COLUMN reason;\n")

	r, err := contract.Check(t.Context(), root)
	require.NoError(t, err)
	found := rules(r)
	for _, want := range []string{
		user + " proto/rpc_no_delete", user + " proto/field_no_delete", user + " proto/field_same_type",
		order + " proto/field_same_name", order + " proto/field_no_delete",
		document + " openapi/new-required-request-parameter", document + " openapi/new-required-request-property",
		"modules/notification/v1/openapi.yaml openapi/document-removed",
		"platform/db/migrations/sqlite/00001_platform.sql migration/changed",
		"modules/order/migrations/sqlite/00002_less.sql migration/drop-column",
	} {
		require.Contains(t, found, want)
	}
	for _, f := range r.Findings {
		require.NotEmpty(t, f.Fix)
		require.True(t, f.Line > 0 || f.Rule == "openapi/document-removed", "%s", f)
	}

	err = contract.Release(t.Context(), root, "0.2.0")
	require.ErrorIs(t, err, contract.ErrBroken)
	b, err := os.ReadFile(filepath.Join(root, "release/VERSION"))
	require.NoError(t, err)
	require.Equal(t, "0.1.0\n", string(b), "what breaks the release must not replace it")
}

func TestRelease(t *testing.T) {
	t.Parallel()
	root := setup(t)
	write(t, root, "modules/user/migrations/postgres/00002_nickname.sql", "-- +goose Up\nALTER TABLE users ADD COLUMN nickname text;\n")
	for _, version := range []string{"", "1", "v1.2.0", "1.2.0-rc1", "01.2.0", "0.0.9"} {
		require.Error(t, contract.Release(t.Context(), root, version), "%q", version)
	}
	require.NoError(t, contract.Release(t.Context(), root, "0.2.0"))
	require.FileExists(t, filepath.Join(root, "release/migrations/user/postgres/00002_nickname.sql"))
	require.FileExists(t, filepath.Join(root, "release/README.md"))

	r, err := contract.Check(t.Context(), root)
	require.NoError(t, err)
	require.Equal(t, "0.2.0", r.Version)
	require.Empty(t, r.Findings)
	left, err := filepath.Glob(filepath.Join(root, ".release-*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestCommand(t *testing.T) {
	t.Chdir(t.TempDir())
	c := contract.Command()
	c.SetArgs(nil)
	c.SetOut(&bytes.Buffer{})
	c.SetErr(&bytes.Buffer{})
	require.ErrorContains(t, c.ExecuteContext(t.Context()), "release/VERSION is missing")
}
