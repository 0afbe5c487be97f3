package cli_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"cleave/platform/auth"
	"cleave/platform/cli"
	"cleave/platform/module"
)

func TestIssuer(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/keys" {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(map[string]string{"issuer": "http://" + r.Host, "jwks_uri": "http://" + r.Host + "/keys"})
			return
		}
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "k1"}}})
	}))
	t.Cleanup(server.Close)
	list, err := json.Marshal([]map[string]any{{
		"issuer": server.URL, "audience": "notes", "algorithms": []string{"ES256"}, "roles_claim": "groups",
		"roles": []map[string]any{{"value": "writers", "role": "author"}},
	}})
	require.NoError(t, err)
	spec := note
	spec.Policy = "p, author, note:write, own\n"
	expires := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	explain := func(claims jwt.MapClaims) outcome {
		all := jwt.MapClaims{"iss": server.URL, "aud": "notes", "sub": "ada", "exp": expires.Unix(), "groups": []string{"writers"}}
		for k, v := range claims {
			all[k] = v
		}
		token := jwt.NewWithClaims(jwt.SigningMethodES256, all)
		token.Header["kid"] = "k1"
		text, err := token.SignedString(key)
		require.NoError(t, err)
		var out, errs bytes.Buffer
		code := cli.Main(t.Context(), []string{"issuer", "explain", "--output", "json"}, cli.IO{
			In: strings.NewReader(text + "\n"), Out: &out, Err: &errs, Env: append(newSetup(t).env, "CLEAVE_AUTH_ISSUERS="+string(list)),
		}, "1.2.3", []module.Spec{spec})
		return outcome{code, out.String(), errs.String()}
	}
	id := auth.SubjectOf(server.URL, "ada")
	good := explain(nil)
	require.Equal(t, cli.OK, good.code, good.err)
	var got map[string]any
	require.NoError(t, json.Unmarshal([]byte(good.out), &got))
	require.Equal(t, map[string]any{
		"issuer": server.URL, "issuer_subject": "ada", "subject": id, "roles": "author", "scopes": "", "expires": expires.Format(time.RFC3339),
	}, got)

	for want, claims := range map[string]jwt.MapClaims{
		"audience":                   {"aud": "others"},
		"expired":                    {"exp": time.Now().Add(-time.Hour).Unix()},
		"of no issuer that is known": {"iss": "https://other.example"},
	} {
		bad := explain(claims)
		require.Equal(t, cli.Failed, bad.code, want)
		require.Contains(t, bad.err, want)
		require.Empty(t, bad.out)
	}
	require.Equal(t, id+"\n", newSetup(t).run(t, "issuer", "subject", server.URL, "ada").out)
}
