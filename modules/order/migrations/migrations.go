// Package migrations holds the order module's schema, for each dialect.
package migrations

import "embed"

// FS holds the goose files below sqlite/ and postgres/.
//
//go:embed sqlite/*.sql postgres/*.sql
var FS embed.FS
