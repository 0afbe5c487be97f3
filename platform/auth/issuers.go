package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Issuers verifies access tokens of outside issuers. It is one for a process, so that their keys are fetched once for all modules. Nil
// is no issuer at all.
type Issuers struct {
	byIssuer map[string]*outside
}

// NewIssuers checks the list and fetches nothing. The error names every issuer that is amiss.
func NewIssuers(list []OutsideIssuer, log *slog.Logger, now func() time.Time) (*Issuers, error) {
	i := &Issuers{byIssuer: map[string]*outside{}}
	var errs []error
	for _, o := range list {
		err := o.validate()
		if _, twice := i.byIssuer[o.Issuer]; twice {
			err = errors.New("it is there twice")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("outside issuer %q: %w", o.Issuer, err))
			continue
		}
		i.byIssuer[o.Issuer] = &outside{
			OutsideIssuer: o,
			keys:          newRemoteKeys(o.Issuer, o.Keys, log, now),
			parser: jwt.NewParser(
				jwt.WithValidMethods(o.Algorithms), jwt.WithIssuer(o.Issuer), jwt.WithAudience(o.Audience), jwt.WithExpirationRequired(), jwt.WithIssuedAt(),
				jwt.WithLeeway(leeway), jwt.WithTimeFunc(now), jwt.WithStrictDecoding(),
			),
		}
	}
	return i, errors.Join(errs...)
}

func (o OutsideIssuer) validate() error {
	switch {
	case o.Issuer == "" || o.Audience == "" || o.SubjectClaim == "" || o.Keys == nil:
		return errors.New("issuer, audience, subject claim and keys must be given")
	case o.SubjectClaim == "email": // it changes hands, and anyone can claim one somewhere
		return errors.New("an e-mail address is no identity")
	case len(o.Algorithms) == 0:
		return errors.New("no algorithm is allowed")
	case o.RolesClaim == "" && len(o.Roles) > 0:
		return errors.New("roles are given, but no claim that they come from")
	case o.DefaultRole == RoleService && o.ScopeClaim == "":
		return errors.New("the role service needs scopes: name the claim that has them")
	}
	for _, a := range o.Algorithms {
		if _, ok := asymmetric[a]; !ok {
			return fmt.Errorf("the algorithm %q cannot be allowed", a)
		}
	}
	for _, m := range o.Roles {
		service := m.Role == RoleService
		switch {
		case m.Value == "" || m.Role == "":
			return errors.New("a mapping needs a value and a role")
		case len(m.Scopes) > 0 && (!service || o.ScopeClaim != ""):
			return fmt.Errorf("scopes for %q: only the role service has them, and not beside a scope claim", m.Value)
		case service && len(m.Scopes) == 0 && o.ScopeClaim == "":
			return fmt.Errorf("the role service for %q needs scopes", m.Value)
		}
	}
	return nil
}

// Has reports whether tokens of the issuer are accepted.
func (i *Issuers) Has(issuer string) bool { return i != nil && i.byIssuer[issuer] != nil }

// Verify returns the principal of a token of one of the issuers. It fails like Verifier.Verify, and remembers nothing.
func (i *Issuers) Verify(ctx context.Context, token string) (Principal, error) {
	o := i.of(token)
	if o == nil || len(token) > maxTokenLen {
		return Principal{}, errToken.Wrap(errors.New("of no issuer that is known"))
	}
	t, err := o.check(ctx, token)
	return t.principal, err
}

// of returns the issuer that a token says it is of, nil when it is none of them. Nothing about the token is believed: it chooses among
// those that the operator trusts, and then has to satisfy the one it chose.
func (i *Issuers) of(token string) *outside {
	if i == nil || len(i.byIssuer) == 0 || len(token) > maxTokenLen {
		return nil
	}
	claims := jwt.MapClaims{}
	if _, _, err := jwt.NewParser().ParseUnverified(token, claims); err != nil {
		return nil
	}
	issuer, _ := claims["iss"].(string)
	return i.byIssuer[issuer]
}

// Roles are the roles that tokens of these issuers may give, sorted.
func (i *Issuers) Roles() []string {
	var out []string
	for _, o := range i.byIssuer {
		for _, m := range o.Roles {
			out = append(out, m.Role)
		}
		if o.DefaultRole != "" {
			out = append(out, o.DefaultRole)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Run fetches the keys, so that the first token need not wait and an issuer that is away is known at once. It returns nil when ctx
// ends; after that no keys are fetched.
func (i *Issuers) Run(ctx context.Context) error {
	for _, o := range i.byIssuer {
		o.keys.refresh()
	}
	<-ctx.Done()
	for _, o := range i.byIssuer {
		o.keys.close()
	}
	return nil
}
