package domain

import "cleave/platform/fault"

// The refusals that have to do with users and sessions.
var (
	ErrUserNotFound           = fault.New(fault.NotFound, "user_not_found", "there is no such user")
	ErrEmailTaken             = fault.New(fault.Conflict, "email_taken", "the e-mail address is in use already")
	ErrStale                  = fault.New(fault.Stale, "", "the user has been changed since")
	ErrCredentials            = fault.New(fault.Unauthenticated, "credentials_invalid", "the e-mail address or the password is wrong")
	ErrPasswordWrong          = fault.New(fault.Forbidden, "password_wrong", "the password is wrong")
	ErrMailToken              = fault.New(fault.Unprocessable, "mail_token_invalid", "the token is wrong, used or expired: ask for another mail")
	ErrSessionNotFound        = fault.New(fault.NotFound, "session_not_found", "there is no such session, or it has ended")
	ErrRefreshToken           = fault.New(fault.Unauthenticated, "refresh_token_invalid", "the refresh token is not valid: log in again")
	ErrClientNotFound         = fault.New(fault.NotFound, "client_not_found", "there is no such client")
	ErrRequestExpired         = fault.New(fault.Invalid, "request_expired", "the request has expired or belongs to another browser: start again at the application")
	ErrGrant                  = fault.New(fault.Invalid, "grant_invalid", "the authorisation code is not valid")
	ErrScope                  = fault.New(fault.Unprocessable, "scope_invalid", "a scope is not among those that may be given")
	ErrLogInDisabled          = fault.New(fault.Forbidden, "user_disabled", "the user is disabled")
	ErrDisableSelf            = fault.New(fault.Conflict, "own_account", "nobody can disable themselves")
	ErrLastAdmin              = fault.New(fault.Conflict, "last_admin", "the last administrator cannot be disabled")
	ErrFirstAdminExists       = fault.New(fault.Conflict, "first_admin_exists", "there is an administrator already")
	ErrFirstAdminTokenInvalid = fault.New(fault.Forbidden, "first_admin_token_invalid", "the token is not the one that the server printed")
	ErrPasswordsBusy          = fault.New(fault.Exhausted, "passwords_busy", "too many log-ins and registrations at once: try again")
)
