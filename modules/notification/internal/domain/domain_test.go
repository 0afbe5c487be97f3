package domain

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"cleave/platform/fault"
)

func TestNewPreferences(t *testing.T) {
	t.Parallel()
	shipped := Route{Shipped, Email}
	t.Run("Empty", func(t *testing.T) {
		t.Parallel()
		p, err := NewPreferences(nil)
		require.NoError(t, err)
		list := p.List()
		require.Len(t, list, len(Kinds())*len(Channels()))
		for _, wish := range list {
			require.True(t, wish.Enabled, "%v", wish.Route)
		}
	})
	t.Run("OneMuted", func(t *testing.T) {
		t.Parallel()
		p, err := NewPreferences([]Preference{{shipped, false}, {Route{Shipped, InApp}, true}})
		require.NoError(t, err)
		for _, wish := range p.List() {
			require.Equal(t, wish.Route != shipped, wish.Enabled, "%v", wish.Route)
		}
	})
	t.Run("Repeated", func(t *testing.T) {
		t.Parallel()
		_, err := NewPreferences([]Preference{{shipped, false}, {shipped, true}})
		require.Equal(t, fault.Unprocessable, fault.KindOf(err))
		require.Equal(t, "preference_repeated", fault.CodeOf(err))
		require.Equal(t, "/preferences/1", fault.From(err).Fields[0].Path)
	})
	t.Run("Unknown", func(t *testing.T) {
		t.Parallel()
		for _, r := range []Route{{"lost", Email}, {Shipped, "pigeon"}, {}} {
			_, err := NewPreferences([]Preference{{r, true}})
			require.Equal(t, fault.Invalid, fault.KindOf(err), "%v", r)
		}
	})
}

func TestLine(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"Ada Lovelace":                "Ada Lovelace",
		" Ada ":                       "Ada",
		"Ada\r\nBcc: eve@evil.test":   "Ada  Bcc: eve@evil.test",
		"Ada\x00\x1b[31m\u0085\u2028": "Ada  [31m",
		"\u202egpj.exe":               "gpj.exe",
		"Ren\xe9":                     "Ren\uFFFD",
		"张三 🙂":                        "张三 🙂",
		"":                            "",
	} {
		require.Equal(t, want, Line(in), "%q", in)
	}
	long := Line(strings.Repeat("é", 1000))
	require.LessOrEqual(t, len(long), maxLine)
	require.True(t, utf8.ValidString(long))
}

func TestText(t *testing.T) {
	t.Parallel()
	require.Equal(t, "a\nb c\nd", Text("a\r\nb\rc\nd\n"))
	require.Len(t, Text(strings.Repeat("x", 10_000)), maxText)
}
