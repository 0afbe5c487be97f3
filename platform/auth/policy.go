package auth

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

const (
	scopeOwn = "own"
	scopeAny = "any"
)

// RoleService is the role of machine clients. It gives nothing but what the principal's Scopes name.
const RoleService = "service"

// The origins of a Rule.
const (
	FromFile = "file"    // a line of the module's policy file
	FromRow  = "runtime" // a row of the module's table policies
)

// Rule grants a role a permission, or denies it.
type Rule struct {
	Module     string // whose permission it is
	Origin     string // FromFile or FromRow
	Line       int    // in the file; 0 for a row
	ID         string // of the row; "" for a line
	Role       string
	Permission string
	Scope      string // own or any
	Deny       bool
}

// String says what the rule does and where it stands.
func (r Rule) String() string {
	verb := "grants"
	if r.Deny {
		verb = "denies"
	}
	where := fmt.Sprintf("line %d of module %s's policy file", r.Line, r.Module)
	if r.Origin == FromRow {
		where = fmt.Sprintf("row %s of module %s", r.ID, r.Module)
	}
	return fmt.Sprintf("%s %s %s %s: %s", verb, r.Role, r.Permission, r.Scope, where)
}

// Policy decides what roles may do. It is safe for concurrent use.
//
// Casbin answers every question that the rules leave room for when they come into force, and the answers are kept in a table: a
// decision is a look-up, the table needs no bound, and no answer outlives the rules it was given under.
type Policy struct {
	files map[string]*PolicyFile // by module
	mu    sync.Mutex             // of rows, and of writing current
	rows  map[string][]Rule      // by module
	calls map[edge]string        // the permission that a call's principal needs
	// current is replaced as a whole.
	current atomic.Pointer[table]
}

// NewPolicy compiles the policy file of each module, by module name; ParsePolicy tells what they hold. The error names every line
// that is amiss.
func NewPolicy(modules map[string]string) (*Policy, error) {
	p := &Policy{files: map[string]*PolicyFile{}, rows: map[string][]Rule{}, calls: map[edge]string{}}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		f, err := ParsePolicy(name, modules[name])
		errs = append(errs, err)
		p.files[name] = f
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for _, f := range p.files {
		for _, c := range f.Calls {
			p.calls[edge{c.Caller, c.Method}] = c.Permission
		}
	}
	return p, p.compile(p.rows)
}

type edge struct{ caller, method string }

// MayCall reports whether a module may call a method, given as PACKAGE.SERVICE/METHOD, and which permission the principal of such
// a call needs, "" for none.
func (p *Policy) MayCall(caller, method string) (permission string, ok bool) {
	permission, ok = p.calls[edge{caller, method}]
	return permission, ok
}

// Calls returns who may call the methods of a module, as its policy file says.
func (p *Policy) Calls(module string) []Call { return p.files[module].Calls }

// SetRows puts the rows of a module's table in force, in place of those before: a Decide that begins after it has returned follows
// them. Rows for permissions that the module's file does not name are left out: another version of the program brought them. On
// error, as of a row that Check refuses, the rules before stay.
func (p *Policy) SetRows(module string, rows []Rule) error {
	for _, r := range rows {
		if err := r.Check(); err != nil {
			return fmt.Errorf("row %s of module %s: %w", r.ID, module, err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if slices.Equal(p.rows[module], rows) {
		return nil
	}
	all := maps.Clone(p.rows)
	all[module] = slices.Clone(rows)
	if err := p.compile(all); err != nil {
		return err
	}
	p.rows = all
	return nil
}

func (p *Policy) compile(rows map[string][]Rule) error {
	var rules []Rule
	var inherits [][]string
	known := map[string]struct{}{}
	for _, name := range slices.Sorted(maps.Keys(p.files)) {
		f := p.files[name]
		rules = append(rules, f.Rules...)
		inherits = append(inherits, f.inherits...)
		for _, r := range f.Rules {
			known[r.Permission] = struct{}{}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		for _, r := range rows[name] {
			if _, ok := known[r.Permission]; ok {
				rules = append(rules, r)
			}
		}
	}
	t, err := newTable(rules, inherits)
	if err != nil {
		return fmt.Errorf("compile the policy: %w", err)
	}
	p.current.Store(t)
	return nil
}

// Known reports whether a policy file names the permission.
func (p *Policy) Known(permission string) bool {
	_, ok := p.current.Load().answers[permission]
	return ok
}

// HasRole reports whether a rule, in force or inherited, is about the role.
func (p *Policy) HasRole(role string) bool {
	for _, byRole := range p.current.Load().answers {
		if _, ok := byRole[role]; ok {
			return true
		}
	}
	return false
}

// Decide returns the widest scope in which any of the principal's roles, or a role they inherit, has the permission. The
// principal's Scopes only take away, and without any the role service has nothing. Unknown roles and permissions give Deny. REST, calls between modules and event handlers
// all ask here.
func (p *Policy) Decide(who Principal, permission string) Decision {
	if len(who.Scopes) > 0 && !slices.ContainsFunc(who.Scopes, func(s string) bool { return covers(s, permission) }) {
		return Deny
	}
	best := Deny
	byRole := p.current.Load().answers[permission]
	for _, role := range who.Roles {
		if role == RoleService && len(who.Scopes) == 0 {
			continue
		}
		best = max(best, byRole[role].decision)
	}
	return best
}

// covers reports whether a scope (RFC 6749 section 3.3) lets a permission through: one of its name, or one below it, as order and
// order:product do for order:product:read.
func covers(scope, permission string) bool {
	rest, ok := strings.CutPrefix(permission, scope)
	return ok && scope != "" && (rest == "" || rest[0] == ':')
}

// Explanation is a decision with what led to it.
type Explanation struct {
	Decision Decision
	Role     string // the role that decided; "" when none has any rule
	By       *Rule  // what allows it, or on Deny what denies it; nil: no rule grants the permission
	Limit    *Rule  // what denies the scope any where only own is granted; nil: nothing does
}

// Explain returns what Decide decides for a principal with these roles and no scopes, and why.
func (p *Policy) Explain(roles []string, permission string) Explanation {
	t := p.current.Load()
	var e Explanation
	for _, role := range roles {
		a, ok := t.answers[permission][role]
		if !ok || e.Role != "" && a.decision <= e.Decision {
			continue
		}
		e = Explanation{Decision: a.decision, Role: role, By: t.rule(a.by), Limit: t.rule(a.limit)}
	}
	return e
}

// Rules returns the rules in force about a module's permissions: those of the file, then the rows.
func (p *Policy) Rules(module string) []Rule {
	t := p.current.Load()
	var out []Rule
	for _, r := range t.rules {
		if r.Module == module {
			out = append(out, r)
		}
	}
	return out
}
