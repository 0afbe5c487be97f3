package db_test

import (
	"context"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/fault"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// item is the table that these tests write to.
type item struct {
	ID    string `gorm:"primaryKey"`
	Name  string
	Stock int64
}

const itemsTable = `-- +goose Up
CREATE TABLE items (
    id text NOT NULL CONSTRAINT items_pkey PRIMARY KEY,
    name text NOT NULL CONSTRAINT items_name_key UNIQUE,
    stock bigint NOT NULL DEFAULT 0 CONSTRAINT items_stock_check CHECK (stock >= 0)
);
CREATE TABLE parts (
    item_id text NOT NULL REFERENCES items (id) DEFERRABLE INITIALLY DEFERRED,
    no bigint NOT NULL,
    code text,
    CONSTRAINT parts_pkey PRIMARY KEY (item_id, no),
    CONSTRAINT parts_no_code_key UNIQUE (no, code)
);
-- +goose Down
DROP TABLE parts;
DROP TABLE items;
`

var (
	itemMigrations = fstest.MapFS{
		"sqlite/00001_items.sql":   {Data: []byte(itemsTable)},
		"postgres/00001_items.sql": {Data: []byte(itemsTable)},
	}
	errNameTaken = fault.New(fault.Conflict, "name_taken", "another item has this name")
	errNoStock   = fault.New(fault.Conflict, "out_of_stock", "not enough pieces")
	constraints  = db.Constraints{"items_name_key": errNameTaken, "items_stock_check": errNoStock}
)

// each runs fn against an empty items table on both dialects.
func each(t *testing.T, fn func(t *testing.T, d *db.DB)) {
	t.Helper()
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		fn(t, dbtest.Open(t, c, "order", itemMigrations, constraints))
	})
}

func add(ctx context.Context, d *db.DB, id string) error {
	return d.Conn(ctx).Create(&item{ID: id, Name: "name of " + id}).Error
}

func queue(ctx context.Context, d *db.DB, id string) error {
	return d.Queue(ctx).Create(&item{ID: id, Name: "name of " + id}).Error
}

// ids lists the stored items in the order of their ids, as seen by ctx.
func ids(t testing.TB, ctx context.Context, d *db.DB) []string {
	t.Helper()
	found := []string{}
	require.NoError(t, d.Conn(ctx).Model(&item{}).Order("id").Pluck("id", &found).Error)
	return found
}

// admin runs a statement as the server's admin in the database of c.
func admin(t testing.TB, c db.Config, statement string, args ...any) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), c.AdminDSN)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(context.Background())) }()
	_, err = conn.Exec(context.Background(), statement, args...)
	require.NoError(t, err)
}
