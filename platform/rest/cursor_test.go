package rest

import (
	"encoding/base64"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/platform/fault"
)

func TestCursors(t *testing.T) {
	t.Parallel()
	c := NewCursors([]byte("0123456789abcdef0123456789abcdef"))
	for _, p := range []Position{{}, {At: 1, ID: "a"}, {At: -1, ID: "é\x00"}, {At: math.MaxInt64, ID: strings.Repeat("x", maxCursorID)}, {At: math.MinInt64, ID: noteID}} {
		s := c.Encode("listNotes", "q=a", p)
		require.Regexp(t, `^[A-Za-z0-9_-]{1,512}$`, s)
		got, err := c.Decode("listNotes", "q=a", s)
		require.NoError(t, err)
		require.Equal(t, p, got)
	}

	good := c.Encode("listNotes", "q=a", Position{At: 5, ID: noteID})
	refused := func(t *testing.T, c *Cursors, list, filter, s string) {
		t.Helper()
		p, err := c.Decode(list, filter, s)
		require.Equal(t, fault.Invalid, fault.KindOf(err))
		require.Equal(t, "cursor_invalid", fault.CodeOf(err))
		require.Zero(t, p)
	}
	t.Run("Altered", func(t *testing.T) {
		t.Parallel()
		raw, err := base64.RawURLEncoding.DecodeString(good)
		require.NoError(t, err)
		for i := range raw {
			for bit := range 8 {
				b := append([]byte(nil), raw...)
				b[i] ^= 1 << bit
				refused(t, c, "listNotes", "q=a", base64.RawURLEncoding.EncodeToString(b))
			}
		}
	})
	t.Run("Foreign", func(t *testing.T) {
		t.Parallel()
		refused(t, c, "listOrders", "q=a", good)
		refused(t, c, "listNotes", "q=b", good)
		refused(t, c, "listNotes", "", good)
		refused(t, c, "listNotesq", "=a", good)
		refused(t, c, "listNote", "sq=a", good)
		refused(t, NewCursors([]byte("another key of thirty-two bytes.")), "listNotes", "q=a", good)
	})
	t.Run("Malformed", func(t *testing.T) {
		t.Parallel()
		for _, s := range []string{"", "a", "!", good + "=", good + "A", good[:len(good)-1], good[1:], "  " + good, good + "\n", strings.Repeat("A", maxCursor+1), strings.Repeat("A", maxCursor)} {
			refused(t, c, "listNotes", "q=a", s)
		}
		refused(t, c, "l", "", c.Encode("l", "", Position{ID: strings.Repeat("x", maxCursorID+1)}))
	})
}

func FuzzCursor(f *testing.F) {
	c := NewCursors([]byte("0123456789abcdef0123456789abcdef"))
	good := c.Encode("list", "filter", Position{At: 7, ID: noteID})
	f.Add(good)
	f.Add(good + "A")
	f.Add("")
	f.Add("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := c.Decode("list", "filter", s)
		if err != nil {
			require.Equal(t, "cursor_invalid", fault.CodeOf(err))
			return
		}
		require.Equal(t, s, c.Encode("list", "filter", p), "only what Encode gives is accepted")
	})
}

func TestETag(t *testing.T) {
	t.Parallel()
	for _, v := range []int64{0, 1, 7, math.MaxInt64} {
		got, err := ParseIfMatch(ETag(v))
		require.NoError(t, err)
		require.Equal(t, v, got)
	}
	require.Equal(t, `"7"`, ETag(7))
	_, err := ParseIfMatch("")
	require.Equal(t, fault.PreconditionRequired, fault.KindOf(err))
	for _, h := range []string{"*", "7", `"7`, `7"`, `""`, `"`, `"-1"`, `"+7"`, `"07"`, `W/"7"`, `"7", "8"`, `"9223372036854775808"`, ` "7"`, `"a"`} {
		_, err := ParseIfMatch(h)
		require.Equal(t, fault.Invalid, fault.KindOf(err), h)
	}
}
