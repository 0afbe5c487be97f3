package domain_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/modules/order/internal/domain"
	"cleave/platform/fault"
)

func TestMoney(t *testing.T) {
	t.Parallel()
	eur := func(n int64) domain.Money { return domain.Money{MinorUnits: n, Currency: "EUR"} }
	max := eur(domain.MaxAmount)
	t.Run("Add", func(t *testing.T) {
		t.Parallel()
		sum, err := eur(1299).Add(eur(1))
		require.NoError(t, err)
		require.Equal(t, eur(1300), sum)
		_, err = max.Add(eur(1))
		require.Equal(t, "amount_overflow", fault.CodeOf(err))
		_, err = eur(math.MaxInt64).Add(eur(math.MaxInt64))
		require.Equal(t, "amount_overflow", fault.CodeOf(err))
		_, err = eur(1).Add(domain.Money{MinorUnits: 1, Currency: "USD"})
		require.Equal(t, "mixed_currencies", fault.CodeOf(err))
	})
	t.Run("Times", func(t *testing.T) {
		t.Parallel()
		for _, n := range []int64{0, 1, 10_000} {
			product, err := eur(99).Times(n)
			require.NoError(t, err)
			require.Equal(t, eur(99*n), product)
		}
		product, err := max.Times(1)
		require.NoError(t, err)
		require.Equal(t, max, product)
		for _, m := range []domain.Money{max, eur(domain.MaxAmount/2 + 1), eur(math.MaxInt64)} {
			_, err := m.Times(2)
			require.Equal(t, "amount_overflow", fault.CodeOf(err))
		}
	})
}
