package auth

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/casbin/casbin/v2"
	"github.com/casbin/casbin/v2/model"
)

// BenchmarkDecide is a decision of a policy of so many lines: again, for the first time since the rules changed, and by a plain
// Casbin enforcer. Change is how long new rules take to come into force, off the path of requests.
func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		text, permissions := manyRules(n)
		p, err := NewPolicy(map[string]string{"m": text})
		if err != nil {
			b.Fatal(err)
		}
		who := Principal{Roles: []string{"admin"}}
		generation := 0
		change := func(b *testing.B) {
			generation++
			r := row("support", permissions[0], scopeAny, false)
			r.ID = strconv.Itoa(generation)
			if err := p.SetRows("m", []Rule{r}); err != nil {
				b.Fatal(err)
			}
		}
		decide := func(b *testing.B, permission string) {
			if p.Decide(who, permission) != Own {
				b.Fatal(permission)
			}
		}
		b.Run(fmt.Sprintf("%d/cached", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				decide(b, permissions[n/2])
			}
		})
		b.Run(fmt.Sprintf("%d/miss", n), func(b *testing.B) {
			b.ReportAllocs()
			next := 0
			for b.Loop() {
				if next == len(permissions) {
					b.StopTimer()
					change(b)
					next = 0
					b.StartTimer()
				}
				decide(b, permissions[next])
				next++
			}
		})
		b.Run(fmt.Sprintf("%d/change", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				change(b)
			}
		})
		b.Run(fmt.Sprintf("%d/casbin", n), func(b *testing.B) {
			m, err := model.NewModelFromString(`[request_definition]
r = role, permission, scope
[policy_definition]
p = role, permission, scope
[role_definition]
g = _, _
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = r.permission == p.permission && r.scope == p.scope && g(r.role, p.role)`)
			if err != nil {
				b.Fatal(err)
			}
			e, err := casbin.NewEnforcer(m)
			if err != nil {
				b.Fatal(err)
			}
			for _, permission := range permissions {
				if _, err := e.AddPolicy("customer", permission, "own"); err != nil {
					b.Fatal(err)
				}
			}
			if _, err := e.AddGroupingPolicy("admin", "customer"); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if ok, err := e.Enforce("admin", permissions[n/2], "own"); err != nil || !ok {
					b.Fatal(ok, err)
				}
			}
		})
	}
}

func manyRules(n int) (text string, permissions []string) {
	var b strings.Builder
	b.WriteString("g, admin, customer\n")
	for i := range n {
		permissions = append(permissions, fmt.Sprintf("m:thing%d:read", i))
		fmt.Fprintf(&b, "p, customer, %s, own\n", permissions[i])
	}
	return b.String(), permissions
}
