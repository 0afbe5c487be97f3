package api

import (
	"context"
	"strings"
	"unicode"

	"github.com/google/uuid"

	"cleave/modules/user/internal/app"
	"cleave/modules/user/internal/store"
	"cleave/platform/rest"
)

// withClient tells the use cases where a session is used from: it is shown to its user, and decides nothing.
func withClient(ctx context.Context) context.Context {
	const maxAgent, maxAddress = 256, 64 // as in the OpenAPI document
	c := rest.ClientOf(ctx)
	agent := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, c.UserAgent)
	return app.WithClient(ctx, store.Client{UserAgent: clip(strings.TrimSpace(agent), maxAgent), Address: clip(c.Address, maxAddress)})
}

// clip returns at most n characters of s.
func clip(s string, n int) string {
	runes := []rune(s)
	return string(runes[:min(n, len(runes))])
}

// LogIn implements POST /api/v1/sessions.
func (s server) LogIn(ctx context.Context, r LogInRequestObject) (LogInResponseObject, error) {
	tokens, err := s.app.LogIn(withClient(ctx), r.Body.Email, r.Body.Password)
	if err != nil {
		return nil, err
	}
	if tokens.Challenge != nil {
		return wireChallenge(*tokens.Challenge), nil
	}
	body, err := wireTokens(tokens)
	return LogIn201JSONResponse(body), err
}

// RefreshSession implements POST /api/v1/sessions/refresh.
func (s server) RefreshSession(ctx context.Context, r RefreshSessionRequestObject) (RefreshSessionResponseObject, error) {
	tokens, err := s.app.RefreshSession(withClient(ctx), r.Body.RefreshToken, rest.Deref(r.Params.IdempotencyKey))
	if err != nil {
		return nil, err
	}
	body, err := wireTokens(tokens)
	return RefreshSession200JSONResponse(body), err
}

// LogOut implements DELETE /api/v1/sessions/current.
func (s server) LogOut(ctx context.Context, _ LogOutRequestObject) (LogOutResponseObject, error) {
	p, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	return LogOut204Response{}, s.app.LogOut(ctx, p)
}

// GetSessions implements GET /api/v1/me/sessions.
func (s server) GetSessions(ctx context.Context, _ GetSessionsRequestObject) (GetSessionsResponseObject, error) {
	p, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	sessions, err := s.app.Sessions(ctx, p.Subject)
	if err != nil {
		return nil, err
	}
	list := GetSessions200JSONResponse{Items: make([]Session, len(sessions))}
	for i, one := range sessions {
		id, err := uuid.Parse(one.ID)
		if err != nil {
			return nil, err
		}
		list.Items[i] = Session{
			ID: id, Current: one.ID == p.Session, CreatedAt: one.CreatedAt, LastUsedAt: one.LastUsedAt, ExpiresAt: one.ExpiresAt,
			UserAgent: rest.Optional(one.Client.UserAgent), Address: rest.Optional(one.Client.Address),
		}
	}
	return list, nil
}

// EndUserSessions implements POST /api/v1/users/{user_id}/sessions/end.
func (s server) EndUserSessions(ctx context.Context, r EndUserSessionsRequestObject) (EndUserSessionsResponseObject, error) {
	_, err := s.app.EndSessionsOf(ctx, r.UserID.String())
	return EndUserSessions204Response{}, err
}

// EndSessions implements POST /api/v1/me/sessions/end.
func (s server) EndSessions(ctx context.Context, r EndSessionsRequestObject) (EndSessionsResponseObject, error) {
	p, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	var id string
	if r.Body.SessionID != nil {
		id = r.Body.SessionID.String()
	}
	return EndSessions204Response{}, s.app.EndSessions(ctx, p, r.Body.Password, id)
}
