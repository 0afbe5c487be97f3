package mail

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/modules/notification/internal/smtptest"
	"cleave/platform/fault"
)

func TestFolder(t *testing.T) {
	t.Parallel()
	from, err := ParseFrom("Shop <no-reply@shop.example>")
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "data", "mail")
	f := NewFolder(dir, from)
	require.NoError(t, f.Send(t.Context(), letter("one")))
	require.NoError(t, f.Send(t.Context(), letter("one")), "again")
	f.Idle()

	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, files, 1)
	require.Equal(t, "20261123T093501Z-confirmed-one.eml", files[0].Name())
	data, err := os.ReadFile(filepath.Join(dir, files[0].Name()))
	require.NoError(t, err)
	m := smtptest.Read(t, data)
	require.Equal(t, "<one@shop.example>", m.Header.Get("Message-Id"))
	require.Equal(t, letter("").Text, m.Text)
	require.Equal(t, letter("").HTML, m.HTML)
	info, err := files[0].Info()
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "mails are private")

	t.Run("BadAddress", func(t *testing.T) {
		m := letter("two")
		m.To.Email = "nobody"
		require.Equal(t, fault.Unprocessable, fault.KindOf(f.Send(t.Context(), m)))
	})
	t.Run("Unwritable", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		require.NoError(t, os.WriteFile(file, nil, 0o600))
		err := NewFolder(filepath.Join(file, "mail"), from).Send(t.Context(), letter("one"))
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
	})
	t.Run("HalfWritten", func(t *testing.T) {
		taken := filepath.Join(dir, fileName(letter("three")))
		require.NoError(t, os.MkdirAll(filepath.Join(taken, "x"), 0o700))
		require.Error(t, f.Send(t.Context(), letter("three")), "its name is taken by a folder")
		left, err := filepath.Glob(filepath.Join(dir, ".*"))
		require.NoError(t, err)
		require.Empty(t, left)
	})
}
