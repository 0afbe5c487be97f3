package auth

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// PolicyFile is what a module's policy file says.
type PolicyFile struct {
	Rules    []Rule
	Calls    []Call
	inherits [][]string
}

// Call lets a module call a method.
type Call struct {
	Caller     string // the module
	Method     string // as PACKAGE.SERVICE/METHOD
	Permission string // that the call's principal needs, if there is one; "": none
	Line       int
}

// ParsePolicy reads a module's policy file. A line is one of
//
//	p, ROLE, MODULE:VERB, own|any                     the role has the permission
//	g, ROLE, INHERITED_ROLE                           the role has what the other has, in all modules
//	rpc, CALLER, PACKAGE.SERVICE/METHOD[, PERMISSION]  the module CALLER may call the method
//
// and # starts a comment. A call for a principal needs that one to have the PERMISSION. A module grants only its own permissions. The error names every line that is not like that.
func ParsePolicy(module, text string) (*PolicyFile, error) {
	c := csv.NewReader(strings.NewReader(text))
	c.Comment = '#'
	c.TrimLeadingSpace = true
	c.FieldsPerRecord = -1
	f := &PolicyFile{}
	var errs []error
	for {
		l, err := c.Read()
		if errors.Is(err, io.EOF) {
			return f, errors.Join(errs...)
		}
		if err != nil {
			return nil, fmt.Errorf("policy of module %s: %w", module, err)
		}
		for i := range l {
			l[i] = strings.TrimSpace(l[i])
		}
		n, _ := c.FieldPos(0)
		if err := f.add(module, n, l); err != nil {
			errs = append(errs, fmt.Errorf("policy of module %s, line %d: %w", module, n, err))
		}
	}
}

func (f *PolicyFile) add(module string, n int, l []string) error {
	switch {
	case slices.ContainsFunc(l, func(s string) bool { return s == "" || strings.Contains(s, ",") }):
		return errors.New("a field is empty or holds a comma")
	case l[0] == "g" && len(l) == 3:
		f.inherits = append(f.inherits, l[1:])
		return nil
	case l[0] == "rpc" && (len(l) == 3 || len(l) == 4):
		call := Call{Caller: l[1], Method: l[2], Line: n}
		if len(l) == 4 {
			if call.Permission = l[3]; !ownPermission(module, call.Permission) {
				return notOwn(module, call.Permission)
			}
		}
		f.Calls = append(f.Calls, call)
		return nil
	case l[0] != "p" || len(l) != 4:
		return fmt.Errorf(`want "p, ROLE, %s:VERB, own|any", "g, ROLE, INHERITED_ROLE" or "rpc, CALLER, PACKAGE.SERVICE/METHOD[, PERMISSION]"`, module)
	}
	r := Rule{Module: module, Origin: FromFile, Line: n, Role: l[1], Permission: l[2], Scope: l[3]}
	if err := r.Check(); err != nil {
		return err
	}
	f.Rules = append(f.Rules, r)
	return nil
}

// Check returns an error for a rule about another module's permission, or with a scope that there is not.
func (r Rule) Check() error {
	if !ownPermission(r.Module, r.Permission) {
		return notOwn(r.Module, r.Permission)
	}
	if r.Scope != scopeOwn && r.Scope != scopeAny {
		return fmt.Errorf("scope %q is neither own nor any", r.Scope)
	}
	return nil
}

func ownPermission(module, permission string) bool {
	verb, ok := strings.CutPrefix(permission, module+":")
	return ok && verb != ""
}

func notOwn(module, permission string) error {
	return fmt.Errorf("permission %q is not of the form %s:VERB", permission, module)
}
