// Package migrations holds the platform's own tables, which every module's
// database has: outbox, inbox, sagas, idempotency keys and audit log.
package migrations

import "embed"

// FS has a folder per dialect.
//
//go:embed sqlite/*.sql postgres/*.sql
var FS embed.FS
