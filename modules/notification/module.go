// Package notification is the module that tells users what happened: in their
// inbox, as a live stream, and by mail. It calls no other module and keeps its
// own copy of what it needs to know about users, which their events bring.
package notification

import (
	"context"
	_ "embed"
	"fmt"
	"path/filepath"
	"time"

	"cleave/modules/notification/internal/api"
	"cleave/modules/notification/internal/app"
	"cleave/modules/notification/internal/mail"
	"cleave/modules/notification/internal/store"
	"cleave/modules/notification/internal/wording"
	"cleave/modules/notification/migrations"
	notificationv1 "cleave/modules/notification/v1"
	orderv1 "cleave/modules/order/v1"
	userv1 "cleave/modules/user/v1"
	"cleave/platform/event"
	"cleave/platform/module"
)

//go:embed policy.csv
var policy string

// Module is all that a process needs to know about notifications.
var Module = module.Spec{
	Name: "notification",
	Subscribes: []event.Type{
		userv1.Registered, userv1.ProfileChanged, userv1.Disabled, userv1.Deleted,
		userv1.EmailVerificationRequested, userv1.PasswordResetRequested, userv1.PasswordChanged, userv1.RegistrationAttempted, userv1.SecondFactorChanged, userv1.EmailChanged,
		orderv1.Confirmed, orderv1.Rejected, orderv1.Cancelled, orderv1.Shipped,
	},
	Migrations: migrations.FS,
	OpenAPI:    notificationv1.OpenAPI,
	Policy:     policy,
	Config:     func() any { return defaults() },
	Wire:       wire,
}

// settings are the module's section of the configuration.
type settings struct {
	SMTP smtp  `mapstructure:"smtp"`
	Mail retry `mapstructure:"mail"`
	// Links are the pages of a front end that take the codes of mails; without one, the mail has the code alone.
	Links links `mapstructure:"links"`
}

// links are addresses in which {token} stands for the code.
type links struct {
	VerifyEmail   string `mapstructure:"verify_email" validate:"omitempty,http_url,contains={token}" allowed:"a URL with {token} in it, or empty"`
	ResetPassword string `mapstructure:"reset_password" validate:"omitempty,http_url,contains={token}" allowed:"a URL with {token} in it, or empty"`
}

// smtp is the server that takes the mails. Without an address they become
// files in the data folder.
type smtp struct {
	Addr     string `mapstructure:"addr" validate:"omitempty,hostname_port" allowed:"host:port of an SMTP server, or empty for files in the data folder"`
	Username string `mapstructure:"username" validate:"max=255"`
	Password string `mapstructure:"password" validate:"max=1024" secret:"true"`
	// TLS is how the connection is encrypted; a log-in over none is refused except on this machine.
	TLS string `mapstructure:"tls" validate:"oneof=starttls implicit none"`
	// From is the sender of all mails.
	From string `mapstructure:"from" validate:"required,max=320" allowed:"an address such as Shop <no-reply@example.org>"`
}

// retry is how long to try to send a mail.
type retry struct {
	// RetryMin is the wait after the first attempt; it doubles with each, up to RetryMax.
	RetryMin time.Duration `mapstructure:"retry_min" validate:"min=10ms,max=1h"`
	RetryMax time.Duration `mapstructure:"retry_max" validate:"min=10ms,max=24h,gtefield=RetryMin"`
	// GiveUp is the age at which a mail that could not be sent is given up.
	GiveUp time.Duration `mapstructure:"give_up" validate:"min=1s,max=720h"`
}

func defaults() *settings {
	return &settings{
		SMTP: smtp{TLS: mail.STARTTLS, From: "Cleave <cleave@localhost>"},
		Mail: retry{RetryMin: 5 * time.Second, RetryMax: 5 * time.Minute, GiveUp: 72 * time.Hour},
	}
}

func wire(env *module.Env) (module.Parts, error) {
	s := env.Config.(*settings)
	post, err := s.post(env)
	if err != nil {
		return module.Parts{}, err
	}
	writer, err := wording.New(wording.Links(s.Links))
	if err != nil {
		return module.Parts{}, err
	}
	a := app.New(app.Deps{
		DB: env.DB, Store: store.New(env.DB), Writer: writer, Post: post, Log: env.Log, Now: env.Now, NewID: env.NewID,
		Mail: app.MailPolicy(s.Mail), Forget: env.Forget,
	})
	return module.Parts{
		REST:       api.Routes(a, env.Cursors),
		Handlers:   api.Handlers(a),
		Background: []func(context.Context) error{a.SendMails, a.ForgetMails, a.WatchFeeds},
	}, nil
}

// post is where mails go.
func (s *settings) post(env *module.Env) (app.Post, error) {
	from, err := mail.ParseFrom(s.SMTP.From)
	if err != nil {
		return nil, fmt.Errorf("modules.notification.smtp.from: %w", err)
	}
	if s.SMTP.Addr == "" {
		dir := filepath.Join(env.DataDir, "mail")
		env.Startup("mail", ".eml files in "+dir+" (no SMTP server is configured)")
		return mail.NewFolder(dir, from), nil
	}
	server := mail.Server{Addr: s.SMTP.Addr, Username: s.SMTP.Username, Password: s.SMTP.Password, TLS: s.SMTP.TLS}
	post, err := mail.NewSMTP(server, from)
	if err != nil {
		return nil, fmt.Errorf("modules.notification.smtp: %w", err)
	}
	env.Startup("mail", "SMTP through "+s.SMTP.Addr)
	return post, nil
}
