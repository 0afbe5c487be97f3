package trust

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc/credentials"

	"cleave/platform/tlsfiles"
)

// modulePlace in the path of a token file stands for the module that is called.
const modulePlace = "{module}"

// Present makes the process prove itself to others by the service-account token in a file, which Kubernetes renews, instead of by its
// client certificate. In the path, {module} stands for the module called, so that each has its token with its own audience. Call
// it before ClientCredentials.
func (i *Identity) Present(tokenFile string) { i.tokenFile = tokenFile }

// CallCredentials go with ClientCredentials(module): they add the token of Present to each call, and are nil without one. They fail
// unless the file has a token for the module.
func (i *Identity) CallCredentials(module string) (credentials.PerRPCCredentials, error) {
	if i.tokenFile == "" {
		return nil, nil //nolint:nilnil // no credentials are the usual ones
	}
	path := strings.ReplaceAll(i.tokenFile, modulePlace, module)
	token, err := tlsfiles.Watch("service-account token", []string{path}, func() (string, time.Time, error) { return readToken(path, module, i.now()) }, i.log, i.now)
	if err != nil {
		return nil, err
	}
	return fileToken{token}, nil
}

func readToken(path, audience string, now time.Time) (string, time.Time, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("read the service-account token: %w", err)
	}
	token := strings.TrimSpace(string(text))
	var c jwt.RegisteredClaims
	_, _, err = jwt.NewParser().ParseUnverified(token, &c)
	switch {
	case err != nil || c.ExpiresAt == nil:
		err = errors.New("not a JWT that expires")
	case !slices.Contains(c.Audience, audience):
		err = fmt.Errorf("its audience is %q, want %q", c.Audience, audience)
	case !now.Before(c.ExpiresAt.Time):
		err = fmt.Errorf("it expired at %s", c.ExpiresAt.Format(time.RFC3339))
	default:
		return token, c.ExpiresAt.Time, nil
	}
	return "", time.Time{}, fmt.Errorf("read the service-account token %s: %w", path, err)
}

// fileToken is a bearer token from a file.
type fileToken struct{ token *tlsfiles.Watched[string] }

func (f fileToken) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + f.token.Get(ctx)}, nil
}

// RequireTransportSecurity keeps the token off connections without TLS.
func (fileToken) RequireTransportSecurity() bool { return true }
