package db

import (
	"database/sql"
	"encoding/binary"
	"fmt"
	"reflect"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// scanNative reads the columns of the current row. The kinds that nearly all
// columns have are read here: pgx plans each column of each query anew. For
// others, and for errors, the plan is pgx's.
func scanNative(types *pgtype.Map, rows pgx.Rows, dest []any) error {
	fields, values := rows.FieldDescriptions(), rows.RawValues()
	if len(fields) != len(dest) {
		return fmt.Errorf("db: the query has %d columns and the row %d fields", len(fields), len(dest))
	}
	for i, to := range dest {
		f := &fields[i]
		if scanPlain(f.DataTypeOID, f.Format, values[i], to) {
			continue
		}
		if err := types.Scan(f.DataTypeOID, f.Format, values[i], to); err != nil {
			return fmt.Errorf("db: column %s: %w", f.Name, err)
		}
	}
	return nil
}

// scanPlain reports whether it has read the value. A text that is there already, as in the next row of a join, is left.
func scanPlain(oid uint32, format int16, value []byte, to any) bool {
	if value == nil {
		return false
	}
	switch to := to.(type) {
	case *string:
		switch {
		case oid == pgtype.TextOID || oid == pgtype.VarcharOID: // the same in both formats
			if *to != string(value) {
				*to = string(value)
			}
			return true
		case oid == pgtype.UUIDOID && format == pgx.BinaryFormatCode && len(value) == len(uuid.UUID{}):
			if !sameUUID(*to, uuid.UUID(value)) {
				*to = uuid.UUID(value).String()
			}
			return true
		}
	case *int64:
		n, ok := integer(oid, format, value)
		if ok {
			*to = n
		}
		return ok
	case *int:
		n, ok := integer(oid, format, value)
		if ok {
			*to = int(n)
		}
		return ok
	default:
		if oid != pgtype.TextOID && oid != pgtype.VarcharOID {
			return false
		}
		if _, scans := to.(sql.Scanner); scans {
			return false
		}
		if v := reflect.ValueOf(to).Elem(); v.Kind() == reflect.String { // a type of its own
			if v.String() != string(value) {
				v.SetString(string(value))
			}
			return true
		}
	}
	return false
}

// sameUUID reports whether text is id, written as String does.
func sameUUID(text string, id uuid.UUID) bool {
	if len(text) != 36 { // an error of Parse would be made for nothing
		return false
	}
	parsed, err := uuid.Parse(text)
	return err == nil && parsed == id
}

// integer decodes the binary format of Postgres' integers.
func integer(oid uint32, format int16, value []byte) (int64, bool) {
	switch {
	case format != pgx.BinaryFormatCode:
	case oid == pgtype.Int8OID && len(value) == 8:
		return int64(binary.BigEndian.Uint64(value)), true //nolint:gosec // two's complement on both sides
	case oid == pgtype.Int4OID && len(value) == 4:
		return int64(int32(binary.BigEndian.Uint32(value))), true //nolint:gosec // as above
	}
	return 0, false
}
