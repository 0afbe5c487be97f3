package domain

import "cleave/platform/fault"

// The refusals that have to do with users and sessions.
var (
	ErrUserNotFound    = fault.New(fault.NotFound, "user_not_found", "there is no such user")
	ErrNoAccount       = fault.New(fault.Forbidden, "account_missing", "this needs an account here")
	ErrEmailTaken      = fault.New(fault.Conflict, "email_taken", "the e-mail address is in use already")
	ErrStale           = fault.New(fault.Stale, "", "the user has been changed since")
	ErrCredentials     = fault.New(fault.Unauthenticated, "credentials_invalid", "the e-mail address or the password is wrong")
	ErrPasswordWrong   = fault.New(fault.Forbidden, "password_wrong", "the password is wrong")
	ErrPasswordMissing = fault.New(fault.Unprocessable, "password_required", "another e-mail address takes the password").
				With(fault.Field{Path: "/password", Code: "required", Message: "is missing"})
	ErrMailToken      = fault.New(fault.Unprocessable, "mail_token_invalid", "the token is wrong, used or expired: ask for another mail")
	ErrFactorOn       = fault.New(fault.Conflict, "second_factor_on", "there is a second factor already: remove it first")
	ErrFactorOff      = fault.New(fault.Conflict, "second_factor_off", "there is no second factor")
	ErrFactorRequired = fault.New(fault.Conflict, "second_factor_required", "a role of the user takes a second factor")
	ErrFactorLocked   = fault.New(fault.Exhausted, "second_factor_locked", "too many wrong codes: try again in a quarter of an hour")
	ErrCodeWrong      = fault.New(fault.Forbidden, "code_wrong", "the code is wrong, or was used before")
	ErrLogInCode      = fault.New(fault.Unauthenticated, "code_wrong", "the code is wrong, or was used before")
	ErrCodeRequired   = fault.New(fault.Unprocessable, "code_required", "this takes the second factor as well").
				With(fault.Field{Path: "/code", Code: "required", Message: "is missing"})
	ErrChallenge              = fault.New(fault.Unauthenticated, "challenge_invalid", "log in with the password again")
	ErrAPIKey                 = fault.New(fault.Unauthenticated, "api_key_invalid", "the API key is not valid")
	ErrAPIKeyNotFound         = fault.New(fault.NotFound, "api_key_not_found", "there is no such API key")
	ErrAPIKeyLimit            = fault.New(fault.Conflict, "api_key_limit", "there are too many API keys: revoke one first")
	ErrLastAdminLeaves        = fault.New(fault.Conflict, "last_admin", "the last administrator cannot delete their account")
	ErrSessionNotFound        = fault.New(fault.NotFound, "session_not_found", "there is no such session, or it has ended")
	ErrRefreshToken           = fault.New(fault.Unauthenticated, "refresh_token_invalid", "the refresh token is not valid: log in again")
	ErrClientNotFound         = fault.New(fault.NotFound, "client_not_found", "there is no such client")
	ErrRequestExpired         = fault.New(fault.Invalid, "request_expired", "the request has expired or belongs to another browser: start again at the application")
	ErrGrant                  = fault.New(fault.Invalid, "grant_invalid", "the authorisation code is not valid")
	ErrScope                  = fault.New(fault.Unprocessable, "scope_invalid", "a scope is not among those that may be given")
	ErrLogInDisabled          = fault.New(fault.Forbidden, "user_disabled", "the user is disabled")
	ErrDisableSelf            = fault.New(fault.Conflict, "own_account", "nobody can disable themselves")
	ErrLastAdmin              = fault.New(fault.Conflict, "last_admin", "there must be an administrator who is not disabled, and this is the last one")
	ErrFirstAdminExists       = fault.New(fault.Conflict, "first_admin_exists", "there is an administrator already")
	ErrFirstAdminTokenInvalid = fault.New(fault.Forbidden, "first_admin_token_invalid", "the token is not the one that the server printed")
	ErrPasswordsBusy          = fault.New(fault.Exhausted, "passwords_busy", "too many log-ins and registrations at once: try again")
)
