package orderv1

import "cleave/platform/event"

// The events that the module publishes, keyed by the order's id.
var (
	Placed    = event.Define[*OrderPlaced]()
	Confirmed = event.Define[*OrderConfirmed]()
	Rejected  = event.Define[*OrderRejected]()
	Cancelled = event.Define[*OrderCancelled]()
	Shipped   = event.Define[*OrderShipped]()
	Delivered = event.Define[*OrderDelivered]()
)
