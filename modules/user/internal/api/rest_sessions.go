package api

import "context"

// LogIn implements POST /api/v1/sessions.
func (s server) LogIn(ctx context.Context, r LogInRequestObject) (LogInResponseObject, error) {
	tokens, err := s.app.LogIn(ctx, r.Body.Email, r.Body.Password)
	if err != nil {
		return nil, err
	}
	body, err := wireTokens(tokens)
	return LogIn201JSONResponse(body), err
}

// RefreshSession implements POST /api/v1/sessions/refresh.
func (s server) RefreshSession(ctx context.Context, r RefreshSessionRequestObject) (RefreshSessionResponseObject, error) {
	tokens, err := s.app.RefreshSession(ctx, r.Body.RefreshToken, deref(r.Params.IdempotencyKey))
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
