// Package migrations holds the schema of the user module, for goose.
package migrations

import "embed"

// FS has a folder for each dialect: sqlite and postgres.
//
//go:embed sqlite/*.sql postgres/*.sql
var FS embed.FS
