package rest

import (
	"bytes"
	"net/http"

	"github.com/gin-gonic/gin"
)

// buffer holds an answer back until it is known that it may be sent.
type buffer struct {
	gin.ResponseWriter // the real one; reached only through send
	header             http.Header
	status             int
	body               bytes.Buffer
	written            bool
}

func newBuffer(w gin.ResponseWriter) *buffer {
	return &buffer{ResponseWriter: w, header: http.Header{}, status: http.StatusOK}
}

// Unwrap lets http.ResponseController reach the connection.
func (b *buffer) Unwrap() http.ResponseWriter { return b.ResponseWriter }

func (b *buffer) Header() http.Header { return b.header }

func (b *buffer) WriteHeader(status int) {
	if !b.written {
		b.status = status
	}
}

func (b *buffer) WriteHeaderNow() { b.written = true }

func (b *buffer) Write(p []byte) (int, error) {
	b.written = true
	return b.body.Write(p)
}

func (b *buffer) WriteString(s string) (int, error) {
	b.written = true
	return b.body.WriteString(s)
}

func (b *buffer) Status() int   { return b.status }
func (b *buffer) Written() bool { return b.written }
func (b *buffer) Flush()        {}

func (b *buffer) Size() int {
	if !b.written {
		return -1 // as gin says it
	}
	return b.body.Len()
}

// send passes the answer on. A client that has gone cannot be told.
func (b *buffer) send() {
	h := b.ResponseWriter.Header()
	for name, values := range b.header {
		h[name] = values
	}
	b.ResponseWriter.WriteHeader(b.status)
	b.ResponseWriter.WriteHeaderNow()
	_, _ = b.ResponseWriter.Write(b.body.Bytes())
}
