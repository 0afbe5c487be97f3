package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver pgx

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
)

// maxBuyers is how many clients have a buyer, and so a credit account, of their
// own.
const maxBuyers = 32

// cluster is a private Postgres with two databases of the same content: one is
// the server's, the other pgbench's, so that neither works off what the other
// has left behind.
type cluster struct {
	server  *dbtest.Server
	pgbench string // path
	version string
	config  db.Config
	shop    *shop
	bench   string // name of pgbench's database
	process int    // the postmaster's
	bases   int64  // runs of pgbench so far
}

// openCluster returns the run's cluster, which it starts when it is first asked.
func (o *options) openCluster(ctx context.Context, b *bed) (c *cluster, err error) {
	if o.cluster == nil {
		o.cluster, err = startCluster(ctx, b, o.self)
	}
	return o.cluster, err
}

// startCluster starts a cluster as durable as a default one, fills a database
// through `bench serve` and clones it.
func startCluster(ctx context.Context, b *bed, self string) (*cluster, error) {
	s := dbtest.Cluster(b, dbtest.Options{Fsync: true, Settings: []string{
		"shared_preload_libraries=pg_stat_statements", "pg_stat_statements.track=top",
		// One checkpoint in the middle of a round would decide it.
		"shared_buffers=256MB", "max_wal_size=8GB", "checkpoint_timeout=1h",
	}})
	c := &cluster{server: s, pgbench: s.Pgbench, config: s.Database(b)}
	if c.pgbench == "" {
		var err error
		if c.pgbench, err = exec.LookPath("pgbench"); err != nil {
			return nil, errors.New("there is no pgbench beside the Postgres server and none on PATH: install it (Debian, Ubuntu: apt-get install postgresql-contrib)")
		}
	}
	dir := b.TempDir()
	server, err := launch(ctx, dir, c.env(), self, "serve", "-idle-sagas", "-idle-events")
	if err != nil {
		return nil, err
	}
	c.shop, err = openShop(server, maxBuyers)
	if err = errors.Join(err, server.stop()); err != nil {
		return nil, err
	}
	return c, c.fill(ctx, b)
}

// env is how a server finds the cluster.
func (c *cluster) env() []string {
	return []string{"CLEAVE_DB_DSN=" + c.config.DSN, "CLEAVE_DB_ADMIN_DSN=" + c.config.AdminDSN, "CLEAVE_DB_ROLE_SECRET=" + c.config.RoleSecret, "CLEAVE_AUTH_ACCESS_TTL=1h"}
}

func (c *cluster) fill(ctx context.Context, b *bed) error {
	c.bench = c.database() + "_pgbench"
	b.Cleanup(func() {
		_ = c.exec(context.Background(), "postgres", "DROP DATABASE IF EXISTS "+c.bench+" WITH (FORCE)")
	})
	d, err := c.open(c.database())
	if err != nil {
		return err
	}
	if err = stock(ctx, d, "postgres", c.shop); err == nil {
		err = c.accounts(ctx, d)
	}
	if err = errors.Join(err, d.Close()); err != nil {
		return err
	}
	if d, err = c.open("postgres"); err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	if err = d.QueryRowContext(ctx, "SHOW server_version").Scan(&c.version); err != nil {
		return err
	}
	err = d.QueryRowContext(ctx, "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::int").Scan(&c.process)
	if err != nil {
		return err
	}
	if err != nil {
		return err
	}
	return c.exec(ctx, "postgres", "CREATE EXTENSION pg_stat_statements", "CREATE DATABASE "+c.bench+" TEMPLATE "+c.database(), "CHECKPOINT")
}

// exec runs statements as the superuser.
func (c *cluster) exec(ctx context.Context, database string, statements ...string) error {
	d, err := c.open(database)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	for _, statement := range statements {
		if _, err = d.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

// forget drops what an earlier section has left to be done, from both
// databases.
func (c *cluster) forget(ctx context.Context) error {
	for _, database := range []string{c.database(), c.bench} {
		if err := c.exec(ctx, database, `TRUNCATE "order".outbox, "order".sagas, notification.inbox`); err != nil {
			return err
		}
	}
	return c.exec(ctx, "postgres", "CHECKPOINT")
}

// accounts makes buyers whose ids pgbench can name: the clients' numbers.
func (c *cluster) accounts(ctx context.Context, d *sql.DB) error {
	for _, statement := range []string{
		`INSERT INTO users (id, email, email_lower, display_name, search, password_hash, version, created_at, updated_at)
			SELECT lpad(n::text, 32, '0')::uuid, 'b' || n, 'b' || n, 'B', 'b' || n, '', 1, n, n FROM generate_series(1, $1::int) AS n`,
		`INSERT INTO accounts (user_id, currency, granted, available, version, updated_at)
			SELECT lpad(n::text, 32, '0')::uuid, 'EUR', ` + fmt.Sprintf("%d, %[1]d", int64(credit)) + `, 1, n FROM generate_series(1, $1::int) AS n`,
	} {
		if _, err := d.ExecContext(ctx, statement, maxBuyers); err != nil {
			return fmt.Errorf("make pgbench's accounts: %w", err)
		}
	}
	return nil
}

func (c *cluster) database() string {
	u, _ := url.Parse(c.config.AdminDSN)
	return strings.TrimPrefix(u.Path, "/")
}

// open connects as the superuser, who sees the tables of orders and users. What
// both schemas have is the orders'.
func (c *cluster) open(database string) (*sql.DB, error) {
	return sql.Open("pgx", c.superuser(database))
}

func (c *cluster) superuser(database string) string {
	u, _ := url.Parse(c.server.DSN)
	u.Path = "/" + database
	u.RawQuery = url.Values{"search_path": {searchPath}}.Encode()
	return u.String()
}

const searchPath = `"order","user",public`

// pgbenchEnv is how pgbench finds its database.
func (c *cluster) pgbenchEnv() []string {
	u, _ := url.Parse(c.server.DSN)
	password, _ := u.User.Password()
	return append(clean(os.Environ()), "PGHOST="+u.Hostname(), "PGPORT="+u.Port(), "PGUSER="+u.User.Username(), "PGPASSWORD="+password,
		"PGDATABASE="+c.bench, "PGOPTIONS=-c search_path="+searchPath, "HOME="+filepath.Dir(c.pgbench))
}
