package rest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/fault"
)

const note = `{"title":"a","count":1}`

// keyed posts a note with an idempotency key as the given user.
func (f *fixture) keyed(t testing.TB, user, key, body string) response {
	t.Helper()
	return f.do(t, "POST", "/api/v1/notes", body, append(f.as(t, user), headerKey, key)...)
}

func TestIdempotency(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		d := openNotes(t, c)

		// The subtests share the tables, so each uses users and keys of its own and they run in turn.
		t.Run("Replay", func(t *testing.T) {
			f := setupOn(t, d)
			before := f.notes.count(t, "notes")
			key := uuid.NewString()
			first := f.keyed(t, "u1", key, note)
			require.Equal(t, 201, first.status, first.body)
			require.Empty(t, first.header.Get(headerReplayed))
			require.Equal(t, "not kept", first.header.Get("X-Once"))
			again := f.keyed(t, "u1", key, note)
			require.Equal(t, 201, again.status, again.body)
			require.Equal(t, first.body, again.body)
			require.Equal(t, "true", again.header.Get(headerReplayed))
			for _, name := range []string{"Location", "Etag", "Content-Type"} {
				require.Equal(t, first.header.Get(name), again.header.Get(name))
				require.NotEmpty(t, again.header.Get(name))
			}
			require.Empty(t, again.header.Get("X-Once"))
			require.NotEqual(t, first.header.Get("X-Request-Id"), again.header.Get("X-Request-Id"))
			require.Equal(t, before+1, f.notes.count(t, "notes"))
		})

		t.Run("OtherRequestSameKey", func(t *testing.T) {
			f := setupOn(t, d)
			key := uuid.NewString()
			require.Equal(t, 201, f.keyed(t, "u1", key, note).status)
			before := f.notes.count(t, "notes")
			r := f.keyed(t, "u1", key, `{"title":"b","count":1}`)
			require.Equal(t, 422, r.status, r.body)
			require.Equal(t, "idempotency_key_reused", r.problem(t).Code)
			r = f.do(t, "POST", "/api/v1/notes?", note+" ", append(f.as(t, "u1"), headerKey, key)...)
			require.Equal(t, "idempotency_key_reused", r.problem(t).Code)
			require.Equal(t, before, f.notes.count(t, "notes"))
		})

		t.Run("KeysBelongToTheirUserAndOperation", func(t *testing.T) {
			f := setupOn(t, d)
			before := f.notes.count(t, "notes")
			key := uuid.NewString()
			one, two := f.keyed(t, "u1", key, note), f.keyed(t, "u2", key, note)
			require.Equal(t, 201, two.status)
			require.NotEqual(t, one.body, two.body)
			require.Equal(t, 200, f.do(t, "POST", "/api/v1/sessions", "", headerKey, key).status)
			require.Equal(t, before+2, f.notes.count(t, "notes"))
		})

		t.Run("WithoutATransaction", func(t *testing.T) {
			f := setupOn(t, d)
			key := uuid.NewString()
			first := f.do(t, "POST", "/api/v1/sessions", "", headerKey, key)
			again := f.do(t, "POST", "/api/v1/sessions", "", headerKey, key)
			require.Equal(t, first.body, again.body)
			require.Equal(t, "true", again.header.Get(headerReplayed))
		})

		t.Run("FailuresAreNotKept", func(t *testing.T) {
			f := setupOn(t, d)
			keys, rows := f.notes.count(t, "idempotency_keys"), f.notes.count(t, "notes")
			key := uuid.NewString()
			undo := f.notes.meanwhile(func(*gin.Context) error { return fault.New(fault.Conflict, "too_late", "the work is undone") })
			r := f.keyed(t, "u1", key, note)
			require.Equal(t, "too_late", r.problem(t).Code)
			require.Equal(t, keys, f.notes.count(t, "idempotency_keys"))
			require.Equal(t, rows, f.notes.count(t, "notes"), "the handler's transaction ended with the answer")
			undo()
			r = f.keyed(t, "u1", key, note)
			require.Equal(t, 201, r.status, r.body)
			require.Empty(t, r.header.Get(headerReplayed))
		})

		t.Run("ConstraintAtCommit", func(t *testing.T) {
			f := setupOn(t, d)
			keys := f.notes.count(t, "idempotency_keys")
			for _, headers := range [][]string{f.as(t, "u1"), append(f.as(t, "u1"), headerKey, uuid.NewString())} {
				r := f.do(t, "POST", "/api/v1/notes", `{"title":"a","count":13}`, headers...)
				require.Equal(t, 409, r.status, r.body)
				require.Equal(t, "out_of_stock", r.problem(t).Code)
			}
			require.Equal(t, keys, f.notes.count(t, "idempotency_keys"))
		})

		t.Run("ReplayBeatsALaterFailure", func(t *testing.T) {
			f := setupOn(t, d)
			key := uuid.NewString()
			first := f.keyed(t, "u1", key, note)
			defer f.notes.meanwhile(func(*gin.Context) error { return fault.New(fault.Conflict, "out_of_stock", "nothing left") })()
			again := f.keyed(t, "u1", key, note)
			require.Equal(t, 201, again.status, again.body)
			require.Equal(t, first.body, again.body)
		})

		t.Run("AfterARestart", func(t *testing.T) {
			f := setupOn(t, d)
			key := uuid.NewString()
			first := f.keyed(t, "u1", key, note)
			f.server.Close()
			again := serve(t, d, f.key).keyed(t, "u1", key, note)
			require.Equal(t, first.body, again.body)
			require.Equal(t, "true", again.header.Get(headerReplayed))
		})

		t.Run("PanicBeforeTheCommit", func(t *testing.T) {
			f := setupOn(t, d)
			rows := f.notes.count(t, "notes")
			key := uuid.NewString()
			undo := f.notes.meanwhile(func(*gin.Context) error { panic("at the worst moment") })
			require.Equal(t, 500, f.keyed(t, "u1", key, note).status)
			require.Equal(t, rows, f.notes.count(t, "notes"))
			undo()
			r := f.keyed(t, "u1", key, note)
			require.Equal(t, 201, r.status, "the key is free again: %s", r.body)
			require.Empty(t, r.header.Get(headerReplayed))
		})

		t.Run("CommitFails", func(t *testing.T) {
			f := setupOn(t, d, func(o *Options) { o.RequestTimeout = 300 * time.Millisecond })
			rows := f.notes.count(t, "notes")
			key := uuid.NewString()
			undo := f.notes.meanwhile(func(c *gin.Context) error { <-c.Done(); return nil })
			r := f.keyed(t, "u1", key, note)
			require.Equal(t, 503, r.status, r.body)
			require.Equal(t, "timeout", r.problem(t).Code)
			require.Empty(t, r.header.Get("Location"), "nothing of the lost answer is sent")
			require.Equal(t, rows, f.notes.count(t, "notes"))
			undo()
			r = f.keyed(t, "u1", key, note)
			require.Equal(t, 201, r.status, r.body)
			require.Equal(t, rows+1, f.notes.count(t, "notes"))
		})

		t.Run("ConcurrentDuplicates", func(t *testing.T) {
			f := setupOn(t, d)
			storm(t, f, f)
		})
		t.Run("ConcurrentDuplicatesOnTwoReplicas", func(t *testing.T) {
			f := setupOn(t, d)
			storm(t, f, serve(t, d, f.key))
		})

		t.Run("SecretsStaySealed", func(t *testing.T) {
			f := setupOn(t, d)
			key := uuid.NewString()
			r := f.do(t, "POST", "/api/v1/sessions", "", headerKey, key)
			require.Contains(t, r.body, "token-")
			var rows []struct {
				Scope, KeyHash, Fingerprint string
				Answer                      []byte
			}
			require.NoError(t, d.Conn(context.Background()).Raw("SELECT scope, key_hash, fingerprint, answer FROM idempotency_keys").Scan(&rows).Error)
			plain := sha256.Sum256([]byte("POST/api/v1/notes" + note))
			for _, row := range rows {
				require.NotContains(t, string(row.Answer), "token-")
				require.NotContains(t, string(row.Answer), "value")
				require.NotContains(t, row.Scope+row.KeyHash+row.Fingerprint, key)
				require.NotEqual(t, hex.EncodeToString(plain[:]), row.Fingerprint)
			}
		})

		t.Run("AlteredRow", func(t *testing.T) {
			f := setupOn(t, d)
			key := uuid.NewString()
			require.Equal(t, 201, f.keyed(t, "altered", key, note).status)
			require.NoError(t, d.Tx(context.Background(), func(ctx context.Context) error {
				return d.Conn(ctx).Exec("UPDATE idempotency_keys SET status = 202 WHERE scope = 'altered createNote'").Error
			}))
			require.Equal(t, 500, f.keyed(t, "altered", key, note).status)
		})

		t.Run("Purge", func(t *testing.T) {
			ctx := context.Background()
			now := time.Now()
			require.NoError(t, d.Tx(ctx, func(ctx context.Context) error {
				for i := range purgeBatch + 5 {
					err := d.Queue(ctx).Exec("INSERT INTO idempotency_keys (scope, key_hash, fingerprint, status, answer, created_at) VALUES ('old', ?, '', 200, ?, ?)",
						fmt.Sprint(i), []byte{1}, db.Micros(now.Add(-time.Hour))).Error
					if err != nil {
						return err
					}
				}
				return nil
			}))
			f := setupOn(t, d)
			key := uuid.NewString()
			first := f.keyed(t, "u9", key, note)
			n, err := PurgeIdempotency(ctx, d, now.Add(-time.Minute))
			require.NoError(t, err)
			require.EqualValues(t, purgeBatch+5, n)
			require.Equal(t, first.body, f.keyed(t, "u9", key, note).body)
		})
	})
}

// storm sends the same request 32 times at once, to two processes in turn.
func storm(t *testing.T, a, b *fixture) {
	const n = 32
	before := a.notes.count(t, "notes")
	key := uuid.NewString()
	answers := make([]response, n)
	var start, done sync.WaitGroup
	start.Add(1)
	for i := range n {
		f := a
		if i%2 == 1 {
			f = b
		}
		done.Go(func() {
			start.Wait()
			answers[i] = f.keyed(t, "u1", key, note)
		})
	}
	start.Done()
	done.Wait()
	var first []response
	bodies := map[string]bool{}
	for _, r := range answers {
		switch r.status {
		case http.StatusCreated:
			bodies[r.body] = true
			if r.header.Get(headerReplayed) == "" {
				first = append(first, r)
			}
		case http.StatusConflict:
			require.Equal(t, "idempotency_key_in_flight", r.problem(t).Code)
		default:
			require.Failf(t, "unexpected answer", "%d %s", r.status, r.body)
		}
	}
	require.Len(t, first, 1, "one request did the work")
	require.Len(t, bodies, 1, "and all others got its answer")
	require.Equal(t, before+1, a.notes.count(t, "notes"))
	require.Equal(t, "true", a.keyed(t, "u1", key, note).header.Get(headerReplayed))
}

func TestIdempotency_InFlight(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.notes.hold, f.notes.arrived = make(chan struct{}), make(chan struct{}, 1)
	first := make(chan response, 1)
	go func() { first <- f.do(t, "POST", "/api/v1/sessions", "", headerKey, "k") }()
	<-f.notes.arrived
	r := f.do(t, "POST", "/api/v1/sessions", "", headerKey, "k")
	require.Equal(t, 409, r.status)
	require.Equal(t, "idempotency_key_in_flight", r.problem(t).Code)
	close(f.notes.hold)
	require.Equal(t, 200, (<-first).status)
	require.EqualValues(t, 1, f.notes.calls.Load())
	go func() { <-f.notes.arrived }()
	require.Equal(t, "true", f.do(t, "POST", "/api/v1/sessions", "", headerKey, "k").header.Get(headerReplayed))
}

func TestIdempotency_HandlersOwnErrorAnswer(t *testing.T) {
	t.Parallel()
	f := setup(t, func(o *Options) { o.Exact = false })
	for _, headers := range [][]string{f.as(t, "u1"), append(f.as(t, "u1"), headerKey, "k")} {
		r := f.do(t, "POST", "/api/v1/notes", `{"title":"answered","count":1}`, headers...)
		require.Equal(t, 409, r.status)
		require.JSONEq(t, `{"value":"no"}`, r.body)
	}
	require.Zero(t, f.notes.count(t, "notes"), "an error answer commits nothing")
	require.Zero(t, f.notes.count(t, "idempotency_keys"))
}

func TestIdempotency_MalformedKey(t *testing.T) {
	t.Parallel()
	f := setup(t)
	tests := map[string][]string{
		"Empty":    {""},
		"TooLong":  {strings.Repeat("k", maxKeyLen+1)},
		"NotASCII": {"clé"},
		"Control":  {"a\tb"},
		"Twice":    {"a", "b"},
	}
	for name, keys := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req, err := http.NewRequestWithContext(t.Context(), "POST", f.server.URL+"/api/v1/sessions", nil)
			require.NoError(t, err)
			req.Header[headerKey] = keys
			r := send(t, f.server.Client(), req)
			require.Equal(t, 400, r.status, r.body)
			require.Equal(t, "idempotency_key_malformed", r.problem(t).Code)
		})
	}
	t.Run("Longest", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, 200, f.do(t, "POST", "/api/v1/sessions", "", headerKey, strings.Repeat("~", maxKeyLen)).status)
	})
}

func TestAttempt_Seal(t *testing.T) {
	t.Parallel()
	a, err := newAttempt("u1 op", "key", "POST", "/x", []byte("body"))
	require.NoError(t, err)
	b := newBuffer(nil)
	b.header.Set("Location", "/y")
	b.status = 201
	_, err = b.WriteString("answer")
	require.NoError(t, err)
	sealed, err := a.seal(b)
	require.NoError(t, err)
	row := keyRow{Fingerprint: a.fingerprint, Status: 201, Answer: sealed}
	got, err := a.open(row)
	require.NoError(t, err)
	require.Equal(t, &answer{201, map[string]string{"Location": "/y"}, []byte("answer")}, got)

	for i := range sealed {
		altered := append([]byte(nil), sealed...)
		altered[i] ^= 1
		_, err := a.open(keyRow{Status: 201, Answer: altered})
		require.Error(t, err)
	}
	for _, other := range []struct{ scope, key, method, uri, body string }{
		{"u2 op", "key", "POST", "/x", "body"},
		{"u1 op", "kez", "POST", "/x", "body"},
		{"u1 op", "key", "PUT", "/x", "body"},
		{"u1 op", "key", "POST", "/z", "body"},
		{"u1 op", "key", "POST", "/xb", "ody"},
	} {
		o, err := newAttempt(other.scope, other.key, other.method, other.uri, []byte(other.body))
		require.NoError(t, err)
		_, err = o.open(row)
		require.Error(t, err, other)
		require.True(t, o.id != a.id || o.fingerprint != a.fingerprint, other)
	}
}

func FuzzIdempotencyKey(f *testing.F) {
	f.Add("0197a5c2-7b1e-7c3a-9d2f-3b8e5a6c1d20", "{}", "{}")
	f.Add("", "", "")
	f.Add("\x00", "a", "b")
	f.Add(strings.Repeat("k", 256), "a", "a")
	f.Fuzz(func(t *testing.T, key, body, other string) {
		k, err := idempotencyKey([]string{key})
		if err != nil {
			require.Equal(t, "idempotency_key_malformed", fault.CodeOf(err))
			return
		}
		require.Equal(t, key, k)
		a, err := newAttempt("u1 op", k, "POST", "/x", []byte(body))
		require.NoError(t, err)
		b, err := newAttempt("u1 op", k, "POST", "/x", []byte(other))
		require.NoError(t, err)
		require.Equal(t, a.id, b.id)
		require.Equal(t, body == other, a.fingerprint == b.fingerprint)
		require.NotContains(t, a.keyHash, k+"\x00")
		_, err = json.Marshal(a.scope)
		require.NoError(t, err)
	})
}

// A request whose transaction the database gives up for another one's sake is done again, and answered once.
func TestContention(t *testing.T) {
	t.Parallel()
	f := setupOn(t, openNotes(t, dbtest.Postgres(t)))
	const deadlock = "DO $$ BEGIN RAISE EXCEPTION 'for another transaction' USING ERRCODE = 'deadlock_detected'; END $$"
	for name, statement := range map[string]func(context.Context) *gorm.DB{
		"InTheHandler": f.notes.db.Conn,
		"AtTheCommit":  f.notes.db.Queue,
	} {
		t.Run(name, func(t *testing.T) {
			rows, calls, key := f.notes.count(t, "notes"), f.notes.calls.Load(), uuid.NewString()
			defer f.notes.meanwhile(func(c *gin.Context) error {
				if f.notes.calls.Load() > calls+2 {
					return nil
				}
				return f.notes.db.Tx(c, func(ctx context.Context) error { return statement(ctx).Exec(deadlock).Error })
			})()
			r := f.keyed(t, "u1", key, note)
			require.Equal(t, 201, r.status, r.body)
			require.EqualValues(t, 3, f.notes.calls.Load()-calls)
			require.Equal(t, rows+1, f.notes.count(t, "notes"))
			again := f.keyed(t, "u1", key, note)
			require.Equal(t, r.body, again.body)
			require.Equal(t, "true", again.header.Get(headerReplayed))
		})
	}
	t.Run("ToNoEnd", func(t *testing.T) {
		rows := f.notes.count(t, "notes")
		defer f.notes.meanwhile(func(c *gin.Context) error {
			return f.notes.db.Tx(c, func(ctx context.Context) error { return f.notes.db.Conn(ctx).Exec(deadlock).Error })
		})()
		r := f.keyed(t, "u1", uuid.NewString(), note)
		require.Equal(t, 503, r.status, r.body)
		require.Equal(t, "database_contention", r.problem(t).Code)
		require.Equal(t, rows, f.notes.count(t, "notes"))
	})
}
