package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"
)

const sourceDefault = "default"

// Row is one key of a configuration as it may be shown.
type Row struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Source string `json:"source"`
}

// Describe lists every key of c with its value and where that came from. Secrets
// and the passwords inside addresses are masked.
func Describe(c *Config) []Row {
	var rows []Row
	add := func(name string, v reflect.Value, k key) {
		row := Row{Key: name, Value: k.mask(text(v.Interface())), Source: sourceDefault}
		if s := c.origin[name]; s != "" {
			row.Source = s
		}
		rows = append(rows, row)
	}
	for _, k := range c.keys() {
		if !k.isMap() || k.value.Len() == 0 {
			add(k.name, k.value, k)
			continue
		}
		entries := map[string]reflect.Value{}
		for it := k.value.MapRange(); it.Next(); {
			entries[it.Key().String()] = it.Value()
		}
		for _, e := range sorted(entries) {
			add(k.name+"."+e, entries[e], k)
		}
	}
	return rows
}

// text is a value as the file would hold it.
func text(v any) string {
	switch v := v.(type) {
	case time.Duration:
		return shortDuration(v)
	case []string:
		return strings.Join(v, ",")
	}
	switch r := reflect.ValueOf(v); {
	case (r.Kind() == reflect.Map || r.Kind() == reflect.Slice) && r.Len() == 0:
		return ""
	case r.Kind() == reflect.Slice && r.Type().Elem().Kind() == reflect.Struct:
		return fields(r)
	}
	return fmt.Sprint(v)
}

// fields is a list of structs as JSON with the names that the file has, without what is empty.
func fields(list reflect.Value) string {
	var plain func(v reflect.Value) any
	plain = func(v reflect.Value) any {
		switch {
		case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
			out := make([]any, v.Len())
			for i := range out {
				out[i] = plain(v.Index(i))
			}
			return out
		case v.Kind() == reflect.Struct:
			out := map[string]any{}
			for i := range v.NumField() {
				if f := v.Field(i); !f.IsZero() {
					out[v.Type().Field(i).Tag.Get("mapstructure")] = plain(f)
				}
			}
			return out
		}
		return v.Interface()
	}
	b, err := json.Marshal(plain(list))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// shortDuration leaves out the trailing zero units: 10m rather than 10m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
