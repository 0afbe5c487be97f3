package domain_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/modules/user/internal/domain"
	"cleave/platform/fault"
)

func TestNewEmail(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 64) + "@" + strings.Repeat("b", 185) + ".eu" // 253 bytes
	for name, s := range map[string]string{
		"Plain": "ada@example.com", "Tag": "ada+test@example.com", "UpperCase": "Ada@Example.COM", "NoDot": "ada@localhost",
		"Unicode": "jürgen@bücher.example", "Longest": long + "u",
	} {
		t.Run("Good/"+name, func(t *testing.T) {
			t.Parallel()
			e, err := domain.NewEmail("/email", s)
			require.NoError(t, err)
			require.Equal(t, domain.Email(s), e)
		})
	}
	for name, s := range map[string]string{
		"Empty": "", "NoAt": "ada", "TwoAts": "ada@b@c", "WithName": "Ada <ada@example.com>", "Quoted": `"ada"@example.com`,
		"Comment": "ada(x)@example.com", "Literal": "ada@[127.0.0.1]", "Newline": "ada@example.com\nBcc: eve@example.com",
		"Space": "ada @example.com", "DoubleDot": "a..b@example.com", "NUL": "ada\x00@example.com", "InvalidUTF8": "ada\xff@example.com",
		"TooLong": long + "uu",
	} {
		t.Run("Bad/"+name, func(t *testing.T) {
			t.Parallel()
			_, err := domain.NewEmail("/email", s)
			require.Equal(t, fault.Unprocessable, fault.KindOf(err))
			require.Equal(t, "/email", fault.From(err).Fields[0].Path)
		})
	}
	t.Run("Lower", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, "ada@bücher.example", domain.Email("ADA@BÜCHER.example").Lower())
	})
}

func TestCheckDisplayName(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"A", "Ada Lovelace", "李", strings.Repeat("é", 100)} {
		require.NoError(t, domain.CheckDisplayName("/n", s), s)
	}
	for _, s := range []string{"", " ", " Ada", "Ada ", "A\tB", "A\x00B", "A\x7fB", "A\u0085B", "\xff", strings.Repeat("é", 101)} {
		require.Equal(t, fault.Unprocessable, fault.KindOf(domain.CheckDisplayName("/n", s)), "%q", s)
	}
}
