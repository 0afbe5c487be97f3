package domain_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/modules/user/internal/domain"
	"cleave/platform/fault"
)

func TestCheckMovement(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		money domain.Money
		field string // "" when it is good
	}{
		"Least":         {domain.Money{MinorUnits: 1, Currency: "EUR"}, ""},
		"Most":          {domain.Money{MinorUnits: domain.MaxAmount, Currency: "EUR"}, ""},
		"Zero":          {domain.Money{Currency: "EUR"}, "/amount/minor_units"},
		"Negative":      {domain.Money{MinorUnits: -1, Currency: "EUR"}, "/amount/minor_units"},
		"TooMuch":       {domain.Money{MinorUnits: domain.MaxAmount + 1, Currency: "EUR"}, "/amount/minor_units"},
		"NoCurrency":    {domain.Money{MinorUnits: 1}, "/amount/currency"},
		"LowerCase":     {domain.Money{MinorUnits: 1, Currency: "eur"}, "/amount/currency"},
		"FourLetters":   {domain.Money{MinorUnits: 1, Currency: "EURO"}, "/amount/currency"},
		"NotASCII":      {domain.Money{MinorUnits: 1, Currency: "ÄU"}, "/amount/currency"},
		"TrailingSpace": {domain.Money{MinorUnits: 1, Currency: "EU "}, "/amount/currency"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := c.money.CheckMovement("/amount")
			if c.field == "" {
				require.NoError(t, err)
				return
			}
			require.Equal(t, fault.Unprocessable, fault.KindOf(err))
			require.Equal(t, c.field, fault.From(err).Fields[0].Path)
		})
	}
}

func TestCheckReservationKey(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"a", "order:0197a5c2-7b1e-7c3a-9d2f-3b8e5a6c1d20", strings.Repeat("~", 100)} {
		require.NoError(t, domain.CheckReservationKey(s), s)
	}
	for _, s := range []string{"", "a b", "a\n", "ä", "\x7f", strings.Repeat("~", 101)} {
		require.Equal(t, fault.Unprocessable, fault.KindOf(domain.CheckReservationKey(s)), "%q", s)
	}
}

func TestReservationRepeat(t *testing.T) {
	t.Parallel()
	first := domain.Reservation{Key: "k", UserID: "u", Amount: domain.Money{MinorUnits: 5, Currency: "EUR"}, State: domain.Reserved}
	otherUser, otherAmount, otherCurrency := first, first, first
	otherUser.UserID = "v"
	otherAmount.Amount.MinorUnits = 6
	otherCurrency.Amount.Currency = "USD"
	for name, c := range map[string]struct {
		state domain.ReservationState
		again domain.Reservation
		want  error
	}{
		"Same":             {domain.Reserved, first, nil},
		"SameCaptured":     {domain.Captured, first, nil},
		"SameReleased":     {domain.Released, first, domain.ErrReservationReleased},
		"OtherUser":        {domain.Reserved, otherUser, domain.ErrReservationMismatch},
		"OtherAmount":      {domain.Reserved, otherAmount, domain.ErrReservationMismatch},
		"OtherCurrency":    {domain.Captured, otherCurrency, domain.ErrReservationMismatch},
		"ReleasedUnheld":   {domain.Released, otherUser, domain.ErrReservationReleased},
		"CapturedMismatch": {domain.Captured, otherAmount, domain.ErrReservationMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := first
			r.State = c.state
			require.ErrorIs(t, r.Repeat(c.again), c.want)
		})
	}
}
