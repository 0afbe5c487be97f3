package security_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"cleave/platform/config"
	"cleave/platform/moduletest"
)

// TestForgedTokens sends the known attacks on JSON Web Tokens (RFC 8725 section 2) to each module.
func TestForgedTokens(t *testing.T) {
	t.Parallel()
	moduletest.Each(t, specs, func(t *testing.T, cfg *config.Config) {
		t.Parallel()
		s := start(t, cfg)
		me, other := s.customer(t), s.customer(t)
		accepted(t, []*site{s}, me)
		header, claims := decode(t, me.access)
		_, others := decode(t, other.access)
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		jwks := s.call(t, http.MethodGet, "/.well-known/jwks.json", "", nil)
		require.Equal(t, http.StatusOK, jwks.status)

		part := func(v any) string {
			text, err := json.Marshal(v)
			require.NoError(t, err)
			return base64.RawURLEncoding.EncodeToString(text)
		}
		with := func(m map[string]any, pairs ...any) map[string]any {
			out := map[string]any{}
			for k, v := range m {
				out[k] = v
			}
			for i := 0; i < len(pairs); i += 2 {
				out[pairs[i].(string)] = pairs[i+1]
			}
			return out
		}
		signed := func(h, c map[string]any) string {
			token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims(c))
			token.Header = h
			text, err := token.SignedString(key)
			require.NoError(t, err)
			return text
		}
		mac := func(h map[string]any, secret []byte) string {
			text := part(h) + "." + part(claims)
			sum := hmac.New(sha256.New, secret)
			sum.Write([]byte(text))
			return text + "." + base64.RawURLEncoding.EncodeToString(sum.Sum(nil))
		}
		x, y := base64.RawURLEncoding.EncodeToString(key.X.Bytes()), base64.RawURLEncoding.EncodeToString(key.Y.Bytes()) //nolint:staticcheck // a key of an attacker
		own := map[string]any{"kty": "EC", "crv": "P-256", "x": x, "y": y}
		segments := strings.Split(me.access, ".")
		attacks := map[string]string{
			"StrippedSignature": segments[0] + "." + segments[1] + ".",
			"NoSignaturePart":   segments[0] + "." + segments[1],
			"OthersSession":     segments[0] + "." + part(with(claims, "sid", others["sid"])) + "." + segments[2],
			"OthersSubject":     segments[0] + "." + part(with(claims, "sub", others["sub"])) + "." + segments[2],
			"MoreRoles":         segments[0] + "." + part(with(claims, "roles", []string{"admin"})) + "." + segments[2],
			"LongerLife":        segments[0] + "." + part(with(claims, "exp", 4e9)) + "." + segments[2],
			"OwnKey":            signed(header, claims),
			"JWK":               signed(with(header, "jwk", own), claims),
			"JKU":               signed(with(header, "jku", "https://attacker.example/jwks.json"), claims),
			"X5U":               signed(with(header, "x5u", "https://attacker.example/cert.pem"), claims),
			"KidPath":           signed(with(header, "kid", "../../../../dev/null"), claims),
			"KidSQL":            signed(with(header, "kid", "x' UNION SELECT 'key' --"), claims),
			"KidURL":            signed(with(header, "kid", "https://attacker.example/key"), claims),
			"NoKid":             signed(map[string]any{"alg": "ES256", "typ": "at+jwt"}, claims),
			"HMACWithJWKS":      mac(with(header, "alg", "HS256"), jwks.body),
			"HMACWithKid":       mac(with(header, "alg", "HS256"), []byte(header["kid"].(string))),
			"HMACEmpty":         mac(with(header, "alg", "HS256"), nil),
			"RS256":             part(with(header, "alg", "RS256")) + "." + segments[1] + "." + segments[2],
			"ES512":             part(with(header, "alg", "ES512")) + "." + segments[1] + "." + segments[2],
			"Critical":          signed(with(header, "crit", []string{"exp"}), claims),
			"Type":              part(with(header, "typ", "JWT")) + "." + segments[1] + "." + segments[2],
			"RefreshToken":      me.refresh,
			"Huge":              strings.Repeat("A", 9000),
		}
		for _, alg := range []string{"none", "None", "NONE", "nOnE", ""} {
			attacks["Alg_"+alg] = part(with(header, "alg", alg)) + "." + segments[1] + "."
		}
		for name, token := range attacks {
			t.Run(name, func(t *testing.T) {
				for _, path := range paths {
					r := s.call(t, http.MethodGet, path, token, nil)
					require.Equal(t, http.StatusUnauthorized, r.status, "%s: %s", path, r.body)
					require.Contains(t, []string{"token_invalid", "token_missing"}, r.code())
				}
			})
		}
		accepted(t, []*site{s}, me)
	})
}
