package auth

import (
	_ "embed"
	"strconv"

	"github.com/casbin/casbin/v2"
	"github.com/casbin/casbin/v2/model"
)

//go:embed model.conf
var modelText string

// table holds Casbin's answers about one generation of the rules.
type table struct {
	rules   []Rule
	answers map[string]map[string]answer // by permission, then by role; none is Deny
}

type answer struct {
	decision  Decision
	by, limit int32 // in rules, from 1; 0: none
}

func (t *table) rule(n int32) *Rule {
	if n == 0 {
		return nil
	}
	return &t.rules[n-1]
}

// newTable asks Casbin about each permission and each role that one of its rules can reach. The rules are handed over by
// permission: a plain Enforcer goes through all of them for each question.
func newTable(rules []Rule, inherits [][]string) (*table, error) {
	m, err := model.NewModelFromString(modelText)
	if err != nil {
		return nil, err
	}
	e, err := casbin.NewEnforcer(m)
	if err != nil {
		return nil, err
	}
	if _, err := e.AddGroupingPoliciesEx(inherits); err != nil {
		return nil, err
	}
	heirs, err := heirsOf(e, rules, inherits)
	if err != nil {
		return nil, err
	}
	t := &table{rules: rules, answers: map[string]map[string]answer{}}
	lines := map[string][][]string{}
	for i, r := range rules {
		effect := "allow"
		if r.Deny {
			effect = "deny"
		}
		lines[r.Permission] = append(lines[r.Permission], []string{r.Role, r.Scope, effect, strconv.Itoa(i + 1)})
	}
	policy := e.GetModel()["p"]["p"]
	for permission, its := range lines {
		policy.Policy = its
		answers := map[string]answer{}
		for _, line := range its {
			for _, role := range heirs[line[0]] {
				if _, ok := answers[role]; ok {
					continue
				}
				if answers[role], err = ask(e, role); err != nil {
					return nil, err
				}
			}
		}
		t.answers[permission] = answers
	}
	return t, nil
}

// heirsOf returns by role the roles that have what it has, itself first.
func heirsOf(e *casbin.Enforcer, rules []Rule, inherits [][]string) (map[string][]string, error) {
	heirs := map[string][]string{}
	for _, r := range rules {
		heirs[r.Role] = []string{r.Role}
	}
	seen := map[string]bool{}
	for _, g := range inherits {
		if seen[g[0]] {
			continue
		}
		seen[g[0]] = true
		implicit, err := e.GetImplicitRolesForUser(g[0])
		if err != nil {
			return nil, err
		}
		for _, role := range implicit {
			heirs[role] = append(heirs[role], g[0])
		}
	}
	return heirs, nil
}

// ask returns Casbin's answer about the permission whose rules it has.
func ask(e *casbin.Enforcer, role string) (answer, error) {
	var a answer
	for d := Any; d > Deny; d-- {
		ok, line, err := e.EnforceEx(role, d.String())
		if err != nil {
			return answer{}, err
		}
		n := int64(0)
		if len(line) > 0 {
			if n, err = strconv.ParseInt(line[len(line)-1], 10, 32); err != nil {
				return answer{}, err
			}
		}
		if ok {
			a.decision, a.by = d, int32(n)
			return a, nil
		}
		a.limit = int32(n)
	}
	return answer{by: a.limit}, nil
}
