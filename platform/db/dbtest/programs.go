package dbtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	embedded "github.com/fergusstrange/embedded-postgres"

	"cleave/platform/nettest"
)

// programs is the folder of initdb and postgres: the first of the given ones
// that has them, else the one that fetch makes.
func programs(folders []string, fetch func() (string, error)) (string, error) {
	for _, bin := range folders {
		if executable(filepath.Join(bin, "initdb")) && executable(filepath.Join(bin, "postgres")) {
			return bin, nil
		}
	}
	bin, err := fetch()
	if err != nil {
		return "", fmt.Errorf(`these tests need Postgres 14 or later, and there is none: CLEAVE_TEST_POSTGRES is not set, initdb and postgres are
neither on PATH nor where packages put them, and the download failed (%w).
Install the server (Debian, Ubuntu: apt-get install postgresql; Fedora: dnf install postgresql-server; macOS: brew install postgresql),
or set CLEAVE_TEST_POSTGRES=postgres://admin:password@host:5432/postgres`, err)
	}
	return bin, nil
}

// installed lists folders that may hold the server, the newest version first.
func installed() []string {
	var found []string
	for _, program := range []string{"initdb", "postgres"} {
		if path, err := exec.LookPath(program); err == nil {
			if path, err = filepath.EvalSymlinks(path); err == nil {
				found = append(found, filepath.Dir(path))
			}
		}
	}
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		found = append(found, strings.TrimSpace(string(out)))
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/libexec/postgresql*", "/usr/local/pgsql/bin",
		"/opt/homebrew/opt/postgresql*/bin", "/usr/local/opt/postgresql*/bin",
	} {
		matches, _ := filepath.Glob(pattern)
		slices.Reverse(matches)
		found = append(found, matches...)
	}
	return found
}

// download fetches the server's programs, caches the archive for this user and
// unpacks it below dir. The library starts a server only to unpack; that this
// fails for root does not matter.
func download(dir string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	port, err := nettest.Port()
	if err != nil {
		return "", err
	}
	unpacked := filepath.Join(dir, "postgres")
	server := embedded.NewDatabase(embedded.DefaultConfig().
		CachePath(filepath.Join(cache, "cleave-postgres")).
		BinariesPath(unpacked).
		RuntimePath(filepath.Join(dir, "unpacking")).
		Port(uint32(port)).
		Logger(nil))
	if err = server.Start(); err == nil {
		err = server.Stop()
	}
	bin := filepath.Join(unpacked, "bin")
	if executable(filepath.Join(bin, "initdb")) {
		return bin, nil
	}
	return "", err
}
