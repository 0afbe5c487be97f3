package front

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/go-jose/go-jose/v4"
	"google.golang.org/grpc"
)

// maxKeys is the largest key set that is read, in bytes.
const maxKeys = 64 << 10

// Keys are the public keys of an issuer that another process runs.
type Keys struct {
	client *http.Client
	path   string
}

// NewKeys reads the JWK set (RFC 7517) at path from the module at the other end of conn.
func NewKeys(conn grpc.ClientConnInterface, path string) *Keys {
	return &Keys{client: &http.Client{Transport: NewTransport(conn)}, path: path}
}

// PublicKeys returns the keys for signatures on the curve P-256; others are left out.
func (k *Keys) PublicKeys(ctx context.Context) (map[string]*ecdsa.PublicKey, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://issuer"+k.path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := k.client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("ask the issuer for its keys: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask the issuer for its keys: it answers %s", resp.Status)
	}
	var set jose.JSONWebKeySet
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxKeys)).Decode(&set); err != nil {
		return nil, fmt.Errorf("read the issuer's keys: %w", err)
	}
	keys := map[string]*ecdsa.PublicKey{}
	for _, key := range set.Keys {
		if public, ok := key.Key.(*ecdsa.PublicKey); ok && key.Valid() && key.Use == "sig" && public.Curve.Params().BitSize == 256 {
			keys[key.KeyID] = public
		}
	}
	return keys, nil
}
