package auth

import (
	"strconv"
	"strings"
	"sync"
	"testing"

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
				require.Equal(t, tt.want, p.Decide(tt.roles, tt.permission))
			}
		})
	}
	require.True(t, p.Known("order:ship"))
	require.False(t, p.Known("order:fly"))
	require.False(t, p.Known(""))
}

func TestPolicy_ReplaceForgetsDecisions(t *testing.T) {
	t.Parallel()
	p, err := NewPolicy(map[string]string{"user": userPolicy})
	require.NoError(t, err)
	require.Equal(t, Any, p.Decide([]string{"admin"}, "user:read"))

	require.Error(t, p.Replace(map[string]string{"user": "p, admin"}))
	require.Equal(t, Any, p.Decide([]string{"admin"}, "user:read"), "a refused policy changes nothing")

	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					p.Decide([]string{"admin"}, "user:read")
				}
			}
		})
	}
	for i := range 50 {
		text, want := userPolicy, Any
		if i%2 == 0 {
			text, want = "p, customer, user:read, own\ng, admin, customer", Own
		}
		require.NoError(t, p.Replace(map[string]string{"user": text}))
		require.Equal(t, want, p.Decide([]string{"admin"}, "user:read"))
	}
	close(stop)
	wg.Wait()
}

func TestPolicy_CacheIsBounded(t *testing.T) {
	t.Parallel()
	p, err := NewPolicy(map[string]string{"user": userPolicy})
	require.NoError(t, err)
	for i := range 3 * decisions {
		p.Decide([]string{"customer", "role" + strconv.Itoa(i)}, "user:read")
		p.Decide([]string{"customer"}, "user:"+strconv.Itoa(i))
	}
	require.Equal(t, 1, p.current.Load().decided.Len())
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
	require.Equal(t, Own, p.Decide([]string{"admin"}, "order:place"))
}

func TestNewPolicy_Empty(t *testing.T) {
	t.Parallel()
	p, err := NewPolicy(nil)
	require.NoError(t, err)
	require.Equal(t, Deny, p.Decide([]string{"admin"}, "user:read"))
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
