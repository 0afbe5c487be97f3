package demo

import (
	"iter"
	"math/rand/v2"
)

// fate is what becomes of an order.
type fate uint8

const (
	keep    fate = iota // stays confirmed
	refuse              // is rejected for lack of credit
	recall              // is cancelled at once, confirmed or not
	cancel              // is cancelled once it is confirmed
	ship                // is shipped
	deliver             // is shipped and delivered
)

// chosen is the fate for a number from 0 to 99.
func chosen(n int) fate {
	switch {
	case n < 20:
		return keep
	case n < 30:
		return refuse
	case n < 33:
		return recall
	case n < 43:
		return cancel
	case n < 70:
		return ship
	default:
		return deliver
	}
}

// plan is everything that the orders of a run are chosen by.
type plan struct {
	seed             uint64
	orders           int
	buyers, products int
}

// planned is one order. Buyers and products are numbered from 0.
type planned struct {
	buyer int
	lines []line
	fate  fate
}

type line struct {
	product  int
	quantity int64
}

// The most that an order holds.
const (
	maxLines    = 3
	maxQuantity = 3
)

// all yields the orders; each time the same ones. The last buyer is the one
// without credit.
func (p plan) all() iter.Seq2[int, planned] {
	return func(yield func(int, planned) bool) {
		r := rand.New(rand.NewPCG(p.seed, 0))
		for i := range p.orders {
			o := planned{buyer: r.IntN(p.buyers - 1), fate: chosen(r.IntN(100))}
			if o.fate == refuse {
				o.buyer = p.buyers - 1
			}
			first, n := r.IntN(p.products), 1+r.IntN(min(maxLines, p.products))
			for j := range n {
				o.lines = append(o.lines, line{product: (first + j) % p.products, quantity: 1 + r.Int64N(maxQuantity)})
			}
			if !yield(i, o) {
				return
			}
		}
	}
}

// needs returns the pieces of each product that the orders hold together, and
// what those of each buyer cost; the buyer without credit needs none.
func (p plan) needs(prices []int64) (pieces, credit []int64) {
	pieces, credit = make([]int64, p.products), make([]int64, p.buyers)
	for _, o := range p.all() {
		for _, l := range o.lines {
			pieces[l.product] += l.quantity
			credit[o.buyer] += prices[l.product] * l.quantity
		}
	}
	credit[p.buyers-1] = 0
	return pieces, credit
}
