// Package migrations holds the schema of the notification module for each
// dialect, as goose files.
package migrations

import "embed"

// FS has the folders sqlite and postgres.
//
//go:embed sqlite/*.sql postgres/*.sql
var FS embed.FS
