package module

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"cleave/platform/config"
	"cleave/platform/event"
	"cleave/platform/event/broker"
)

// place returns the modules with which the process starts. It refuses what
// could never work, a line each.
func place(cfg *config.Config, sorted []Spec) (here []Spec, err error) {
	var away []Spec
	t := cfg.Topology
	names := make([]string, len(sorted))
	for i, s := range sorted {
		names[i] = s.Name
	}
	for _, m := range t.Modules {
		if m != config.AllModules && !slices.Contains(names, m) {
			return nil, fmt.Errorf("topology.modules names %q, allowed: %s, %s", m, config.AllModules, strings.Join(names, ", "))
		}
	}
	all := slices.Contains(t.Modules, config.AllModules)
	for _, s := range sorted {
		if all || slices.Contains(t.Modules, s.Name) {
			here = append(here, s)
		} else {
			away = append(away, s)
		}
	}
	var errs []error
	if t.Addr != "" || len(away) > 0 {
		for _, f := range []struct{ key, path string }{{"topology.tls_cert", t.TLSCert}, {"topology.tls_key", t.TLSKey}, {"topology.tls_ca", t.TLSCA}} {
			if f.path == "" {
				errs = append(errs, fmt.Errorf("%s is empty: services know each other by certificates (cleave dev-certs makes some to try it out)", f.key))
			}
		}
	}
	for m := range t.Peers {
		if !slices.Contains(names, m) {
			errs = append(errs, fmt.Errorf("topology.peers names %q, allowed: %s", m, strings.Join(names, ", ")))
		}
	}
	if len(away) == 0 {
		return here, errors.Join(errs...)
	}
	for _, s := range away {
		if t.Addr != "" && slices.Contains(strings.Split(t.Peers[s.Name], ","), t.Addr) {
			errs = append(errs, fmt.Errorf("topology.peers.%s is %s, which is topology.addr of this process, and it does not run %[1]s: set it to the address of the process that does", s.Name, t.Addr))
		}
		if t.Peers[s.Name] == "" {
			errs = append(errs, fmt.Errorf("the module %s does not run here: set topology.peers.%s to the address of the process that runs it, or add it to topology.modules", s.Name, s.Name))
		}
	}
	if t.Addr == "" && len(here) > 0 {
		errs = append(errs, errors.New("topology.addr is empty: the processes that run the other modules cannot reach the modules of this one"))
	}
	if cfg.Events.Pipe == broker.InProcess {
		errs = append(errs, sharePipe(here, away)...)
	}
	return here, errors.Join(errs...)
}

// sharePipe refuses events that would have to leave the process without a
// broker.
func sharePipe(here, away []Spec) (errs []error) {
	for _, a := range here {
		for _, b := range away {
			for _, pair := range [][2]Spec{{a, b}, {b, a}} {
				if t, ok := follows(pair[1], pair[0]); ok {
					errs = append(errs, fmt.Errorf("events.pipe is %s, but %s follows %s of %s, which is in another process: set events.pipe to a broker that both reach",
						broker.InProcess, pair[1].Name, t.Name(), pair[0].Name))
				}
			}
		}
	}
	return errs
}

// follows returns an event of the publisher that the subscriber handles, or
// that the platform does for it.
func follows(subscriber, publisher Spec) (event.Type, bool) {
	for _, t := range subscriber.Subscribes {
		if slices.Contains(publisher.Publishes, t) {
			return t, true
		}
	}
	for _, r := range publisher.Revokes {
		return r.Type, true
	}
	return event.Type{}, false
}
