package auth

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"cleave/platform/fault"
)

const issuer = "http://issuer.test"

// keySource is an issuer whose keys the test turns.
type keySource struct {
	mu    sync.Mutex
	keys  map[string]*ecdsa.PublicKey
	err   error
	calls int
}

func (s *keySource) PublicKeys(context.Context) (map[string]*ecdsa.PublicKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	return maps.Clone(s.keys), s.err
}

func (s *keySource) set(keys map[string]*ecdsa.PublicKey, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys, s.err = keys, err
}

func (s *keySource) fetched() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// clock is a time that moves only when told.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

type fixture struct {
	key      *ecdsa.PrivateKey
	source   *keySource
	clock    *clock
	signer   *Signer
	verifier *Verifier
	revoked  *Revocations
}

func setup(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{key: newKey(t), clock: &clock{t: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}}
	f.source = &keySource{keys: map[string]*ecdsa.PublicKey{"k1": &f.key.PublicKey}}
	f.signer = NewSigner(always(f.key, "k1"), issuer, []string{"user", "order"}, 10*time.Minute, f.clock.now)
	f.revoked = &Revocations{}
	f.verifier = NewVerifier(f.source, issuer, "order", f.revoked, f.clock.now)
	return f
}

func always(key *ecdsa.PrivateKey, kid string) func() SigningKey {
	return func() SigningKey { return SigningKey{kid, key} }
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

// token signs a token like the Signer's after edit has had its way with it.
func (f *fixture) token(t testing.TB, edit func(header map[string]any, c jwt.MapClaims)) string {
	t.Helper()
	now := f.clock.now()
	c := jwt.MapClaims{"iss": issuer, "sub": "u1", "aud": []string{"order"}, "exp": now.Add(time.Minute).Unix(), "iat": now.Unix()}
	tok := jwt.NewWithClaims(jwt.SigningMethodES256, c)
	tok.Header["typ"], tok.Header["kid"] = "at+jwt", "k1"
	edit(tok.Header, c)
	s, err := tok.SignedString(f.key)
	require.NoError(t, err)
	return s
}

func TestVerify(t *testing.T) {
	t.Parallel()
	f := setup(t)
	want := Principal{
		Issuer: issuer, Subject: "u1", Session: "s1", Client: "c1", Generation: 3, Roles: []string{"admin", "customer"},
		Scopes: []string{"openid", "order"}, Actor: "c2",
	}
	token, expires, err := f.signer.Sign(want)
	require.NoError(t, err)
	require.Equal(t, f.clock.now().Add(10*time.Minute), expires)

	for range 2 {
		got, err := f.verifier.Verify(t.Context(), token)
		require.NoError(t, err)
		require.Equal(t, expires, got.Expires.UTC())
		require.Equal(t, []string{"user", "order"}, got.Audience)
		got.Expires, got.Audience = want.Expires, want.Audience
		require.Equal(t, want, got)
	}
	require.Equal(t, 1, f.source.fetched())

	_, err = NewVerifier(f.source, issuer, "notification", f.revoked, f.clock.now).Verify(t.Context(), token)
	require.Equal(t, fault.Unauthenticated, fault.KindOf(err))
}

func TestVerify_ForgedTokens(t *testing.T) {
	t.Parallel()
	f := setup(t)
	good := f.token(t, func(map[string]any, jwt.MapClaims) {})
	_, err := f.verifier.Verify(t.Context(), good)
	require.NoError(t, err)

	signed := func(edit func(h map[string]any, c jwt.MapClaims)) func(*testing.T) string {
		return func(t *testing.T) string { return f.token(t, edit) }
	}
	unsigned := func(alg string) func(*testing.T) string {
		return func(t *testing.T) string {
			header, err := json.Marshal(map[string]string{"alg": alg, "typ": "at+jwt", "kid": "k1"})
			require.NoError(t, err)
			return base64.RawURLEncoding.EncodeToString(header) + "." + strings.Split(good, ".")[1] + "."
		}
	}
	publicPEM := func(t *testing.T) []byte {
		der, err := x509.MarshalPKIXPublicKey(&f.key.PublicKey)
		require.NoError(t, err)
		return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	}
	hmacWith := func(secret func(*testing.T) []byte) func(*testing.T) string {
		return func(t *testing.T) string {
			tok := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
				"iss": issuer, "sub": "u1", "aud": "order", "exp": f.clock.now().Add(time.Minute).Unix(),
			})
			tok.Header["typ"], tok.Header["kid"] = "at+jwt", "k1"
			s, err := tok.SignedString(secret(t))
			require.NoError(t, err)
			return s
		}
	}
	other := newKey(t)
	foreign := func(header string, value any) func(*testing.T) string {
		return func(t *testing.T) string {
			c := jwt.MapClaims{"iss": issuer, "sub": "u1", "aud": "order", "exp": f.clock.now().Add(time.Minute).Unix()}
			tok := jwt.NewWithClaims(jwt.SigningMethodES256, c)
			tok.Header["typ"], tok.Header["kid"], tok.Header[header] = "at+jwt", "k1", value
			s, err := tok.SignedString(other)
			require.NoError(t, err)
			return s
		}
	}
	// Even the issuer's own key is good for ES256 only.
	otherAlgorithm := func(t *testing.T) string {
		header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"ES384","typ":"at+jwt","kid":"k1"}`))
		text := header + "." + strings.Split(good, ".")[1]
		digest := sha512.Sum384([]byte(text))
		r, s, err := ecdsa.Sign(rand.Reader, f.key, digest[:])
		require.NoError(t, err)
		sig := make([]byte, 96)
		r.FillBytes(sig[:48])
		s.FillBytes(sig[48:])
		return text + "." + base64.RawURLEncoding.EncodeToString(sig)
	}
	parts := strings.Split(good, ".")
	tests := map[string]func(*testing.T) string{
		"AlgNone":       unsigned("none"),
		"AlgNoneTitle":  unsigned("None"),
		"AlgNoneUpper":  unsigned("NONE"),
		"AlgNoneMixed":  unsigned("nOnE"),
		"AlgEmpty":      unsigned(""),
		"AlgUnknown":    unsigned("ES256K"),
		"HMACPublicPEM": hmacWith(publicPEM),
		"HMACPublicDER": hmacWith(func(t *testing.T) []byte { b, _ := pem.Decode(publicPEM(t)); return b.Bytes }),
		"TypJWT":        signed(func(h map[string]any, _ jwt.MapClaims) { h["typ"] = "JWT" }),
		"TypMissing":    signed(func(h map[string]any, _ jwt.MapClaims) { delete(h, "typ") }),
		"TypNumber":     signed(func(h map[string]any, _ jwt.MapClaims) { h["typ"] = 7 }),
		"WrongAudience": signed(func(_ map[string]any, c jwt.MapClaims) { c["aud"] = []string{"user"} }),
		"NoAudience":    signed(func(_ map[string]any, c jwt.MapClaims) { delete(c, "aud") }),
		"WrongIssuer":   signed(func(_ map[string]any, c jwt.MapClaims) { c["iss"] = issuer + "/" }),
		"NoIssuer":      signed(func(_ map[string]any, c jwt.MapClaims) { delete(c, "iss") }),
		"NoExpiry":      signed(func(_ map[string]any, c jwt.MapClaims) { delete(c, "exp") }),
		"Expired":       signed(func(_ map[string]any, c jwt.MapClaims) { c["exp"] = f.clock.now().Add(-6 * time.Second).Unix() }),
		"NotYet":        signed(func(_ map[string]any, c jwt.MapClaims) { c["nbf"] = f.clock.now().Add(6 * time.Second).Unix() }),
		"IssuedLater":   signed(func(_ map[string]any, c jwt.MapClaims) { c["iat"] = f.clock.now().Add(6 * time.Second).Unix() }),
		"NoSubject":     signed(func(_ map[string]any, c jwt.MapClaims) { delete(c, "sub") }),
		"SubjectNumber": signed(func(_ map[string]any, c jwt.MapClaims) { c["sub"] = 1 }),
		"UnknownKid":    signed(func(h map[string]any, _ jwt.MapClaims) { h["kid"] = "k2" }),
		"NoKid":         signed(func(h map[string]any, _ jwt.MapClaims) { delete(h, "kid") }),
		"KidPath":       signed(func(h map[string]any, _ jwt.MapClaims) { h["kid"] = "../../dev/null" }),
		"Crit":          signed(func(h map[string]any, _ jwt.MapClaims) { h["crit"] = []string{"exp"} }),
		"ES384SameKey":  otherAlgorithm,
		"OwnJWK":        foreign("jwk", map[string]string{"kty": "EC", "crv": "P-256"}),
		"OwnJKU":        foreign("jku", "http://attacker.test/jwks.json"),
		"OwnX5U":        foreign("x5u", "http://attacker.test/cert.pem"),
		"OtherKey":      foreign("extra", 1),
		"StrippedSig":   func(*testing.T) string { return parts[0] + "." + parts[1] + "." },
		"NoSigSegment":  func(*testing.T) string { return parts[0] + "." + parts[1] },
		"FourSegments":  func(*testing.T) string { return good + ".AA" },
		"ZeroSig": func(*testing.T) string {
			return parts[0] + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 64))
		},
		"OtherPayload":     func(*testing.T) string { return parts[0] + "." + parts[1] + "A." + parts[2] },
		"Padded":           func(*testing.T) string { return good + "==" },
		"Empty":            func(*testing.T) string { return "" },
		"Oversize":         func(*testing.T) string { return good + strings.Repeat("A", maxTokenLen) },
		"HeaderNotJSON":    func(*testing.T) string { return "e30x." + parts[1] + "." + parts[2] },
		"HeaderJSONScalar": func(*testing.T) string { return "MQ." + parts[1] + "." + parts[2] },
	}
	for name, forge := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			token := forge(t)
			for range 2 { // a refusal is not remembered as an acceptance
				p, err := f.verifier.Verify(t.Context(), token)
				require.Error(t, err)
				require.Equal(t, fault.Unauthenticated, fault.KindOf(err), "%v", err)
				require.Zero(t, p)
			}
			if name == "Expired" {
				_, err := f.verifier.Verify(t.Context(), token)
				require.Equal(t, "token_expired", fault.CodeOf(err))
			}
		})
	}
}

func TestVerify_RememberedTokenExpires(t *testing.T) {
	t.Parallel()
	f := setup(t)
	// Shorter than keyMaxAge, so that it is the token's age that counts.
	token, _, err := NewSigner(always(f.key, "k1"), issuer, []string{"order"}, time.Minute, f.clock.now).Sign(Principal{Subject: "u1"})
	require.NoError(t, err)
	f.clock.pass(time.Minute)
	_, err = f.verifier.Verify(t.Context(), token)
	require.NoError(t, err, "within the leeway")

	f.clock.pass(leeway)
	_, err = f.verifier.Verify(t.Context(), token)
	require.Equal(t, "token_expired", fault.CodeOf(err))
}

func TestVerify_KeyRotation(t *testing.T) {
	t.Parallel()

	t.Run("NewKeyIsFetchedOnce", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		old, _, err := f.signer.Sign(Principal{Subject: "u1"})
		require.NoError(t, err)
		_, err = f.verifier.Verify(t.Context(), old)
		require.NoError(t, err)

		next := newKey(t)
		f.source.set(map[string]*ecdsa.PublicKey{"k1": &f.key.PublicKey, "k2": &next.PublicKey}, nil)
		token, _, err := NewSigner(always(next, "k2"), issuer, []string{"order"}, time.Minute, f.clock.now).Sign(Principal{Subject: "u2"})
		require.NoError(t, err)
		f.clock.pass(keyFetchGap)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				p, err := f.verifier.Verify(t.Context(), token)
				if err != nil || p.Subject != "u2" {
					t.Errorf("got %v, %v", p, err)
				}
			})
		}
		wg.Wait()
		require.Equal(t, 2, f.source.fetched())
	})

	t.Run("UnknownKidsAreRateLimited", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		for range 100 {
			_, err := f.verifier.Verify(t.Context(), f.token(t, func(h map[string]any, _ jwt.MapClaims) { h["kid"] = rand.Text() }))
			require.Equal(t, fault.Unauthenticated, fault.KindOf(err))
		}
		require.Equal(t, 1, f.source.fetched())
	})

	t.Run("WithdrawnKeyStopsRememberedTokens", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		token, _, err := f.signer.Sign(Principal{Subject: "u1"})
		require.NoError(t, err)
		_, err = f.verifier.Verify(t.Context(), token)
		require.NoError(t, err)

		f.source.set(map[string]*ecdsa.PublicKey{}, nil)
		f.clock.pass(keyMaxAge)
		_, err = f.verifier.Verify(t.Context(), token)
		require.Equal(t, fault.Unauthenticated, fault.KindOf(err))
	})

	t.Run("SourceDown", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		token, _, err := f.signer.Sign(Principal{Subject: "u1"})
		require.NoError(t, err)
		keys, _ := f.source.PublicKeys(t.Context())
		f.source.set(nil, errors.New("connection refused"))
		_, err = f.verifier.Verify(t.Context(), token)
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
		require.NotContains(t, fault.From(err).Message, "refused")

		f.source.set(keys, nil)
		f.clock.pass(keyFetchGap)
		_, err = f.verifier.Verify(t.Context(), token)
		require.NoError(t, err)

		// With keys in hand a failing source changes nothing for the tokens they sign.
		f.source.set(nil, errors.New("connection refused"))
		f.clock.pass(keyMaxAge)
		_, err = f.verifier.Verify(t.Context(), token)
		require.NoError(t, err)
	})
}

func FuzzVerify(f *testing.F) {
	s := setup(f)
	good := s.token(f, func(map[string]any, jwt.MapClaims) {})
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add("..")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
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

func BenchmarkVerifyAndDecide(b *testing.B) {
	f := setup(b)
	p, err := NewPolicy(map[string]string{"order": "p, customer, order:read, own\np, admin, order:read, any\ng, admin, customer"})
	require.NoError(b, err)
	token, _, err := f.signer.Sign(Principal{Subject: "0190b8f6-9c1e-7000-8000-000000000001", Session: "s", Roles: []string{"customer"}})
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		principal, err := f.verifier.Verify(b.Context(), token)
		if err != nil || p.Decide(principal, "order:read") != Own {
			b.Fatal(err)
		}
	}
}
