package domain

import (
	"slices"

	"cleave/platform/fault"
)

// Status is where an order stands.
type Status string

// The states of an order. Rejected, Delivered and Cancelled are final.
const (
	Pending   Status = "pending"   // stock is reserved, credit not yet
	Confirmed Status = "confirmed" // stock and credit are reserved
	Rejected  Status = "rejected"  // could not be served; nothing is reserved
	Shipped   Status = "shipped"   // left the house; credit is or will be captured
	Delivered Status = "delivered"
	Cancelled Status = "cancelled" // called off; nothing is or will stay reserved
)

// From lists the states that may become s.
func (s Status) From() []Status {
	switch s {
	case Confirmed, Rejected:
		return []Status{Pending}
	case Shipped:
		return []Status{Confirmed}
	case Delivered:
		return []Status{Shipped}
	case Cancelled:
		return []Status{Pending, Confirmed}
	default:
		return nil
	}
}

// become returns a Conflict, order_transition, unless s may become next.
func (s Status) become(next Status) error {
	if !slices.Contains(next.From(), s) {
		return fault.New(fault.Conflict, "order_transition", "the order is %s and cannot become %s", s, next)
	}
	return nil
}
