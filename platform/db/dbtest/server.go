package dbtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"cleave/platform/db"
	"cleave/platform/nettest"
)

// shared is the one cluster of the test process: a package-level variable
// because tests have no common place to keep it.
var shared struct {
	once   sync.Once
	server *Server
	err    error
}

// Options of a private cluster.
type Options struct {
	Fsync    bool     // commits survive a crash of the machine, as in production
	Settings []string // of postgresql.conf: "shared_buffers=256MB"
}

// Server is a private Postgres cluster on the loopback interface.
type Server struct {
	DSN     string // of the superuser, to database postgres
	Pgbench string // path of pgbench; empty when the installation has none

	dir    string
	stdin  io.WriteCloser
	exited chan struct{}
}

// Cluster starts a cluster for this test alone and stops it at the end.
func Cluster(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// Database is an empty database, dropped with its roles when the test ends.
func (s *Server) Database(t testing.TB) db.Config {
	t.Helper()
	return newDatabase(t, s.DSN, s.exited)
}

// watchdog runs the server until its standard input closes, which the system
// does when the test process ends in whatever way, and removes the folder. Each
// line ends the server at once, as pg_ctl stop -m immediate does, and starts it
// again that many seconds later.
const watchdog = `dir=$1; shift
trap '' HUP INT TERM
"$@" >"$dir/log" 2>&1 &
while read -r pause; do
	kill -QUIT $!
	wait $!
	sleep "$pause"
	"$@" >>"$dir/log" 2>&1 &
done
kill -QUIT $!
wait $!
rm -rf "$dir"`

// start makes a cluster and waits until it answers.
func start(o Options) (s *Server, err error) {
	user, err := serverUser()
	if err != nil {
		return nil, err
	}
	for range 2 { // another process may take the port first
		var dir string
		if dir, err = user.folder(o.Fsync); err != nil {
			return nil, err
		}
		if s, err = startIn(dir, user, o); err == nil {
			return s, nil
		}
		_ = os.RemoveAll(dir)
	}
	return nil, err
}

func startIn(dir string, user account, o Options) (*Server, error) {
	bin, err := programs(installed(), func() (string, error) { return download(dir) })
	if err != nil {
		return nil, err
	}
	if err = user.own(dir); err != nil { // also what was downloaded
		return nil, err
	}
	password := rand.Text()
	secret := filepath.Join(dir, "password")
	if err = user.writeFile(secret, password); err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	initdb := user.command(filepath.Join(bin, "initdb"), "-D", data, "-U", "postgres", "-A", "scram-sha-256", "--pwfile", secret,
		"-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")
	initdb.Dir = dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	s := &Server{dir: dir}
	if pgbench := filepath.Join(bin, "pgbench"); executable(pgbench) {
		s.Pgbench = pgbench
	}
	return s, s.run(bin, data, password, user, o)
}

func (s *Server) run(bin, data, password string, user account, o Options) error {
	port, err := nettest.Port()
	if err != nil {
		return err
	}
	args := []string{"-c", watchdog, "watchdog", s.dir, filepath.Join(bin, "postgres"), "-D", data, "-p", fmt.Sprint(port)}
	settings := []string{"listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=200"}
	if !o.Fsync {
		settings = append(settings, "fsync=off", "full_page_writes=off", "autovacuum=off")
	}
	for _, setting := range append(settings, o.Settings...) {
		args = append(args, "-c", setting)
	}
	cmd := user.command("/bin/sh", args...)
	cmd.Dir = s.dir
	ownGroup(cmd)
	if s.stdin, err = cmd.StdinPipe(); err != nil {
		return err
	}
	if err = cmd.Start(); err != nil {
		return err
	}
	s.exited = make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(s.exited)
	}()
	dsn := url.URL{
		Scheme: "postgres", User: url.UserPassword("postgres", password),
		Host: fmt.Sprintf("127.0.0.1:%d", port), Path: "/postgres",
	}
	s.DSN = dsn.String()
	if err = s.ready(); err != nil {
		log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
		s.Stop()
		return fmt.Errorf("Postgres did not start: %w\n%s", err, log)
	}
	return nil
}

// ready waits up to half a minute for the server.
func (s *Server) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, s.DSN)
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Restart ends the server at once, as pg_ctl stop -m immediate does: without a
// checkpoint and without a word to its clients. It starts it again after the
// pause, which is taken in whole milliseconds, and returns once the server has
// recovered and answers, after half a minute at most.
func (s *Server) Restart(pause time.Duration) error {
	before, err := s.since(context.Background())
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(s.stdin, "%d.%03d\n", pause/time.Second, pause%time.Second/time.Millisecond); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), pause+30*time.Second)
	defer cancel()
	for {
		after, err := s.since(ctx)
		if err == nil && after.After(before) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("Postgres did not come back: %w", errors.Join(ctx.Err(), err))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// since is when the server that answers was started.
func (s *Server) since(ctx context.Context) (at time.Time, err error) {
	conn, err := pgx.Connect(ctx, s.DSN)
	if err != nil {
		return at, err
	}
	err = conn.QueryRow(ctx, "SELECT pg_postmaster_start_time()").Scan(&at)
	return at, errors.Join(err, conn.Close(ctx))
}

// Stop ends the server and waits until its folder is gone.
func (s *Server) Stop() {
	_ = s.stdin.Close()
	<-s.exited
}

func executable(path string) bool {
	_, err := exec.LookPath(path)
	return err == nil
}
