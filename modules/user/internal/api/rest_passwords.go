package api

import "context"

// ChangePassword implements POST /api/v1/me/password.
func (s server) ChangePassword(ctx context.Context, r ChangePasswordRequestObject) (ChangePasswordResponseObject, error) {
	p, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	return ChangePassword204Response{}, s.app.ChangePassword(ctx, p, r.Body.CurrentPassword, r.Body.NewPassword)
}

// RequestEmailVerification implements POST /api/v1/email-verifications.
func (s server) RequestEmailVerification(ctx context.Context, r RequestEmailVerificationRequestObject) (RequestEmailVerificationResponseObject, error) {
	return RequestEmailVerification202Response{}, s.app.RequestEmailVerification(ctx, r.Body.Email)
}

// VerifyEmail implements POST /api/v1/email-verifications/confirm.
func (s server) VerifyEmail(ctx context.Context, r VerifyEmailRequestObject) (VerifyEmailResponseObject, error) {
	return VerifyEmail204Response{}, s.app.VerifyEmail(ctx, r.Body.Token)
}

// RequestPasswordReset implements POST /api/v1/password-resets.
func (s server) RequestPasswordReset(ctx context.Context, r RequestPasswordResetRequestObject) (RequestPasswordResetResponseObject, error) {
	return RequestPasswordReset202Response{}, s.app.RequestPasswordReset(ctx, r.Body.Email)
}

// ResetPassword implements POST /api/v1/password-resets/confirm.
func (s server) ResetPassword(ctx context.Context, r ResetPasswordRequestObject) (ResetPasswordResponseObject, error) {
	return ResetPassword204Response{}, s.app.ResetPassword(ctx, r.Body.Token, r.Body.NewPassword)
}
