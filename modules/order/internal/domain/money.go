package domain

import (
	"math"

	"cleave/platform/fault"
)

// MaxAmount is the highest amount that Money can hold, in minor units: 10^12,
// as in the module's contracts.
const MaxAmount = 1_000_000_000_000

// Money is an amount of one currency in its smallest unit, such as cents.
type Money struct {
	MinorUnits int64  // 0 to MaxAmount
	Currency   string // ISO 4217: three capital letters
}

// errAmountOverflow tells that a sum does not fit into Money.
func errAmountOverflow() *fault.Error {
	return fault.New(fault.Unprocessable, "amount_overflow", "the amount exceeds %d minor units, the highest that can be charged", int64(MaxAmount))
}

// Add returns m + n. It fails with Unprocessable, amount_overflow above
// MaxAmount and mixed_currencies when the currencies differ.
func (m Money) Add(n Money) (Money, error) {
	if m.Currency != n.Currency {
		return Money{}, fault.New(fault.Unprocessable, "mixed_currencies", "amounts in %s and %s cannot be added", m.Currency, n.Currency)
	}
	if m.MinorUnits > math.MaxInt64-n.MinorUnits || m.MinorUnits+n.MinorUnits > MaxAmount {
		return Money{}, errAmountOverflow()
	}
	return Money{MinorUnits: m.MinorUnits + n.MinorUnits, Currency: m.Currency}, nil
}

// Times returns m × n for n of at least 0. It fails with Unprocessable,
// amount_overflow above MaxAmount.
func (m Money) Times(n int64) (Money, error) {
	if n > 0 && m.MinorUnits > MaxAmount/n {
		return Money{}, errAmountOverflow()
	}
	return Money{MinorUnits: m.MinorUnits * n, Currency: m.Currency}, nil
}
