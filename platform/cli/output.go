package cli

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// print writes v to standard output. JSON is v as encoding/json sees it, an
// empty slice as []. A table has a line for each element of a slice of structs
// below the names of their fields, and for a single struct a line for each
// field; the names are those in JSON. Anything else is its text.
func (a *app) print(v any) error {
	if a.output == "json" {
		if r := reflect.ValueOf(v); r.Kind() == reflect.Slice && r.IsNil() {
			v = []struct{}{}
		}
		e := json.NewEncoder(a.Out)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(v)
	}
	return table(a.Out, v)
}

func table(out io.Writer, v any) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	r := reflect.Indirect(reflect.ValueOf(v))
	switch {
	case r.Kind() == reflect.Struct:
		for _, f := range fields(r.Type()) {
			fmt.Fprintf(w, "%s\t%s\n", title(f), cell(r.FieldByIndex(f.Index)))
		}
	case r.Kind() == reflect.Slice && r.Type().Elem().Kind() == reflect.Struct:
		columns := fields(r.Type().Elem())
		row := make([]string, len(columns))
		for i, f := range columns {
			row[i] = title(f)
		}
		fmt.Fprintln(w, strings.ToUpper(strings.Join(row, "\t")))
		for i := range r.Len() {
			for j, f := range columns {
				row[j] = cell(r.Index(i).FieldByIndex(f.Index))
			}
			fmt.Fprintln(w, strings.Join(row, "\t"))
		}
	default:
		fmt.Fprintln(w, v)
	}
	return w.Flush()
}

// fields are those of t and of the structs embedded in it, as JSON has them.
func fields(t reflect.Type) []reflect.StructField {
	return slices.DeleteFunc(reflect.VisibleFields(t), func(f reflect.StructField) bool { return f.Anonymous || !f.IsExported() })
}

// title is the field's name in JSON.
func title(f reflect.StructField) string {
	if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
		return name
	}
	return f.Name
}

// cell is a value that cannot break the table's lines.
func cell(v reflect.Value) string {
	if t, ok := v.Interface().(time.Time); ok {
		if t.IsZero() {
			return "-"
		}
		return t.UTC().Format(time.RFC3339)
	}
	if b, ok := v.Interface().([]byte); ok {
		return base64.StdEncoding.EncodeToString(b)
	}
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return "-"
		}
		return cell(v.Elem())
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, fmt.Sprint(v.Interface()))
}
