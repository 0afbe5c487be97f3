// Package tlsfiles serves TLS from certificate files that somebody else renews:
// a changed file is used for the next connection, without a restart.
package tlsfiles

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// interval is the least time between two looks at the files.
const interval = time.Second

// Files are a PEM certificate chain and its key.
type Files struct {
	cert, key string
	log       *slog.Logger
	now       func() time.Time

	mu     sync.Mutex
	pair   *tls.Certificate
	stamp  [2]time.Time // when the files that pair came from were written
	looked time.Time
}

// Load reads the files. It fails when one cannot be read, is not PEM, or when
// the key is not the certificate's.
func Load(cert, key string, log *slog.Logger, now func() time.Time) (*Files, error) {
	f := &Files{cert: cert, key: key, log: log, now: now}
	stamp, err := f.stat()
	if err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("read the certificate %s and the key %s: %w", cert, key, err)
	}
	f.pair, f.stamp, f.looked = &pair, stamp, now()
	return f, nil
}

// Server is a configuration of a server with this certificate: TLS 1.2 or
// newer, with the cipher suites that crypto/tls recommends (ASVS 5.0 V12.1).
func (f *Files) Server() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: f.certificate}
}

// certificate is the pair as the files hold it now. While they are unreadable,
// or only one of the two has been replaced, it is the last good one.
func (f *Files) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	if now.Sub(f.looked) < interval {
		return f.pair, nil
	}
	f.looked = now
	stamp, err := f.stat()
	if err == nil && stamp == f.stamp {
		return f.pair, nil
	}
	var pair tls.Certificate
	if err == nil {
		pair, err = tls.LoadX509KeyPair(f.cert, f.key)
	}
	if err != nil {
		f.log.ErrorContext(hello.Context(), "the new TLS certificate cannot be used; the last one stays", "cert", f.cert, "error", err)
		return f.pair, nil
	}
	f.pair, f.stamp = &pair, stamp
	f.log.InfoContext(hello.Context(), "new TLS certificate", "cert", f.cert, "expires", pair.Leaf.NotAfter)
	return f.pair, nil
}

// stat follows links: Kubernetes replaces a mounted secret by moving one.
func (f *Files) stat() (stamp [2]time.Time, err error) {
	for i, name := range []string{f.cert, f.key} {
		info, err := os.Stat(name)
		if err != nil {
			return stamp, fmt.Errorf("find a TLS file: %w", err)
		}
		stamp[i] = info.ModTime()
	}
	return stamp, nil
}
