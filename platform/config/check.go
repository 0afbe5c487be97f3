package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/go-playground/validator/v10"
)

// Error lists everything that is wrong with a configuration.
type Error struct{ Problems []Problem }

// Error has one line for each problem.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Problem is one key that cannot be used.
type Problem struct {
	Key     string
	Value   string // as it was given; masked when the key is secret
	Allowed string // what may stand there
	Source  string // file:path:line, env NAME or flag --name
	Unknown bool   // nothing reads the key
	Nearest string // the known key that an unknown one is probably meant to be
	Message string // what is wrong when it is not about one key
}

// String is one line that names the key, the value, what is allowed and the source.
func (p Problem) String() string {
	switch {
	case p.Message != "":
		return fmt.Sprintf("%s (%s)", p.Message, p.Source)
	case p.Unknown && p.Nearest != "":
		return fmt.Sprintf("%s is not a known key (%s), did you mean %s?", p.Key, p.Source, p.Nearest)
	case p.Unknown:
		return fmt.Sprintf("%s is not a known key (%s)", p.Key, p.Source)
	case p.Value == "":
		return fmt.Sprintf("%s cannot be used (%s), allowed: %s", p.Key, p.Source, p.Allowed)
	default:
		return fmt.Sprintf("%s is %s (%s), allowed: %s", p.Key, p.Value, p.Source, p.Allowed)
	}
}

func newValidator() *validator.Validate {
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterTagNameFunc(func(f reflect.StructField) string {
		if name := f.Tag.Get("mapstructure"); name != "" {
			return name
		}
		return strings.ToLower(f.Name)
	})
	for tag, ok := range map[string]func(string) bool{
		"listen_addr": listenAddr, "postgres_dsn": postgresDSN, "web_origin": webOrigin, "pipe_url": pipeURL.MatchString, "issuer_url": issuerURL,
	} {
		// RegisterValidation fails only for an empty or a reserved tag.
		_ = v.RegisterValidation(tag, func(fl validator.FieldLevel) bool { return ok(fl.Field().String()) })
	}
	return v
}

func listenAddr(s string) bool {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

// postgresDSN accepts the two forms that libpq does, a URL and key=value pairs,
// as far as can be told without connecting.
func postgresDSN(s string) bool {
	if !strings.Contains(s, "://") {
		return strings.Contains(s, "=")
	}
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "postgres" || u.Scheme == "postgresql")
}

// webOrigin accepts an origin as a browser sends it (RFC 6454 section 6.1).
func webOrigin(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && !strings.Contains(u.Host, "*") && s == u.Scheme+"://"+u.Host
}

// pipeURL is as much of a pipe's address as can be told without opening it.
var pipeURL = regexp.MustCompile(`^(inproc|(nats|nats\+tls|kafka|kafka\+tls|amqp|amqps)://.+)$`)

var index = regexp.MustCompile(`\[([^\]]*)\]`)

// check validates the filled structs.
func (l *loader) check(c *Config) {
	v := newValidator()
	l.collect("", v.Struct(c))
	for _, m := range l.schema.modules {
		if section := reflect.ValueOf(c.Modules[m]); section.IsValid() && !section.IsNil() {
			l.collect(modulesKey+"."+m+".", v.Struct(c.Modules[m]))
		}
	}
}

func (l *loader) collect(prefix string, err error) {
	var bad validator.ValidationErrors
	if !errors.As(err, &bad) {
		return
	}
	for _, f := range bad {
		_, path, _ := strings.Cut(f.Namespace(), ".")
		name := prefix + index.ReplaceAllString(path, ".$1")
		k, ok := l.schema.find(name)
		if !ok { // an element of a list
			k = l.schema.element(prefix + path)
		}
		source := l.origin[name]
		if source == "" {
			list, _, _ := strings.Cut(prefix+path, "[")
			source = l.origin[list]
		}
		if source == "" {
			source = sourceDefault
		}
		l.problems = append(l.problems, Problem{Key: name, Value: k.show(f.Value()), Source: source, Allowed: l.schema.allowed(k)})
	}
}
