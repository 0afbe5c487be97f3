package peer

import (
	"net"
	"net/url"
	"strconv"
	"strings"

	"google.golang.org/grpc/resolver"

	"cleave/platform/fault"
)

// resolve returns the target that grpc is given and the builder of its addresses.
func (o Options) resolve() (target string, b resolver.Builder, err error) {
	refuse := func(format string, args ...any) (string, resolver.Builder, error) {
		return "", nil, fault.New(fault.Invalid, "peer_target", "the target %q of module %s "+format, append([]any{o.Target, o.Module}, args...)...)
	}
	scheme, rest, isURL := strings.Cut(o.Target, "://")
	switch {
	case o.Target == "":
		return refuse("is empty; want HOST:PORT")
	case !isURL:
		addresses := strings.Split(o.Target, ",")
		for i, a := range addresses {
			addresses[i] = strings.TrimSpace(a)
			if why := checkAddress(addresses[i]); why != "" {
				return refuse("is no list of HOST:PORT: %q %s", addresses[i], why)
			}
		}
		return staticScheme + ":///" + url.PathEscape(o.Module), static(addresses), nil
	case scheme == dnsScheme:
		name, ok := strings.CutPrefix(rest, "/")
		if !ok {
			return refuse("names a DNS server; want dns:///NAME:PORT with three slashes")
		}
		if why := checkAddress(name); why != "" {
			return refuse("is not dns:///NAME:PORT: %q %s", name, why)
		}
		host, port, _ := net.SplitHostPort(name)
		return dnsScheme + ":///" + name, names{host: host, port: port, dns: o.DNS, now: o.Now}, nil
	}
	known := []string{"HOST:PORT", "dns:///NAME:PORT"}
	for _, b := range o.Resolvers {
		if b.Scheme() == scheme {
			return o.Target, b, nil
		}
		known = append(known, b.Scheme()+"://…")
	}
	return refuse("has the scheme %q, which this binary does not know; it knows %s", scheme, strings.Join(known, ", "))
}

// checkAddress says what is wrong with HOST:PORT, "" for nothing.
func checkAddress(a string) string {
	host, port, err := net.SplitHostPort(a)
	if err != nil {
		return "has no port"
	}
	if host == "" || strings.ContainsAny(host, "/ @?#") {
		return "has no host"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "has a port that is not 1 to 65535"
	}
	return ""
}
