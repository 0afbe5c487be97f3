package temporal

import (
	"context"
	"time"

	"cleave/platform/db"
)

// InTx is Local over the module's database. That a step was done, and the state
// it left, is a completed row of the table sagas, written in the step's transaction.
func InTx(d *db.DB) Local {
	return func(ctx context.Context, key Key, fn func(context.Context) ([]byte, error)) (data []byte, err error) {
		name := key.Saga + " " + key.Step
		err = d.Tx(ctx, func(ctx context.Context) error {
			var done []string
			if err := d.Conn(ctx).Raw("SELECT data FROM sagas WHERE name = ? AND id = ?", name, key.ID).Scan(&done).Error; err != nil {
				return err
			}
			if len(done) > 0 {
				data = []byte(done[0])
				return nil
			}
			if data, err = fn(ctx); err != nil {
				return err
			}
			now := db.Micros(time.Now())
			return d.Queue(ctx).Exec("INSERT INTO sagas (name, id, state, data, due_at, created_at, updated_at) VALUES (?, ?, 'completed', ?, ?, ?, ?)",
				name, key.ID, string(data), now, now, now).Error
		})
		if err != nil {
			return nil, err
		}
		return data, nil
	}
}
