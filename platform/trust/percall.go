package trust

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"cleave/platform/auth"
	"cleave/platform/tlsfiles"
)

// modulePlace in the path of a token file stands for the module that is called.
const modulePlace = "{module}"

// Present makes the process prove itself to others by the service-account token in a file, which Kubernetes renews, instead of by its
// client certificate. In the path, {module} stands for the module called, so that each has its token with its own audience. Call
// it before ClientCredentials.
func (i *Identity) Present(tokenFile string) { i.tokenFile = tokenFile }

// CallCredentials go with ClientCredentials(module), and Calls(module) needs them: they add this process's word for the user of a
// call, and the token of Present, for which its file must have one for the module now.
func (i *Identity) CallCredentials(module string) (credentials.PerRPCCredentials, error) {
	c := callCredentials{identity: i, callee: module}
	if i.tokenFile == "" {
		return c, nil
	}
	path := strings.ReplaceAll(i.tokenFile, modulePlace, module)
	var err error
	c.account, err = tlsfiles.Watch("service-account token", []string{path}, func() (string, time.Time, error) { return readToken(path, module, i.now()) }, i.log, i.now)
	return c, err
}

type callCredentials struct {
	identity *Identity
	callee   string
	account  *tlsfiles.Watched[string] // nil: the connection shows the certificate
}

// GetRequestMetadata implements credentials.PerRPCCredentials. gRPC calls it for each attempt, when it has chosen the connection.
func (c callCredentials) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	p, user := auth.From(ctx)
	var word map[string]string
	if user {
		var err error
		if word, err = c.word(ctx, p); err != nil {
			return nil, status.Error(codes.Internal, err.Error())
		}
	}
	if c.account == nil {
		return word, nil
	}
	md := map[string]string{"authorization": "Bearer " + c.account.Get(ctx)}
	maps.Copy(md, word)
	return md, nil
}

// word signs with the key of the certificate that this connection showed, which may have been renewed since, so that the other end
// needs no other. Behind a proxy it does, and the certificate comes along.
func (c callCredentials) word(ctx context.Context, p auth.Principal) (map[string]string, error) {
	now := c.identity.now()
	if c.account != nil {
		return c.identity.material().word(c.callee, p, true, now)
	}
	ri, _ := credentials.RequestInfoFromContext(ctx)
	info, ok := ri.AuthInfo.(authInfo)
	if !ok || info.shown == nil {
		return nil, errors.New("the connection is not one of package trust's")
	}
	return info.shown.word(c.callee, p, false, now)
}

// RequireTransportSecurity keeps the words off connections without TLS.
func (callCredentials) RequireTransportSecurity() bool { return true }

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
