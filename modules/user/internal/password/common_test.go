package password

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCommon(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"password", "PassWord", "12345678", "qwertyuiop", "jennifer", "redneck1", "trustno1"} {
		require.True(t, Common(s), s)
	}
	for _, s := range []string{"", "correct horse", "12345678\npassword", "passwor", "\n", "assword1"} {
		require.False(t, Common(s), "%q", s)
	}
}

func TestNormalise(t *testing.T) {
	t.Parallel()
	h := New(1, nil, nil)
	phc, err := h.Hash(t.Context(), "pa\u0308sswo\u0308rd") // as macOS types it
	require.NoError(t, err)
	ok, err := h.Verify(t.Context(), phc, "p\u00e4ssw\u00f6rd")
	require.NoError(t, err)
	require.True(t, ok)
	for _, s := range []string{"  two  spaces ", "UPPER lower", "\u3000wide\u3000"} {
		require.Equal(t, s, Normalise(s), "nothing else changes")
	}
}
