package app

import (
	"context"
	"math"
	"net/url"
	"slices"
	"strings"

	"cleave/modules/user/internal/domain"
	"cleave/modules/user/internal/store"
	userv1 "cleave/modules/user/v1"
	"cleave/platform/audit"
	"cleave/platform/egress"
	"cleave/platform/fault"
)

// The ways in which a client may get tokens. There is no implicit and no password grant (RFC 9700 sections 2.1.2 and 2.4).
const (
	GrantCode     = "authorization_code"
	GrantRefresh  = "refresh_token"
	GrantClient   = "client_credentials"
	GrantExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
)

// Scopes beside the names of modules, which stand for their APIs.
const (
	ScopeOpenID  = "openid"
	ScopeProfile = "profile"
	ScopeEmail   = "email"
	ScopeOffline = "offline_access"
)

// NewClient is what a client is registered with.
type NewClient struct {
	Name           string
	Public         bool // without a secret: an app on a device or in a browser
	RedirectURIs   []string
	PostLogoutURIs []string
	Grants         []string
	Scopes         []string
	Roles          []string // of the client itself, for the client credentials grant
}

// CreateClient registers a client and returns its secret, which is kept as a hash alone; "" for a public one. A registration that
// would not be safe is Unprocessable, with the field.
func (a *App) CreateClient(ctx context.Context, n NewClient) (store.OAuthClient, string, error) {
	if err := a.checkClient(n); err != nil {
		return store.OAuthClient{}, "", err
	}
	c := store.OAuthClient{
		ID: a.NewID(), Name: n.Name, RedirectURIs: n.RedirectURIs, PostLogoutURIs: n.PostLogoutURIs, Grants: n.Grants, Scopes: n.Scopes,
		Roles: n.Roles, CreatedAt: a.now(),
	}
	var secret string
	if !n.Public {
		secret, c.SecretHash = newToken()
	}
	return c, secret, a.DB.Tx(ctx, func(ctx context.Context) error {
		if err := a.Store.InsertClient(ctx, c); err != nil {
			return err
		}
		return a.Audit.Append(ctx, audit.Entry{
			Action: "user:client:create", Object: "client/" + c.ID,
			Detail: map[string]string{"grants": strings.Join(c.Grants, " "), "roles": strings.Join(c.Roles, " ")},
		})
	})
}

// Clients reads a page of clients, the newest first, and whether another one follows.
func (a *App) Clients(ctx context.Context, p store.Page) ([]store.OAuthClient, bool, error) {
	return page(p, func(p store.Page) ([]store.OAuthClient, error) { return a.Store.Clients(ctx, p) })
}

// DeleteClient removes a client and ends all that it was given; ErrClientNotFound when there is none.
func (a *App) DeleteClient(ctx context.Context, id string) error {
	return a.DB.Tx(ctx, func(ctx context.Context) error {
		sessions, err := a.Store.SessionsOfClient(ctx, id)
		if err != nil {
			return err
		}
		for _, s := range sessions {
			if err := a.endSession(ctx, s.ID, s.UserID); err != nil {
				return err
			}
		}
		deleted, err := a.Store.DeleteClient(ctx, id)
		if err != nil {
			return err
		}
		if !deleted {
			return domain.ErrClientNotFound
		}
		if err := a.Events.Publish(ctx, id, &userv1.AccessRevoked{UserId: id, BeforeVersion: math.MaxInt64}); err != nil {
			return err
		}
		return a.Audit.Append(ctx, audit.Entry{Action: "user:client:delete", Object: "client/" + id})
	})
}

func (a *App) checkClient(n NewClient) error {
	refuse := func(field, message string) error {
		return fault.New(fault.Unprocessable, "client_invalid", "%s", message).With(fault.Field{Path: field, Code: "invalid", Message: message})
	}
	known := append([]string{ScopeOpenID, ScopeProfile, ScopeEmail, ScopeOffline}, a.Audience...)
	switch {
	case len(n.Grants) == 0:
		return refuse("/grants", "a client needs a grant")
	case slices.ContainsFunc(n.Grants, func(g string) bool {
		return !slices.Contains([]string{GrantCode, GrantRefresh, GrantClient, GrantExchange}, g)
	}):
		return refuse("/grants", "a grant is not known")
	case slices.ContainsFunc(n.Scopes, func(s string) bool { return !slices.Contains(known, s) }):
		return refuse("/scopes", "the scopes are "+strings.Join(known, ", "))
	case n.Public && (slices.Contains(n.Grants, GrantClient) || slices.Contains(n.Grants, GrantExchange)):
		return refuse("/grants", "a public client cannot prove who it is, which this grant needs")
	case slices.Contains(n.Grants, GrantCode) == (len(n.RedirectURIs) == 0):
		return refuse("/redirect_uris", "the authorization code needs redirect URIs, and nothing else does")
	case len(n.Roles) > 0 && !slices.Contains(n.Grants, GrantClient):
		return refuse("/roles", "only the client credentials grant uses roles")
	}
	for field, list := range map[string][]string{"/redirect_uris": n.RedirectURIs, "/post_logout_uris": n.PostLogoutURIs} {
		for _, uri := range list {
			if !safeRedirect(uri) {
				return refuse(field, "a URI must be absolute, without a fragment, and https unless it is on this machine")
			}
		}
	}
	return nil
}

// safeRedirect accepts what RFC 9700 section 4.1.1 and RFC 8252 section 7 do, but for schemes of apps, which any other app may claim.
func safeRedirect(uri string) bool {
	u, err := url.Parse(uri)
	if err != nil || u.Host == "" || u.Fragment != "" || u.User != nil || strings.ContainsAny(uri, " \t\r\n#*") {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && egress.Loopback(u.Hostname())
}
