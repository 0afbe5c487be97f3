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
	url := cfg.LocalURL(cfg.HTTP.Addr) + "/readyz?verbose"
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	// A transport of its own: the process asks itself, past any proxy that the environment names.
	t := &http.Transport{}
	if cfg.HTTP.TLSCert != "" {
		trust, err := ownCertificate(cfg.HTTP.TLSCert)
		if err != nil {
			return fmt.Errorf("not ready: http.tls_cert: %w", err)
		}
		t.TLSClientConfig = trust
	}
	defer t.CloseIdleConnections()
	res, err := (&http.Client{Transport: t}).Do(req)
	if err != nil {
		return fmt.Errorf("not ready: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusOK {
		return nil
	}
	body, _ := io.ReadAll(io.LimitReader(res.Body, 500))
	return fmt.Errorf("not ready: %s answered %s: %s", url, res.Status, strings.Join(strings.Fields(string(body)), " "))
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
