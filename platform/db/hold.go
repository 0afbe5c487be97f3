package db

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"cleave/platform/fault"
)

// How often the connection of a Hold shows that it is alive, and how long it
// may take to.
const (
	holdCheck = 15 * time.Second
	holdReply = 5 * time.Second
)

// Hold is a lock of the module that this process holds as long as it lives:
// the server lets go of it when the process's connection ends, in whatever way.
type Hold struct {
	lost    chan struct{}
	release func()
}

// Hold takes the named lock on a connection of its own, beside the pool. It
// fails with Conflict, lock_held when another process has it, and with
// Unavailable. While it is held, TryLock of the same name reports false to all.
// On SQLite, where one process owns the file, there is nothing to hold.
//
// The connection must reach the server itself, or a pooler in session mode: one
// in transaction mode keeps such a lock after the process has ended, or gives it up while it
// lives.
func (d *DB) Hold(ctx context.Context, name string) (*Hold, error) {
	h := &Hold{lost: make(chan struct{}), release: func() {}}
	if d.dialect == sqliteDialect {
		return h, nil
	}
	key, cfg, err := d.config.moduleConn(d.module)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	cfg.RuntimeParams["application_name"] = "cleave-" + d.module + "-lock"
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, connectFault(key, cfg, err)
	}
	var held bool
	err = conn.QueryRow(ctx, "SELECT pg_try_advisory_lock(hashtextextended($1, 0))", d.lockName(name)).Scan(&held)
	if err == nil && !held {
		err = fault.New(fault.Conflict, "lock_held", "another process holds the lock %s of %s", name, d.module)
	}
	if err != nil {
		_ = conn.Close(context.WithoutCancel(ctx))
		return nil, d.translate(ctx, err)
	}
	watching, stop := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	ended.Go(func() {
		defer close(h.lost)
		h.watch(watching, conn)
	})
	h.release = sync.OnceFunc(func() {
		stop()
		ended.Wait()
	})
	return h, nil
}

// Lost is closed when the lock is no longer held.
func (h *Hold) Lost() <-chan struct{} { return h.lost }

// Release gives the lock back.
func (h *Hold) Release() { h.release() }

// watch waits for the end of the connection: the server's goodbye, a reset, or
// no answer.
func (h *Hold) watch(ctx context.Context, conn *pgx.Conn) {
	defer func() {
		closing, cancel := context.WithTimeout(context.Background(), holdReply)
		defer cancel()
		_ = conn.Close(closing)
	}()
	for {
		wait, cancel := context.WithTimeout(ctx, holdCheck)
		_, _ = conn.WaitForNotification(wait)
		cancel()
		if ctx.Err() != nil || conn.IsClosed() {
			return
		}
		reply, cancel := context.WithTimeout(ctx, holdReply)
		err := conn.Ping(reply)
		cancel()
		if err != nil {
			return
		}
	}
}
