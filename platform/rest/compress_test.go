package rest

import (
	"compress/gzip"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/klauspost/compress/gzhttp"
	"github.com/stretchr/testify/require"
)

// elsewhere answers a request with a long text, which it has not compressed.
type elsewhere struct{ long string }

func (e elsewhere) Serve(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", jsonType)
	_, err := io.WriteString(w, e.long)
	return err
}

func TestCompression(t *testing.T) {
	t.Parallel()
	f := setup(t, func(o *Options) { o.Exact = false })
	long := `{"value":"` + strings.Repeat("a packet of tea, ", 200) + `"}`
	f.notes.meanwhile(func(c *gin.Context) error {
		c.Header("ETag", ETag(7))
		c.Status(http.StatusCreated)
		_, err := c.Writer.WriteString(long)
		return err
	})
	get := func(path, accept string) response {
		return f.do(t, "GET", path, "", append(f.as(t, "u1"), "Accept-Encoding", accept)...)
	}
	unzip := func(r response) string {
		z, err := gzip.NewReader(strings.NewReader(r.body))
		require.NoError(t, err)
		b, err := io.ReadAll(z)
		require.NoError(t, err)
		return string(b)
	}

	t.Run("Long", func(t *testing.T) {
		t.Parallel()
		plain := get(openAPIPath, "identity")
		require.Empty(t, plain.header.Get("Content-Encoding"))
		require.Contains(t, plain.header.Values("Vary"), "Accept-Encoding")
		short := get(openAPIPath, "br;q=1, gzip;q=0.5")
		require.Equal(t, "gzip", short.header.Get("Content-Encoding"))
		require.Contains(t, short.header.Values("Vary"), "Accept-Encoding")
		require.Less(t, len(short.body), len(plain.body)/3)
		require.Equal(t, plain.body, unzip(short))
	})
	t.Run("Refused", func(t *testing.T) {
		t.Parallel()
		require.Empty(t, get(openAPIPath, "gzip;q=0, br").header.Get("Content-Encoding"))
	})
	t.Run("Short", func(t *testing.T) {
		t.Parallel()
		r := get("/api/v1/notes", "gzip")
		require.Equal(t, 200, r.status, r.body)
		require.Empty(t, r.header.Get("Content-Encoding"))
	})
	t.Run("Tagged", func(t *testing.T) {
		t.Parallel()
		r := f.do(t, "POST", "/api/v1/notes", `{"title":"x","count":1}`, append(f.as(t, "u1"), headerKey, "k-compressed", "Accept-Encoding", "gzip")...)
		require.Equal(t, 201, r.status, r.body)
		require.Equal(t, `"1"`, r.header.Get("ETag"))
		require.Empty(t, r.header.Get("Content-Encoding"))
		require.Empty(t, r.header.Get("No-Gzip-Compression"))
		require.Contains(t, r.body, long)
	})
	t.Run("Elsewhere", func(t *testing.T) {
		t.Parallel()
		api := New(Options{Log: slog.New(slog.DiscardHandler)})
		require.NoError(t, api.Away("notes", notesDocument, nil, elsewhere{long}))
		server := httptest.NewServer(api.Handler())
		t.Cleanup(server.Close)
		req, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/api/v1/notes", nil)
		require.NoError(t, err)
		req.Header.Set("Accept-Encoding", "gzip")
		r := send(t, server.Client(), req)
		require.Equal(t, 200, r.status, r.body)
		require.Empty(t, r.header.Get("Content-Encoding"), "the process that has the module decides")
		require.Equal(t, long, r.body)

		unasked := httptest.NewRecorder()
		api.Handler().ServeHTTP(unasked, httptest.NewRequest("GET", "/api/v1/notes", nil))
		require.Equal(t, long, unasked.Body.String())
		require.Empty(t, unasked.Header().Get(gzhttp.HeaderNoCompression), "the mark between the layers")
	})
}
