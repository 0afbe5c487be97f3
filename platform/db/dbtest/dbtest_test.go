package dbtest_test

import (
	"bufio"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
)

// child makes this test binary start a cluster, print its DSN and wait.
const child = "DBTEST_CHILD"

func TestMain(m *testing.M) { dbtest.Main(m) }

func TestEach(t *testing.T) {
	var configs []db.Config
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		configs = append(configs, c)
		dbtest.Open(t, c, "order", nil, nil)
	})
	require.Len(t, configs, 2)
	require.NoDirExists(t, configs[0].Dir)
	dropped, err := url.Parse(configs[1].AdminDSN)
	require.NoError(t, err)
	name := strings.TrimPrefix(dropped.Path, "/")
	dropped.Path = "/postgres"
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dropped.String())
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(ctx)) }()
	var left int
	require.NoError(t, conn.QueryRow(ctx, `SELECT (SELECT count(*) FROM pg_database WHERE datname = $1)
		+ (SELECT count(*) FROM pg_roles WHERE starts_with(rolname, $1))`, name).Scan(&left))
	require.Zero(t, left, "the database or its roles are left")
}

func TestGivenServer(t *testing.T) {
	server := dbtest.Cluster(t, dbtest.Options{Settings: []string{"work_mem=7MB"}})
	t.Setenv("CLEAVE_TEST_POSTGRES", server.DSN)
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dbtest.Postgres(t).AdminDSN)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(ctx)) }()
	settings := map[string]string{"work_mem": "7MB", "fsync": "off"}
	for name, want := range settings {
		var got string
		require.NoError(t, conn.QueryRow(ctx, "SELECT current_setting($1)", name).Scan(&got))
		require.Equal(t, want, got, name)
	}
}

func TestDurableCluster(t *testing.T) {
	server := dbtest.Cluster(t, dbtest.Options{Fsync: true})
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, server.Database(t).AdminDSN)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(ctx)) }()
	var fsync string
	require.NoError(t, conn.QueryRow(ctx, "SHOW fsync").Scan(&fsync))
	require.Equal(t, "on", fsync)
	if server.Pgbench != "" {
		out, err := exec.Command(server.Pgbench, "--version").CombinedOutput()
		require.NoError(t, err, string(out))
	}
}

func TestRestart(t *testing.T) {
	server := dbtest.Cluster(t, dbtest.Options{})
	ctx := context.Background()
	c := server.Database(t)
	before, err := pgx.Connect(ctx, c.AdminDSN)
	require.NoError(t, err)
	defer func() { _ = before.Close(ctx) }()
	_, err = before.Exec(ctx, "CREATE TABLE kept AS SELECT 7 AS n")
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, server.Restart(30*time.Millisecond))
	}
	require.Error(t, before.Ping(ctx), "the connection has survived")
	after, err := pgx.Connect(ctx, c.AdminDSN)
	require.NoError(t, err)
	defer func() { require.NoError(t, after.Close(ctx)) }()
	var n int
	require.NoError(t, after.QueryRow(ctx, "SELECT n FROM kept").Scan(&n))
	require.Equal(t, 7, n)
}

// However a test process ends, its server and folder go with it.
func TestClusterEndsWithProcess(t *testing.T) {
	if os.Getenv(child) != "" {
		server := dbtest.Cluster(t, dbtest.Options{})
		fmt.Println(server.DSN)
		select {}
	}
	cmd := exec.Command(os.Args[0], "-test.run=TestClusterEndsWithProcess")
	cmd.Env = append(os.Environ(), child+"=1")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "postgres://") {
	}
	dsn := lines.Text()
	require.NotEmpty(t, dsn)
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dsn)
	require.NoError(t, err)
	var folder string
	require.NoError(t, conn.QueryRow(ctx, "SHOW data_directory").Scan(&folder))
	require.DirExists(t, folder)
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	require.Eventually(t, func() bool {
		_, err := os.Stat(folder)
		return os.IsNotExist(err)
	}, 20*time.Second, 20*time.Millisecond, "the folder stays")
	_, err = pgx.Connect(ctx, dsn)
	require.Error(t, err, "the server runs on")
	_ = conn.Close(ctx)
}
