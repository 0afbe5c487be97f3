package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// pace is the interval of the latency measurements: far below saturation, so
// that they show the way and not the queue.
const pace = 25 * time.Millisecond

// paced is how many orders or events a latency measurement takes.
func (o *options) paced() int { return int(o.round * time.Duration(o.rounds) / pace) }

// atPace calls fn count times, each at its moment.
func atPace(ctx context.Context, count int, fn func(n int) error) error {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for n := range count {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if err := fn(n); err != nil {
			return err
		}
	}
	return nil
}

// confirmations places orders and returns how long each took to be confirmed,
// by the times that the orders bear: of the placing, before its commit, and of
// the confirmation, before its commit.
func (sh *shop) confirmations(ctx context.Context, s *server, count int) ([]time.Duration, error) {
	clients, err := sh.clients(s, 8)
	if err != nil {
		return nil, err
	}
	defer closeAll(clients)
	var body []byte
	err = atPace(ctx, count, func(n int) error {
		body, err = sh.place(clients[n%len(clients)], body)
		return err
	})
	if err != nil {
		return nil, err
	}
	admin, err := dial(s.addr, sh.admin.token)
	if err != nil {
		return nil, err
	}
	defer admin.close()
	for range 500 {
		times, pending, err := newest(admin, count)
		if err != nil || pending == 0 {
			slices.Sort(times)
			return times, err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil, fmt.Errorf("orders are still pending after 10 s")
}

// newest reads the newest orders: how long the confirmed ones took, and how
// many are pending.
func newest(admin *client, count int) (times []time.Duration, pending int, err error) {
	for cursor := ""; len(times)+pending < count; {
		var page struct {
			Items []struct {
				Status  string
				Created time.Time `json:"created_at"`
				Updated time.Time `json:"updated_at"`
			}
			Next string `json:"next_cursor"`
		}
		path := fmt.Sprintf("/api/v1/orders?limit=%d", min(100, count-len(times)-pending))
		if cursor != "" {
			path += "&cursor=" + cursor
		}
		if err = admin.call(http.MethodGet, path, "", nil, &page); err != nil {
			return nil, 0, err
		}
		for _, o := range page.Items {
			switch o.Status {
			case "confirmed":
				times = append(times, o.Updated.Sub(o.Created))
			case "pending":
				pending++
			default:
				return nil, 0, fmt.Errorf("an order is %s", o.Status)
			}
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	return times, pending, nil
}

// confirmationRow adds what confirmations found.
func (o *options) confirmationRow(ctx context.Context, r *report, sh *shop, s *server) error {
	times, err := sh.confirmations(ctx, s, o.paced())
	if err != nil {
		return err
	}
	r.figure(fmt.Sprintf("placed to confirmed, %d per second", time.Second/pace), "p50 %s, p99 %s", millis(quantile(times, 0.5)), millis(quantile(times, 0.99)))
	return nil
}
