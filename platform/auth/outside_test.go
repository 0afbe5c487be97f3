package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cleave/platform/fault"
)

const (
	keycloak   = "https://keycloak.example/realms/shop"
	auth0      = "https://shop.eu.auth0.com/"
	kubernetes = "https://kubernetes.default.svc.cluster.local"
)

// away is an outside issuer whose keys the test turns.
type away struct {
	mu    sync.Mutex
	keys  map[string]PublicKey
	err   error
	calls int
}

func (a *away) Keys(context.Context) (map[string]PublicKey, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls++
	return maps.Clone(a.keys), a.err
}

func (a *away) set(keys map[string]PublicKey, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.keys, a.err = keys, err
}

func (a *away) fetched() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls
}

type outsideFixture struct {
	*fixture
	rsa, weak                   *rsa.PrivateKey
	ec                          *ecdsa.PrivateKey
	keycloak, auth0, kubernetes *away
}

// setupOutside trusts three issuers, as their documentation shows their tokens.
func setupOutside(t testing.TB) *outsideFixture {
	t.Helper()
	f := &outsideFixture{fixture: setup(t), ec: newKey(t), keycloak: &away{}, auth0: &away{}, kubernetes: &away{}}
	var err error
	f.rsa, err = rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	f.weak, err = rsa.GenerateKey(rand.Reader, 1024) //nolint:gosec // a key that must be refused
	require.NoError(t, err)
	f.keycloak.keys = map[string]PublicKey{"k1": {Key: &f.rsa.PublicKey, Algorithm: "RS256"}, "weak": {Key: &f.weak.PublicKey}}
	f.auth0.keys = map[string]PublicKey{"k1": {Key: &f.ec.PublicKey}}
	f.kubernetes.keys = map[string]PublicKey{"k1": {Key: &f.rsa.PublicKey}}
	issuers, err := NewIssuers([]OutsideIssuer{
		{
			Issuer: keycloak, Audience: "shop-api", Algorithms: []string{"RS256", "RS512"}, SubjectClaim: "sub", RolesClaim: "realm_access.roles",
			Roles: []RoleMapping{{Value: "shop-admin", Role: "admin"}, {Value: "shop-help", Role: "support"}}, DefaultRole: "customer", Keys: f.keycloak.Keys,
		},
		{
			Issuer: auth0, Audience: "https://api.shop.example", Algorithms: []string{"ES256", "ES384", "RS256"}, Type: "application/at+JWT", SubjectClaim: "sub",
			RolesClaim: "https://shop.example/roles", ScopeClaim: "scope", Roles: []RoleMapping{{Value: "robot", Role: "service"}}, Keys: f.auth0.Keys,
		},
		{
			Issuer: kubernetes, Audience: "cleave", Algorithms: []string{"RS256"}, SubjectClaim: "sub", RolesClaim: "sub",
			Roles: []RoleMapping{{Value: "system:serviceaccount:shop:warehouse", Role: "service", Scopes: []string{"order:ship", "order:read"}}}, Keys: f.kubernetes.Keys,
		},
	}, slog.New(slog.DiscardHandler), f.clock.now)
	require.NoError(t, err)
	f.verifier.Trust(issuers)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- issuers.Run(ctx) }()
	t.Cleanup(func() { stop(); require.NoError(t, <-ended) })
	require.Eventually(t, func() bool {
		for _, o := range issuers.byIssuer {
			if !o.keys.holds("k1") {
				return false
			}
		}
		return true
	}, 10*time.Second, time.Millisecond)
	return f
}

// base are the claims that all have.
func (f *outsideFixture) base(issuer, audience, subject string, more ...any) jwt.MapClaims {
	now := f.clock.now()
	c := jwt.MapClaims{"iss": issuer, "aud": audience, "sub": subject, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}
	for i := 0; i < len(more); i += 2 {
		c[more[i].(string)] = more[i+1]
	}
	return c
}

func signed(t testing.TB, method jwt.SigningMethod, key crypto.PrivateKey, header map[string]any, c jwt.MapClaims) string {
	t.Helper()
	tok := jwt.NewWithClaims(method, c)
	maps.Copy(tok.Header, header)
	s, err := tok.SignedString(key)
	require.NoError(t, err)
	return s
}

func (f *outsideFixture) keycloakToken(t testing.TB, more ...any) string {
	t.Helper()
	more = append([]any{
		"typ", "Bearer", "azp", "web", "sid", "s1", "scope", "openid email", "realm_access", map[string]any{"roles": []string{"offline_access", "shop-help"}},
	}, more...)
	return signed(t, jwt.SigningMethodRS256, f.rsa, map[string]any{"kid": "k1", "typ": "JWT"}, f.base(keycloak, "shop-api", "f3a1", more...))
}

func TestVerify_OutsideIssuers(t *testing.T) {
	t.Parallel()
	f := setupOutside(t)
	verify := func(token string) Principal {
		t.Helper()
		p, err := f.verifier.Verify(t.Context(), token)
		require.NoError(t, err)
		again, err := f.verifier.Verify(t.Context(), token)
		require.NoError(t, err)
		require.Equal(t, p, again)
		p.Expires, p.Audience = time.Time{}, nil
		return p
	}
	robot := signed(t, jwt.SigningMethodES256, f.ec, map[string]any{"kid": "k1", "typ": "at+jwt"}, f.base(auth0, "https://api.shop.example", "id@clients",
		"https://shop.example/roles", []string{"robot"}, "scope", "order:ship order:product"))
	pod := signed(t, jwt.SigningMethodRS256, f.rsa, map[string]any{"kid": "k1"}, f.base(kubernetes, "cleave", "system:serviceaccount:shop:warehouse",
		"kubernetes.io", map[string]any{"namespace": "shop", "serviceaccount": map[string]string{"name": "warehouse"}}))

	require.Equal(t, Principal{
		Issuer: keycloak, Subject: SubjectOf(keycloak, "f3a1"), IssuerSubject: "f3a1", Roles: []string{"support"},
	}, verify(f.keycloakToken(t)))
	require.Equal(t, []string{"admin", "support"}, verify(f.keycloakToken(t, "realm_access", map[string]any{"roles": []string{"shop-help", "shop-admin"}})).Roles)
	require.Equal(t, []string{"customer"}, verify(f.keycloakToken(t, "realm_access", "shop-adm")).Roles)
	require.Equal(t, []string{"customer"}, verify(f.keycloakToken(t, "roles", []string{"admin"}, "realm_access", 7)).Roles, "its own names mean nothing here")
	require.Equal(t, Principal{
		Issuer: auth0, Subject: SubjectOf(auth0, "id@clients"), IssuerSubject: "id@clients", Roles: []string{"service"}, Scopes: []string{"order:ship", "order:product"},
	}, verify(robot))
	require.Equal(t, Principal{
		Issuer: kubernetes, Subject: SubjectOf(kubernetes, "system:serviceaccount:shop:warehouse"), IssuerSubject: "system:serviceaccount:shop:warehouse",
		Roles: []string{"service"}, Scopes: []string{"order:ship", "order:read"},
	}, verify(pod))
	unscoped := signed(t, jwt.SigningMethodES256, f.ec, map[string]any{"kid": "k1", "typ": "at+jwt"}, f.base(auth0, "https://api.shop.example", "id@clients",
		"https://shop.example/roles", "robot"))
	require.Empty(t, verify(unscoped).Roles, "without the scopes that limit it, it may do nothing")
	for _, a := range []*away{f.keycloak, f.auth0, f.kubernetes} {
		require.Equal(t, 1, a.fetched())
	}
}

func TestVerify_OutsideForgeries(t *testing.T) {
	t.Parallel()
	f := setupOutside(t)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(&f.rsa.PublicKey)
	require.NoError(t, err)
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	head := map[string]any{"kid": "k1"}
	is := func(key string, value any) string { return f.keycloakToken(t, key, value) }
	with := func(key string, value any) string {
		h := maps.Clone(head)
		h[key] = value
		return signed(t, jwt.SigningMethodRS256, f.rsa, h, f.base(keycloak, "shop-api", "f3a1"))
	}
	good := f.keycloakToken(t)
	parts := strings.Split(good, ".")
	for name, token := range map[string]string{
		"WrongAudience":      is("aud", "account"),
		"NoAudience":         is("aud", nil),
		"Expired":            is("exp", f.clock.now().Add(-6*time.Second).Unix()),
		"NoExpiry":           is("exp", nil),
		"NotYet":             is("nbf", f.clock.now().Add(6*time.Second).Unix()),
		"NoSubject":          is("sub", nil),
		"SubjectNumber":      is("sub", 7),
		"SubjectLong":        is("sub", strings.Repeat("a", maxSubject+1)),
		"BoundToAKey":        is("cnf", map[string]string{"jkt": "x"}),
		"UnknownIssuer":      is("iss", keycloak+"2"),
		"IssuerPrefix":       is("iss", keycloak+"/"),
		"IssuerOtherCase":    is("iss", strings.ToUpper(keycloak)),
		"OurIssuer":          is("iss", issuer),
		"IssuerAudience":     signed(t, jwt.SigningMethodRS256, f.rsa, head, f.base(kubernetes, "shop-api", "x")),
		"MixUpOfKeys":        signed(t, jwt.SigningMethodRS256, f.rsa, map[string]any{"kid": "k1", "typ": "at+jwt"}, f.base(auth0, "https://api.shop.example", "x")),
		"OtherIssuersKey":    signed(t, jwt.SigningMethodES256, f.ec, head, f.base(keycloak, "shop-api", "x")),
		"AlgorithmOfTheKey":  signed(t, jwt.SigningMethodRS512, f.rsa, head, f.base(keycloak, "shop-api", "x")),
		"PSS":                signed(t, jwt.SigningMethodPS256, f.rsa, head, f.base(keycloak, "shop-api", "x")),
		"HMACWithPublicKey":  signed(t, jwt.SigningMethodHS256, public, head, f.base(keycloak, "shop-api", "x")),
		"HMACWithPublicDER":  signed(t, jwt.SigningMethodHS256, der, head, f.base(keycloak, "shop-api", "x")),
		"None":               signed(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, head, f.base(keycloak, "shop-api", "x")),
		"EdDSA":              signed(t, jwt.SigningMethodEdDSA, edwards, head, f.base(keycloak, "shop-api", "x")),
		"WeakKey":            signed(t, jwt.SigningMethodRS256, f.weak, map[string]any{"kid": "weak"}, f.base(keycloak, "shop-api", "x")),
		"OtherCurve":         signed(t, jwt.SigningMethodES384, p384, map[string]any{"kid": "k1", "typ": "at+jwt"}, f.base(auth0, "https://api.shop.example", "x")),
		"CurveOfTheKey":      p256AsES384(t, f),
		"UnknownKid":         signed(t, jwt.SigningMethodRS256, f.rsa, map[string]any{"kid": "k9"}, f.base(keycloak, "shop-api", "x")),
		"NoKid":              signed(t, jwt.SigningMethodRS256, f.rsa, nil, f.base(keycloak, "shop-api", "x")),
		"LogoutToken":        with("typ", "logout+jwt"),
		"TypNumber":          with("typ", 7),
		"JKU":                with("jku", "https://attacker.example/jwks.json"),
		"JWK":                with("jwk", map[string]string{"kty": "RSA"}),
		"Critical":           with("crit", []string{"b64"}),
		"TypNotAsConfigured": signed(t, jwt.SigningMethodES256, f.ec, map[string]any{"kid": "k1", "typ": "JWT"}, f.base(auth0, "https://api.shop.example", "x")),
		"StrippedSignature":  parts[0] + "." + parts[1] + ".",
		"Oversize":           good + strings.Repeat("A", maxTokenLen),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 2 {
				p, err := f.verifier.Verify(t.Context(), token)
				require.Equal(t, fault.Unauthenticated, fault.KindOf(err), "%v", err)
				require.Zero(t, p)
			}
		})
	}
}

// p256AsES384 is a token that the issuer's own key on P-256 has signed as only one on P-384 may (RFC 7518 section 3.4).
func p256AsES384(t *testing.T, f *outsideFixture) string {
	t.Helper()
	token := jwt.NewWithClaims(jwt.SigningMethodES384, f.base(auth0, "https://api.shop.example", "x"))
	maps.Copy(token.Header, map[string]any{"kid": "k1", "typ": "at+jwt"})
	text, err := token.SigningString()
	require.NoError(t, err)
	digest := sha512.Sum384([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, f.ec, digest[:])
	require.NoError(t, err)
	sig := make([]byte, 96)
	r.FillBytes(sig[:48])
	s.FillBytes(sig[48:])
	return text + "." + token.EncodeSegment(sig)
}

func FuzzVerify_Outside(f *testing.F) {
	s := setupOutside(f)
	good := s.keycloakToken(f)
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add(strings.Replace(good, ".", ".e30.", 1))
	f.Add("eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2tleWNsb2FrLmV4YW1wbGUvcmVhbG1zL3Nob3AifQ.")
	f.Fuzz(func(t *testing.T, token string) {
		p, err := s.verifier.Verify(t.Context(), token)
		if token == good {
			require.NoError(t, err)
			return
		}
		require.Equal(t, fault.Unauthenticated, fault.KindOf(err))
		require.Zero(t, p)
	})
}

// TestSubjectOf pins the mapping: another one would take their orders from people.
func TestSubjectOf(t *testing.T) {
	t.Parallel()
	id := SubjectOf(keycloak, "f3a1")
	require.Equal(t, "9a10898c-29b7-88b2-af74-0e534dca170f", id)
	require.Equal(t, uuid.Version(8), uuid.MustParse(id).Version())
	require.Equal(t, uuid.RFC4122, uuid.MustParse(id).Variant())
	require.NotEqual(t, id, SubjectOf(auth0, "f3a1"))
	require.NotEqual(t, SubjectOf("https://a", "b\x00c"), SubjectOf("https://a\x00b", "c"))
	require.NotEqual(t, id, SubjectOf(keycloak, "F3A1"))
}

func TestLookup(t *testing.T) {
	t.Parallel()
	claims := map[string]any{
		"a": map[string]any{"b": map[string]any{"c": 1}, "b.c": 2, "x": 5}, "a.b": map[string]any{"d": 3}, "https://shop.example/roles": 4,
	}
	for path, want := range map[string]any{
		"a.b.c": 2, "a.b.d": 3, "a.x": 5, "https://shop.example/roles": 4, "": nil, "a.": nil, ".a": nil, "a.b.c.d": nil, "z": nil,
	} {
		require.Equal(t, want, lookup(claims, path), path)
	}
}

func TestNewIssuersRefuses(t *testing.T) {
	t.Parallel()
	good := OutsideIssuer{Issuer: keycloak, Audience: "a", Algorithms: []string{"RS256"}, SubjectClaim: "sub", RolesClaim: "r", Keys: (&away{}).Keys}
	for name, tc := range map[string]struct {
		edit func(o *OutsideIssuer)
		want string
	}{
		"NoAudience":       {func(o *OutsideIssuer) { o.Audience = "" }, "must be given"},
		"EMail":            {func(o *OutsideIssuer) { o.SubjectClaim = "email" }, "no identity"},
		"NoAlgorithm":      {func(o *OutsideIssuer) { o.Algorithms = nil }, "no algorithm"},
		"HMAC":             {func(o *OutsideIssuer) { o.Algorithms = []string{"RS256", "HS256"} }, `"HS256" cannot be allowed`},
		"None":             {func(o *OutsideIssuer) { o.Algorithms = []string{"none"} }, `"none" cannot be allowed`},
		"RolesFromNowhere": {func(o *OutsideIssuer) { o.RolesClaim, o.Roles = "", []RoleMapping{{Value: "v", Role: "admin"}} }, "no claim"},
		"NamelessRole":     {func(o *OutsideIssuer) { o.Roles = []RoleMapping{{Value: "v"}} }, "a value and a role"},
		"ServiceUnscoped":  {func(o *OutsideIssuer) { o.Roles = []RoleMapping{{Value: "v", Role: RoleService}} }, "needs scopes"},
		"DefaultService":   {func(o *OutsideIssuer) { o.DefaultRole = RoleService }, "needs scopes"},
		"AdminScoped": {func(o *OutsideIssuer) {
			o.Roles = []RoleMapping{{Value: "v", Role: "admin", Scopes: []string{"order"}}}
		}, "only the role service"},
		"ScopesTwice": {func(o *OutsideIssuer) {
			o.ScopeClaim, o.Roles = "scope", []RoleMapping{{Value: "v", Role: RoleService, Scopes: []string{"order"}}}
		}, "beside a scope claim"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := good
			tc.edit(&o)
			_, err := NewIssuers([]OutsideIssuer{o}, slog.New(slog.DiscardHandler), time.Now)
			require.ErrorContains(t, err, keycloak)
			require.ErrorContains(t, err, tc.want)
		})
	}
	_, err := NewIssuers([]OutsideIssuer{good, good}, slog.New(slog.DiscardHandler), time.Now)
	require.ErrorContains(t, err, "twice")
}
