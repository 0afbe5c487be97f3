package user_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"cleave/modules/user"
	"cleave/modules/user/internal/ledgertest"
	userv1 "cleave/modules/user/v1"
	"cleave/platform/config"
	"cleave/platform/fault"
	"cleave/platform/faulttest"
	"cleave/platform/module"
	"cleave/platform/moduletest"
)

// insist repeats a call until its answer is a definite one.
func insist(t *testing.T, what string, call func() (again bool)) {
	for end := time.Now().Add(time.Minute); call(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("%s: no definite answer", what)
			return
		}
	}
}

// TestFaults moves credit while commits and the calls of another module are
// late, fail, happen unsaid and happen twice: each movement counts once.
func TestFaults(t *testing.T) {
	t.Parallel()
	moduletest.EachFaulty(t, []module.Spec{user.Module}, func(t *testing.T, cfg *config.Config, plan *faulttest.Plan) {
		const customers, rounds = 3, 12
		f := setupWith(t, cfg, func(specs ...module.Spec) *module.Host { return moduletest.StartFaulty(t, cfg, plan, specs...) })
		root := f.admin(t)
		all := make([]person, customers)
		for i := range all {
			all[i] = f.customer(t)
		}
		plan.Start()
		var wg sync.WaitGroup
		for _, p := range all {
			wg.Go(func() {
				for i := range rounds {
					f.move(t, root, p, i)
				}
			})
		}
		wg.Wait()
		plan.Stop()
		ledgertest.Check(t, f.host.DB("user"))
		for _, p := range all {
			// Of each four reservations, one is captured, one released, one released before it came.
			f.credit(t, p, rounds*100-rounds/4*20, rounds/4*10, rounds/4*10)
		}
	})
}

// move gives the customer 100, and takes 10 through one of the lives of a
// reservation.
func (f *fixture) move(t *testing.T, root, p person, i int) {
	key := fmt.Sprint(p.ID, "-", i)
	insist(t, "top up "+key, func() bool {
		a := f.topUp(t, root, p, `{"amount": {"minor_units": 100, "currency": "EUR"}}`, "Idempotency-Key", key)
		if a.status != http.StatusCreated && a.status < http.StatusInternalServerError && a.code() != "idempotency_key_in_flight" {
			t.Errorf("top up %s: %v", key, a.body)
		}
		return a.status != http.StatusCreated
	})
	reserving := func() bool {
		_, err := f.users.ReserveCredit(t.Context(), reserve(key, p, 10))
		return fault.KindOf(err).Temporary() && err != nil
	}
	releasing := func() bool {
		_, err := f.users.ReleaseCredit(t.Context(), &userv1.ReleaseCreditRequest{ReservationKey: key})
		return err != nil
	}
	switch i % 4 {
	case 0:
		insist(t, "reserve "+key, reserving)
	case 1:
		insist(t, "reserve "+key, reserving)
		insist(t, "capture "+key, func() bool {
			_, err := f.users.CaptureCredit(t.Context(), &userv1.CaptureCreditRequest{ReservationKey: key})
			return err != nil
		})
	case 2:
		insist(t, "reserve "+key, reserving)
		insist(t, "release "+key, releasing)
	case 3:
		insist(t, "release "+key, releasing)
		insist(t, "reserve "+key, reserving)
		_, err := f.users.ReserveCredit(t.Context(), reserve(key, p, 10))
		if err == nil {
			t.Errorf("%s was reserved after its release", key)
		}
	}
}
