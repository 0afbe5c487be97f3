package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cleave/platform/config"
)

const healthTimeout = 2 * time.Second

func (a *app) healthcheck() *cobra.Command {
	return &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask the process on http.addr whether it is ready",
		Long: "Ask the process that listens on the configured http.addr whether it is ready, and wait at most 2 s for the answer.\n" +
			"The exit code is 0 for ready and 1 for anything else, as Docker's HEALTHCHECK wants it.",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := a.load()
			if err == nil {
				err = healthy(c.Context(), cfg)
			}
			if err != nil {
				return &exitError{Failed, err}
			}
			return nil
		},
	}
}

func healthy(ctx context.Context, cfg *config.Config) error {
	status, body, err := readiness(ctx, cfg)
	if err != nil {
		return fmt.Errorf("not ready: %w", err)
	}
	if status == http.StatusOK {
		return nil
	}
	return fmt.Errorf("not ready: %s answered %d %s: %s", cfg.LocalURL(cfg.HTTP.Addr)+readyPath, status, http.StatusText(status), strings.Join(strings.Fields(body), " "))
}

const readyPath = "/readyz?verbose"

// readiness is what the process on http.addr says of itself.
func readiness(ctx context.Context, cfg *config.Config) (status int, body string, err error) {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, cfg.LocalURL(cfg.HTTP.Addr)+readyPath, nil)
	if err != nil {
		return 0, "", err
	}
	// A transport of its own: the process asks itself, past any proxy that the environment names.
	t := &http.Transport{}
	if cfg.HTTP.TLSCert != "" {
		trust, err := ownCertificate(cfg.HTTP.TLSCert)
		if err != nil {
			return 0, "", fmt.Errorf("http.tls_cert: %w", err)
		}
		t.TLSClientConfig = trust
	}
	defer t.CloseIdleConnections()
	res, err := (&http.Client{Transport: t}).Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	const most = 16 << 10
	text, err := io.ReadAll(io.LimitReader(res.Body, most))
	return res.StatusCode, string(text), err
}

// ownCertificate trusts the process's own certificate and nothing else, under
// whatever name it bears.
func ownCertificate(file string) (*tls.Config, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM block", file)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	name := cert.Subject.CommonName
	switch {
	case len(cert.DNSNames) > 0:
		name = cert.DNSNames[0]
	case len(cert.IPAddresses) > 0:
		name = cert.IPAddresses[0].String()
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, ServerName: name}, nil
}
