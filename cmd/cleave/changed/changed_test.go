package changed_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/cmd/cleave/changed"
	"cleave/platform/module"
)

// modules: order calls user; notification follows both; report follows
// notification; alone has nothing to do with anyone.
var modules = []module.Description{
	{Name: "user", Publishes: []module.EventFlow{{Type: "Registered", Handlers: []string{"notification"}}, {Type: "Disabled", Handlers: []string{"order"}}}},
	{Name: "order", Uses: []string{"user"}, Publishes: []module.EventFlow{{Type: "Placed", Handlers: []string{"notification"}}}},
	{Name: "notification", Publishes: []module.EventFlow{{Type: "Sent", Handlers: []string{"report"}}}},
	{Name: "report"},
	{Name: "alone"},
}

func TestSelect(t *testing.T) {
	t.Parallel()
	whole := []string{"./cmd/app/...", "./test/isolation/...", "./test/journey/...", "./test/skew/..."}
	of := func(names ...string) []string {
		packages := []string{whole[0]}
		for _, n := range names {
			packages = append(packages, "./modules/"+n+"/...")
		}
		return append(packages, whole[1:]...)
	}
	for name, c := range map[string]struct {
		files    []string
		packages []string
		why      string
	}{
		"Nothing":           {nil, nil, "Nothing has changed, nothing to test."},
		"Documents":         {[]string{"docs/boundaries.md", "docs/reference/map.svg", "modules/user/NOTES.md", "LICENSE"}, nil, "Only documents have changed, nothing to test."},
		"Called":            {[]string{"modules/user/internal/app/log_in.go"}, of("notification", "order", "report", "user"), ""},
		"Followed":          {[]string{"modules/order/v1/order.proto"}, of("notification", "order", "report"), ""},
		"FollowedByOne":     {[]string{"modules/notification/module.go"}, of("notification", "report"), ""},
		"Leaf":              {[]string{"modules/report/module.go", "docs/x.md"}, of("report"), ""},
		"Alone":             {[]string{"modules/alone/policy.csv"}, of("alone"), ""},
		"Unknown":           {[]string{"modules/fresh/module.go"}, of("fresh"), ""},
		"Several":           {[]string{"modules/alone/a.go", "modules/report/b.go"}, of("alone", "report"), ""},
		"Platform":          {[]string{"modules/alone/a.go", "platform/db/tx.go"}, []string{"./..."}, "Testing everything: platform/db/tx.go has changed."},
		"GoMod":             {[]string{"go.mod"}, []string{"./..."}, ""},
		"GoSum":             {[]string{"go.sum"}, []string{"./..."}, ""},
		"NotKnown":          {[]string{"Dockerfile"}, []string{"./..."}, ""},
		"FileAmongModules":  {[]string{"modules/doc.go"}, []string{"./..."}, ""},
		"README":            {[]string{"README.md"}, []string{"./..."}, ""},
		"Program":           {[]string{"cmd/app/main.go"}, []string{"./cmd/app/..."}, "No module has changed. Testing ./cmd/app/..."},
		"Journey":           {[]string{"test/journey/order_test.go"}, []string{"./test/journey/..."}, ""},
		"Release":           {[]string{"release/VERSION"}, []string{"./cmd/cleave/contract/...", "./test/skew/..."}, ""},
		"Rules":             {[]string{"platform/arch/flow.go"}, []string{"./cmd/cleave/...", "./platform/arch/..."}, ""},
		"MarkdownTestInput": {[]string{"modules/alone/testdata/letter.md"}, of("alone"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plan := changed.Select(c.files, modules)
			require.Equal(t, c.packages, plan.Packages)
			if c.why != "" {
				require.Equal(t, c.why, plan.Why)
			}
		})
	}
}

// TestCommand runs in a repository of its own, in which the change is
// committed, staged, left lying and not known to git at all.
func TestCommand(t *testing.T) {
	root := t.TempDir()
	t.Chdir(root)
	git := func(args ...string) {
		t.Helper()
		c := exec.Command("git", append([]string{"-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "commit.gpgsign=false"}, args...)...)
		c.Dir = root
		out, err := c.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	write := func(name string) {
		t.Helper()
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(root, name), []byte(name), 0o644))
	}
	list := func(args ...string) (string, error) {
		c := changed.Command()
		var out bytes.Buffer
		c.SetOut(&out)
		c.SetErr(&out)
		c.SilenceUsage = true
		c.SetArgs(append([]string{"--list"}, args...))
		err := c.ExecuteContext(t.Context())
		return out.String(), err
	}

	git("init", "--initial-branch", "main")
	write("docs/a.md")
	write("platform/db/moved.go")
	git("add", ".")
	git("commit", "--message", "Begin")
	git("checkout", "-b", "work")
	out, err := list("--since", "main")
	require.NoError(t, err)
	require.Empty(t, out)

	write("test/journey/committed_test.go")
	git("add", ".")
	git("commit", "--message", "Test")
	write("release/VERSION")
	git("add", ".")
	write("cmd/cleave/contract/with space.go")
	write("docs/a b.md")
	write("test/skew/x_test.go")
	out, err = list("--since", "main")
	require.NoError(t, err)
	require.Equal(t, "./cmd/cleave/...\n./cmd/cleave/contract/...\n./test/journey/...\n./test/skew/...\n", out)

	git("mv", "platform/db/moved.go", "docs/moved.md")
	out, err = list("--since", "main")
	require.NoError(t, err)
	require.Equal(t, "./...\n", out, "what has moved is missing where it was")

	_, err = list("--since", "nowhere")
	require.ErrorContains(t, err, "nowhere")
}
