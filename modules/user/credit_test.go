package user_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	userv1 "cleave/modules/user/v1"
	"cleave/platform/auth"
	"cleave/platform/fault"
)

func (f *fixture) topUp(t *testing.T, root, of person, body string, headers ...string) answer {
	t.Helper()
	return f.do(t, http.MethodPost, "/api/v1/users/"+of.ID.String()+"/credit/top-ups", root.token, body, headers...)
}

// credit asserts the state of an account.
func (f *fixture) credit(t *testing.T, p person, available, reserved, captured float64) {
	t.Helper()
	a := f.do(t, http.MethodGet, "/api/v1/users/"+p.ID.String()+"/credit", p.token, "")
	require.Equal(t, http.StatusOK, a.status, "%v", a.body)
	require.Equal(t, []any{available, reserved, captured, available + reserved + captured},
		[]any{a.body["available"], a.body["reserved"], a.body["captured"], a.body["granted"]}, "available, reserved, captured, granted")
}

func TestTopUpCredit(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		me, root := f.customer(t), f.admin(t)
		const body = `{"amount": {"minor_units": 50000, "currency": "EUR"}, "note": "Opening credit"}`
		a := f.topUp(t, root, me, body, "Idempotency-Key", "k")
		require.Equal(t, http.StatusCreated, a.status, "%v", a.body)
		require.Equal(t, "grant", a.body["kind"])
		require.Equal(t, "Opening credit", a.body["note"])
		require.Equal(t, a.body, f.topUp(t, root, me, body, "Idempotency-Key", "k").body)
		f.credit(t, me, 50000, 0, 0)

		stranger := person{}
		stranger.ID = uuid.New()
		for name, c := range map[string]struct {
			as, of person
			body   string
			status int
			code   string
		}{
			"Anonymous":   {person{}, me, body, 401, "token_missing"},
			"Customer":    {me, me, body, 403, "permission_denied"},
			"UnknownUser": {root, stranger, body, 404, "user_not_found"},
			"Currency":    {root, me, `{"amount": {"minor_units": 1, "currency": "USD"}}`, 422, "currency_mismatch"},
			"Zero":        {root, me, `{"amount": {"minor_units": 0, "currency": "EUR"}}`, 422, "unprocessable"},
			"Negative":    {root, me, `{"amount": {"minor_units": -1, "currency": "EUR"}}`, 422, "unprocessable"},
			"TooMuch":     {root, me, `{"amount": {"minor_units": 1000000000001, "currency": "EUR"}}`, 422, "unprocessable"},
			"Limit":       {root, me, `{"amount": {"minor_units": 1000000000000, "currency": "EUR"}}`, 422, "credit_limit"},
			"Overflow":    {root, me, `{"amount": {"minor_units": 9223372036854775808, "currency": "EUR"}}`, 400, "invalid"},
			"Fraction":    {root, me, `{"amount": {"minor_units": 1.5, "currency": "EUR"}}`, 400, "invalid"},
			"LowerCase":   {root, me, `{"amount": {"minor_units": 1, "currency": "eur"}}`, 422, "unprocessable"},
			"NoAmount":    {root, me, `{"note": "x"}`, 400, "invalid"},
		} {
			t.Run(name, func(t *testing.T) { f.refused(t, f.topUp(t, c.as, c.of, c.body), c.status, c.code) })
		}
		f.credit(t, me, 50000, 0, 0)
	})
}

func TestListCreditEntries(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		me, other, root := f.customer(t), f.customer(t), f.admin(t)
		path := "/api/v1/users/" + me.ID.String() + "/credit/entries"
		for i := range 4 {
			body := fmt.Sprintf(`{"amount": {"minor_units": %d, "currency": "EUR"}}`, i+1)
			require.Equal(t, http.StatusCreated, f.topUp(t, root, me, body).status)
		}
		_, err := f.users.ReserveCredit(t.Context(), reserve("k", me, 3))
		require.NoError(t, err)

		var kinds []string
		query := "?limit=2"
		for range 3 {
			a := f.do(t, http.MethodGet, path+query, me.token, "")
			require.Equal(t, http.StatusOK, a.status, "%v", a.body)
			for _, item := range a.body["items"].([]any) {
				e := item.(map[string]any)
				kinds = append(kinds, fmt.Sprintf("%v %v %v", e["kind"], e["amount"].(map[string]any)["minor_units"], e["reservation_key"]))
			}
			cursor, _ := a.body["next_cursor"].(string)
			query = "?limit=2&cursor=" + cursor
		}
		require.Equal(t, "?limit=2&cursor=", query, "the third page is the last")
		require.Equal(t, []string{"reserve 3 k", "grant 4 <nil>", "grant 3 <nil>", "grant 2 <nil>", "grant 1 <nil>"}, kinds)

		a := f.do(t, http.MethodGet, path+"?limit=2", me.token, "")
		cursor := a.body["next_cursor"].(string)
		elsewhere := "/api/v1/users/" + other.ID.String() + "/credit/entries?cursor=" + cursor
		f.refused(t, f.do(t, http.MethodGet, elsewhere, other.token, ""), http.StatusBadRequest, "cursor_invalid")
		f.refused(t, f.do(t, http.MethodGet, path, other.token, ""), http.StatusForbidden, "not_owner")
		require.Equal(t, http.StatusOK, f.do(t, http.MethodGet, path, root.token, "").status)
		unknown := "/api/v1/users/" + uuid.NewString() + "/credit"
		f.refused(t, f.do(t, http.MethodGet, unknown, root.token, ""), http.StatusNotFound, "user_not_found")
		f.refused(t, f.do(t, http.MethodGet, unknown+"/entries", root.token, ""), http.StatusNotFound, "user_not_found")
		f.refused(t, f.do(t, http.MethodGet, unknown, me.token, ""), http.StatusForbidden, "not_owner")
		f.refused(t, f.do(t, http.MethodGet, path, "", ""), http.StatusUnauthorized, "token_missing")
	})
}

func reserve(key string, of person, amount int64) *userv1.ReserveCreditRequest {
	return &userv1.ReserveCreditRequest{
		ReservationKey: key, UserId: of.ID.String(), Amount: &userv1.Money{MinorUnits: amount, CurrencyCode: "EUR"},
	}
}

// TestCreditService calls as another module does.
func TestCreditService(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		me, root := f.customer(t), f.admin(t)
		require.Equal(t, http.StatusCreated, f.topUp(t, root, me, `{"amount": {"minor_units": 100, "currency": "EUR"}}`).status)
		for range 2 {
			_, err := f.users.ReserveCredit(ctx, reserve("a", me, 60))
			require.NoError(t, err)
		}
		f.credit(t, me, 40, 60, 0)
		for range 2 {
			_, err := f.users.CaptureCredit(ctx, &userv1.CaptureCreditRequest{ReservationKey: "a"})
			require.NoError(t, err)
		}
		for range 2 {
			_, err := f.users.ReleaseCredit(ctx, &userv1.ReleaseCreditRequest{ReservationKey: "never"})
			require.NoError(t, err)
		}
		f.credit(t, me, 40, 0, 60)

		bad := reserve("b", me, 1)
		bad.UserId = "nonsense"
		dollars := reserve("b", me, 1)
		dollars.Amount.CurrencyCode = "USD"
		nothing := reserve("b", me, 1)
		nothing.Amount = nil
		stranger := reserve("b", me, 1)
		stranger.UserId = uuid.NewString()
		for name, c := range map[string]struct {
			call func() error
			kind fault.Kind
			code string
		}{
			"Insufficient":    {f.reserving(ctx, reserve("b", me, 41)), fault.Conflict, "insufficient_credit"},
			"Mismatch":        {f.reserving(ctx, reserve("a", me, 61)), fault.Unprocessable, "reservation_mismatch"},
			"Released":        {f.reserving(ctx, reserve("never", me, 1)), fault.Conflict, "reservation_released"},
			"BadUserID":       {f.reserving(ctx, bad), fault.Unprocessable, "unprocessable"},
			"NoAmount":        {f.reserving(ctx, nothing), fault.Unprocessable, "unprocessable"},
			"Currency":        {f.reserving(ctx, dollars), fault.Unprocessable, "currency_mismatch"},
			"UnknownUser":     {f.reserving(ctx, stranger), fault.NotFound, "user_not_found"},
			"CaptureUnknown":  {f.capturing(ctx, "c"), fault.NotFound, "reservation_not_found"},
			"CaptureReleased": {f.capturing(ctx, "never"), fault.Conflict, "reservation_released"},
			"ReleaseCaptured": {func() error {
				_, err := f.users.ReleaseCredit(ctx, &userv1.ReleaseCreditRequest{ReservationKey: "a"})
				return err
			}, fault.Conflict, "reservation_captured"},
		} {
			t.Run(name, func(t *testing.T) {
				err := c.call()
				require.Equal(t, [2]string{c.kind.String(), c.code}, [2]string{fault.KindOf(err).String(), fault.CodeOf(err)}, "%v", err)
			})
		}
		f.credit(t, me, 40, 0, 60)
	})
}

func (f *fixture) reserving(ctx context.Context, r *userv1.ReserveCreditRequest) func() error {
	return func() error {
		_, err := f.users.ReserveCredit(ctx, r)
		return err
	}
}

func (f *fixture) capturing(ctx context.Context, key string) func() error {
	return func() error {
		_, err := f.users.CaptureCredit(ctx, &userv1.CaptureCreditRequest{ReservationKey: key})
		return err
	}
}

// TestReserveUnderTopUps has 32 callers reserve 10 each while the administrator adds 10 at a time by REST: nothing is lost,
// and nobody reserves what is not there.
func TestReserveUnderTopUps(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		me, root := f.customer(t), f.admin(t)
		var reserved atomic.Int64
		g, ctx := errgroup.WithContext(t.Context())
		for n := range 32 {
			g.Go(func() error {
				_, err := f.users.ReserveCredit(ctx, reserve(fmt.Sprint("order-", n), me, 10))
				if err == nil {
					reserved.Add(1)
				} else if fault.CodeOf(err) != "insufficient_credit" {
					return err
				}
				return nil
			})
			if n%2 == 0 {
				g.Go(func() error {
					a := f.topUp(t, root, me, `{"amount": {"minor_units": 10, "currency": "EUR"}}`)
					if a.status != http.StatusCreated {
						return fmt.Errorf("top-up: %d %v", a.status, a.body)
					}
					return nil
				})
			}
		}
		require.NoError(t, g.Wait())
		require.LessOrEqual(t, reserved.Load(), int64(16))
		f.credit(t, me, float64(160-10*reserved.Load()), float64(10*reserved.Load()), 0)
	})
}

func TestGetUsers(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		me, root := f.customer(t), f.admin(t)
		r, err := f.users.GetUsers(ctx, &userv1.GetUsersRequest{Ids: []string{me.ID.String(), uuid.NewString(), root.ID.String(), me.ID.String()}})
		require.NoError(t, err)
		require.Len(t, r.GetUsers(), 2)
		i := slices.IndexFunc(r.GetUsers(), func(u *userv1.User) bool { return u.GetId() == root.ID.String() })
		require.Equal(t, []string{"admin", "customer"}, r.GetUsers()[i].GetRoles())
		require.Equal(t, "root@example.com", r.GetUsers()[i].GetEmail())
		require.Equal(t, root.CreatedAt, r.GetUsers()[i].GetCreatedAt().AsTime())

		both := &userv1.GetUsersRequest{Ids: []string{me.ID.String(), root.ID.String()}}
		for role, want := range map[string]int{"customer": 1, "support": 2} {
			r, err = f.users.GetUsers(auth.With(ctx, auth.Principal{Subject: me.ID.String(), Roles: []string{role}}), both)
			require.NoError(t, err)
			require.Len(t, r.GetUsers(), want, role)
		}
		_, err = f.users.GetUsers(auth.With(ctx, auth.Principal{Subject: me.ID.String(), Roles: []string{"guest"}}), both)
		require.Equal(t, fault.Forbidden, fault.KindOf(err))

		many := make([]string, 101)
		for i := range many {
			many[i] = uuid.NewString()
		}
		for name, ids := range map[string][]string{"None": nil, "TooMany": many, "NoUUID": {"nonsense"}, "URN": {"urn:uuid:" + me.ID.String()}} {
			t.Run(name, func(t *testing.T) {
				_, err := f.users.GetUsers(ctx, &userv1.GetUsersRequest{Ids: ids})
				require.Equal(t, fault.Unprocessable, fault.KindOf(err))
			})
		}
		r, err = f.users.GetUsers(ctx, &userv1.GetUsersRequest{Ids: many[:100]})
		require.NoError(t, err)
		require.Empty(t, r.GetUsers())
	})
}
