package auth

import (
	_ "embed"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/casbin/casbin/v2"
	"github.com/casbin/casbin/v2/model"
	lru "github.com/hashicorp/golang-lru/v2"
)

//go:embed model.conf
var modelText string

const (
	scopeOwn = "own"
	scopeAny = "any"

	decisions = 4096 // remembered per generation of the policy
)

// Policy decides what roles may do. It is safe for concurrent use.
type Policy struct {
	current atomic.Pointer[ruleset]
}

// ruleset is one generation of the policy with the decisions made from it. They live and die
// together, so no decision outlasts the rules it was made from.
type ruleset struct {
	mu          sync.Mutex // an Enforcer writes to itself while it decides
	enforcer    *casbin.Enforcer
	roles       map[string]struct{}
	permissions map[string]struct{}
	decided     *lru.Cache[question, Decision]
}

type question struct{ roles, permission string }

// NewPolicy compiles the policy lines of each module, by module name.
//
// A line is "p, ROLE, MODULE:VERB, own|any" or "g, ROLE, INHERITED_ROLE"; # starts a comment. A
// module grants only its own permissions. The error names every line that is not like that.
func NewPolicy(modules map[string]string) (*Policy, error) {
	p := &Policy{}
	if err := p.Replace(modules); err != nil {
		return nil, err
	}
	return p, nil
}

// Replace compiles the policy anew and puts it in force together with an empty cache: a Decide that
// begins after Replace has returned follows the new rules only. On error the old rules stay.
func (p *Policy) Replace(modules map[string]string) error {
	r := &ruleset{roles: map[string]struct{}{}, permissions: map[string]struct{}{}}
	var grants, inherits [][]string
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		lines, err := parsePolicy(name, modules[name])
		if err != nil {
			errs = append(errs, err)
		}
		for _, l := range lines {
			kind, rule := l[0], l[1:]
			r.roles[rule[0]] = struct{}{}
			if kind == "g" {
				r.roles[rule[1]] = struct{}{}
				inherits = append(inherits, rule)
				continue
			}
			r.permissions[rule[1]] = struct{}{}
			grants = append(grants, rule)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := r.compile(grants, inherits); err != nil {
		return fmt.Errorf("compile the policy: %w", err)
	}
	p.current.Store(r)
	return nil
}

func (r *ruleset) compile(grants, inherits [][]string) error {
	m, err := model.NewModelFromString(modelText)
	if err != nil {
		return err
	}
	if r.enforcer, err = casbin.NewEnforcer(m); err != nil {
		return err
	}
	if _, err = r.enforcer.AddPoliciesEx(grants); err != nil {
		return err
	}
	if _, err = r.enforcer.AddGroupingPoliciesEx(inherits); err != nil {
		return err
	}
	r.decided, err = lru.New[question, Decision](decisions)
	return err
}

// Known reports whether any role has the permission.
func (p *Policy) Known(permission string) bool {
	_, ok := p.current.Load().permissions[permission]
	return ok
}

// Decide returns the widest scope in which any of the roles, or a role they inherit, has the
// permission. Unknown roles and permissions give Deny, and so does a failure of the engine.
func (p *Policy) Decide(roles []string, permission string) Decision {
	r := p.current.Load()
	if _, ok := r.permissions[permission]; !ok {
		return Deny
	}
	// Only known roles reach the key, so that a token's invented ones cannot fill the cache.
	key := question{permission: permission}
	if len(roles) == 1 {
		if _, ok := r.roles[roles[0]]; !ok {
			return Deny
		}
		key.roles = roles[0]
	} else {
		roles = r.known(roles)
		key.roles = strings.Join(roles, ",")
	}
	if d, ok := r.decided.Get(key); ok {
		return d
	}
	d, err := r.enforce(roles, permission)
	if err != nil {
		return Deny
	}
	r.decided.Add(key, d)
	return d
}

// known returns the roles that the policy names, sorted and without repetition.
func (r *ruleset) known(roles []string) []string {
	out := make([]string, 0, len(roles))
	for _, role := range roles {
		if _, ok := r.roles[role]; ok {
			out = append(out, role)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (r *ruleset) enforce(roles []string, permission string) (Decision, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	best := Deny
	for _, role := range roles {
		for d := Any; d > best; d-- {
			ok, err := r.enforcer.Enforce(role, permission, d.String())
			if err != nil {
				return Deny, err
			}
			if ok {
				best = d
			}
		}
	}
	return best, nil
}

// parsePolicy returns the well-formed lines and an error that names the others.
func parsePolicy(module, text string) ([][]string, error) {
	c := csv.NewReader(strings.NewReader(text))
	c.Comment = '#'
	c.TrimLeadingSpace = true
	c.FieldsPerRecord = -1
	var lines [][]string
	var errs []error
	for {
		l, err := c.Read()
		if errors.Is(err, io.EOF) {
			return lines, errors.Join(errs...)
		}
		if err != nil {
			return nil, fmt.Errorf("policy of module %s: %w", module, err)
		}
		for i := range l {
			l[i] = strings.TrimSpace(l[i])
		}
		if err := checkLine(module, l); err != nil {
			n, _ := c.FieldPos(0)
			errs = append(errs, fmt.Errorf("policy of module %s, line %d: %w", module, n, err))
			continue
		}
		lines = append(lines, l)
	}
}

func checkLine(module string, l []string) error {
	switch {
	case slices.ContainsFunc(l, func(s string) bool { return s == "" || strings.Contains(s, ",") }):
		return errors.New("a field is empty or holds a comma")
	case l[0] == "g" && len(l) == 3:
		return nil
	case l[0] != "p" || len(l) != 4:
		return fmt.Errorf("want \"p, ROLE, %s:VERB, own|any\" or \"g, ROLE, INHERITED_ROLE\"", module)
	case !strings.HasPrefix(l[2], module+":") || l[2] == module+":":
		return fmt.Errorf("permission %q is not of the form %s:VERB", l[2], module)
	case l[3] != scopeOwn && l[3] != scopeAny:
		return fmt.Errorf("scope %q is neither own nor any", l[3])
	}
	return nil
}
