package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
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
		for i, name := range fields(r.Type()) {
			fmt.Fprintf(w, "%s\t%s\n", name, cell(r.Field(i)))
		}
	case r.Kind() == reflect.Slice && r.Type().Elem().Kind() == reflect.Struct:
		fmt.Fprintln(w, strings.ToUpper(strings.Join(fields(r.Type().Elem()), "\t")))
		for i := range r.Len() {
			row := make([]string, r.Type().Elem().NumField())
			for j := range row {
				row[j] = cell(r.Index(i).Field(j))
			}
			fmt.Fprintln(w, strings.Join(row, "\t"))
		}
	default:
		fmt.Fprintln(w, v)
	}
	return w.Flush()
}

func fields(t reflect.Type) []string {
	names := make([]string, t.NumField())
	for i := range names {
		f := t.Field(i)
		if names[i], _, _ = strings.Cut(f.Tag.Get("json"), ","); names[i] == "" {
			names[i] = f.Name
		}
	}
	return names
}

// cell is a value that cannot break the table's lines.
func cell(v reflect.Value) string {
	if t, ok := v.Interface().(time.Time); ok {
		if t.IsZero() {
			return "-"
		}
		return t.UTC().Format(time.RFC3339)
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
