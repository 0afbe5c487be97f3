package rest

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"sync"

	"github.com/gin-gonic/gin"
	"github.com/swaggest/swgui/v5/static"
)

const (
	openAPIPath = "/openapi.json"
	docsPath    = "/docs"

	// docsPolicy lets the page run its own scripts and talk to this API, and nothing else. Swagger UI
	// writes style attributes and shows icons from data URLs.
	docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

var (
	//go:embed docs/index.html
	docsPage []byte
	//go:embed docs/init.js
	docsScript []byte
)

// routeDocs serves the merged document and Swagger UI, all of it from this binary.
func (a *API) routeDocs() {
	merged := sync.OnceValues(func() ([]byte, error) { return mergeDocuments(a.documents, a.o.Version) })
	a.engine.GET(openAPIPath, func(c *gin.Context) {
		doc, err := merged()
		if err != nil {
			HandlerError(c, err)
			finish(c)
			return
		}
		c.Data(http.StatusOK, jsonType, doc)
	})
	a.engine.GET(docsPath, docsFile("text/html; charset=utf-8", docsPage))
	a.engine.GET(docsPath+"/init.js", docsFile("text/javascript; charset=utf-8", docsScript))
	for name, contentType := range map[string]string{
		"swagger-ui.css":       "text/css; charset=utf-8",
		"swagger-ui-bundle.js": "text/javascript; charset=utf-8",
	} {
		a.engine.GET(docsPath+"/"+name, docsAsset(contentType, name+".gz"))
	}
}

func docsFile(contentType string, data []byte) gin.HandlerFunc {
	return func(c *gin.Context) {
		docsHeaders(c)
		c.Data(http.StatusOK, contentType, data)
	}
}

// docsAsset serves a file that is stored compressed.
func docsAsset(contentType, file string) gin.HandlerFunc {
	return func(c *gin.Context) {
		data, err := fs.ReadFile(static.FS, file)
		if err != nil {
			HandlerError(c, err)
			finish(c)
			return
		}
		docsHeaders(c)
		c.Header("Cache-Control", "max-age=3600")
		c.Header("Vary", "Accept-Encoding")
		if strings.Contains(c.GetHeader("Accept-Encoding"), "gzip") {
			c.Header("Content-Encoding", "gzip")
			c.Data(http.StatusOK, contentType, data)
			return
		}
		plain, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			HandlerError(c, err)
			finish(c)
			return
		}
		c.Header("Content-Type", contentType)
		_, _ = io.Copy(c.Writer, plain) // #nosec G110 -- our own file
	}
}

func docsHeaders(c *gin.Context) { c.Header("Content-Security-Policy", docsPolicy) }
