package userv1

import "cleave/platform/event"

// What the user module publishes, each under the user's id as its key.
var (
	Registered     = event.Define[*UserRegistered]()
	ProfileChanged = event.Define[*UserProfileChanged]()
	Disabled       = event.Define[*UserDisabled]()
	Enabled        = event.Define[*UserEnabled]()
	Revoked        = event.Define[*AccessRevoked]()
	RolesChanged   = event.Define[*UserRolesChanged]()

	EmailVerificationRequested = event.Define[*UserEmailVerificationRequested]()
	PasswordResetRequested     = event.Define[*UserPasswordResetRequested]()
	EmailChanged               = event.Define[*UserEmailChanged]()
	PasswordChanged            = event.Define[*UserPasswordChanged]()
	RegistrationAttempted      = event.Define[*UserRegistrationAttempted]()
	SecondFactorChanged        = event.Define[*UserSecondFactorChanged]()
	Deleted                    = event.Define[*UserDeleted]()
)
