package api

import (
	"context"

	"github.com/google/uuid"

	"cleave/modules/user/internal/app"
	"cleave/modules/user/internal/store"
	"cleave/platform/db"
	"cleave/platform/rest"
)

// CreateClient implements POST /api/v1/oauth-clients.
func (s server) CreateClient(ctx context.Context, r CreateClientRequestObject) (CreateClientResponseObject, error) {
	n := app.NewClient{
		Name: r.Body.Name, Public: rest.Deref(r.Body.Public), Scopes: rest.Deref(r.Body.Scopes), RedirectURIs: rest.Deref(r.Body.RedirectUris),
		PostLogoutURIs: rest.Deref(r.Body.PostLogoutUris), Roles: rest.Deref(r.Body.Roles),
	}
	for _, g := range r.Body.Grants {
		n.Grants = append(n.Grants, string(g))
	}
	c, secret, err := s.app.CreateClient(ctx, n)
	if err != nil {
		return nil, err
	}
	body, err := wireClient(c)
	return CreateClient201JSONResponse{Client: body, ClientSecret: rest.Optional(secret)}, err
}

// ListClients implements GET /api/v1/oauth-clients.
func (s server) ListClients(ctx context.Context, r ListClientsRequestObject) (ListClientsResponseObject, error) {
	page, err := s.page("clients", "", r.Params.Limit, r.Params.Cursor)
	if err != nil {
		return nil, err
	}
	clients, more, err := s.app.Clients(ctx, page)
	if err != nil {
		return nil, err
	}
	list := ListClients200JSONResponse{Items: make([]OAuthClient, len(clients))}
	for i, c := range clients {
		if list.Items[i], err = wireClient(c); err != nil {
			return nil, err
		}
	}
	if more {
		last := clients[len(clients)-1]
		list.NextCursor = s.next("clients", "", rest.Position{At: db.Micros(last.CreatedAt), ID: last.ID})
	}
	return list, nil
}

// DeleteClient implements DELETE /api/v1/oauth-clients/{client_id}.
func (s server) DeleteClient(ctx context.Context, r DeleteClientRequestObject) (DeleteClientResponseObject, error) {
	return DeleteClient204Response{}, s.app.DeleteClient(ctx, r.ClientID.String())
}

func wireClient(c store.OAuthClient) (OAuthClient, error) {
	id, err := uuid.Parse(c.ID)
	out := OAuthClient{
		ClientID: id, Name: c.Name, Public: c.SecretHash == "", Grants: []GrantType{}, Scopes: append([]string{}, c.Scopes...),
		RedirectUris: append([]string{}, c.RedirectURIs...), PostLogoutUris: append([]string{}, c.PostLogoutURIs...),
		Roles: append([]string{}, c.Roles...), CreatedAt: c.CreatedAt,
	}
	for _, g := range c.Grants {
		out.Grants = append(out.Grants, GrantType(g))
	}
	return out, err
}
