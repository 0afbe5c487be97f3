package rest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/oapi-codegen/runtime"
	"github.com/stretchr/testify/require"

	"cleave/platform/auth"
	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/fault"
	"cleave/platform/telemetry"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

//go:embed testdata/openapi.yaml
var notesDocument []byte

const (
	notesPolicy = `
p, customer, notes:create, own
p, customer, notes:read, own
p, customer, notes:update, own
p, admin, notes:create, any
p, admin, notes:read, any
p, admin, notes:update, any
g, admin, customer
`
	issuer = "http://issuer.test"
)

var notesMigrations = fstest.MapFS{
	"sqlite/00001_notes.sql":   {Data: []byte(notesTable)},
	"postgres/00001_notes.sql": {Data: []byte(notesTable)},
}

const notesTable = `-- +goose Up
CREATE TABLE notes (
    id    text NOT NULL CONSTRAINT notes_pkey PRIMARY KEY,
    owner text NOT NULL,
    title text NOT NULL,
    count bigint NOT NULL,
    CONSTRAINT notes_count_check CHECK (count <> 13)
);
-- +goose Down
DROP TABLE notes;
`

var notesConstraints = db.Constraints{
	"notes_count_check": fault.New(fault.Conflict, "out_of_stock", "thirteen is not to be had"),
}

// notes is the module under the API: a table, and handlers like those of a generated strict server.
type notes struct {
	db      *db.DB
	calls   atomic.Int64
	events  chan Event
	hold    chan struct{} // when not nil, logIn waits for it
	arrived chan struct{}
	hook    atomic.Pointer[func(*gin.Context) error] // runs at the end of create
}

type newNote struct {
	Title string  `json:"title"`
	Count int32   `json:"count"`
	Price *int64  `json:"price,omitempty"`
	Kind  *string `json:"kind,omitempty"`
}

func (n *notes) register(r gin.IRouter) {
	r.POST("/api/v1/notes", n.create)
	r.GET("/api/v1/notes", func(c *gin.Context) { echo(c, c.Request.URL.RawQuery) })
	r.GET("/api/v1/notes/stream", n.stream)
	r.GET("/api/v1/notes/:note_id", n.get)
	r.PATCH("/api/v1/notes/:note_id", n.update)
	r.GET("/api/v1/users/:user_id/notes", n.get)
	r.POST("/api/v1/sessions", n.logIn)
	r.POST("/api/v1/recoveries", n.recover)
}

func echo(c *gin.Context, value string) { c.JSON(http.StatusOK, gin.H{"value": value}) }

func (n *notes) create(c *gin.Context) {
	n.calls.Add(1)
	var body newNote
	if err := runtime.BindJSONBody(c.Request, &body); err != nil {
		RequestError(c, err)
		return
	}
	id := uuid.Must(uuid.NewV7()).String()
	err := n.db.Tx(c, func(ctx context.Context) error {
		owner, anyone := auth.Owner(ctx)
		if anyone {
			return errors.New("an operation about oneself reached everyone's")
		}
		return n.db.Queue(ctx).Exec("INSERT INTO notes (id, owner, title, count) VALUES (?, ?, ?, ?)", id, owner, body.Title, body.Count).Error
	})
	switch {
	case err == nil && n.hook.Load() != nil:
		err = (*n.hook.Load())(c)
	case err == nil && body.Title == "answered":
		c.JSON(http.StatusConflict, gin.H{"value": "no"})
		return
	}
	if err != nil {
		HandlerError(c, err)
		return
	}
	c.Header("Location", "/api/v1/notes/"+id)
	c.Header("ETag", ETag(1))
	c.Header("X-Once", "not kept")
	c.JSON(http.StatusCreated, gin.H{"id": id, "title": body.Title, "kind": body.Kind})
}

func (n *notes) get(c *gin.Context) {
	switch c.Query("q") {
	case "internal":
		HandlerError(c, context.DeadlineExceeded)
		return
	}
	switch id := c.Param("note_id"); {
	case strings.HasSuffix(id, "000404"):
		HandlerError(c, fault.New(fault.NotFound, "note_unknown", "there is no note %s\n", id))
	case strings.HasSuffix(id, "000500"):
		HandlerError(c, io.ErrUnexpectedEOF)
	case strings.HasSuffix(id, "000506"):
		HandlerError(c, fault.New(fault.Internal, "disk_on_fire", "the disk is on fire"))
	case strings.HasSuffix(id, "000501"):
		panic("a defect")
	case strings.HasSuffix(id, "000502"):
		c.JSON(http.StatusOK, gin.H{"value": "x", "secret": "undocumented"})
	case strings.HasSuffix(id, "000503"):
		c.JSON(http.StatusTeapot, gin.H{"value": "x"})
	case strings.HasSuffix(id, "000504"):
		<-c.Done()
		HandlerError(c, io.ErrClosedPipe)
	default:
		subject, anyone := auth.Owner(c)
		if anyone {
			subject = "anyone"
		}
		echo(c, subject)
	}
}

func (n *notes) update(c *gin.Context) {
	v, err := ParseIfMatch(c.GetHeader("If-Match"))
	if err == nil && v != 7 {
		err = fault.New(fault.Stale, "", "the note has changed")
	}
	if err != nil {
		HandlerError(c, err)
		return
	}
	c.Status(http.StatusNoContent)
}

func (n *notes) logIn(c *gin.Context) {
	n.calls.Add(1)
	if n.hold != nil {
		n.arrived <- struct{}{}
		<-n.hold
	}
	echo(c, "token-"+uuid.NewString())
}

func (n *notes) recover(c *gin.Context) {
	n.calls.Add(1)
	echo(c, "sent")
}

func (n *notes) stream(c *gin.Context) {
	Stream(c, 20*time.Millisecond, func(ctx context.Context) (Event, error) {
		select {
		case e, ok := <-n.events:
			if !ok {
				return Event{}, io.EOF
			}
			return e, nil
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	})
}

// meanwhile makes create run fn at its end, until the returned func is called.
func (n *notes) meanwhile(fn func(*gin.Context) error) (undo func()) {
	n.hook.Store(&fn)
	return func() { n.hook.Store(nil) }
}

// count is the number of rows in a table.
func (n *notes) count(t testing.TB, table string) int {
	t.Helper()
	var c int
	require.NoError(t, n.db.Conn(context.Background()).Raw("SELECT count(*) FROM "+table).Scan(&c).Error)
	return c
}

type fixture struct {
	api    *API
	notes  *notes
	server *httptest.Server
	signer *auth.Signer
	key    *ecdsa.PrivateKey
	log    *syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

type staticKeys map[string]*ecdsa.PublicKey

func (k staticKeys) PublicKeys(context.Context) (map[string]*ecdsa.PublicKey, error) { return k, nil }

// setup serves the notes module over SQLite; edit may change the options.
func setup(t testing.TB, edit ...func(*Options)) *fixture {
	t.Helper()
	return setupOn(t, openNotes(t, dbtest.SQLite(t)), edit...)
}

func openNotes(t testing.TB, c db.Config) *db.DB {
	t.Helper()
	return dbtest.Open(t, c, "notes", notesMigrations, notesConstraints)
}

func setupOn(t testing.TB, d *db.DB, edit ...func(*Options)) *fixture {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return serve(t, d, key, edit...)
}

// serve is one process of the API; several may share a database and the issuer's key.
func serve(t testing.TB, d *db.DB, key *ecdsa.PrivateKey, edit ...func(*Options)) *fixture {
	t.Helper()
	policy, err := auth.NewPolicy(map[string]string{"notes": notesPolicy})
	require.NoError(t, err)
	f := &fixture{key: key, notes: &notes{db: d, events: make(chan Event, 10)}, log: &syncBuffer{}}
	o := Options{
		Verifier: func(string) *auth.Verifier {
			return auth.NewVerifier(staticKeys{"k": &key.PublicKey}, issuer, "notes", &auth.Revocations{}, time.Now)
		},
		Policy:  policy,
		Log:     telemetry.NewLogger(f.log, "info", "json"),
		MaxBody: 4096,
		Exact:   true,
	}
	for _, e := range edit {
		e(&o)
	}
	f.signer = auth.NewSigner(func() auth.SigningKey { return auth.SigningKey{ID: "k", Private: key} }, issuer, []string{"notes"}, time.Minute, time.Now)
	f.api = New(o)
	require.NoError(t, f.api.Module("notes", notesDocument, d, f.notes.register))
	f.server = httptest.NewServer(f.api.Handler())
	t.Cleanup(f.server.Close)
	return f
}

func (f *fixture) token(t testing.TB, subject string, roles ...string) string {
	t.Helper()
	token, _, err := f.signer.Sign(auth.Principal{Subject: subject, Session: "s", Roles: roles})
	require.NoError(t, err)
	return token
}

type response struct {
	status int
	header http.Header
	body   string
}

func (r response) problem(t testing.TB) Problem {
	t.Helper()
	require.Equal(t, problemType, r.header.Get("Content-Type"), r.body)
	var p Problem
	require.NoError(t, json.Unmarshal([]byte(r.body), &p))
	require.Equal(t, r.status, p.Status)
	require.Equal(t, "/problems/"+p.Code, p.Type)
	require.Equal(t, r.header.Get("X-Request-Id"), p.RequestID)
	return p
}

// codes are the problem's field errors as "field code".
func (p Problem) codes() []string {
	var out []string
	for _, e := range p.Errors {
		out = append(out, e.Field+" "+e.Code)
	}
	return out
}

// do sends a request; headers alternate name and value.
func (f *fixture) do(t testing.TB, method, path, body string, headers ...string) response {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, f.server.URL+path, strings.NewReader(body))
	require.NoError(t, err)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] == "" {
			req.Header.Del(headers[i])
			continue
		}
		req.Header.Add(headers[i], headers[i+1])
	}
	return send(t, f.server.Client(), req)
}

func send(t testing.TB, client *http.Client, req *http.Request) response {
	t.Helper()
	res, err := client.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return response{res.StatusCode, res.Header, string(b)}
}

// as returns the Authorization header of a customer.
func (f *fixture) as(t testing.TB, subject string, roles ...string) []string {
	t.Helper()
	if len(roles) == 0 {
		roles = []string{"customer"}
	}
	return []string{"Authorization", "Bearer " + f.token(t, subject, roles...)}
}

// noVerifier serves tests in which no token is checked.
func noVerifier(string) *auth.Verifier { return nil }
