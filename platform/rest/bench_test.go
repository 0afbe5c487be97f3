package rest

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/oapi-codegen/runtime"
	"github.com/stretchr/testify/require"
)

// discard is a ResponseWriter that costs nothing.
type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)               {}

// BenchmarkChain measures what the platform adds to a request: a small POST and a GET through the
// whole chain, with handlers that touch no database, beside a bare gin engine with the same handler.
func BenchmarkChain(b *testing.B) {
	quiet := func(o *Options) { o.Exact = false; o.Log = slog.New(slog.NewTextHandler(io.Discard, nil)) }
	f := setup(b, quiet)
	f.notes.hook.Store(nil)
	token := f.token(b, "0190b8f6-9c1e-7000-8000-000000000001", "customer")
	const body = `{"title":"Desk lamp","count":2,"price":1299,"kind":"plain","tags":["a","b"]}`

	run := func(b *testing.B, h http.Handler, method, path, body string, headers ...string) {
		b.ReportAllocs()
		for b.Loop() {
			req := httptest.NewRequest(method, path, nil)
			if body != "" {
				req.Body, req.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
				req.Header.Set("Content-Type", "application/json")
			}
			req.Header.Set("Authorization", "Bearer "+token)
			for i := 0; i < len(headers); i += 2 {
				req.Header.Set(headers[i], headers[i+1])
			}
			h.ServeHTTP(discard{http.Header{}}, req)
		}
	}
	bind := func(c *gin.Context) {
		var n newNote
		if err := runtime.BindJSONBody(c.Request, &n); err != nil {
			b.Fatal(err)
		}
		c.JSON(http.StatusCreated, gin.H{"id": "1", "title": n.Title, "kind": "plain"})
	}
	bare := gin.New()
	bare.POST("/api/v1/notes", bind)
	bare.GET("/api/v1/notes/:note_id", func(c *gin.Context) { echo(c, "u1") })

	policy := f.api.o
	policy.Traced = true
	chained := New(policy)
	require.NoError(b, chained.Module("notes", notesDocument, f.notes.db, func(r gin.IRouter) {
		f.notes.register(replaced{r, bind})
	}))
	b.Run("PostBare", func(b *testing.B) { run(b, bare, "POST", "/api/v1/notes", body) })
	b.Run("Post", func(b *testing.B) { run(b, chained.engine, "POST", "/api/v1/notes", body) })
	b.Run("PostTraced", func(b *testing.B) { run(b, chained.Handler(), "POST", "/api/v1/notes", body) })
	b.Run("GetBare", func(b *testing.B) { run(b, bare, "GET", "/api/v1/notes/"+noteID, "") })
	b.Run("Get", func(b *testing.B) { run(b, chained.engine, "GET", "/api/v1/notes/"+noteID, "") })
	b.Run("GetTraced", func(b *testing.B) { run(b, chained.Handler(), "GET", "/api/v1/notes/"+noteID, "") })
}

// replaced registers another handler for creating a note.
type replaced struct {
	gin.IRouter
	create gin.HandlerFunc
}

func (r replaced) POST(path string, h ...gin.HandlerFunc) gin.IRoutes {
	if path == "/api/v1/notes" {
		h = []gin.HandlerFunc{r.create}
	}
	return r.IRouter.POST(path, h...)
}

func BenchmarkParseJSON(b *testing.B) {
	data := []byte(`{"title":"Desk lamp","count":2,"price":1299,"kind":"plain","tags":["a","b"]}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseJSON(data); err != nil {
			b.Fatal(err)
		}
	}
}
