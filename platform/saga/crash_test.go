package saga_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/fault"
	"cleave/platform/saga"
)

// childEnv holds the life of a process that a test starts in order to kill it.
const childEnv = "CLEAVE_SAGA_CHILD"

// life is what such a process does: it runs the sagas of the database, after
// it has started the one named, and stands still for ever at a point.
type life struct {
	Dir, DSN, Secret string
	Start, At        string
}

// lifeOn is a life on the database of c.
func lifeOn(c db.Config, start, at string) life {
	return life{Dir: c.Dir, DSN: c.AdminDSN, Secret: c.RoleSecret, Start: start, At: at}
}

func TestMain(m *testing.M) {
	if text := os.Getenv(childEnv); text != "" {
		live(text)
		return
	}
	dbtest.Main(m)
}

// effects is the table of another module, in which remote steps have their
// effect: once by key, and none after it was taken back.
func effects() fs.FS {
	const table = "-- +goose Up\nCREATE TABLE effects (key text PRIMARY KEY, state text NOT NULL, changes integer NOT NULL);\n"
	return fstest.MapFS{"sqlite/00001_effects.sql": {Data: []byte(table)}, "postgres/00001_effects.sql": {Data: []byte(table)}}
}

// voyage is the saga of a process that dies: book and pay are remote, confirm
// is local and refuses trips whose id begins with "no".
func voyage(own, other *db.DB, at func(point string)) saga.Definition[trip] {
	mark := func(ctx context.Context, s *trip, what string) error {
		return own.Queue(ctx).Exec("INSERT INTO marks (saga, what) VALUES (?, ?)", s.ID, what).Error
	}
	set := func(ctx context.Context, key, state string, from ...string) error {
		return other.Tx(ctx, func(ctx context.Context) error {
			if err := other.Conn(ctx).Exec("INSERT INTO effects (key, state, changes) VALUES (?, '', 0) ON CONFLICT DO NOTHING", key).Error; err != nil {
				return err
			}
			return other.Conn(ctx).Exec("UPDATE effects SET state = ?, changes = changes + 1 WHERE key = ? AND state IN ?", state, key, from).Error
		})
	}
	around := func(what string, fn func(ctx context.Context, s *trip) error) func(ctx context.Context, s *trip) error {
		return func(ctx context.Context, s *trip) error {
			at("before " + what)
			if err := fn(ctx, s); err != nil {
				return err
			}
			at("after " + what)
			return nil
		}
	}
	remote := func(name string) saga.Step[trip] {
		return saga.Step[trip]{
			Name:      name,
			Do:        around("do "+name, func(ctx context.Context, s *trip) error { return set(ctx, s.ID+name, "done", "") }),
			Undo:      around("undo "+name, func(ctx context.Context, s *trip) error { return set(ctx, s.ID+name, "undone", "", "done") }),
			Retry:     saga.RetryPolicy{Timeout: time.Hour},
			UndoRetry: saga.RetryPolicy{Timeout: time.Hour},
		}
	}
	return saga.Definition[trip]{
		Name: "voyage",
		Steps: []saga.Step[trip]{remote("book"), remote("pay"), {
			Name: "confirm", Local: true, Retry: saga.RetryPolicy{Timeout: time.Hour},
			Do: around("do confirm", func(ctx context.Context, s *trip) error {
				if strings.HasPrefix(s.ID, "no") {
					return errRefused
				}
				return mark(ctx, s, "confirmed")
			}),
		}},
		Failed: func(ctx context.Context, s *trip, _ *fault.Error) error {
			return around("end", func(ctx context.Context, s *trip) error { return mark(ctx, s, "failed") })(ctx, s)
		},
	}
}

// newRunner is the runner of a process whose sagas nobody gets by their lease.
func newRunner(own, other *db.DB, at func(string)) (*saga.Runner, *saga.Saga[trip]) {
	r := saga.NewRunner(own, saga.Options{
		Poll: tick, Lease: time.Hour, Workers: 4, Log: slog.New(slog.DiscardHandler), Now: time.Now, Owner: uuid.NewString(),
	})
	return r, saga.Register(r, voyage(own, other, at))
}

// live is the process. It says where it stands, and waits to be killed.
func live(text string) {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	var l life
	must(json.Unmarshal([]byte(text), &l))
	ctx := context.Background()
	c := db.Config{Dir: l.Dir, AdminDSN: l.DSN, RoleSecret: l.Secret}
	own, err := db.Open(ctx, c, "order", nil)
	must(err)
	other, err := db.Open(ctx, c, "user", nil)
	must(err)
	at := func(point string) {
		if point == l.At {
			fmt.Println("\nat", point)
			select {}
		}
	}
	r, s := newRunner(own, other, at)
	go func() { // so that a process whose test is gone does not stay
		_, _ = bufio.NewReader(os.Stdin).ReadByte()
		os.Exit(1)
	}()
	running := make(chan error, 1)
	if l.At != "started" {
		go func() { running <- r.Run(ctx) }()
	}
	if l.Start != "" {
		must(own.Tx(ctx, func(ctx context.Context) error { return s.Start(ctx, l.Start, trip{ID: l.Start}) }))
	}
	at("started")
	must(<-running)
}

// lives starts a process and waits until it stands where it is to die.
func lives(t *testing.T, l life) (kill func()) {
	t.Helper()
	text, err := json.Marshal(l)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	kill = sync.OnceFunc(func() {
		cancel() // which kills it
		_ = cmd.Wait()
		_ = stdin.Close()
	})
	t.Cleanup(kill)
	found := false
	lines := bufio.NewScanner(out)
	for !found && lines.Scan() {
		found = lines.Text() == "at "+l.At
	}
	require.True(t, found, "the process does not come to: %s", l.At)
	return kill
}

func openBoth(t *testing.T, c db.Config) (own, other *db.DB) {
	t.Helper()
	require.NoError(t, db.Setup(t.Context(), c, []string{"order", "user"}))
	return dbtest.Open(t, c, "order", marks(), nil), dbtest.Open(t, c, "user", effects(), nil)
}

// One process after the other is killed, at each boundary of each step; the
// next one goes on at once, without waiting for a lease, and in the end each
// effect is there once.
func TestKill(t *testing.T) {
	t.Parallel()
	for id, points := range map[string][]string{
		"yes": {
			"started", "before do book", "after do book", "before do pay", "after do pay", "before do confirm", "after do confirm",
		},
		"no": {
			"before do book", "after do pay", "before do confirm",
			"before undo pay", "after undo pay", "before undo book", "after undo book", "before end", "after end",
		},
	} {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			dbtest.Each(t, func(t *testing.T, c db.Config) {
				t.Parallel()
				own, other := openBoth(t, c)
				start := id
				for _, point := range points {
					lives(t, lifeOn(c, start, point))()
					start = ""
				}
				run(t, own, other)
				ended(t, own, other, id)
			})
		})
	}
}

// run runs the sagas in this process until the test ends.
func run(t *testing.T, own, other *db.DB) *saga.Saga[trip] {
	t.Helper()
	r, s := newRunner(own, other, func(string) {})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	return s
}

// ended waits for the saga's end, and requires that each effect is there once.
func ended(t *testing.T, own, other *db.DB, id string) {
	t.Helper()
	state, mark, effect := saga.Completed, "confirmed", "done 1"
	if strings.HasPrefix(id, "no") {
		state, mark, effect = saga.Compensated, "failed", "undone 2"
	}
	eventually(t, func() bool {
		s, err := saga.Show(t.Context(), own, "voyage", id)
		require.NoError(t, err)
		return s.State == state
	}, id)
	var all []string
	require.NoError(t, own.Conn(t.Context()).Raw("SELECT what FROM marks WHERE saga = ?", id).Scan(&all).Error)
	require.Equal(t, []string{mark}, all)
	require.NoError(t, other.Conn(t.Context()).Raw("SELECT state || ' ' || changes FROM effects WHERE key IN ? ORDER BY key", []string{id + "book", id + "pay"}).Scan(&all).Error)
	require.Equal(t, []string{effect, effect}, all)
}

// A replica that runs takes over what one that is killed leaves.
func TestKill_Replica(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"after do book", "before do confirm"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			c := dbtest.Postgres(t)
			own, other := openBoth(t, c)
			kill := lives(t, lifeOn(c, "yes", point))
			s := run(t, own, other)
			eventually(t, func() bool { return len(owners(t, own)) == 2 })
			before, err := saga.Show(t.Context(), own, "voyage", "yes")
			require.NoError(t, err)
			require.NoError(t, own.Tx(t.Context(), func(ctx context.Context) error {
				_, err := saga.Retry(ctx, own, saga.Filter{})
				require.NoError(t, err)
				return s.Start(ctx, "yes2", trip{ID: "yes2"})
			}))
			ended(t, own, other, "yes2") // whoever lives keeps what it has, meanwhile
			after, err := saga.Show(t.Context(), own, "voyage", "yes")
			require.NoError(t, err)
			require.Equal(t, before, after)
			kill()
			ended(t, own, other, "yes")
			require.Len(t, owners(t, own), 1, "the dead stay listed")
		})
	}
}

func owners(t *testing.T, d *db.DB) (names []string) {
	t.Helper()
	require.NoError(t, d.Conn(t.Context()).Raw("SELECT owner FROM saga_owners").Scan(&names).Error)
	return names
}

// A process whose lock is lost holds one of another name; what it had claimed
// under the old name goes on.
func TestLockLost(t *testing.T) {
	t.Parallel()
	c := dbtest.Postgres(t)
	own, other := openBoth(t, c)
	entered, release := make(chan string, 8), make(chan struct{})
	r, s := newRunner(own, other, func(point string) {
		if point == "before do pay" {
			entered <- point
			<-release
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	eventually(t, func() bool { return len(owners(t, own)) == 1 })
	old := owners(t, own)
	require.NoError(t, own.Tx(ctx, func(ctx context.Context) error { return s.Start(ctx, "yes", trip{ID: "yes"}) }))
	<-entered

	admin, err := pgx.Connect(t.Context(), c.AdminDSN)
	require.NoError(t, err)
	defer func() { require.NoError(t, admin.Close(context.WithoutCancel(ctx))) }()
	var terminated bool
	require.NoError(t, admin.QueryRow(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE application_name = 'cleave-order-lock' AND datname = current_database()`).Scan(&terminated))
	require.True(t, terminated)
	eventually(t, func() bool {
		now := owners(t, own)
		return len(now) == 1 && now[0] != old[0]
	}, "no new name")
	<-entered // the same step, under the new name
	close(release)
	ended(t, own, other, "yes")
	cancel()
	require.NoError(t, <-done)
	require.Empty(t, owners(t, own), "a process that stops leaves the list")
}
