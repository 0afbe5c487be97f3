package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

const (
	envPrefix  = "CLEAVE_"
	modulesKey = "modules"
)

// key is one value that can be configured.
type key struct {
	name   string        // dotted, as in the file
	value  reflect.Value // settable
	field  reflect.StructField
	parent reflect.Type
	secret string // the tag: "", secretWhole or secretAddress
}

func (k key) isMap() bool { return k.value.Kind() == reflect.Map }

// env is the variable of the dotted name.
func env(name string) string {
	return envPrefix + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(name))
}

// keys lists everything below the pointers to c and to the modules' sections,
// in the order of the structs' fields and of the modules' names.
func (c *Config) keys() []key {
	out := walk(nil, "", reflect.ValueOf(c).Elem())
	for _, m := range sorted(c.Modules) {
		if v := reflect.ValueOf(c.Modules[m]); v.IsValid() && !v.IsNil() {
			out = walk(out, modulesKey+"."+m+".", v.Elem())
		}
	}
	return out
}

func walk(out []key, prefix string, v reflect.Value) []key {
	t := v.Type()
	for i := range t.NumField() {
		f := t.Field(i)
		name := f.Tag.Get("mapstructure")
		if !f.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			name = strings.ToLower(f.Name)
		}
		if f.Type.Kind() == reflect.Struct {
			out = walk(out, prefix+name+".", v.Field(i))
			continue
		}
		out = append(out, key{prefix + name, v.Field(i), f, t, f.Tag.Get("secret")})
	}
	return out
}

// schema finds keys by the names that the file, flags and environment use.
type schema struct {
	keys    []key
	byName  map[string]key
	byEnv   map[string]string
	modules []string
}

// newSchema fails when two keys share a variable, which only a new key can cause.
func newSchema(c *Config) (*schema, error) {
	s := &schema{keys: c.keys(), byName: map[string]key{}, byEnv: map[string]string{}, modules: sorted(c.Modules)}
	for _, k := range s.keys {
		e := env(k.name)
		if other, taken := s.byEnv[e]; taken {
			return nil, fmt.Errorf("the keys %s and %s share the variable %s", other, k.name, e)
		}
		s.byName[k.name], s.byEnv[e] = k, k.name
	}
	return s, nil
}

// find returns the key that name sets: itself, or the map that it is an entry of.
func (s *schema) find(name string) (key, bool) {
	if k, ok := s.byName[name]; ok {
		return k, true
	}
	for _, k := range s.keys {
		if k.isMap() && strings.HasPrefix(name, k.name+".") && len(name) > len(k.name)+1 {
			return k, true
		}
	}
	return key{}, false
}

// element returns the key of an element of a list, or of a field of one, whose path is as auth.issuers[0].audience.
func (s *schema) element(path string) key {
	name, _, _ := strings.Cut(path, "[")
	k, ok := s.find(name)
	if !ok {
		return key{name: path, field: reflect.StructField{Type: reflect.TypeFor[string]()}}
	}
	rest := strings.TrimPrefix(index.ReplaceAllString(path, ""), name)
	for part := range strings.SplitSeq(strings.TrimPrefix(rest, "."), ".") {
		t := k.field.Type
		if t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct {
			break
		}
		for i := range t.NumField() {
			if f := t.Field(i); f.Tag.Get("mapstructure") == part {
				k = key{name: k.name + "." + part, field: f, parent: t, secret: f.Tag.Get("secret")}
			}
		}
	}
	return k
}

// fromEnv returns the dotted name that the variable sets.
func (s *schema) fromEnv(variable string) (string, bool) {
	if name, ok := s.byEnv[variable]; ok {
		return name, true
	}
	for _, k := range s.keys {
		if entry, ok := strings.CutPrefix(variable, env(k.name)+"_"); ok && k.isMap() && entry != "" {
			return k.name + "." + strings.ToLower(entry), true
		}
	}
	return "", false
}

// section lists the keys directly below name, and reports whether name is a
// section at all: a module's may have none.
func (s *schema) section(name string) (below []string, ok bool) {
	for _, k := range s.keys {
		if rest, found := strings.CutPrefix(k.name, name+"."); found {
			first, _, _ := strings.Cut(rest, ".")
			if child := name + "." + first; !slices.Contains(below, child) {
				below = append(below, child)
			}
		}
	}
	module, inModules := strings.CutPrefix(name, modulesKey+".")
	return below, len(below) > 0 || name == modulesKey || inModules && slices.Contains(s.modules, module)
}

// nearest is the candidate that name is probably a slip of, or "".
func nearest(name string, candidates []string) string {
	best, distance := "", len(name)/4+2
	for _, c := range candidates {
		if d := edits(name, c); d < distance {
			best, distance = c, d
		}
	}
	return best
}

// edits is the Levenshtein distance.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		left, diagonal := i+1, i
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j] = left
			left = min(cost, diagonal+1, left+1)
		}
		row[len(b)] = left
	}
	return row[len(b)]
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
