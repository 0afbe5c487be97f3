package rest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"strings"

	"cleave/platform/fault"
)

const (
	cursorTag   = 16  // bytes of HMAC-SHA256 kept (RFC 2104 section 5 asks for at least half)
	maxCursor   = 512 // characters, as the documents say
	maxCursorID = 255 // bytes
)

// Position is where a page ended: the keyset (created_at, id) of its last item.
type Position struct {
	At int64 // unix microseconds
	ID string
}

// Cursors makes positions opaque and unforgeable. A cursor holds for one list and one filter.
type Cursors struct{ key []byte }

// NewCursors returns cursors signed with key, of at least 32 bytes for full strength. Processes that
// share a key accept each other's cursors.
func NewCursors(key []byte) *Cursors { return &Cursors{key: key} }

var errCursor = fault.New(fault.Invalid, "cursor_invalid", "the cursor does not belong to this list and filter").
	With(fault.Field{Path: "cursor", Code: "cursor_invalid", Message: "is not one that this list and filter gave"})

// Encode returns the cursor of p, of the letters A-Z, a-z, 0-9, - and _. The list is the operation's
// name; the filter is any text that is the same for the pages that belong together. The position's id
// is at most 255 bytes; a longer one gives a cursor that Decode refuses.
func (c *Cursors) Encode(list, filter string, p Position) string {
	raw := make([]byte, 8, 8+len(p.ID)+cursorTag)
	binary.BigEndian.PutUint64(raw, uint64(p.At)) //nolint:gosec // the bits, not the number
	raw = append(raw, p.ID...)
	return base64.RawURLEncoding.EncodeToString(append(raw, c.tag(list, filter, raw)...))
}

// Decode returns the position in cursor. One that was altered, or made for another list, filter or
// key, is a fault of kind Invalid, code cursor_invalid.
func (c *Cursors) Decode(list, filter, cursor string) (Position, error) {
	if len(cursor) > maxCursor || strings.ContainsAny(cursor, "\r\n") { // which encoding/base64 passes over
		return Position{}, errCursor
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(raw) < 8+cursorTag || len(raw) > 8+maxCursorID+cursorTag {
		return Position{}, errCursor
	}
	body, tag := raw[:len(raw)-cursorTag], raw[len(raw)-cursorTag:]
	if !hmac.Equal(tag, c.tag(list, filter, body)) {
		return Position{}, errCursor
	}
	return Position{At: int64(binary.BigEndian.Uint64(body)), ID: string(body[8:])}, nil //nolint:gosec // see Encode
}

func (c *Cursors) tag(list, filter string, body []byte) []byte {
	h := hmac.New(sha256.New, c.key)
	writeSized(h, list)
	writeSized(h, filter)
	h.Write(body)
	return h.Sum(nil)[:cursorTag]
}

// writeSized writes s after its length, so that no two sequences of texts hash alike.
func writeSized(h hash.Hash, s string) {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(s)))
	h.Write(n[:])
	h.Write([]byte(s))
}
