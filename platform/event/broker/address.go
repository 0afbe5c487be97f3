package broker

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
)

// address is a broker's URL. Unlike net/url's, it may name several hosts, and
// its errors never repeat it, because it may hold a password.
type address struct {
	scheme   string
	user     string
	password string
	hosts    []string // host or host:port
	path     string   // without the slash before it
	query    url.Values
}

func parse(raw string) (address, error) {
	var a address
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return a, errors.New("there is no :// in it")
	}
	a.scheme = scheme
	rest, query, _ := strings.Cut(rest, "?")
	var err error
	if a.query, err = url.ParseQuery(query); err != nil {
		return a, errors.New("what follows the ? is not name=value&…")
	}
	for name, values := range a.query {
		if len(values) > 1 {
			return a, fmt.Errorf("%s is given twice", name)
		}
	}
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		user, password, _ := strings.Cut(rest[:i], ":")
		if a.user, err = url.PathUnescape(user); err == nil {
			a.password, err = url.PathUnescape(password)
		}
		if err != nil {
			return a, errors.New("a % in user and password is written %25")
		}
		rest = rest[i+1:]
	}
	hosts, path, _ := strings.Cut(rest, "/")
	if a.path, err = url.PathUnescape(path); err != nil {
		return a, errors.New("a % in the path is written %25")
	}
	a.hosts = strings.Split(hosts, ",")
	if slices.Contains(a.hosts, "") {
		return a, errors.New("a host is missing")
	}
	return a, nil
}

// withPort gives the hosts that name no port the usual one.
func (a address) withPort(port string) []string {
	hosts := make([]string, len(a.hosts))
	for i, host := range a.hosts {
		if _, _, err := net.SplitHostPort(host); err != nil {
			host = net.JoinHostPort(strings.Trim(host, "[]"), port)
		}
		hosts[i] = host
	}
	return hosts
}

// param takes a parameter out of the query.
func (a address) param(name, otherwise string) string {
	v := a.query.Get(name)
	a.query.Del(name)
	if v == "" {
		return otherwise
	}
	return v
}

func (a address) number(name string, otherwise, low, high int) (int, error) {
	v := a.param(name, strconv.Itoa(otherwise))
	n, err := strconv.Atoi(v)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("%s is %q, allowed: a whole number from %d to %d", name, v, low, high)
	}
	return n, nil
}

// prefix is what the names of this installation begin with at the broker.
func (a address) prefix() (string, error) {
	p := a.param("prefix", "cleave")
	if strings.Trim(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "" {
		return "", fmt.Errorf("prefix is %q, allowed: letters, digits, _ and -", p)
	}
	return p, nil
}

// tls reads the files named by ca, cert and key; without a ca the system's
// certificates are trusted.
func (a address) tls() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if file := a.param("ca", ""); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca: there is no certificate in %s", file)
		}
	}
	cert, key := a.param("cert", ""), a.param("key", "")
	if cert == "" && key == "" {
		return c, nil
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("read cert and key: %w", err)
	}
	c.Certificates = []tls.Certificate{pair}
	return c, nil
}

// rest fails for parameters that nothing has taken.
func (a address) rest() error {
	for name := range a.query {
		return fmt.Errorf("the parameter %s is not known for %s://", name, a.scheme)
	}
	return nil
}
