// Package discovery fetches the keys of outside issuers: where they are is what the configuration says, or what the issuer's own
// document does (OpenID Connect Discovery 1.0 section 4). That document may lead to the public internet or back to the issuer, and not
// to other machines of the operator's network.
package discovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"cleave/platform/auth"
	"cleave/platform/egress"
)

const (
	timeout  = 4 * time.Second
	maxBody  = 256 << 10 // bytes of a document or a key set
	maxKeys  = 100
	maxError = 200 // bytes of what another server answered, in an error
)

// Source says where an issuer's keys are.
type Source struct {
	Issuer    string
	JWKS      string // "": where the issuer's document says
	CAFile    string // see egress.Options
	TokenFile string // a token that the issuer asks for, read each time; "" for none
}

// Keys fetches the public keys by key id. It leaves out what cannot verify signatures: keys for encryption, private and symmetric
// keys, and those of types that it does not know (RFC 7517 section 5).
func (s Source) Keys(ctx context.Context) (map[string]auth.PublicKey, error) {
	o := egress.Options{Timeout: timeout, MaxBody: maxBody, CAFile: s.CAFile, Allow: []string{s.Issuer}}
	if s.JWKS != "" {
		o.Allow = append(o.Allow, s.JWKS)
	}
	if s.TokenFile != "" {
		text, err := os.ReadFile(s.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("read the token for the issuer: %w", err)
		}
		o.Bearer = strings.TrimSpace(string(text))
	}
	client, err := egress.Client(o)
	if err != nil {
		return nil, err
	}
	address := s.JWKS
	if address == "" {
		if address, err = s.discover(ctx, client); err != nil {
			return nil, fmt.Errorf("discover the keys of %s: %w", s.Issuer, shortened(err))
		}
	}
	keys, err := fetch(ctx, client, address)
	if err != nil {
		return nil, fmt.Errorf("fetch the keys of %s: %w", s.Issuer, shortened(err))
	}
	return keys, nil
}

// discover returns the address of the keys. The library compares the document's issuer with the one that was asked.
func (s Source) discover(ctx context.Context, client *http.Client) (string, error) {
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, client), s.Issuer)
	if err != nil {
		return "", err
	}
	var document struct {
		JWKS string `json:"jwks_uri"`
	}
	if err := provider.Claims(&document); err != nil {
		return "", err
	}
	u, err := url.Parse(document.JWKS)
	switch {
	case err != nil || u.Host == "" || u.User != nil:
		return "", errors.New("its document has no jwks_uri that is a URL")
	case u.Scheme != "https" && !strings.HasPrefix(document.JWKS, strings.TrimSuffix(s.Issuer, "/")+"/"):
		return "", errors.New("its jwks_uri is not https")
	}
	return document.JWKS, nil
}

func fetch(ctx context.Context, client *http.Client, address string) (map[string]auth.PublicKey, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New("the answer is " + resp.Status)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("read the key set: %w", err)
	}
	return parse(text)
}

// parse reads a key set (RFC 7517 section 5).
func parse(text []byte) (map[string]auth.PublicKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("read the key set: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("the key set has %d keys, more than %d", len(set.Keys), maxKeys)
	}
	keys := map[string]auth.PublicKey{}
	for _, text := range set.Keys {
		var k jose.JSONWebKey
		if json.Unmarshal(text, &k) != nil || k.Use != "" && k.Use != "sig" || !k.IsPublic() {
			continue
		}
		keys[k.KeyID] = auth.PublicKey{Key: k.Key, Algorithm: k.Algorithm}
	}
	if len(keys) == 0 {
		return nil, errors.New("the key set has no key to verify with")
	}
	return keys, nil
}

// shortened keeps a log from being filled by what another server answers.
func shortened(err error) error {
	if text := err.Error(); len(text) > maxError {
		return errors.New(strings.ToValidUTF8(text[:maxError], "") + "…")
	}
	return err
}
