package auth

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/casbin/casbin/v2"
	"github.com/casbin/casbin/v2/model"
	"github.com/stretchr/testify/require"
)

const (
	userPolicy = `
# Administrators can do what customers can.
g, admin, customer
p, customer, user:read, own
p, admin, user:read, any
`
	orderPolicy = `
p, customer, order:place, own
p, support, order:read, any
p, admin, order:ship, any
g, lead, support
g, boss, lead
`
)

func TestPolicy_Decide(t *testing.T) {
	t.Parallel()
	p, err := NewPolicy(map[string]string{"user": userPolicy, "order": orderPolicy})
	require.NoError(t, err)
	tests := map[string]struct {
		roles      []string
		permission string
		want       Decision
	}{
		"Own":               {[]string{"customer"}, "user:read", Own},
		"AnyBeatsInherited": {[]string{"admin"}, "user:read", Any},
		"Inherited":         {[]string{"admin"}, "order:place", Own},
		"InheritedTwice":    {[]string{"boss"}, "order:read", Any},
		"WidestOfSeveral":   {[]string{"customer", "admin"}, "user:read", Any},
		"OrderOfRoles":      {[]string{"admin", "customer", "admin"}, "user:read", Any},
		"NotGranted":        {[]string{"customer"}, "order:ship", Deny},
		"NotUpwards":        {[]string{"support"}, "order:place", Deny},
		"NoRoles":           {nil, "user:read", Deny},
		"UnknownRole":       {[]string{"root"}, "user:read", Deny},
		"UnknownBesides":    {[]string{"root", "customer"}, "user:read", Own},
		"EmptyRole":         {[]string{""}, "user:read", Deny},
		"RoleCase":          {[]string{"Admin"}, "user:read", Deny},
		"JoinedRole":        {[]string{"admin,customer", "x"}, "user:read", Deny},
		"PermissionAsRole":  {[]string{"user:read"}, "user:read", Deny},
		"UnknownPermission": {[]string{"admin"}, "user:fly", Deny},
		"EmptyPermission":   {[]string{"admin"}, "", Deny},
		"Wildcard":          {[]string{"admin"}, "*", Deny},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 2 { // decided, then remembered
				require.Equal(t, tt.want, p.Decide(Principal{Roles: tt.roles}, tt.permission))
			}
		})
	}
	require.True(t, p.Known("order:ship"))
	require.False(t, p.Known("order:fly"))
	require.False(t, p.Known(""))
}

// TestPolicy_Revoked is where Casbin's own cached enforcers still allow: a grant is taken back while many ask.
func TestPolicy_Revoked(t *testing.T) {
	t.Parallel()
	p, err := NewPolicy(map[string]string{"user": userPolicy})
	require.NoError(t, err)
	admin := Principal{Roles: []string{"admin"}}
	require.Equal(t, Any, p.Decide(admin, "user:read"))

	require.Error(t, p.SetRows("user", []Rule{row("admin", "user:read", "all", false)}))
	require.Equal(t, Any, p.Decide(admin, "user:read"), "refused rules change nothing")

	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					p.Decide(admin, "user:read")
				}
			}
		})
	}
	for i := range 50 {
		var rows []Rule
		want := Any
		if i%2 == 0 {
			rows, want = []Rule{row("admin", "user:read", "own", true)}, Deny
		}
		require.NoError(t, p.SetRows("user", rows))
		require.Equal(t, want, p.Decide(admin, "user:read"))
	}
	close(stop)
	wg.Wait()
}

func row(role, permission, scope string, deny bool) Rule {
	module, _, _ := strings.Cut(permission, ":")
	return Rule{Module: module, Origin: FromRow, ID: role + "-" + scope, Role: role, Permission: permission, Scope: scope, Deny: deny}
}

func TestPolicy_SetRows(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		rows       []Rule
		role       string
		permission string
		want       Decision
		by, limit  string
	}{
		"Base":              {nil, "customer", "user:read", Own, "grants customer user:read own: line 4 of module user's policy file", ""},
		"BaseAny":           {nil, "admin", "user:read", Any, "grants admin user:read any: line 5 of module user's policy file", ""},
		"Granted":           {[]Rule{row("support", "user:read", "any", false)}, "support", "user:read", Any, "grants support user:read any: row support-any of module user", ""},
		"Widened":           {[]Rule{row("customer", "user:read", "any", false)}, "customer", "user:read", Any, "grants customer user:read any: row customer-any of module user", ""},
		"WidenedForHeirs":   {[]Rule{row("customer", "order:place", "any", false)}, "admin", "order:place", Any, "grants customer order:place any: row customer-any of module order", ""},
		"Denied":            {[]Rule{row("customer", "user:read", "own", true)}, "customer", "user:read", Deny, "denies customer user:read own: row customer-own of module user", ""},
		"DeniedBeatsGrant":  {[]Rule{row("admin", "user:read", "own", true), row("admin", "user:read", "any", false)}, "admin", "user:read", Deny, "denies admin user:read own: row admin-own of module user", ""},
		"DeniedInherited":   {[]Rule{row("admin", "order:place", "own", true)}, "admin", "order:place", Deny, "denies admin order:place own: row admin-own of module order", ""},
		"DeniedForHeirs":    {[]Rule{row("customer", "user:read", "own", true)}, "admin", "user:read", Deny, "denies customer user:read own: row customer-own of module user", ""},
		"HeirsDeniedAlone":  {[]Rule{row("admin", "order:place", "own", true)}, "customer", "order:place", Own, "grants customer order:place own: line 2 of module order's policy file", ""},
		"NarrowedToOwn":     {[]Rule{row("admin", "user:read", "any", true)}, "admin", "user:read", Own, "grants customer user:read own: line 4 of module user's policy file", "denies admin user:read any: row admin-any of module user"},
		"OtherPermission":   {[]Rule{row("customer", "order:place", "own", true)}, "customer", "user:read", Own, "grants customer user:read own: line 4 of module user's policy file", ""},
		"UnknownPermission": {[]Rule{row("customer", "user:fly", "any", false)}, "customer", "user:fly", Deny, "", ""},
		"Nobody":            {nil, "stranger", "user:read", Deny, "", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := NewPolicy(map[string]string{"user": userPolicy, "order": orderPolicy})
			require.NoError(t, err)
			byModule := map[string][]Rule{}
			for _, r := range tt.rows {
				byModule[r.Module] = append(byModule[r.Module], r)
			}
			for module, rows := range byModule {
				require.NoError(t, p.SetRows(module, rows))
			}
			require.Equal(t, tt.want, p.Decide(Principal{Roles: []string{tt.role}}, tt.permission))
			e := p.Explain([]string{"stranger", tt.role}, tt.permission)
			require.Equal(t, tt.want, e.Decision)
			require.Equal(t, tt.by, text(e.By))
			require.Equal(t, tt.limit, text(e.Limit))
		})
	}
}

func text(r *Rule) string {
	if r == nil {
		return ""
	}
	return r.String()
}

// TestPolicy_AsCasbin compares the table with a plain Enforcer that is given all rules at once.
func TestPolicy_AsCasbin(t *testing.T) {
	t.Parallel()
	plain := strings.NewReplacer("r = role, scope", "r = role, permission, scope", "p = role, scope, eft, rule", "p = role, permission, scope, eft",
		"m = (", "m = r.permission == p.permission && (").Replace(modelText)
	random := rand.New(rand.NewPCG(1, 2))
	roles, permissions := []string{"a", "b", "c", "d", "e"}, []string{"m:1", "m:2", "m:3"}
	for range 40 {
		m, err := model.NewModelFromString(plain)
		require.NoError(t, err)
		e, err := casbin.NewEnforcer(m)
		require.NoError(t, err)
		var file strings.Builder
		var rows []Rule
		for range 1 + random.IntN(12) {
			r := row(roles[random.IntN(5)], permissions[random.IntN(3)], []string{"own", "any"}[random.IntN(2)], random.IntN(4) == 0)
			effect := "allow"
			if r.Deny {
				effect = "deny"
			}
			rows = append(rows, r)
			_, err := e.AddPolicy(r.Role, r.Permission, r.Scope, effect)
			require.NoError(t, err)
		}
		for range random.IntN(5) {
			n := random.IntN(4)
			heir, of := roles[n], roles[n+1+random.IntN(4-n)] // no cycle
			fmt.Fprintf(&file, "g, %s, %s\n", heir, of)
			_, err := e.AddGroupingPolicy(heir, of)
			require.NoError(t, err)
		}
		for _, permission := range permissions {
			fmt.Fprintf(&file, "p, nobody, %s, own\n", permission)
		}
		p, err := NewPolicy(map[string]string{"m": file.String()})
		require.NoError(t, err)
		require.NoError(t, p.SetRows("m", rows))
		for _, role := range roles {
			for _, permission := range permissions {
				want := Deny
				for d := Any; d > want; d-- {
					ok, err := e.Enforce(role, permission, d.String())
					require.NoError(t, err)
					if ok {
						want = d
					}
				}
				require.Equal(t, want, p.Decide(Principal{Roles: []string{role}}, permission), "%s %s\n%s%v", role, permission, file.String(), rows)
			}
		}
	}
}

func TestPolicy_ScopesOnlyTakeAway(t *testing.T) {
	t.Parallel()
	p, err := NewPolicy(map[string]string{"user": userPolicy, "order": orderPolicy})
	require.NoError(t, err)
	tests := map[string]struct {
		scopes []string
		want   Decision
	}{
		"None":        {nil, Own},
		"Exact":       {[]string{"openid", "order:place"}, Own},
		"Module":      {[]string{"order"}, Own},
		"Other":       {[]string{"order:read"}, Deny},
		"OtherModule": {[]string{"user"}, Deny},
		"Prefix":      {[]string{"order:pl"}, Deny},
		"Longer":      {[]string{"order:place:all"}, Deny},
		"Colon":       {[]string{"order:"}, Deny},
		"Empty":       {[]string{""}, Deny},
		"Standard":    {[]string{"openid", "profile"}, Deny},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.want, p.Decide(Principal{Roles: []string{"customer"}, Scopes: tt.scopes}, "order:place"))
			require.Equal(t, Deny, p.Decide(Principal{Roles: []string{"stranger"}, Scopes: tt.scopes}, "order:place"))
		})
	}
	t.Run("ServiceNeedsThem", func(t *testing.T) {
		t.Parallel()
		p, err := NewPolicy(map[string]string{"order": "p, service, order:read, any\np, customer, order:read, own"})
		require.NoError(t, err)
		require.Equal(t, Deny, p.Decide(Principal{Roles: []string{RoleService}}, "order:read"))
		require.Equal(t, Own, p.Decide(Principal{Roles: []string{RoleService, "customer"}}, "order:read"))
		require.Equal(t, Any, p.Decide(Principal{Roles: []string{RoleService}, Scopes: []string{"order:read"}}, "order:read"))
	})
}

func TestNewPolicy_BadLines(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ text, want string }{
		"ForeignPermission": {"p, admin, order:read, any", `permission "order:read" is not of the form user:VERB`},
		"NoVerb":            {"p, admin, user:, any", "not of the form"},
		"BadScope":          {"p, admin, user:read, all", `scope "all" is neither own nor any`},
		"NoScope":           {"p, admin, user:read", "want"},
		"UnknownKind":       {"q, admin, user:read, any", "want"},
		"LongRole":          {"g, a, b, c", "want"},
		"LongCall":          {"rpc, order, a.B/C, user:read, user:list", "want"},
		"EmptyField":        {"p, , user:read, any", "empty"},
		"CommaInRole":       {`p, "a,b", user:read, any`, "comma"},
		"BadQuote":          {`p, "a, user:read, any`, "policy of module user"},
		"SecondLine":        {"p, admin, user:read, any\np, admin", "line 2"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := NewPolicy(map[string]string{"user": tt.text})
			require.ErrorContains(t, err, tt.want)
			require.True(t, strings.HasPrefix(err.Error(), "policy of module user"), err.Error())
		})
	}
}

func TestNewPolicy_RepeatedLines(t *testing.T) {
	t.Parallel()
	p, err := NewPolicy(map[string]string{"user": userPolicy + userPolicy, "order": "g, admin, customer\n" + orderPolicy})
	require.NoError(t, err)
	require.Equal(t, Own, p.Decide(Principal{Roles: []string{"admin"}}, "order:place"))
}

func TestNewPolicy_Empty(t *testing.T) {
	t.Parallel()
	p, err := NewPolicy(nil)
	require.NoError(t, err)
	require.Equal(t, Deny, p.Decide(Principal{Roles: []string{"admin"}}, "user:read"))
}

func TestOwner(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		principal *Principal
		decision  Decision
		subject   string
		anyone    bool
	}{
		"NobodyMayDoAny":   {nil, Any, "", false},
		"WithoutDecision":  {&Principal{Subject: "u1"}, Deny, "", false},
		"Own":              {&Principal{Subject: "u1"}, Own, "u1", false},
		"Any":              {&Principal{Subject: "u1"}, Any, "u1", true},
		"DecisionOutRange": {&Principal{Subject: "u1"}, Any + 1, "u1", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := WithDecision(t.Context(), tt.decision)
			if tt.principal != nil {
				ctx = With(ctx, *tt.principal)
			}
			subject, anyone := Owner(ctx)
			require.Equal(t, tt.subject, subject)
			require.Equal(t, tt.anyone, anyone)
		})
	}
}
