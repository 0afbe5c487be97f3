package saga_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/saga"
	"cleave/platform/saga/sagatest"
)

// The behaviours that all engines share, on the runner.
func TestBehaviour(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		sagatest.Exercise(t, func(t *testing.T) sagatest.Engine {
			fresh := dbtest.SQLite(t)
			if c.Dialect() == "postgres" {
				fresh = dbtest.Postgres(t)
			}
			d := dbtest.Open(t, fresh, "order", sagatest.Migrations(), nil)
			return sagatest.Engine{DB: d, Run: func(t *testing.T, def saga.Definition[sagatest.Trip], id string, state []byte) sagatest.Outcome {
				return runTrip(t, d, def, id, state)
			}}
		})
	})
}

func runTrip(t *testing.T, d *db.DB, def saga.Definition[sagatest.Trip], id string, state []byte) sagatest.Outcome {
	t.Helper()
	w := &world{db: d}
	w.newRunner(10 * time.Second)
	s := saga.Register(w.runner, def)
	require.NoError(t, d.Tx(t.Context(), func(ctx context.Context) error {
		if err := s.Start(ctx, id, sagatest.Trip{ID: id}); err != nil {
			return err
		}
		return d.Conn(ctx).Exec("UPDATE sagas SET data = ? WHERE id = ?", string(state), id).Error
	}))
	w.run(t)
	var end *saga.Detail
	eventually(t, func() (over bool) {
		var err error
		end, err = saga.Show(t.Context(), d, def.Name, id)
		require.NoError(t, err)
		return end.State != saga.Running && end.State != saga.Compensating
	})
	var cause struct{ Code string }
	var text string
	require.NoError(t, d.Conn(t.Context()).Raw("SELECT cause FROM sagas WHERE id = ?", id).Scan(&text).Error)
	if text != "" {
		require.NoError(t, json.Unmarshal([]byte(text), &cause))
	}
	return sagatest.Outcome{State: end.State, Data: end.Data, Cause: cause.Code}
}
