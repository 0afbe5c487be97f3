package app_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"cleave/modules/user/internal/domain"
	"cleave/modules/user/internal/ledgertest"
	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/fault"
)

func TestReserveCredit(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		f := setup(t, c)
		ctx := staff(t)
		u := f.rich(t, 100)
		require.NoError(t, f.ReserveCredit(ctx, "a", u.ID, eur(60)))
		f.credit(t, u, 40, 60, 0)

		t.Run("Repeated", func(t *testing.T) {
			require.NoError(t, f.ReserveCredit(ctx, "a", u.ID, eur(60)), "although 60 are not available any more")
			f.credit(t, u, 40, 60, 0)
		})
		t.Run("Refused", func(t *testing.T) {
			disabled := f.rich(t, 100)
			_, err := f.DisableUser(ctx, f.NewID(), disabled.ID)
			require.NoError(t, err)
			poor := f.user(t)
			for name, c := range map[string]struct {
				key, user string
				amount    domain.Money
				want      error
			}{
				"Insufficient":       {"b", u.ID, eur(41), domain.ErrInsufficientCredit},
				"NothingThere":       {"b", poor.ID, eur(1), domain.ErrInsufficientCredit},
				"UnknownUser":        {"b", f.NewID(), eur(1), domain.ErrUserNotFound},
				"DisabledUser":       {"b", disabled.ID, eur(1), domain.ErrUserDisabled},
				"DisabledAndPoor":    {"b", disabled.ID, eur(1000), domain.ErrUserDisabled},
				"Currency":           {"b", u.ID, domain.Money{MinorUnits: 1, Currency: "USD"}, domain.ErrCurrencyMismatch},
				"KeyOfAnotherUser":   {"a", poor.ID, eur(60), domain.ErrReservationMismatch},
				"KeyOfAnotherAmount": {"a", u.ID, eur(61), domain.ErrReservationMismatch},
				"Zero":               {"b", u.ID, eur(0), fault.New(fault.Unprocessable, "", "")},
				"Negative":           {"b", u.ID, eur(-1), fault.New(fault.Unprocessable, "", "")},
				"NoKey":              {"", u.ID, eur(1), fault.New(fault.Unprocessable, "", "")},
			} {
				t.Run(name, func(t *testing.T) {
					require.ErrorIs(t, f.ReserveCredit(ctx, c.key, c.user, c.amount), c.want)
				})
			}
			f.credit(t, u, 40, 60, 0)
			f.credit(t, disabled, 100, 0, 0)
			require.Zero(t, f.count(t, "SELECT count(*) FROM reservations WHERE key = 'b'"), "nothing was written")
		})
		t.Run("AfterCapture", func(t *testing.T) {
			require.NoError(t, f.CaptureCredit(ctx, "a"))
			require.NoError(t, f.ReserveCredit(ctx, "a", u.ID, eur(60)))
			f.credit(t, u, 40, 0, 60)
		})
		t.Run("AfterRelease", func(t *testing.T) {
			require.NoError(t, f.ReserveCredit(ctx, "c", u.ID, eur(40)))
			require.NoError(t, f.ReleaseCredit(ctx, "c"))
			require.ErrorIs(t, f.ReserveCredit(ctx, "c", u.ID, eur(40)), domain.ErrReservationReleased)
			f.credit(t, u, 40, 0, 60)
		})
	})
}

func TestCaptureCredit(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		f := setup(t, c)
		ctx := t.Context()
		u := f.rich(t, 100)
		require.ErrorIs(t, f.CaptureCredit(ctx, "a"), domain.ErrReservationNotFound)
		require.NoError(t, f.ReserveCredit(ctx, "a", u.ID, eur(60)))
		require.NoError(t, f.CaptureCredit(ctx, "a"))
		require.NoError(t, f.CaptureCredit(ctx, "a"))
		f.credit(t, u, 40, 0, 60)
		require.ErrorIs(t, f.ReleaseCredit(ctx, "a"), domain.ErrReservationCaptured)
		require.Equal(t, fault.Unprocessable, fault.KindOf(f.CaptureCredit(ctx, strings.Repeat("k", 101))))
		f.credit(t, u, 40, 0, 60)
	})
}

func TestReleaseCredit(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		f := setup(t, c)
		ctx := t.Context()
		u := f.rich(t, 100)
		require.NoError(t, f.ReserveCredit(ctx, "a", u.ID, eur(60)))
		require.NoError(t, f.ReleaseCredit(ctx, "a"))
		require.NoError(t, f.ReleaseCredit(ctx, "a"))
		f.credit(t, u, 100, 0, 0)
		require.ErrorIs(t, f.CaptureCredit(ctx, "a"), domain.ErrReservationReleased)
		t.Run("BeforeReserve", func(t *testing.T) {
			require.NoError(t, f.ReleaseCredit(ctx, "early"))
			require.NoError(t, f.ReleaseCredit(ctx, "early"))
			require.ErrorIs(t, f.ReserveCredit(ctx, "early", u.ID, eur(1)), domain.ErrReservationReleased)
			require.ErrorIs(t, f.CaptureCredit(ctx, "early"), domain.ErrReservationReleased)
			f.credit(t, u, 100, 0, 0)
		})
		t.Run("OfADisabledUser", func(t *testing.T) {
			require.NoError(t, f.ReserveCredit(ctx, "d", u.ID, eur(10)))
			_, err := f.DisableUser(staff(t), f.NewID(), u.ID)
			require.NoError(t, err)
			require.NoError(t, f.ReleaseCredit(ctx, "d"))
			f.credit(t, u, 100, 0, 0)
		})
	})
}

func TestTopUpCredit(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		f := setup(t, c)
		ctx := staff(t)
		u := f.user(t)
		for name, c := range map[string]struct {
			user   string
			amount domain.Money
			want   error
		}{
			"UnknownUser": {f.NewID(), eur(1), domain.ErrUserNotFound},
			"Currency":    {u.ID, domain.Money{MinorUnits: 1, Currency: "USD"}, domain.ErrCurrencyMismatch},
			"Zero":        {u.ID, eur(0), fault.New(fault.Unprocessable, "", "")},
			"Overflow":    {u.ID, eur(1<<63 - 1), fault.New(fault.Unprocessable, "", "")},
		} {
			t.Run(name, func(t *testing.T) {
				_, err := f.TopUpCredit(ctx, c.user, c.amount, "")
				require.ErrorIs(t, err, c.want)
			})
		}
		t.Run("Limit", func(t *testing.T) {
			_, err := f.TopUpCredit(ctx, u.ID, eur(domain.MaxAmount-1), "")
			require.NoError(t, err)
			_, err = f.TopUpCredit(ctx, u.ID, eur(2), "")
			require.ErrorIs(t, err, domain.ErrCreditLimit)
			_, err = f.TopUpCredit(ctx, u.ID, eur(1), "")
			require.NoError(t, err)
			f.credit(t, u, domain.MaxAmount, 0, 0)
		})
	})
}

// TestCreditUnderConcurrency has 32 callers reserve, capture and release under few keys, and top up, all at once. Every
// request is repeated, money is conserved at every read, and each key ends in one state.
func TestCreditUnderConcurrency(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		const callers, rounds, keys = 32, 24, 12
		f := setup(t, c)
		users := []domain.User{f.rich(t, 500), f.rich(t, 200)}
		var reserved, captured, released [keys]atomic.Int64
		var stop atomic.Bool
		watched := make(chan struct{})
		go func() {
			defer close(watched)
			for !stop.Load() {
				ledgertest.Check(t, f.db)
			}
		}()
		g, ctx := errgroup.WithContext(staff(t))
		for caller := range callers {
			random := rand.New(rand.NewPCG(uint64(caller), 1))
			g.Go(func() error {
				for range rounds {
					k := random.IntN(keys)
					key, u, amount := fmt.Sprint("key", k), users[k%len(users)], eur(int64(10+k))
					var err error
					switch random.IntN(7) {
					case 0, 1, 2:
						err = tally(&reserved[k], f.ReserveCredit(ctx, key, u.ID, amount), domain.ErrInsufficientCredit, domain.ErrReservationReleased)
					case 3:
						err = tally(&captured[k], f.CaptureCredit(ctx, key), domain.ErrReservationNotFound, domain.ErrReservationReleased)
					case 4:
						err = tally(&released[k], f.ReleaseCredit(ctx, key), domain.ErrReservationCaptured)
					case 5:
						_, err = f.TopUpCredit(ctx, u.ID, eur(1), "")
					default: // a key of nobody else's
						own := fmt.Sprintf("own-%d-%d", caller, random.IntN(4))
						err = tally(new(atomic.Int64), f.ReserveCredit(ctx, own, u.ID, eur(1)), domain.ErrInsufficientCredit, domain.ErrReservationMismatch)
					}
					if err != nil {
						return err
					}
				}
				return nil
			})
		}
		err := g.Wait()
		stop.Store(true)
		<-watched
		require.NoError(t, err)
		for k := range keys {
			require.False(t, captured[k].Load() > 0 && released[k].Load() > 0, "key%d was captured and released", k)
		}
	})
}

// tally counts a success and passes over the refusals that may happen.
func tally(n *atomic.Int64, err error, allowed ...error) error {
	if err == nil {
		n.Add(1)
		return nil
	}
	for _, a := range allowed {
		if errors.Is(err, a) {
			return nil
		}
	}
	return err
}

// TestReserveOnce has 32 callers reserve the whole credit: under one key all succeed and it happens once, and under keys of
// their own exactly one succeeds.
func TestReserveOnce(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		f := setup(t, c)
		all := func(t *testing.T, call func(ctx context.Context, caller int) error, allowed ...error) int64 {
			t.Helper()
			var done atomic.Int64
			g, ctx := errgroup.WithContext(t.Context())
			for caller := range 32 {
				g.Go(func() error { return tally(&done, call(ctx, caller), allowed...) })
			}
			require.NoError(t, g.Wait())
			return done.Load()
		}
		u := f.rich(t, 100)
		require.EqualValues(t, 32, all(t, func(ctx context.Context, _ int) error { return f.ReserveCredit(ctx, "same", u.ID, eur(100)) }))
		f.credit(t, u, 0, 100, 0)
		require.EqualValues(t, 32, all(t, func(ctx context.Context, _ int) error { return f.CaptureCredit(ctx, "same") }))
		f.credit(t, u, 0, 0, 100)

		v := f.rich(t, 100)
		require.EqualValues(t, 1, all(t, func(ctx context.Context, caller int) error {
			return f.ReserveCredit(ctx, fmt.Sprint("own", caller), v.ID, eur(100))
		}, domain.ErrInsufficientCredit))
		f.credit(t, v, 0, 100, 0)

		w := f.rich(t, 100)
		require.EqualValues(t, 32, all(t, func(ctx context.Context, caller int) error {
			if caller%2 == 0 {
				return f.ReleaseCredit(ctx, "race")
			}
			err := f.ReserveCredit(ctx, "race", w.ID, eur(100))
			if errors.Is(err, domain.ErrReservationReleased) {
				return nil
			}
			return err
		}))
		f.credit(t, w, 100, 0, 0)
		require.ErrorIs(t, f.ReserveCredit(t.Context(), "race", w.ID, eur(100)), domain.ErrReservationReleased)
	})
}

// TestSettleWhileReserving has 32 callers release or capture a key at the very time that it is reserved: what was answered
// is what is so afterwards.
func TestSettleWhileReserving(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		const callers, rounds = 32, 12
		f := setup(t, c)
		g, ctx := errgroup.WithContext(t.Context())
		for caller := range callers {
			u := f.rich(t, 10*rounds)
			settle, state := f.ReleaseCredit, domain.Released
			if caller%2 == 0 {
				settle, state = f.CaptureCredit, domain.Captured
			}
			g.Go(func() error {
				for round := range rounds {
					key := fmt.Sprint(u.ID, "/", round)
					var pair errgroup.Group
					pair.Go(func() error {
						return tally(new(atomic.Int64), f.ReserveCredit(ctx, key, u.ID, eur(10)), domain.ErrReservationReleased)
					})
					err := settle(ctx, key)
					settled := err == nil
					if err := errors.Join(pair.Wait(), tally(new(atomic.Int64), err, domain.ErrReservationNotFound)); err != nil {
						return err
					}
					r, _, err := f.Store.Reservation(ctx, key)
					if err != nil {
						return err
					}
					if settled != (r.State == state) {
						return fmt.Errorf("%s was answered with settled = %t and is %s", key, settled, r.State)
					}
				}
				return nil
			})
		}
		require.NoError(t, g.Wait())
	})
}

func TestLedgerIsAppendOnly(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, c db.Config) {
		t.Parallel()
		f := setup(t, c)
		u := f.rich(t, 100)
		statements := []string{
			"UPDATE ledger_entries SET amount = amount + 1", "UPDATE ledger_entries SET note = 'x' WHERE kind = 'grant'", "DELETE FROM ledger_entries",
		}
		if f.db.Dialect() == "postgres" {
			statements = append(statements, "TRUNCATE ledger_entries")
		}
		for _, statement := range statements {
			err := f.db.Tx(t.Context(), func(ctx context.Context) error { return f.db.Conn(ctx).Exec(statement).Error })
			require.ErrorContains(t, err, "append-only", statement)
		}
		require.EqualValues(t, 1, f.count(t, "SELECT count(*) FROM ledger_entries"))
		f.credit(t, u, 100, 0, 0)
	})
}
