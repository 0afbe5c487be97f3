package migrations_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/modules/notification/migrations"
	"cleave/platform/db"
	"cleave/platform/db/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

func TestDownAndUpAgain(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		d := dbtest.Open(t, c, "notification", migrations.FS, nil)
		for {
			down, err := d.MigrateDown(t.Context(), migrations.FS)
			require.NoError(t, err)
			if len(down) == 0 {
				break
			}
		}
		count := func() error { return d.Conn(t.Context()).Raw("SELECT count(*) FROM mails").Scan(new(int64)).Error }
		require.Error(t, count(), "nothing is left")
		_, err := d.Migrate(t.Context(), migrations.FS)
		require.NoError(t, err)
		require.NoError(t, count())
	})
}
