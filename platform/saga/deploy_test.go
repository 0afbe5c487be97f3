package saga_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/fault"
	"cleave/platform/saga"
)

// logs is what a runner said.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), part)
}

// release is a binary: the steps of its saga "trip", and those that it has
// retired. A step whose name ends in * is local.
type release struct{ steps, retired []string }

// deploy is a process of the release on the world's database.
func (w *world) deploy(t *testing.T, r release) (*world, *logs) {
	t.Helper()
	l := &logs{}
	p := &world{db: w.db, backoff: w.backoff, fail: w.fail}
	p.runner = saga.NewRunner(w.db, saga.Options{
		Poll: tick, Lease: time.Hour, Workers: 4, Log: slog.New(slog.NewTextHandler(l, nil)), Now: time.Now, Owner: uuid.NewString(),
	})
	steps := func(names []string) (all []saga.Step[trip]) {
		for _, name := range names {
			all = append(all, p.step(strings.TrimSuffix(name, "*"), strings.HasSuffix(name, "*")))
		}
		return all
	}
	p.saga = saga.Register(p.runner, saga.Definition[trip]{
		Name: "trip", Steps: steps(r.steps), Retired: steps(r.retired),
		Failed: func(ctx context.Context, s *trip, cause *fault.Error) error {
			return p.act(ctx, s, "failed "+cause.Code, true)
		},
	})
	return p, l
}

var first = release{steps: []string{"book", "pay", "confirm*"}}

// A saga goes on with the plan that it began with, whatever the steps of the
// next binary.
func TestDeploy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		next     release
		turn     bool   // it is being compensated when the next binary comes
		missing  string // what the next binary lacks
		old, new string // histories
	}{
		"Reordered": {next: release{steps: []string{"pay", "book", "confirm*"}}, old: "do book,do pay,do confirm", new: "do pay,do book,do confirm"},
		"Added":     {next: release{steps: []string{"insure", "book", "pay", "confirm*"}}, old: "do book,do pay,do confirm", new: "do insure,do book,do pay,do confirm"},
		"Retired":   {next: release{steps: []string{"book", "confirm*"}, retired: []string{"pay"}}, old: "do book,do pay,do confirm", new: "do book,do confirm"},
		"Removed":   {next: release{steps: []string{"book", "confirm*"}}, missing: "pay", old: "do book,do pay,do confirm", new: "do book,do confirm"},
		"Renamed":   {next: release{steps: []string{"reserve", "pay", "confirm*"}}, missing: "book", old: "do book,do pay,do confirm", new: "do reserve,do pay,do confirm"},
		"TurnedRound": {
			next: release{steps: []string{"pay", "insure", "book", "confirm*"}}, turn: true,
			old: "do book,do pay,compensate ,undo pay,undo book,end ", new: "do pay,do insure,do book,do confirm",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dbtest.Each(t, func(t *testing.T, cfg db.Config) {
				t.Parallel()
				w := setup(t, cfg, nil)
				w.backoff = time.Hour
				w.fails("do pay", fault.New(fault.Unavailable, "", "down"))
				before, _ := w.deploy(t, first)
				stop := before.run(t)
				before.start(t, "old")
				w.reaches(t, "old", saga.Running, "do book", "do pay")
				stop()
				w.fails("do pay", nil)

				after, said := w.deploy(t, c.next)
				if c.turn {
					require.NoError(t, saga.Compensate(t.Context(), w.db, "trip", "old"))
				} else {
					_, err := saga.Retry(t.Context(), w.db, saga.Filter{})
					require.NoError(t, err)
				}
				waiting, err := saga.Show(t.Context(), w.db, "trip", "old")
				require.NoError(t, err)
				stop = after.run(t)
				if c.missing != "" {
					for i := range 5 { // so that it has looked often
						id := fmt.Sprint("other", i)
						after.start(t, id)
						after.ends(t, id)
					}
					require.Equal(t, 1, said.count("sagas wait for a process that knows all their steps"), "it is said once")
					require.Equal(t, 1, said.count("missing="+c.missing))
					now, err := saga.Show(t.Context(), w.db, "trip", "old")
					require.NoError(t, err)
					require.Equal(t, waiting, now, "it is left alone, where it can be seen")
				}
				after.start(t, "new")
				require.Equal(t, c.new, w.story(t, "new"))
				if c.missing != "" {
					back, _ := w.deploy(t, first) // beside the other
					back.run(t)
				}
				require.Equal(t, c.old, w.past(w.story(t, "old")))
				stop()
			})
		})
	}
}

// story waits for the saga's end and returns its history.
func (w *world) story(t *testing.T, id string) string {
	t.Helper()
	w.ends(t, id)
	s, err := saga.Show(t.Context(), w.db, "trip", id)
	require.NoError(t, err)
	return strings.Join(kinds(s.History), ",")
}

// past leaves out the attempt before the deploy and the operator's retry.
func (w *world) past(story string) string {
	return strings.Replace(story, "do pay,retry ,do pay", "do pay", 1)
}

// A process that knows nothing of a definition leaves its sagas alone.
func TestDeploy_UnknownDefinition(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		w := setup(t, c, nil)
		before, _ := w.deploy(t, first)
		before.start(t, "old")
		l := &logs{}
		r := saga.NewRunner(w.db, saga.Options{Poll: tick, Log: slog.New(slog.NewTextHandler(l, nil)), Now: time.Now, Owner: "other"})
		stranger := &world{db: w.db, runner: r, saga: saga.Register(r, saga.Definition[trip]{Name: "walk", Steps: []saga.Step[trip]{w.step("go", false)}})}
		stranger.run(t)
		for i := range 5 {
			id := fmt.Sprint(i)
			stranger.start(t, id)
			stranger.ends(t, id)
		}
		require.Equal(t, 1, l.count(`missing="the definition"`))
		s, err := saga.Show(t.Context(), w.db, "trip", "old")
		require.NoError(t, err)
		require.Equal(t, saga.Running, s.State)
		require.Equal(t, "book", s.Step)
		require.Empty(t, s.Owner)
		before.run(t)
		require.Equal(t, "do book,do pay,do confirm", w.story(t, "old"))
	})
}

// Two versions on one database: each saga keeps to its plan, whoever runs it.
func TestDeploy_SideBySide(t *testing.T) {
	t.Parallel()
	const sagas = 40
	w := setup(t, dbtest.Postgres(t), nil)
	older, _ := w.deploy(t, first)
	newer, _ := w.deploy(t, release{steps: []string{"insure", "pay", "confirm*"}, retired: []string{"book"}})
	older.run(t)
	newer.run(t)
	for i := range sagas {
		older.start(t, fmt.Sprint("old", i))
		newer.start(t, fmt.Sprint("new", i))
	}
	for i := range sagas {
		require.Equal(t, "do book,do pay,do confirm", w.story(t, fmt.Sprint("old", i)))
		require.Equal(t, "do insure,do pay,do confirm", w.story(t, fmt.Sprint("new", i)))
	}
	require.Len(t, w.marks(t), 2*sagas)
}

// What began before plans were stored goes on with the steps of this binary.
func TestDeploy_WithoutPlan(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		w := setup(t, c, nil)
		now := db.Micros(time.Now())
		require.NoError(t, w.db.Tx(t.Context(), func(ctx context.Context) error {
			return w.db.Queue(ctx).Exec(`INSERT INTO sagas (name, id, state, step, data, due_at, deadline, owner, traceparent, created_at, updated_at)
				VALUES ('trip', 'old', 'running', 1, '{"ID":"old","Log":["do book"]}', ?, 0, '', '', ?, ?)`, now, now, now).Error
		}))
		s, err := saga.Show(t.Context(), w.db, "trip", "old")
		require.NoError(t, err)
		require.Empty(t, s.Step, "nobody knows")
		w.run(t)
		require.Equal(t, "do pay,do confirm", w.story(t, "old"))
	})
}

// What a newer binary has put into the state stays when an older one works on
// it, at any depth of objects.
func TestCompile_KeepsUnknownFields(t *testing.T) {
	t.Parallel()
	type inner struct {
		A int `json:"a,omitempty"`
	}
	type state struct {
		In   inner    `json:"in"`
		List []inner  `json:"list"`
		Gone string   `json:"gone,omitempty"`
		Ptr  *inner   `json:"ptr,omitempty"`
		Any  []string `json:"any,omitempty"`
	}
	p := saga.Compile(saga.Definition[state]{Name: "s", Steps: []saga.Step[state]{{Name: "go", Do: func(_ context.Context, s *state) error {
		s.In.A++
		s.Gone, s.Ptr = "", nil
		s.Any = []string{"x"}
		return nil
	}}}})
	for in, out := range map[string]string{
		`{"in":{"a":1},"list":null,"gone":"x"}`:                   `{"in":{"a":2},"list":null,"any":["x"]}`,
		`{"in":{"a":1,"b":{"c":[1]}},"list":[{"a":1}],"new":"y"}`: `{"in":{"a":2,"b":{"c":[1]}},"list":[{"a":1}],"new":"y","any":["x"]}`,
		`{"in":{"b":1},"ptr":{"a":1,"z":2},"gone":"x","n":null}`:  `{"in":{"a":1,"b":1},"list":null,"n":null,"any":["x"]}`,
		`{"big":12345678901234567890}`:                            `{"in":{"a":1},"list":null,"any":["x"],"big":12345678901234567890}`,
	} {
		got, err := p.Steps[0].Do(t.Context(), json.RawMessage(in), nil)
		require.NoError(t, err)
		require.JSONEq(t, out, string(got), in)
	}
	_, err := p.Steps[0].Do(t.Context(), json.RawMessage(`{"in":"text"}`), nil)
	require.Equal(t, "saga_state_undecodable", fault.CodeOf(err))
}

func TestCompile_Refuses(t *testing.T) {
	t.Parallel()
	do := func(context.Context, *trip) error { return nil }
	for name, d := range map[string]saga.Definition[trip]{
		"NoName":     {Steps: []saga.Step[trip]{{Do: do}}},
		"WrongName":  {Steps: []saga.Step[trip]{{Name: "Book it", Do: do}}},
		"Twice":      {Steps: []saga.Step[trip]{{Name: "book", Do: do}, {Name: "book", Do: do}}},
		"RetiredToo": {Steps: []saga.Step[trip]{{Name: "book", Do: do}}, Retired: []saga.Step[trip]{{Name: "book", Do: do}}},
		"NoDo":       {Steps: []saga.Step[trip]{{Name: "book"}}},
		"WayBack":    {Steps: []saga.Step[trip]{{Name: "book", Do: do, Retriable: true}, {Name: "pay", Do: do}}},
	} {
		t.Run(name, func(t *testing.T) { require.Panics(t, func() { saga.Compile(d) }) })
	}
}
