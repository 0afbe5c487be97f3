// Package user is the module that knows who a user is, lets them in, and keeps their credit.
package user

import (
	"context"
	_ "embed"
	"fmt"
	"net/url"
	"path/filepath"
	"runtime"
	"time"

	"cleave/modules/user/internal/api"
	"cleave/modules/user/internal/app"
	"cleave/modules/user/internal/cli"
	"cleave/modules/user/internal/domain"
	"cleave/modules/user/internal/keys"
	"cleave/modules/user/internal/oauth"
	"cleave/modules/user/internal/password"
	"cleave/modules/user/internal/store"
	"cleave/modules/user/migrations"
	userv1 "cleave/modules/user/v1"
	"cleave/platform/auth"
	"cleave/platform/db"
	"cleave/platform/egress"
	"cleave/platform/event"
	"cleave/platform/module"
	"cleave/platform/revocation"
)

//go:embed policy.csv
var policy string

// Module is all that a process needs to know about users.
var Module = module.Spec{
	Name: "user",
	Publishes: []event.Type{
		userv1.Registered, userv1.ProfileChanged, userv1.Disabled, userv1.Enabled, userv1.Revoked, userv1.RolesChanged,
		userv1.EmailVerificationRequested, userv1.PasswordResetRequested, userv1.PasswordChanged, userv1.RegistrationAttempted,
		userv1.SecondFactorChanged, userv1.EmailChanged, userv1.Deleted,
	},
	Revokes:     []revocation.Source{revocation.On(userv1.Revoked, "revocations", revoked), revocation.On(userv1.RolesChanged, "role_changes", outdated)},
	Migrations:  migrations.FS,
	Constraints: store.Constraints,
	OpenAPI:     userv1.OpenAPI,
	Paths:       oauth.Paths,
	Keys:        oauth.KeysPath,
	Policy:      policy,
	Config: func() any {
		return &settings{
			Currency: "EUR", HashProcess: true, RequireVerifiedEmail: verifiedAuto, SessionIdle: 7 * 24 * time.Hour, MaxSessions: 100, RequireSecondFactor: []string{},
		}
	},
	Roles:    roles,
	Worker:   password.Derive,
	Wire:     wire,
	Commands: cli.Commands,
}

// revoked reads which tokens an event ends.
func revoked(e *userv1.AccessRevoked) auth.Revocation {
	return auth.Revocation{Subject: e.GetUserId(), Session: e.GetSessionId(), Before: e.GetBeforeVersion()}
}

// outdated reads which tokens name former roles.
func outdated(e *userv1.UserRolesChanged) auth.Revocation {
	return auth.Revocation{Subject: e.GetUserId(), Before: e.GetVersion()}
}

// roles are what a user's tokens say; those of a disabled user have none.
func roles(ctx context.Context, d *db.DB, id string) ([]string, error) {
	u, err := store.New(d).User(ctx, id)
	if err == nil && u.Disabled {
		return nil, nil
	}
	return u.Roles, err
}

// settings are the module's section of the configuration.
type settings struct {
	// Currency is that of new credit accounts; accounts that exist keep theirs.
	Currency string `mapstructure:"currency" validate:"iso4217" allowed:"an ISO 4217 code such as EUR"`
	// HashConcurrency is how many passwords are hashed at once, each with a core and 19 MiB; 0 is one for two cores.
	HashConcurrency int `mapstructure:"hash_concurrency" validate:"min=0,max=256"`
	// HashProcess has a process of low priority hash, so that requests do not wait for hashes; it ends a minute after the last one.
	HashProcess bool `mapstructure:"hash_process"`
	// RequireVerifiedEmail keeps users from logging in before they have verified their address: always or never; auto means wherever
	// the issuer is not this machine. Without it, whoever registers an address and logs in learns whether it had an account.
	RequireVerifiedEmail string `mapstructure:"require_verified_email" validate:"oneof=auto always never"`
	// SessionIdle ends a session whose tokens are not renewed for that long; auth.refresh_ttl ends it however much it is used.
	SessionIdle time.Duration `mapstructure:"session_idle" validate:"min=1m,max=8760h"`
	// MaxSessions is how many sessions a user has at once. Another log-in ends the one that was not used for the longest time.
	MaxSessions int `mapstructure:"max_sessions" validate:"min=1,max=100"`
	// RequireSecondFactor names the roles that count only for users who have a second factor.
	RequireSecondFactor []string `mapstructure:"require_second_factor" validate:"max=3,unique,dive,oneof=customer support admin" allowed:"a list of customer, support and admin"`
}

// requiresVerified decides for the users of an issuer, whose URL the configuration has checked.
func (s *settings) requiresVerified(issuer string) bool {
	if s.RequireVerifiedEmail != verifiedAuto {
		return s.RequireVerifiedEmail == verifiedAlways
	}
	u, err := url.Parse(issuer)
	return err != nil || !egress.Loopback(u.Hostname())
}

// The values of require_verified_email; the third one is never.
const verifiedAuto, verifiedAlways = "auto", "always"

// startTimeout bounds what wire asks of the database.
const startTimeout = 10 * time.Second

func wire(env *module.Env) (module.Parts, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	s := env.Config.(*settings)
	slots := s.HashConcurrency
	if slots == 0 {
		slots = max(runtime.GOMAXPROCS(0)/2, 1)
	}
	if s.SessionIdle < env.Auth.AccessTTL {
		return module.Parts{}, fmt.Errorf("modules.user.session_idle is %s: it must be at least auth.access_ttl, which is %s", s.SessionIdle, env.Auth.AccessTTL)
	}
	var derive func([]byte) ([]byte, error)
	if s.HashProcess {
		derive = env.Work
	}
	users := store.New(env.DB)
	ring, err := keys.Open(ctx, keys.Options{
		DB: env.DB, Store: users, Log: env.Log, Now: env.Now, Secret: env.Auth.KeyEncryptionKey, Old: env.Auth.KeyEncryptionKeyOld,
		Rotation: env.Auth.KeyRotation,
	})
	if err != nil {
		return module.Parts{}, err
	}
	if !ring.Encrypted() {
		env.Startup("WARNING", "signing keys are stored unencrypted: set auth.key_encryption_key")
		env.Log.WarnContext(ctx, "signing keys are stored unencrypted: set auth.key_encryption_key")
	}
	signer := auth.NewSigner(ring.Signing, env.Auth.Issuer, env.Auth.Audience, env.Auth.AccessTTL, env.Now)
	a := app.New(app.Deps{
		DB: env.DB, Store: users, Events: env.Events, Audit: env.Audit, Passwords: password.New(slots, domain.ErrPasswordsBusy, derive), Signer: signer, Issuer: env.Auth.Issuer,
		Audience: env.Auth.Audience, Now: env.Now, NewID: env.NewID, Currency: s.Currency, SessionTTL: env.Auth.RefreshTTL, SessionIdle: s.SessionIdle, MaxSessions: s.MaxSessions, FactorRoles: s.RequireSecondFactor,
		RequireVerified: s.requiresVerified(env.Auth.Issuer), Secrets: ring, Forget: env.Forget,
		TokenFile: filepath.Join(env.DataDir, cli.TokenFile),
	})
	if err := a.ResealSecrets(ctx); err != nil {
		return module.Parts{}, fmt.Errorf("encrypt the secrets of authenticators: %w", err)
	}
	token, err := a.OfferFirstAdmin(ctx)
	if err != nil {
		return module.Parts{}, err
	}
	if token != "" {
		env.Startup("first admin token", token)
	}
	provider := oauth.Handler(oauth.Options{
		App: a, Ring: ring, Revoked: env.Auth.Revoked, Issuer: env.Auth.Issuer, Audience: env.Auth.Audience, Now: env.Now,
	})
	return module.Parts{
		RPC: api.Register(a), REST: api.Routes(a, env.Cursors), HTTP: provider, Keys: ring,
		Background: []func(context.Context) error{a.PurgeSessions(env.Log), a.AnswerRequests(env.Log), ring.Run},
	}, nil
}
