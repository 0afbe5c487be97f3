package rest

import (
	"net/http"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/gin-gonic/gin"
	"github.com/klauspost/compress/gzhttp"
)

// compressFrom is the length in bytes from which an answer is worth compressing: below, it fits into one packet anyway.
const compressFrom = 1400

// compressed sends long answers of h in gzip to clients that accept it (RFC 9110 section 12.5.3), but for those that asIs has marked.
// Event streams, whose events must not wait for each other, are never compressed.
func compressed(h http.Handler) http.Handler {
	wrap, err := gzhttp.NewWrapper(gzhttp.MinSize(compressFrom), gzhttp.EnableZstd(false), gzhttp.ContentTypes([]string{jsonType, problemType}))
	if err != nil {
		panic(err) // the options are constants
	}
	wrapped := wrap(h)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !acceptsCoding(r) { // what is never stored needs no Vary either
			h.ServeHTTP(w, r)
			return
		}
		wrapped(w, r)
	})
}

func acceptsCoding(r *http.Request) bool { return len(r.Header["Accept-Encoding"]) > 0 }

// asIs keeps the answer from being compressed. An answer with a strong entity tag must be the same octets for every client that gets
// the tag (RFC 9110 section 8.8.3.3); and what another process answers, that process has compressed or not.
func asIs(c *gin.Context) {
	if acceptsCoding(c.Request) {
		c.Writer.Header()[gzhttp.HeaderNoCompression] = []string{"1"}
	}
}

// tagged says whether an answer of the operation carries an entity tag.
func tagged(o *openapi3.Operation) bool {
	for _, r := range o.Responses.Map() {
		if r.Value.Headers["ETag"] != nil {
			return true
		}
	}
	return false
}
