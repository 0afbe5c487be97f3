package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

// side is one of two things that are measured against each other, or a third
// that shows what more would be possible. run measures it once, in n clients;
// cpu, which may be nil, is the processor time it has used so far, by part.
type side struct {
	name string
	run  func(ctx context.Context, n int, d time.Duration) (sample, error)
	cpu  func() []part
}

// part is a share of the processor time.
type part struct {
	name string
	used time.Duration
}

// comparison holds the rounds of the first side against those of the others.
type comparison struct {
	sides  []side
	rounds [][]sample // by side, then by round
	cpu    []part     // of the first side, over all its rounds
}

// compare measures the sides in turn, so that what changes on the machine
// meanwhile hits all of them; every other round takes them in reverse. A round
// before the first warms up and does not count.
func (o *options) compare(ctx context.Context, what string, n int, sides ...side) (*comparison, error) {
	c := &comparison{sides: sides, rounds: make([][]sample, len(sides))}
	for round := o.warmUp(); round <= o.rounds; round++ {
		for i := range sides {
			if round%2 == 1 {
				i = len(sides) - 1 - i
			}
			s, used, err := sides[i].once(ctx, n, o.round)
			if err != nil {
				return nil, fmt.Errorf("%s, %s, %d clients: %w", what, sides[i].name, n, err)
			}
			if round == 0 {
				continue
			}
			c.rounds[i] = append(c.rounds[i], s)
			if i == 0 {
				c.cpu = add(c.cpu, used)
			}
			fmt.Fprintf(os.Stderr, "%s, %d clients, round %d: %-18s %6.0f/s  p50 %s  p99 %s\n",
				what, n, round, sides[i].name, s.rate(), millis(s.quantile(0.5)), millis(s.quantile(0.99)))
		}
	}
	return c, nil
}

func (s side) once(ctx context.Context, n int, d time.Duration) (sample, []part, error) {
	if s.cpu == nil {
		m, err := s.run(ctx, n, d)
		return m, nil, err
	}
	before := s.cpu()
	m, err := s.run(ctx, n, d)
	used := s.cpu()
	for i := range used {
		used[i].used -= before[i].used
	}
	return m, used, err
}

func add(total, more []part) []part {
	if total == nil {
		return more
	}
	for i := range total {
		total[i].used += more[i].used
	}
	return total
}

// ratio is the median over the rounds of f of the first side by f of side i.
func (c *comparison) ratio(i int, f func(sample) float64) float64 {
	ratios := make([]float64, len(c.rounds[0]))
	for r := range ratios {
		ratios[r] = f(c.rounds[0][r]) / f(c.rounds[i][r])
	}
	return median(ratios)
}

// middle is the median of f over the rounds of side i.
func (c *comparison) middle(i int, f func(sample) float64) float64 {
	values := make([]float64, len(c.rounds[i]))
	for r, s := range c.rounds[i] {
		values[r] = f(s)
	}
	return median(values)
}

func rate(s sample) float64 { return s.rate() }

func p99(s sample) float64 { return float64(s.quantile(0.99)) }

// rates says what the medians of the rates are: "server 812/s, pgbench 1140/s".
func (c *comparison) rates() (text string) {
	for i, s := range c.sides {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%s %.0f/s", s.name, c.middle(i, rate))
	}
	return text
}

// tails says what the medians of the first two 99th percentiles are.
func (c *comparison) tails() string {
	return fmt.Sprintf("%s %s, %s %s", c.sides[0].name, millis(time.Duration(c.middle(0, p99))), c.sides[1].name, millis(time.Duration(c.middle(1, p99))))
}

// processor says what one operation of the first side costs.
func (c *comparison) processor() (text string) {
	done := 0
	for _, s := range c.rounds[0] {
		done += s.done
	}
	for i, p := range c.cpu {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%s %d µs", p.name, p.used.Microseconds()/int64(max(done, 1)))
	}
	return text
}

func millis(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }
