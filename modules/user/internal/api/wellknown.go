package api

import (
	"net/http"

	"cleave/modules/user/internal/keys"
)

// Paths are what WellKnown serves.
var Paths = []string{"GET /.well-known/jwks.json"}

// WellKnown returns what an issuer of tokens publishes about itself.
func WellKnown(ring *keys.Ring) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/jwks.json", ring.JWKS)
	return mux
}
