package config

import (
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	masked        = "***"
	secretWhole   = "true"    // the value is a secret
	secretAddress = "address" // the value may hold one
	secretBroker  = "broker"  // the value may hold one before an @
)

// mask returns what may be shown of a value that k has or was meant to have.
func (k key) mask(s string) string {
	switch {
	case s == "":
		return ""
	case k.secret == secretWhole:
		return masked
	case k.secret == secretAddress:
		return maskAddress(s)
	case k.secret == secretBroker:
		return brokerUser.ReplaceAllString(s, "$1"+masked+"@")
	default:
		return urlPassword.ReplaceAllString(s, "$1:"+masked+"@")
	}
}

// show is a refused value in a message: quoted when it is text, shortened when it is long.
func (k key) show(v any) string {
	switch v := v.(type) {
	case nil:
		return "empty"
	case string:
		return strconv.Quote(shorten(k.mask(v)))
	case time.Duration:
		return shortDuration(v)
	default:
		if k.secret != "" {
			return masked
		}
		return shorten(fmt.Sprint(v))
	}
}

func shorten(s string) string {
	if r := []rune(s); len(r) > 80 {
		return string(r[:80]) + "…"
	}
	return s
}

var (
	// The user part reaches to the last @: an address that is wrong because of an
	// unescaped @ or / in its password must not show it either.
	urlPassword = regexp.MustCompile(`(://[^:@/\s]*):.*@`)
	brokerUser  = regexp.MustCompile(`^([^@]*?//)?.*@`)
	urlOption   = regexp.MustCompile(`([?&])([^=&]*)=([^&]*)`)
	pair        = regexp.MustCompile(`(\w+)\s*=\s*('(?:[^'\\]|\\.)*'|\S*)`)
	plainPairs  = map[string]bool{"host": true, "port": true, "dbname": true, "user": true, "sslmode": true, "search_path": true}
)

// maskAddress shows of a Postgres address, right or wrong, only what is known
// not to be secret.
func maskAddress(s string) string {
	if !strings.Contains(s, "://") {
		var shown []string
		for _, m := range pair.FindAllStringSubmatch(s, -1) {
			shown = append(shown, m[1]+"="+plain(m[1], m[2]))
		}
		if len(shown) == 0 {
			return masked
		}
		return strings.Join(shown, " ")
	}
	hidden := urlPassword.ReplaceAllString(s, "$1:"+masked+"@")
	if _, err := url.Parse(s); err != nil && hidden == s {
		return masked
	}
	return urlOption.ReplaceAllStringFunc(hidden, func(option string) string {
		m := urlOption.FindStringSubmatch(option)
		return m[1] + m[2] + "=" + plain(m[2], m[3])
	})
}

func plain(name, value string) string {
	if plainPairs[name] {
		return value
	}
	return masked
}
