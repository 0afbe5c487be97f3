package config_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/platform/config"
)

const issuersFile = `auth:
  issuers:
    - issuer: https://keycloak.example/realms/Shop
      audience: shop-api
      roles_claim: realm_access.roles
      roles:
        - {value: Shop-Admin, role: admin}
      default_role: customer
    - issuer: http://127.0.0.1:4000
      audience: cleave
      algorithms: [ES256]
      roles_claim: sub
      roles:
        - {value: "system:serviceaccount:shop:warehouse", role: service, scopes: [order:ship, order:read]}
`

func TestLoad_Issuers(t *testing.T) {
	t.Parallel()
	want := []config.Issuer{
		{
			Issuer: "https://keycloak.example/realms/Shop", Audience: "shop-api", RolesClaim: "realm_access.roles",
			Roles: []config.IssuerRole{{Value: "Shop-Admin", Role: "admin"}}, DefaultRole: "customer",
		},
		{
			Issuer: "http://127.0.0.1:4000", Audience: "cleave", Algorithms: []string{"ES256"}, RolesClaim: "sub",
			Roles: []config.IssuerRole{{Value: "system:serviceaccount:shop:warehouse", Role: "service", Scopes: []string{"order:ship", "order:read"}}},
		},
	}
	c, _, err := setup(t, input{file: issuersFile})
	require.NoError(t, err)
	require.Equal(t, want, c.Auth.Issuers)
	var shown string
	for _, r := range config.Describe(c) {
		if r.Key == "auth.issuers" {
			shown = r.Value
		}
	}

	c, _, err = setup(t, input{env: []string{"CLEAVE_AUTH_ISSUERS=" + shown}})
	require.NoError(t, err)
	require.Equal(t, want, c.Auth.Issuers, "what is shown can be given")
}

func TestLoadRefuses_Issuers(t *testing.T) {
	t.Parallel()
	one := func(fields string) input { return input{file: "auth:\n  issuers:\n    - {" + fields + "}\n"} }
	for name, tc := range map[string]struct {
		input
		want []string
	}{
		"UnknownField": {one("issuer: 'https://a.example', audience: x, audiance: y"), []string{"auth.issuers: ", "audiance", "app.yaml:2"}},
		"NotAList":     {input{env: []string{"CLEAVE_AUTH_ISSUERS=https://a.example"}}, []string{"auth.issuers: ", "env CLEAVE_AUTH_ISSUERS"}},
		"WrongType":    {one("issuer: 'https://a.example', audience: 7"), []string{"auth.issuers: ", "audience"}},
		"PlainHTTP":    {one("issuer: 'http://a.example', audience: x"), []string{`auth.issuers.0.issuer is "http://a.example" (file:`, "app.yaml:2", "allowed: an https URL"}},
		"Query":        {one("issuer: 'https://a.example/?realm=x', audience: x"), []string{"auth.issuers.0.issuer"}},
		"NoAudience":   {one("issuer: 'https://a.example'"), []string{`auth.issuers.0.audience is ""`, "text of at most 255 characters"}},
		"SharedSecret": {one("issuer: 'https://a.example', audience: x, algorithms: [RS256, HS256]"), []string{`auth.issuers.0.algorithms.1 is "HS256"`, "one of RS256, RS384"}},
		"KeysOverHTTP": {one("issuer: 'https://a.example', audience: x, jwks_url: 'http://a.example/keys'"), []string{"auth.issuers.0.jwks_url"}},
		"RoleWithout":  {one("issuer: 'https://a.example', audience: x, roles_claim: r, roles: [{value: v}]"), []string{`auth.issuers.0.roles.0.role is ""`}},
		"Twice":        {input{env: []string{`CLEAVE_AUTH_ISSUERS=[{"issuer":"https://a.example","audience":"x"},{"issuer":"https://a.example","audience":"y"}]`}}, []string{"auth.issuers is ", "different issuers"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := setup(t, tc.input)
			var bad *config.Error
			require.ErrorAs(t, err, &bad)
			require.Len(t, bad.Problems, 1, "%v", err)
			for _, w := range tc.want {
				require.Contains(t, err.Error(), w)
			}
			require.NotContains(t, err.Error(), "\n")
		})
	}
}
