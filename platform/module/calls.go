package module

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/grpc"
)

// checkCalls compares the methods that a module serves with the lines rpc of its policy file. A method that no line names, a line
// that names no method, and a caller whose Uses lacks the module are errors, a line each. A caller may be missing from the
// process: it runs in another one.
func (h *Host) checkCalls(module string, services map[string]grpc.ServiceInfo) error {
	var errs []error
	named := map[string]bool{}
	served := map[string]bool{}
	for _, service := range slices.Sorted(maps.Keys(services)) {
		for _, m := range services[service].Methods {
			if !m.IsClientStream && !m.IsServerStream { // edges refuse streams
				served[service+"/"+m.Name] = true
			}
		}
	}
	for _, c := range h.policy.Calls(module) {
		named[c.Method] = true
		if !served[c.Method] {
			errs = append(errs, fmt.Errorf("policy of module %s, line %d: there is no method %s", module, c.Line, c.Method))
		}
		i := slices.IndexFunc(h.specs, func(s Spec) bool { return s.Name == c.Caller })
		if i >= 0 && !slices.Contains(h.specs[i].Uses, module) {
			errs = append(errs, fmt.Errorf("policy of module %s, line %d: the Uses of module %s does not name %s", module, c.Line, c.Caller, module))
		}
		if c.Permission != "" && !h.policy.Known(c.Permission) {
			errs = append(errs, fmt.Errorf("policy of module %s, line %d: no policy grants the permission %q", module, c.Line, c.Permission))
		}
	}
	for _, method := range slices.Sorted(maps.Keys(served)) {
		if !named[method] {
			errs = append(errs, fmt.Errorf("no policy lets a module call %s: add \"rpc, CALLER, %s\" to the policy of module %s", method, method, module))
		}
	}
	return errors.Join(errs...)
}
