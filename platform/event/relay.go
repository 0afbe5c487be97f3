package event

import (
	"context"

	"cleave/platform/db"
)

// relay moves one module's outbox into the pipe, oldest first.
type relay struct {
	module string
	db     *db.DB
	o      Options
	pipe   Pipe
	wake   chan struct{}
}

// step moves one batch. An outbox row is deleted only after the pipe has
// returned, so a crash in between delivers again and the inboxes refuse the
// repeat.
func (r *relay) step(ctx context.Context) (more bool, err error) {
	var waiting int64
	if err := r.db.Conn(ctx).Raw("SELECT count(*) FROM (SELECT 1 FROM outbox LIMIT 1) AS w").Scan(&waiting).Error; err != nil || waiting == 0 {
		return false, err
	}
	err = r.db.Exclusive(ctx, "outbox", func(ctx context.Context) error {
		var rows []outboxRow
		if err := r.db.Conn(ctx).Order("seq").Limit(r.o.Batch).Find(&rows).Error; err != nil {
			return err
		}
		if len(rows) == 0 {
			return nil
		}
		events := make([]Envelope, len(rows))
		seqs := make([]int64, len(rows))
		for i, row := range rows {
			events[i], seqs[i] = row.envelope(r.module), row.Seq
		}
		if err := r.pipe.Deliver(ctx, r.module, events); err != nil {
			return err
		}
		more = len(rows) == r.o.Batch
		return r.db.Tx(ctx, func(ctx context.Context) error {
			return r.db.Queue(ctx).Exec("DELETE FROM outbox WHERE seq IN ?", seqs).Error
		})
	})
	return more, err
}
