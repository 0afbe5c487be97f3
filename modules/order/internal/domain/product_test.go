package domain_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/modules/order/internal/domain"
	"cleave/platform/fault"
)

func TestProduct(t *testing.T) {
	t.Parallel()
	name, off := "Lamp", false
	t.Run("Apply", func(t *testing.T) {
		t.Parallel()
		p := domain.Product{Name: "lamp", Description: "bright", Active: true, Version: 7, Stock: 5}
		require.NoError(t, p.Apply(domain.Edit{Name: &name, Active: &off}, 7, now))
		require.Equal(t, domain.Product{Name: "Lamp", Description: "bright", Version: 8, Stock: 5, UpdatedAt: now}, p)
		err := p.Apply(domain.Edit{Name: &name}, 7, now)
		require.Equal(t, fault.Stale, fault.KindOf(err))
		require.Equal(t, int64(8), p.Version)
	})
	t.Run("Move", func(t *testing.T) {
		t.Parallel()
		for _, c := range []struct {
			stock, delta, want int64
			code               string
		}{
			{5, 3, 8, ""},
			{5, -5, 0, ""},
			{5, 0, 5, "delta_zero"},
			{5, -6, 5, "out_of_stock"},
			{5, math.MinInt64, 5, "out_of_stock"},
			{domain.MaxStock, 1, domain.MaxStock, "stock_limit"},
			{5, math.MaxInt64, 5, "stock_limit"},
		} {
			p := domain.Product{Stock: c.stock, Version: 1}
			require.Equal(t, c.code, fault.CodeOf(p.Move(c.delta, now)))
			require.Equal(t, c.want, p.Stock)
			require.Equal(t, int64(1), p.Version)
		}
	})
}
