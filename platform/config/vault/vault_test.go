package vault

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

// server answers as version 1 and version 2 of the key-value engine do.
func server(t *testing.T) {
	t.Helper()
	mux := http.NewServeMux()
	answer := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Vault-Token") != "good" {
				http.Error(w, `{"errors":["permission denied"]}`, http.StatusForbidden)
				return
			}
			_, _ = w.Write([]byte(body))
		}
	}
	mux.Handle("GET /v1/secret/data/cleave", answer(`{"data":{"data":{"password":"s3cret","number":1},"metadata":{"version":3}}}`))
	mux.Handle("GET /v1/old/cleave", answer(`{"data":{"password":"0ld"}}`))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, `{"errors":[]}`, http.StatusNotFound) })
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	t.Setenv("VAULT_ADDR", s.URL)
	t.Setenv("VAULT_TOKEN", "good")
}

func read(t *testing.T, reference string) (string, error) {
	t.Helper()
	u, err := url.Parse(reference)
	require.NoError(t, err)
	return Read(u)
}

func TestRead(t *testing.T) {
	server(t)
	for reference, want := range map[string]string{"vault://secret/data/cleave#password": "s3cret", "vault://old/cleave#password": "0ld"} {
		got, err := read(t, reference)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for reference, says := range map[string]string{
		"vault://secret/data/cleave#none":   "no text field none",
		"vault://secret/data/cleave#number": "no text field number",
		"vault://secret/data/none#password": "nothing at this path",
		"vault://secret/data/cleave":        "the form is vault://PATH#FIELD",
		"vault:///cleave#password":          "the form is vault://PATH#FIELD",
	} {
		_, err := read(t, reference)
		require.ErrorContains(t, err, says, reference)
		require.NotContains(t, err.Error(), "s3cret")
	}
	t.Setenv("VAULT_TOKEN", "bad")
	_, err := read(t, "vault://secret/data/cleave#password")
	require.ErrorContains(t, err, "access is denied")
}
