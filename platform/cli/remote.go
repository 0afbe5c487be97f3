package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cleave/platform/fault"
)

// remote is a running server, as the flags of a command name it, and who asks.
type remote struct{ url, token string }

func (r *remote) add(c *cobra.Command) {
	c.Flags().StringVar(&r.url, "url", "", "ask the server at `URL` (default: where the configuration lets it listen)")
	c.Flags().StringVar(&r.token, "token-file", "", "read the access token from `FILE`, - for standard input")
}

// server is a connection to a remote.
type server struct {
	client     *http.Client
	url, token string
}

func (a *app) connect(r remote) (*server, error) {
	client, url, err := a.httpClient(r.url)
	if err != nil {
		return nil, err
	}
	token, err := a.readToken(r.token)
	return &server{client, url, token}, err
}

// httpClient is for the server at url, or for the one that the configuration describes.
func (a *app) httpClient(url string) (*http.Client, string, error) {
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment}
	if url == "" {
		cfg, err := a.load()
		if err != nil {
			return nil, "", err
		}
		url, transport.Proxy = cfg.LocalURL(cfg.HTTP.Addr), nil
		if cfg.HTTP.TLSCert != "" {
			if transport.TLSClientConfig, err = ownCertificate(cfg.HTTP.TLSCert); err != nil {
				return nil, "", fmt.Errorf("http.tls_cert: %w", err)
			}
		}
	}
	return &http.Client{Transport: transport, Timeout: time.Minute}, strings.TrimRight(url, "/"), nil
}

func (a *app) readToken(file string) (string, error) {
	const most = 16 << 10
	var text []byte
	var err error
	switch file {
	case "":
		return "", fault.New(fault.Invalid, "token_missing", "name a file with an access token with --token-file")
	case "-":
		text, err = io.ReadAll(io.LimitReader(a.In, most))
	default:
		text, err = os.ReadFile(file)
	}
	if err != nil {
		return "", fault.New(fault.Invalid, "token_unreadable", "the access token cannot be read: %v", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// call sends in, if it is not nil, and reads the answer into out. version is sent as If-Match when it is not "", and the one of the
// answer is returned. A refusal is a fault with the server's code and text.
func (s *server) call(ctx context.Context, method, path, version string, in, out any) (etag string, err error) {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return "", err
		}
		body = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, s.url+path, body)
	if err != nil {
		return "", fault.New(fault.Invalid, "url_invalid", "--url is %q, allowed: an address such as http://127.0.0.1:8080", s.url)
	}
	r.Header.Set("Authorization", "Bearer "+s.token)
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if version != "" {
		r.Header.Set("If-Match", version)
	}
	resp, err := s.client.Do(r)
	if err != nil {
		return "", fault.New(fault.Unavailable, "server_unreachable", "no server answers at %s", s.url).Wrap(err)
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	const most = 64 << 20
	answer := json.NewDecoder(io.LimitReader(resp.Body, most))
	if resp.StatusCode != http.StatusOK {
		var problem struct{ Code, Detail string }
		if answer.Decode(&problem) != nil || problem.Code == "" {
			return "", fmt.Errorf("%s answered %s", s.url, resp.Status)
		}
		return "", &refusal{status: resp.StatusCode, code: problem.Code, text: problem.Detail}
	}
	if err := answer.Decode(out); err != nil {
		return "", fmt.Errorf("read the answer of %s: %w", s.url, err)
	}
	return resp.Header.Get("ETag"), nil
}

// refusal is a problem with which the server answered.
type refusal struct {
	status     int
	code, text string
}

func (r *refusal) Error() string { return fmt.Sprintf("%s (%s)", r.text, r.code) }
