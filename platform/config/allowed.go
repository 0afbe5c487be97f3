package config

import (
	"fmt"
	"reflect"
	"strings"
)

// allowed says in words what a key may hold: its allowed tag, or what its type
// and its validation rules say.
func (s *schema) allowed(k key) string {
	if a := k.field.Tag.Get("allowed"); a != "" {
		return a
	}
	rules := map[string]string{}
	for rule := range strings.SplitSeq(k.field.Tag.Get("validate"), ",") {
		name, param, _ := strings.Cut(rule, "=")
		rules[name] = param
	}
	has := func(name string) bool { _, ok := rules[name]; return ok }
	var what string
	switch kind := k.field.Type.Kind(); {
	case has("oneof"):
		what = list("one of", strings.Fields(rules["oneof"]))
	case k.field.Type == duration:
		what = "a duration" + limits(rules, "") + ", such as 250ms, 15s or 24h"
	case kind == reflect.Bool:
		what = "true or false"
	case kind >= reflect.Int && kind <= reflect.Uint64:
		what = "a whole number" + limits(rules, "")
	case kind == reflect.Float32 || kind == reflect.Float64:
		what = "a number" + limits(rules, "")
	case has("http_url"):
		what = "an http or https URL"
	case has("listen_addr"):
		what = "host:port"
	case has("hostname_port"):
		what = "host:port with a port from 1 to 65535"
	case has("email"):
		what = "an e-mail address"
	case kind == reflect.Slice:
		what = "a list, in a variable separated by commas"
	case kind == reflect.Map:
		what = "a name with a value for each entry"
	default:
		what = "text" + limits(rules, " characters")
	}
	for _, r := range [][2]string{{"gtefield", "at least"}, {"gtfield", "more than"}, {"ltefield", "at most"}, {"ltfield", "less than"}} {
		if has(r[0]) {
			what += fmt.Sprintf(", %s %s", r[1], sibling(k, rules[r[0]]))
		}
	}
	if has("omitempty") && k.field.Type.Kind() == reflect.String {
		what += ", or empty"
	}
	return what
}

func limits(rules map[string]string, unit string) string {
	low, hasLow := either(rules, "min", "gte")
	high, hasHigh := either(rules, "max", "lte")
	switch {
	case hasLow && hasHigh:
		return fmt.Sprintf(" from %s to %s%s", low, high, unit)
	case hasLow:
		return fmt.Sprintf(" of at least %s%s", low, unit)
	case hasHigh:
		return fmt.Sprintf(" of at most %s%s", high, unit)
	}
	return ""
}

func either(rules map[string]string, a, b string) (string, bool) {
	if v, ok := rules[a]; ok {
		return v, true
	}
	v, ok := rules[b]
	return v, ok
}

// sibling is the name of the field beside k.
func sibling(k key, field string) string {
	f, ok := k.parent.FieldByName(field)
	if !ok {
		return field
	}
	return k.name[:strings.LastIndex(k.name, ".")+1] + f.Tag.Get("mapstructure")
}

func list(intro string, items []string) string {
	if len(items) == 0 {
		return intro + " (there are none)"
	}
	return intro + " " + strings.Join(items, ", ")
}
