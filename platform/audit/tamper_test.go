package audit_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/platform/audit"
	"cleave/platform/db"
	"cleave/platform/db/dbtest"
)

// unguarded runs statements as who owns the tables can: without the triggers.
func unguarded(t *testing.T, d *db.DB, statements ...string) {
	t.Helper()
	off := []string{
		"DROP TRIGGER audit_no_update", "DROP TRIGGER audit_no_delete", "DROP TRIGGER audit_no_replace", "DROP TRIGGER audit_head_stays",
		"DROP TRIGGER audit_head_forward", "DROP TRIGGER audit_head_single",
	}
	if d.Dialect() == "postgres" {
		off = []string{"DROP TRIGGER audit_append_only ON audit", "DROP TRIGGER audit_head_stays ON audit_head", "DROP TRIGGER audit_head_forward ON audit_head"}
	}
	require.NoError(t, d.Tx(t.Context(), func(ctx context.Context) error {
		for _, s := range append(off, statements...) {
			if err := d.Conn(ctx).Exec(s).Error; err != nil {
				return err
			}
		}
		return nil
	}))
}

func TestDatabaseRefuses(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		d, l := setup(t, c)
		fill(t, d, l, 3)
		statements := []string{
			"UPDATE audit SET action = 'x' WHERE seq = 2", "DELETE FROM audit", "DELETE FROM audit WHERE seq = 3",
			"UPDATE audit_head SET seq = 2", "UPDATE audit_head SET hash = hash", "DELETE FROM audit_head",
			"INSERT INTO audit_head (seq, hash) SELECT seq, hash FROM audit_head",
			"INSERT INTO audit SELECT * FROM audit WHERE seq = 2",
		}
		if d.Dialect() == "postgres" {
			statements = append(statements, "TRUNCATE audit", "TRUNCATE audit_head")
		} else {
			statements = append(statements, "INSERT OR REPLACE INTO audit SELECT * FROM audit WHERE seq = 2",
				"INSERT OR REPLACE INTO audit_head (id, seq, hash) SELECT 1, 1, hash FROM audit WHERE seq = 1")
		}
		for _, s := range statements {
			require.Error(t, d.Tx(t.Context(), func(ctx context.Context) error { return d.Conn(ctx).Exec(s).Error }), s)
		}
		require.Empty(t, verify(t, l, nil).Broken)
	})
}

func TestVerify_FindsTampering(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		statements []string
		holds      int64
		want       string
	}{
		"Changed":          {[]string{"UPDATE audit SET subject = 'nobody' WHERE seq = 3"}, 2, "entry 3 is not what was written"},
		"ChangedTime":      {[]string{"UPDATE audit SET at = at + 1 WHERE seq = 1"}, 0, "entry 1 is not what was written"},
		"MovedText":        {[]string{"UPDATE audit SET action = 'shop:', object = 'close' || object WHERE seq = 4"}, 3, "entry 4 is not what was written"},
		"Deleted":          {[]string{"DELETE FROM audit WHERE seq = 3"}, 2, "entry 3 is missing"},
		"DeletedFirst":     {[]string{"DELETE FROM audit WHERE seq = 1"}, 0, "entry 1 is missing"},
		"DeletedAndClosed": {[]string{"DELETE FROM audit WHERE seq = 3", "UPDATE audit SET seq = 3 WHERE seq = 4", "UPDATE audit SET seq = 4 WHERE seq = 5"}, 2, "entry 3 is not what was written"},
		"Reordered":        {[]string{"UPDATE audit SET seq = 9 WHERE seq = 2", "UPDATE audit SET seq = 2 WHERE seq = 3", "UPDATE audit SET seq = 3 WHERE seq = 9"}, 1, "entry 2 is not what was written"},
		"Cut":              {[]string{"DELETE FROM audit WHERE seq > 3"}, 3, "entry 4 is missing, and all after it"},
		"Emptied":          {[]string{"DELETE FROM audit"}, 0, "entry 1 is missing, and all after it"},
		"Inserted": {[]string{
			"INSERT INTO audit (seq, at, issuer, subject, action, object, hash) SELECT 6, at, issuer, subject, action, object, hash FROM audit WHERE seq = 5",
		}, 5, "there are entries after 5"},
		"InsertedWithHead": {[]string{
			"INSERT INTO audit (seq, at, issuer, subject, action, object, hash) SELECT 6, at, issuer, subject, action, object, hash FROM audit WHERE seq = 5",
			"UPDATE audit_head SET seq = 6",
		}, 5, "entry 6 is not what was written"},
		"HeadGone":    {[]string{"DELETE FROM audit_head"}, 0, "the head of the log is missing"},
		"HeadChanged": {[]string{"UPDATE audit_head SET hash = (SELECT hash FROM audit WHERE seq = 2)"}, 5, "not the head"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dbtest.Each(t, func(t *testing.T, c db.Config) {
				d, l := setup(t, c)
				fill(t, d, l, 5)
				unguarded(t, d, tt.statements...)
				r := verify(t, l, nil)
				require.Contains(t, r.Broken, tt.want)
				require.Equal(t, tt.holds, r.Entries)
			})
		})
	}
}

func TestVerify_EntryOfAnotherModule(t *testing.T) {
	t.Parallel()
	d, l := setup(t, dbtest.SQLite(t))
	fill(t, d, l, 1)
	other := dbtest.Open(t, dbtest.SQLite(t), "bank", nil, nil)
	var r struct{ Hash []byte }
	require.NoError(t, d.Conn(t.Context()).Raw("SELECT hash FROM audit").Scan(&r).Error)
	bank := audit.New(other, "https://issuer.example", nil)
	require.NoError(t, other.Tx(t.Context(), func(ctx context.Context) error {
		if err := other.Conn(ctx).Exec("INSERT INTO audit (seq, at, issuer, subject, action, object, hash) VALUES (1, ?, 'cli', 'root', 'shop:close', 'shop/1', ?)",
			db.Micros(noon), r.Hash).Error; err != nil {
			return err
		}
		return other.Conn(ctx).Exec("UPDATE audit_head SET seq = 1, hash = ?", r.Hash).Error
	}))
	require.Contains(t, verify(t, bank, nil).Broken, "entry 1 is not what was written")
}

// Who cuts the log and its head leaves a log that looks whole; a head that was written down tells.
func TestVerify_Anchor(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		d, l := setup(t, c)
		early := fill(t, d, l, 3)
		require.NoError(t, appendEntry(t.Context(), d, l, entry(4)))
		late := verify(t, l, &early).Head
		require.EqualValues(t, 4, late.Seq)

		parsed, err := audit.ParseHead(late.String())
		require.NoError(t, err)
		require.Equal(t, late, parsed)
		require.Empty(t, verify(t, l, &parsed).Broken)

		unguarded(t, d, "DELETE FROM audit WHERE seq = 4", "UPDATE audit_head SET seq = 3, hash = (SELECT hash FROM audit WHERE seq = 3)")
		require.Empty(t, verify(t, l, nil).Broken)
		require.Empty(t, verify(t, l, &early).Broken)
		require.Contains(t, verify(t, l, &late).Broken, "the log was cut")

		e := entry(4)
		e.Object = "shop/another"
		require.NoError(t, appendEntry(t.Context(), d, l, e))
		require.Empty(t, verify(t, l, nil).Broken)
		require.Contains(t, verify(t, l, &late).Broken, "the log was rewritten")
	})
}

func TestParseHead_Refuses(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "3", "3:", "3:zz", "-1:" + hex32, "x:" + hex32, "3:" + hex32 + "00", hex32} {
		_, err := audit.ParseHead(s)
		require.Error(t, err, s)
	}
	_, err := audit.ParseHead("3:" + hex32)
	require.NoError(t, err)
}

const hex32 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// An entry with a good hash of its own, as a forger would compute it, breaks the chain.
func TestVerify_ForgedEntry(t *testing.T) {
	t.Parallel()
	d, l := setup(t, dbtest.SQLite(t))
	fill(t, d, l, 5)
	forger, forged := setup(t, dbtest.SQLite(t))
	for range 3 {
		require.NoError(t, appendEntry(t.Context(), forger, forged, entry(9)))
	}
	var r struct {
		Object string
		Hash   []byte
	}
	require.NoError(t, forger.Conn(t.Context()).Raw("SELECT object, hash FROM audit WHERE seq = 3").Scan(&r).Error)
	unguarded(t, d)
	require.NoError(t, d.Tx(t.Context(), func(ctx context.Context) error {
		return d.Conn(ctx).Exec("UPDATE audit SET object = ?, hash = ? WHERE seq = 3", r.Object, r.Hash).Error
	}))
	require.Contains(t, verify(t, l, nil).Broken, "entry 3 is not what was written")
}
