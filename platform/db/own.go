package db

import (
	"errors"
	"fmt"
	"os"

	"cleave/platform/fault"
)

// errOwned is what lockFile says when another process has the lock.
var errOwned = errors.New("another process has it")

// Own makes this process the one that runs the module on its SQLite file, until Close or the end of the process, in whatever way.
// It fails with Conflict, module_runs, when another process does: two would hand out each event and each saga twice. Commands that
// work on the file in turns with the server need not own it. On Postgres, where replicas share the work, it does nothing.
func (d *DB) Own() error {
	if d.dialect != sqliteDialect {
		return nil
	}
	file, err := os.OpenFile(File(d.config.Dir, d.module)+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("make the lock of module %s: %w", d.module, err)
	}
	if err := lockFile(file); err != nil {
		err = errors.Join(err, file.Close())
		if errors.Is(err, errOwned) {
			return fault.New(fault.Conflict, "module_runs", "another process runs the module %s on the folder %s: stop that one, give this one a data.dir of its own, or set db.dsn to a Postgres that both use",
				d.module, d.config.Dir).Wrap(err)
		}
		return fmt.Errorf("lock the database of module %s: %w", d.module, err)
	}
	d.closers = append(d.closers, file)
	return nil
}
