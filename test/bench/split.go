package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os/exec"
	"strings"
	"time"

	"cleave/platform/forecast"
	"cleave/platform/traffic"
)

// splits are the real ones of three modules.
var splits = [][][]string{
	{{"user"}, {"order", "notification"}},
	{{"order"}, {"user", "notification"}},
	apart,
}

var (
	whole = []string{"user", "order", "notification"}
	apart = [][]string{{"user"}, {"order"}, {"notification"}}
)

// measureSplit forecasts each split from one process, and measures both in turn.
func (o *options) measureSplit(ctx context.Context, b *bed, r *report) error {
	c, err := o.openCluster(ctx, b)
	if err != nil {
		return err
	}
	r.section(fmt.Sprintf("Splits, forecast from one process and measured in turn with it: journeys of %d requests, %.0f a second, events over JetStream (%s each)",
		journeyRequests, journeyClients/journeyPause.Seconds(), o.round*time.Duration(o.rounds)))
	for _, groups := range splits {
		if err = o.compareSplit(ctx, b, c, r, groups); err != nil {
			return fmt.Errorf("%v: %w", groups, err)
		}
		if o.short {
			break
		}
	}
	return o.measureFloor(ctx, b, c, r)
}

// compareSplit lets one process and those of the split take turns, so that what
// changes on the machine meanwhile hits both. The forecast is made in the midst
// of it, from what the one process has counted until then.
func (o *options) compareSplit(ctx context.Context, b *bed, c *cluster, r *report, groups [][]string) (err error) {
	one, err := o.party(ctx, b, c, whole)
	if err != nil {
		return err
	}
	defer one.p.kill()
	split, err := o.party(ctx, b, c, groups...)
	if err != nil {
		return err
	}
	defer split.p.kill()
	var (
		seen traffic.Snapshot
		f    forecast.Forecast
	)
	turns := o.rounds * turnsPerRound
	for turn := o.warmUp(); turn <= turns; turn++ {
		if err = o.takeTurns(ctx, turn, one, split); err != nil {
			return err
		}
		counts, err := one.p.counts(one.c.shop)
		switch {
		case err != nil:
			return err
		case turn == 0:
			seen = counts
		case turn == (turns+1)/2:
			if f, err = o.plan(ctx, b, counts.Minus(seen), groups); err != nil {
				return err
			}
		}
	}
	if err = errors.Join(one.finish(), split.finish()); err != nil {
		return err
	}
	r.compareForecast(f, one, split)
	return nil
}

// compareForecast adds the rows of a split.
func (r *report) compareForecast(f forecast.Forecast, one, split *party) {
	var added, later time.Duration
	for _, op := range f.Operations {
		added += time.Duration(float64(op.AddedP50) * float64(op.Requests) / float64(f.Requests) * journeyRequests)
		if op.Name == "placeOrder" {
			later = op.AddedLater
		}
	}
	r.accuracy(f.Split+": p50 of a journey", quantile(one.times, 0.5)+added, quantile(split.times, 0.5), quantile(one.times, 0.5))
	r.accuracy(f.Split+": p50 from placed to confirmed", quantile(one.confirmed, 0.5)+later, quantile(split.confirmed, 0.5), quantile(one.confirmed, 0.5))
	now, measured := one.perThousand(), split.perThousand()
	r.within(f.Split+": processor time of 1,000 requests", (now+f.CPU.Added)/measured,
		fmt.Sprintf("forecast %.2f s, measured %.2f s, one process %.2f s", now+f.CPU.Added, measured, now))
	r.figure(f.Split+": p99 of a journey", "%s; one process %s", millis(quantile(split.times, 0.99)), millis(quantile(one.times, 0.99)))
	r.figure(f.Split+": cost of hops", "call p50 %s, processor %s; handed on p50 %s, processor %s", millis(f.Hops.Call.P50), millis(f.Hops.Call.CPU),
		millis(f.Hops.Front.P50), millis(f.Hops.Front.CPU))
}

// accuracy adds the ratio of a forecast to what was measured.
func (r *report) accuracy(what string, forecast, measured, single time.Duration) {
	r.within(what, float64(forecast)/float64(measured), fmt.Sprintf("forecast %s, measured %s, one process %s", millis(forecast), millis(measured), millis(single)))
}

// within adds a ratio that should be at most a fifth off 1.
func (r *report) within(what string, ratio float64, note string) {
	const tolerance = 0.2
	r.judge(what, ratio, "within 20 % of ", 1, "", note, math.Abs(ratio-1) <= tolerance)
}

// plan asks the program for a forecast.
func (o *options) plan(ctx context.Context, b *bed, counts traffic.Snapshot, groups [][]string) (f forecast.Forecast, err error) {
	file, err := store(b, counts)
	if err != nil {
		return f, err
	}
	names := make([]string, len(groups))
	for i, g := range groups {
		names[i] = strings.Join(g, ",")
	}
	cmd := exec.CommandContext(ctx, o.app, "plan", "--from", file, "--split", strings.Join(names, "|"), "--front", "order", "--output", "json")
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return f, fmt.Errorf("forecast: %w: %s", err, exit.Stderr)
	}
	return f, errors.Join(err, json.Unmarshal(out, &f))
}
