package keys

import (
	"encoding/json"
	"net/http"
)

// jwk is a public key (RFC 7517 and RFC 7518 section 6.2.1).
type jwk struct {
	Kty string `json:"kty"`
	Use string `json:"use"`
	Alg string `json:"alg"`
	Kid string `json:"kid"`
	Crv string `json:"crv"`
	X   string `json:"x"`
	Y   string `json:"y"`
}

// JWKS answers with the published keys as a JWK Set (RFC 7517 section 5). The next key is in it long before it signs, so that a
// copy may be kept for a minute.
func (r *Ring) JWKS(w http.ResponseWriter, _ *http.Request) {
	set := struct {
		Keys []jwk `json:"keys"`
	}{}
	s := r.current.Load()
	for i, private := range s.private {
		x, y, err := coordinates(&private.PublicKey)
		if err != nil {
			http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
			return
		}
		set.Keys = append(set.Keys, jwk{Kty: "EC", Use: "sig", Alg: "ES256", Kid: s.rows[i].Kid, Crv: "P-256", X: x, Y: y})
	}
	w.Header().Set("Cache-Control", "public, max-age=60")
	w.Header().Set("Content-Type", "application/jwk-set+json")
	_ = json.NewEncoder(w).Encode(set) // a client that has gone needs no answer
}
