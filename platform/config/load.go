package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"
)

// FileVariable names the configuration file in the environment. Load does not
// read it: whoever chooses the file does.
const FileVariable = envPrefix + "CONFIG"

// Options is where Load looks.
type Options struct {
	File  string         // a YAML file; empty means none
	Env   []string       // as os.Environ returns it
	Flags *pflag.FlagSet // as AddFlags made it; flags that were not given are ignored
	// Secrets read references to secrets, by their scheme; file is always there.
	Secrets map[string]SecretReader
	// Sections has an entry for every module: the pointer to its section with the defaults set,
	// which Load fills, or nil for a module without one.
	Sections map[string]any
}

// Load returns the configuration, or an *Error that lists all that is wrong
// with it. Any other error means that a module's section cannot be read at all.
func Load(o Options) (*Config, error) {
	c := Default()
	c.origin = map[string]string{}
	for m, section := range o.Sections {
		c.Modules[m] = section
	}
	s, err := newSchema(c)
	if err != nil {
		return nil, err
	}
	l := &loader{schema: s, values: viper.New(), origin: c.origin, secrets: o.Secrets}
	l.file(o.File)
	l.environment(o.Env)
	l.flags(o.Flags)
	l.fill()
	l.check(c)
	if len(l.problems) > 0 {
		slices.SortStableFunc(l.problems, func(a, b Problem) int { return strings.Compare(a.Key, b.Key) })
		return nil, &Error{Problems: l.problems}
	}
	return c, nil
}

type loader struct {
	schema   *schema
	values   *viper.Viper
	origin   map[string]string
	secrets  map[string]SecretReader
	problems []Problem
}

// set records a value for a dotted name; a name that nothing reads becomes a problem.
func (l *loader) set(name string, value any, source string) {
	k, ok := l.schema.find(name)
	if !ok {
		l.unknown(name, value, source)
		return
	}
	if module, entry := perModule(name); entry && !slices.Contains(l.schema.modules, module) {
		l.problems = append(l.problems, Problem{
			Key: name, Value: k.show(value), Source: source, Allowed: list("an address for one of the modules", l.schema.modules),
		})
		return
	}
	if k.isMap() && k.name == name && value == nil {
		return
	}
	l.values.Set(name, value)
	l.origin[name] = source
}

// perModule returns the module that the name of an entry of a map names.
func perModule(name string) (module string, ok bool) {
	for _, prefix := range []string{"db.modules.", "topology.peers."} {
		if module, ok = strings.CutPrefix(name, prefix); ok {
			return module, true
		}
	}
	return "", false
}

func (l *loader) unknown(name string, value any, source string) {
	below, section := l.schema.section(name)
	switch {
	case section && value == nil:
	case section:
		l.problems = append(l.problems, Problem{Key: name, Value: key{secret: secretWhole}.show(value), Source: source, Allowed: list("a section with the keys", below)})
	default:
		l.problems = append(l.problems, Problem{Key: name, Source: source, Unknown: true, Nearest: nearest(name, sorted(l.schema.byName))})
	}
}

func (l *loader) file(path string) {
	if path == "" {
		return
	}
	bad := func(format string, args ...any) {
		l.problems = append(l.problems, Problem{Source: "file:" + path, Message: fmt.Sprintf(format, args...)})
	}
	text, err := os.ReadFile(path)
	if err != nil {
		if pe := (*os.PathError)(nil); errors.As(err, &pe) {
			err = pe.Err
		}
		bad("the configuration file cannot be read: %v", err)
		return
	}
	var doc, next yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(text))
	switch err := d.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return
	case err != nil:
		bad("the configuration file is not YAML: %v", oneLine(err))
		return
	}
	if !errors.Is(d.Decode(&next), io.EOF) {
		bad("the configuration file holds more than one YAML document")
		return
	}
	v := viper.New()
	v.SetConfigType("yaml")
	if err := v.ReadConfig(bytes.NewReader(text)); err != nil {
		bad("the configuration file is not a YAML mapping of sections: %v", oneLine(err))
		return
	}
	lines := map[string]int{}
	number(lines, "", doc.Content[0])
	for _, name := range v.AllKeys() {
		source := "file:" + path
		if n := lines[name]; n > 0 {
			source = fmt.Sprintf("%s:%d", source, n)
		}
		l.set(name, v.Get(name), source)
	}
}

// number finds the lines on which the keys stand.
func number(lines map[string]int, prefix string, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := prefix + strings.ToLower(n.Content[i].Value)
		lines[name] = n.Content[i].Line
		number(lines, name+".", n.Content[i+1])
	}
}

// serviceLink matches what Kubernetes and container links add to the environment
// of a pod for each service: a service called cleave-order must not keep the
// process from starting.
var serviceLink = regexp.MustCompile(`^[A-Z0-9_]*_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)=|^[A-Z0-9_]*_PORT=(tcp|udp|sctp)://`)

func (l *loader) environment(env []string) {
	for _, e := range env {
		variable, value, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(variable, envPrefix) || variable == FileVariable || strings.HasPrefix(variable, envPrefix+"TEST_") {
			continue
		}
		source := "env " + variable
		if name, ok := l.schema.fromEnv(variable); ok {
			l.set(name, value, source)
			continue
		}
		if serviceLink.MatchString(e) {
			continue
		}
		l.problems = append(l.problems, Problem{Key: variable, Source: source, Unknown: true, Nearest: nearest(variable, sorted(l.schema.byEnv))})
	}
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
