package config

import (
	"strings"

	"github.com/spf13/pflag"
)

const keyAnnotation = "cleave-config-key"

// AddFlags adds the flags that Load understands: one for each key that is often
// changed, and --set for every key.
func AddFlags(fs *pflag.FlagSet) {
	for _, f := range []struct{ name, key, usage string }{
		{"modules", "topology.modules", "run these `MODULES` in this process, as order,user; all by default, none for a gateway"},
		{"addr", "http.addr", "listen on `HOST:PORT`"},
		{"data", "data.dir", "keep databases, keys and unsent mails in `FOLDER`"},
		{"log-level", "log.level", "log lines of at least `LEVEL`: debug, info, warn, error"},
		{"log-format", "log.format", "log as `FORMAT`: text or json (default: text on a terminal, else json)"},
	} {
		fs.String(f.name, "", f.usage)
		// SetAnnotation fails only for a flag that does not exist.
		_ = fs.SetAnnotation(f.name, keyAnnotation, []string{f.key})
	}
	fs.StringArray("set", nil, "set any configuration key: `KEY=VALUE` (repeatable; visible to others on this machine, so not for secrets)")
}

func (l *loader) flags(fs *pflag.FlagSet) {
	if fs == nil {
		return
	}
	// Not Visit: a flag that a subcommand inherits is visited in the subcommand's own set alone.
	fs.VisitAll(func(f *pflag.Flag) {
		if k := f.Annotations[keyAnnotation]; f.Changed && len(k) == 1 {
			l.set(k[0], f.Value.String(), "flag --"+f.Name)
		}
	})
	pairs, err := fs.GetStringArray("set")
	if err != nil {
		return // a set of flags without --set
	}
	for _, p := range pairs {
		name, value, ok := strings.Cut(p, "=")
		if !ok {
			l.problems = append(l.problems, Problem{Key: p, Source: "flag --set", Allowed: "KEY=VALUE, such as --set log.level=debug"})
			continue
		}
		l.set(strings.ToLower(name), value, "flag --set")
	}
}
