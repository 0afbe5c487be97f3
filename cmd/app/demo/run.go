package demo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	orderrest "cleave/modules/order/v1/rest"
	"cleave/platform/fault"
)

const (
	// grace is what the orders under way get after an interruption.
	grace = 5 * time.Second
	// decisionTime is how long an order may stay pending.
	decisionTime = time.Minute
	pollMin      = 10 * time.Millisecond
	pollMax      = time.Second
)

// placeAll places the orders when they are due and sees each through. An ended
// ctx ends it early.
func (r *run) placeAll(ctx context.Context, out *screen) summary {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(grace, stop) })()

	r.stats.begin()
	shown := r.report(out)
	var wg sync.WaitGroup
	for i, p := range r.plan.all() {
		due := r.stats.began.Add(time.Duration(float64(i) / r.o.rate * float64(time.Second)))
		select {
		case <-ctx.Done():
		case <-time.After(time.Until(due)):
		}
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() { r.order(work, p, due) })
	}
	wg.Wait()
	shown()
	return r.stats.summary(r.o)
}

// report shows the progress until the function it returns is called.
func (r *run) report(out *screen) (end func()) {
	ticker, done := time.NewTicker(out.interval()), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				out.show("%s", r.stats.line())
			}
		}
	})
	return func() {
		ticker.Stop()
		close(done)
		wg.Wait()
		out.show("%s", r.stats.line())
		for _, problem := range r.stats.problems() {
			out.say(problem)
		}
	}
}

// order takes one order from its placing to its fate.
func (r *run) order(ctx context.Context, p planned, due time.Time) {
	err := r.fulfil(ctx, p, due)
	if err != nil && ctx.Err() == nil { // what an interruption cut off is no failure
		r.stats.failed(err)
	}
}

func (r *run) fulfil(ctx context.Context, p planned, due time.Time) error {
	buyer := r.buyers[p.buyer]
	id, err := r.place(ctx, buyer, p.lines)
	if err != nil {
		return err
	}
	r.stats.placed(time.Since(due))
	if p.fate == recall {
		return r.cancel(ctx, buyer, id)
	}
	status, reason, err := r.decision(ctx, buyer, id)
	switch {
	case err != nil:
		return err
	case p.fate == refuse && status == orderrest.OrderStatusRejected:
		r.stats.rejected.Add(1)
		return nil
	case p.fate == refuse || status != orderrest.OrderStatusConfirmed:
		return fault.New(fault.Conflict, "unplanned", "an order became %s %s", status, reason)
	}
	r.stats.confirmed.Add(1)
	switch p.fate {
	case cancel:
		return r.cancel(ctx, buyer, id)
	case ship:
		return r.ship(ctx, id)
	case deliver:
		if err := r.ship(ctx, id); err != nil {
			return err
		}
		return r.deliver(ctx, id)
	default:
		return nil
	}
}

func (r *run) place(ctx context.Context, buyer *session, lines []line) (uuid.UUID, error) {
	var body orderrest.PlaceOrder
	for _, l := range lines {
		body.Lines = append(body.Lines, orderrest.PlaceOrderLine{ProductID: r.products[l.product].ID, Quantity: l.quantity})
	}
	resp, err := r.api.orders.PlaceOrderWithResponse(ctx, &orderrest.PlaceOrderParams{IdempotencyKey: newKey()}, body, buyer.authorise)
	if err != nil || resp.JSON201 == nil {
		return uuid.UUID{}, refusal("place an order", resp, err)
	}
	return resp.JSON201.ID, nil
}

// decision waits until the order is no longer pending.
func (r *run) decision(ctx context.Context, buyer *session, id uuid.UUID) (status orderrest.OrderStatus, reason string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, decisionTime, errors.New("it stayed pending"))
	defer cancel()
	for pause := pollMin; ; pause = min(2*pause, pollMax) {
		select {
		case <-ctx.Done():
			return "", "", fmt.Errorf("wait for an order: %w", context.Cause(ctx))
		case <-time.After(pause):
		}
		resp, err := r.api.orders.GetOrderWithResponse(ctx, id, buyer.authorise)
		if err != nil || resp.JSON200 == nil {
			return "", "", refusal("read an order", resp, err)
		}
		if o := resp.JSON200; o.Status != orderrest.OrderStatusPending {
			if o.Reason != nil {
				reason = *o.Reason
			}
			return o.Status, reason, nil
		}
	}
}

func (r *run) cancel(ctx context.Context, buyer *session, id uuid.UUID) error {
	reason := "changed my mind"
	resp, err := r.api.orders.CancelOrderWithResponse(ctx, id, &orderrest.CancelOrderParams{IdempotencyKey: newKey()}, orderrest.CancelOrder{Reason: &reason}, buyer.authorise)
	if err != nil || resp.JSON200 == nil {
		return refusal("cancel an order", resp, err)
	}
	r.stats.cancelled.Add(1)
	return nil
}

func (r *run) ship(ctx context.Context, id uuid.UUID) error {
	code := "DEMO-" + id.String()[24:]
	resp, err := r.api.orders.ShipOrderWithResponse(ctx, id, &orderrest.ShipOrderParams{IdempotencyKey: newKey()}, orderrest.ShipOrder{TrackingCode: &code}, r.admin.authorise)
	if err != nil || resp.JSON200 == nil {
		return refusal("ship an order", resp, err)
	}
	r.stats.shipped.Add(1)
	return nil
}

func (r *run) deliver(ctx context.Context, id uuid.UUID) error {
	resp, err := r.api.orders.DeliverOrderWithResponse(ctx, id, &orderrest.DeliverOrderParams{IdempotencyKey: newKey()}, r.admin.authorise)
	if err != nil || resp.JSON200 == nil {
		return refusal("deliver an order", resp, err)
	}
	r.stats.delivered.Add(1)
	return nil
}
