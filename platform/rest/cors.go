package rest

import (
	"net/http"
	"time"

	"github.com/rs/cors"
)

// crossOrigin answers for pages of these origins alone, and never with credentials: the API takes
// tokens in a header, no cookies.
func crossOrigin(origins []string) *cors.Cors {
	return cors.New(cors.Options{
		AllowedOrigins: origins,
		AllowedMethods: []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete},
		AllowedHeaders: []string{"Authorization", "Content-Type", headerKey, headerIfMatch, "Last-Event-Id", headerRequestID, "Traceparent"},
		ExposedHeaders: []string{"ETag", "Location", "Retry-After", "RateLimit", "RateLimit-Policy", "WWW-Authenticate", headerReplayed, headerRequestID},
		MaxAge:         int((10 * time.Minute).Seconds()),
	})
}
