package api

import (
	"context"
	"time"

	"github.com/google/uuid"

	"cleave/modules/user/internal/app"
	"cleave/modules/user/internal/store"
	"cleave/platform/rest"
)

const day = 24 * time.Hour

// CreateAPIKey implements POST /api/v1/me/api-keys.
func (s server) CreateAPIKey(ctx context.Context, r CreateAPIKeyRequestObject) (CreateAPIKeyResponseObject, error) {
	p, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	key, made, err := s.app.CreateAPIKey(ctx, p, r.Body.Password, app.NewAPIKey{
		Name: r.Body.Name, Scopes: r.Body.Scopes, TTL: time.Duration(r.Body.ExpiresInDays) * day,
	})
	if err != nil {
		return nil, err
	}
	body, err := wireAPIKey(made)
	return CreateAPIKey201JSONResponse{APIKey: key, Key: body}, err
}

// GetAPIKeys implements GET /api/v1/me/api-keys.
func (s server) GetAPIKeys(ctx context.Context, _ GetAPIKeysRequestObject) (GetAPIKeysResponseObject, error) {
	p, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := s.app.APIKeys(ctx, p.Subject)
	if err != nil {
		return nil, err
	}
	list := GetAPIKeys200JSONResponse{Items: make([]APIKey, len(keys))}
	for i, k := range keys {
		if list.Items[i], err = wireAPIKey(k); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// RevokeAPIKey implements DELETE /api/v1/me/api-keys/{key_id}.
func (s server) RevokeAPIKey(ctx context.Context, r RevokeAPIKeyRequestObject) (RevokeAPIKeyResponseObject, error) {
	p, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	return RevokeAPIKey204Response{}, s.app.RevokeAPIKey(ctx, p.Subject, r.KeyID.String())
}

// ExchangeAPIKey implements POST /api/v1/tokens/api-key.
func (s server) ExchangeAPIKey(ctx context.Context, r ExchangeAPIKeyRequestObject) (ExchangeAPIKeyResponseObject, error) {
	t, err := s.app.ExchangeAPIKey(ctx, r.Body.APIKey)
	if err != nil {
		return nil, err
	}
	id, err := uuid.Parse(t.UserID)
	return ExchangeAPIKey200JSONResponse{
		AccessToken: t.Access, TokenType: AccessTokenTokenTypeBearer, ExpiresIn: int32(t.ExpiresIn.Seconds()), Scopes: t.Scopes, UserID: id,
	}, err
}

func wireAPIKey(k store.APIKey) (APIKey, error) {
	id, err := uuid.Parse(k.ID)
	return APIKey{
		ID: id, Name: k.Name, Prefix: k.Prefix, Scopes: k.Scopes, CreatedAt: k.CreatedAt, ExpiresAt: k.ExpiresAt, LastUsedAt: rest.Optional(k.LastUsedAt),
	}, err
}
