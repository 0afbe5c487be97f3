// Package tlsfiles serves TLS from certificate files that somebody else renews:
// a changed file is used for the next connection, without a restart.
package tlsfiles

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"time"
)

// Files are a PEM certificate chain and its key.
type Files struct {
	pair *Watched[*tls.Certificate]
}

// Load reads the files. It fails when one cannot be read, is not PEM, or when
// the key is not the certificate's.
func Load(cert, key string, log *slog.Logger, now func() time.Time) (*Files, error) {
	pair, err := Watch("TLS certificate", []string{cert, key}, func() (*tls.Certificate, time.Time, error) {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, time.Time{}, fmt.Errorf("read the certificate %s and the key %s: %w", cert, key, err)
		}
		return &pair, pair.Leaf.NotAfter, nil
	}, log, now)
	if err != nil {
		return nil, err
	}
	return &Files{pair}, nil
}

// Server is a configuration of a server with this certificate: TLS 1.2 or
// newer, with the cipher suites that crypto/tls recommends (ASVS 5.0 V12.1).
func (f *Files) Server() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) { return f.pair.Get(hello.Context()), nil },
	}
}
