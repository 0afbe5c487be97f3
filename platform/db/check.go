package db

import (
	"context"
	"io/fs"

	"github.com/pressly/goose/v3"

	"cleave/platform/fault"
)

// CheckSchema returns a Conflict fault unless the database has exactly the
// migrations that the binary knows: code schema_newer or schema_older. It
// changes nothing.
func (d *DB) CheckSchema(ctx context.Context, module fs.FS) error {
	return d.migrating(ctx, module, func(sets []set) error {
		for _, s := range sets {
			if err := s.refuseNewer(ctx); err != nil {
				return err
			}
			status, err := s.provider.Status(ctx)
			if err != nil {
				return s.fault(err)
			}
			for _, m := range status {
				if m.State == goose.StatePending {
					return fault.New(fault.Conflict, "schema_older",
						"the schema of %s lacks the %s migration %d: run `app migrate up`", d.module, s.name, m.Source.Version)
				}
			}
		}
		return nil
	})
}
