// Package store keeps the catalogue and the orders in the module's tables.
package store

import (
	"cleave/platform/db"
	"cleave/platform/fault"
)

// Constraints are the faults that requests may meet in the tables.
var Constraints = db.Constraints{
	"products_sku_key":     fault.New(fault.Conflict, "sku_taken", "another product has this SKU"),
	"products_stock_check": fault.New(fault.Conflict, "out_of_stock", "the stock does not suffice"),
}

// Store reads and writes the module's tables. Writes need a transaction.
type Store struct{ db *db.DB }

// New returns a store on the module's database.
func New(d *db.DB) *Store { return &Store{db: d} }

// Page is where a list goes on, newest first, and how far. The zero ID begins
// at the newest; otherwise it begins after the row created At with that ID.
type Page struct {
	At    int64 // Unix microseconds
	ID    string
	Limit int
}

// lock is what a read in a transaction appends to hold the rows of table until
// it ends. On SQLite the transaction has the whole file to itself.
func (s *Store) lock(table string) string {
	if s.db.Dialect() == "postgres" {
		return " FOR UPDATE OF " + table
	}
	return ""
}
