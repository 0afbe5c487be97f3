package api

import (
	"context"

	"cleave/modules/user/internal/app"
)

// EnrolSecondFactor implements POST /api/v1/me/second-factor.
func (s server) EnrolSecondFactor(ctx context.Context, r EnrolSecondFactorRequestObject) (EnrolSecondFactorResponseObject, error) {
	p, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	secret, uri, err := s.app.EnrolSecondFactor(ctx, p, r.Body.Password)
	if err != nil {
		return nil, err
	}
	return EnrolSecondFactor201JSONResponse{Secret: secret, URI: uri}, nil
}

// ConfirmSecondFactor implements POST /api/v1/me/second-factor/confirm.
func (s server) ConfirmSecondFactor(ctx context.Context, r ConfirmSecondFactorRequestObject) (ConfirmSecondFactorResponseObject, error) {
	p, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	codes, err := s.app.ConfirmSecondFactor(ctx, p, r.Body.Code)
	if err != nil {
		return nil, err
	}
	return ConfirmSecondFactor200JSONResponse{RecoveryCodes: codes}, nil
}

// DisableSecondFactor implements POST /api/v1/me/second-factor/disable.
func (s server) DisableSecondFactor(ctx context.Context, r DisableSecondFactorRequestObject) (DisableSecondFactorResponseObject, error) {
	p, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	return DisableSecondFactor204Response{}, s.app.DisableSecondFactor(ctx, p, r.Body.Password, r.Body.Code)
}

// LogInSecondFactor implements POST /api/v1/sessions/second-factor.
func (s server) LogInSecondFactor(ctx context.Context, r LogInSecondFactorRequestObject) (LogInSecondFactorResponseObject, error) {
	tokens, err := s.app.LogInSecondFactor(withClient(ctx), r.Body.Challenge, r.Body.Code)
	if err != nil {
		return nil, err
	}
	body, err := wireTokens(tokens)
	return LogInSecondFactor201JSONResponse(body), err
}

func wireChallenge(c app.Challenge) LogIn202JSONResponse {
	return LogIn202JSONResponse{Challenge: c.Token, ExpiresIn: int32(c.ExpiresIn.Seconds())}
}
