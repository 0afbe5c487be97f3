package db_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/platform/db"
	"cleave/platform/fault"
)

// The statements violate one constraint each; the names hold on both dialects.
func TestConstraints(t *testing.T) {
	ctx := context.Background()
	each(t, func(t *testing.T, d *db.DB) {
		require.NoError(t, d.Tx(ctx, func(ctx context.Context) error {
			require.NoError(t, add(ctx, d, "a"))
			return d.Conn(ctx).Exec("INSERT INTO parts (item_id, no, code) VALUES ('a', 1, 'x')").Error
		}))
		violate := func(statement string) error {
			return d.Tx(ctx, func(ctx context.Context) error { return d.Conn(ctx).Exec(statement).Error })
		}
		for name, c := range map[string]struct {
			statement string
			unique    string // the constraint, when IsUnique knows it
			fault     *fault.Error
		}{
			"Named":            {"INSERT INTO items (id, name) VALUES ('b', 'name of a')", "items_name_key", errNameTaken},
			"Check":            {"UPDATE items SET stock = -1", "", errNoStock},
			"PrimaryKey":       {"INSERT INTO items (id, name) VALUES ('a', 'other')", "items_pkey", nil},
			"TwoColumnsKey":    {"INSERT INTO parts (item_id, no) VALUES ('a', 1)", "parts_pkey", nil},
			"TwoColumnsUnique": {"INSERT INTO parts (item_id, no, code) VALUES ('b', 1, 'x')", "parts_no_code_key", nil},
			"Sequence":         {"INSERT INTO outbox (seq, id, type, key, at, payload) " + overriding(d) + "VALUES (1, '', '', '', 0, ''), (1, '', '', '', 0, '')", "outbox_pkey", nil},
			"Missing":          {"INSERT INTO items (id) VALUES ('b')", "", nil},
			"ForeignKey":       {"INSERT INTO parts (item_id, no) VALUES ('missing', 1)", "", nil},
			"Platform":         {"INSERT INTO inbox (subscriber, id, type, source, key, at, payload) VALUES ('s', 'i', '', '', '', 0, ''), ('s', 'i', '', '', '', 0, '')", "inbox_subscriber_id_key", nil},
		} {
			err := violate(c.statement)
			require.Error(t, err, name)
			if c.fault != nil {
				require.ErrorIs(t, err, c.fault, name)
				require.NotEqual(t, c.fault.Error(), err.Error(), "the cause stays: %s", name)
			} else {
				require.Equal(t, "constraint_violated", fault.CodeOf(err), name)
				require.Equal(t, fault.Internal, fault.KindOf(err), name)
			}
			if c.unique != "" {
				require.True(t, db.IsUnique(err, c.unique), "%s: %v", name, err)
			}
			require.False(t, db.IsUnique(err, "items_stock_check"), name)
		}
		require.False(t, db.IsUnique(nil, ""))
		require.Equal(t, []string{"a"}, ids(t, ctx, d))
	})
}

// overriding lets a statement give a generated identity.
func overriding(d *db.DB) string {
	if d.Dialect() == "postgres" {
		return "OVERRIDING SYSTEM VALUE "
	}
	return ""
}
