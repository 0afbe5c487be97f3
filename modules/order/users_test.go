package order

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	userv1 "cleave/modules/user/v1"
	"cleave/platform/event"
	"cleave/platform/fault"
	"cleave/platform/module"
	"cleave/platform/moduletest"
)

// users stands in for the user module: it keeps credit as the contract says,
// and lets a test stop or break any call.
type users struct {
	userv1.UnimplementedUserServiceServer

	mu           sync.Mutex
	accounts     map[string]*account
	reservations map[string]*reservation
	calls        map[string]int // by method and key
	before       hook
	after        hook
	env          *module.Env
}

// hook runs around the effect of a call; an error is the call's answer.
type hook func(ctx context.Context, method, key string) error

type account struct {
	granted, available, reserved, captured int64
	disabled                               bool
}

type reservation struct {
	user   string
	amount int64
	state  string // reserved, captured or released
}

func newUsers() *users {
	none := func(context.Context, string, string) error { return nil }
	return &users{accounts: map[string]*account{}, reservations: map[string]*reservation{}, calls: map[string]int{}, before: none, after: none}
}

// spec is the module user with u as its service and issuer as its key source.
func (u *users) spec(issuer *moduletest.Issuer) module.Spec {
	const policy = `rpc, order, cleave.user.v1.UserService/GetUsers
rpc, order, cleave.user.v1.UserService/ReserveCredit
rpc, order, cleave.user.v1.UserService/CaptureCredit
rpc, order, cleave.user.v1.UserService/ReleaseCredit`
	return module.Spec{Name: "user", Publishes: []event.Type{userv1.Disabled}, Policy: policy, Wire: func(env *module.Env) (module.Parts, error) {
		u.env = env
		return module.Parts{Keys: issuer, RPC: func(r grpc.ServiceRegistrar) { userv1.RegisterUserServiceServer(r, u) }}, nil
	}}
}

// grant gives a new user credit in euros.
func (u *users) grant(user string, amount int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.accounts[user] = &account{granted: amount, available: amount}
}

// disable bars the user and publishes it.
func (u *users) disable(t *testing.T, user string) {
	t.Helper()
	u.mu.Lock()
	u.accounts[user].disabled = true
	u.mu.Unlock()
	require.NoError(t, u.env.DB.Tx(t.Context(), func(ctx context.Context) error {
		return u.env.Events.Publish(ctx, user, &userv1.UserDisabled{UserId: user})
	}))
}

// account is a copy of the user's account, whose invariant it checks.
func (u *users) account(t require.TestingT, user string) account {
	u.mu.Lock()
	defer u.mu.Unlock()
	a := *u.accounts[user]
	require.Equal(t, a.granted, a.available+a.reserved+a.captured, "the ledger of %s", user)
	return a
}

// count is how often a method was called for a key.
func (u *users) count(method, key string) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.calls[method+" "+key]
}

// around sets what runs before and after the effect of each call; nil: nothing.
func (u *users) around(before, after hook) {
	none := func(context.Context, string, string) error { return nil }
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.before, u.after = before, after; before == nil {
		u.before = none
	}
	if after == nil {
		u.after = none
	}
}

func (u *users) call(ctx context.Context, method, key string, effect func() error) error {
	u.mu.Lock()
	u.calls[method+" "+key]++
	before, after := u.before, u.after
	u.mu.Unlock()
	if err := before(ctx, method, key); err != nil {
		return err
	}
	u.mu.Lock()
	err := effect()
	u.mu.Unlock()
	if err != nil {
		return err
	}
	return after(ctx, method, key)
}

func (u *users) ReserveCredit(ctx context.Context, r *userv1.ReserveCreditRequest) (*userv1.ReserveCreditResponse, error) {
	err := u.call(ctx, "reserve", r.GetReservationKey(), func() error {
		if known := u.reservations[r.GetReservationKey()]; known != nil {
			if known.state == "released" {
				return fault.New(fault.Conflict, "reservation_released", "released")
			}
			return nil
		}
		a := u.accounts[r.GetUserId()]
		switch amount := r.GetAmount(); {
		case a == nil:
			return fault.New(fault.NotFound, "user_not_found", "no such user")
		case a.disabled:
			return fault.New(fault.Conflict, "user_disabled", "disabled")
		case amount.GetCurrencyCode() != "EUR":
			return fault.New(fault.Unprocessable, "currency_mismatch", "not in euros")
		case a.available < amount.GetMinorUnits():
			return fault.New(fault.Conflict, "insufficient_credit", "insufficient")
		default:
			a.available -= amount.GetMinorUnits()
			a.reserved += amount.GetMinorUnits()
			u.reservations[r.GetReservationKey()] = &reservation{user: r.GetUserId(), amount: amount.GetMinorUnits(), state: "reserved"}
			return nil
		}
	})
	return &userv1.ReserveCreditResponse{}, err
}

func (u *users) CaptureCredit(ctx context.Context, r *userv1.CaptureCreditRequest) (*userv1.CaptureCreditResponse, error) {
	err := u.call(ctx, "capture", r.GetReservationKey(), func() error {
		known := u.reservations[r.GetReservationKey()]
		switch {
		case known == nil:
			return fault.New(fault.NotFound, "reservation_not_found", "no such reservation")
		case known.state == "released":
			return fault.New(fault.Conflict, "reservation_released", "released")
		case known.state == "reserved":
			known.state = "captured"
			u.accounts[known.user].reserved -= known.amount
			u.accounts[known.user].captured += known.amount
		}
		return nil
	})
	return &userv1.CaptureCreditResponse{}, err
}

func (u *users) ReleaseCredit(ctx context.Context, r *userv1.ReleaseCreditRequest) (*userv1.ReleaseCreditResponse, error) {
	err := u.call(ctx, "release", r.GetReservationKey(), func() error {
		known := u.reservations[r.GetReservationKey()]
		switch {
		case known == nil:
			u.reservations[r.GetReservationKey()] = &reservation{state: "released"}
		case known.state == "captured":
			return fault.New(fault.Conflict, "reservation_captured", "captured")
		case known.state == "reserved":
			known.state = "released"
			u.accounts[known.user].reserved -= known.amount
			u.accounts[known.user].available += known.amount
		}
		return nil
	})
	return &userv1.ReleaseCreditResponse{}, err
}
