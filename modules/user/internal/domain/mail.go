package domain

// MailPurpose is what a token from a mail is good for.
type MailPurpose string

// The purposes, as the database spells them.
const (
	VerifyEmail   MailPurpose = "verify_email"
	ResetPassword MailPurpose = "reset_password"
)
