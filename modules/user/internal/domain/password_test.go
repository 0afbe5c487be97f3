package domain_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/modules/user/internal/domain"
	"cleave/platform/fault"
)

func TestCheckPassword(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"12345678", "pässwörd", strings.Repeat("ü", 128), "with a \x00 inside"} {
		require.NoError(t, domain.CheckPassword("/p", s), s)
	}
	for _, s := range []string{"", "1234567", "üüüüüüü", strings.Repeat("x", 129)} {
		err := domain.CheckPassword("/p", s)
		require.Equal(t, fault.Unprocessable, fault.KindOf(err), "%q", s)
		if s != "" {
			require.NotContains(t, err.Error(), s, "the message must not show the password")
		}
	}
}

func TestCheckPassword_Words(t *testing.T) {
	t.Parallel()
	words := domain.PasswordWords("Ada.King+shop@example.com", "Ada Lovelace")
	require.Equal(t, []string{"ada.king+shop", "ada lovelace", "lovelace", "cleave", "king", "shop", "ada"}, words)
	for _, s := range []string{"correct horse", "canada is far away", "king of the hill", "lovelace and babbage", "12345678", "Example99"} {
		require.NoError(t, domain.CheckPassword("/p", s, words...), s)
	}
	for _, s := range []string{"cleave2026", "Lovelace1815", "ADA.KING+SHOP", "adaadaada", "1Ada2King3", "ada lovelace!", "Ada.King1"} {
		err := domain.CheckPassword("/p", s, words...)
		require.Equal(t, "guessable", fault.From(err).Fields[0].Code, s)
	}
	require.Empty(t, domain.PasswordWords("a@example.com", "E")[1:], "short words are part of too many others")
}
