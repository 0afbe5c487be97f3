// Package faulttest makes what modules stand on fail: their databases, the
// calls between them and the pipe that carries their events. Things take
// long, fail before they had effect, have effect and fail, happen twice, or end
// the process, as one seed decides.
//
// It is for tests, through moduletest, and for a build of the program with the
// tag faults, which test/chaos runs; the program that is released does not
// contain it.
package faulttest

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"cleave/platform/fault"
)

// Kind is what happens to an operation.
type Kind uint8

// The kinds.
const (
	None        Kind = iota
	Delay            // it happens later
	Fail             // it does not happen and says so
	Lose             // it happens and says that it did not
	Repeat           // it happens twice; a transaction is run again
	CrashBefore      // the process ends before it happens
	CrashAfter       // and after, before anybody hears of it
)

var kindNames = [...]string{"none", "delay", "fail", "lose", "repeat", "crash before", "crash after"}

func (k Kind) String() string { return kindNames[k] }

// Options of a plan.
type Options struct {
	Seed  uint64
	Rate  float64       // the part of all operations that Delay, Fail, Lose or Repeat happens to, 0 to 1
	Crash float64       // the part that ends the process, 0 to 1
	Delay time.Duration // the longest; default 20 ms
	After time.Duration // how long nothing happens at first, so that a process can start
	Exit  func()        // ends the process; default: as SIGKILL does
}

// Parse reads options such as "seed=7,rate=0.05,crash=0.002,delay=50ms,after=1s".
// It fails with Invalid, faults_invalid on anything else.
func Parse(text string) (o Options, err error) {
	for _, part := range strings.Split(text, ",") {
		name, value, _ := strings.Cut(part, "=")
		switch name {
		case "seed":
			o.Seed, err = strconv.ParseUint(value, 10, 64)
		case "rate":
			o.Rate, err = parseRate(value)
		case "crash":
			o.Crash, err = parseRate(value)
		case "delay":
			o.Delay, err = time.ParseDuration(value)
		case "after":
			o.After, err = time.ParseDuration(value)
		default:
			err = fmt.Errorf("there is no %q", name)
		}
		if err != nil {
			return o, fault.New(fault.Invalid, "faults_invalid", "%q is not seed=N, rate=0…1, crash=0…1, delay=DURATION or after=DURATION", part).Wrap(err)
		}
	}
	return o, nil
}

func parseRate(text string) (float64, error) {
	rate, err := strconv.ParseFloat(text, 64)
	if err == nil && (rate < 0 || rate > 1) {
		err = fmt.Errorf("%v is not between 0 and 1", rate)
	}
	return rate, err
}

// Plan decides what happens to the operations of each site, such as the commits
// of one module. The decision on the nth operation of a site follows from the
// seed, the site and n alone, so that a plan of the same seed decides the same,
// in whatever order the sites come to it. It is safe for concurrent use.
type Plan struct {
	o     Options
	began time.Time

	mu      sync.Mutex
	sites   map[string]uint64 // operations so far
	history map[string][]Decision
	off     bool
}

// Decision is what happens to one operation.
type Decision struct {
	N     uint64 // of its site, from 1
	Kind  Kind
	Delay time.Duration
}

// New returns a plan.
func New(o Options) *Plan {
	if o.Delay == 0 {
		o.Delay = 20 * time.Millisecond
	}
	if o.Exit == nil {
		o.Exit = die
	}
	return &Plan{o: o, began: time.Now(), sites: map[string]uint64{}, history: map[string][]Decision{}}
}

// die ends the process as a power cut would. It does not return.
func die() {
	if p, err := os.FindProcess(os.Getpid()); err == nil {
		_ = p.Kill()
	}
	select {}
}

// Stop lets everything happen until Start; what comes meanwhile is not counted.
func (p *Plan) Stop() { p.set(true) }

// Start lets the plan decide again.
func (p *Plan) Start() { p.set(false) }

func (p *Plan) set(off bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.off = off
}

// History is every decision but None, by site.
func (p *Plan) History() map[string][]Decision {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make(map[string][]Decision, len(p.history))
	for site, decisions := range p.history {
		all[site] = slices.Clone(decisions)
	}
	return all
}

// Sites are those that have come to the plan, sorted.
func (p *Plan) Sites() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(maps.Keys(p.sites))
}

// next decides on the next operation of a site.
func (p *Plan) next(site string) Decision {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.off || time.Since(p.began) < p.o.After {
		return Decision{}
	}
	p.sites[site]++
	d := p.decide(site, p.sites[site])
	if d.Kind != None {
		p.history[site] = append(p.history[site], d)
	}
	return d
}

func (p *Plan) decide(site string, n uint64) Decision {
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, site, "#", n) // never fails
	r := rand.New(rand.NewPCG(p.o.Seed, h.Sum64()))
	d := Decision{N: n}
	switch x := r.Float64(); {
	case x < p.o.Crash:
		d.Kind = CrashBefore + Kind(r.IntN(2))
	case x < p.o.Crash+p.o.Rate:
		d.Kind = Delay + Kind(r.IntN(4))
	}
	if d.Kind == Delay {
		d.Delay = time.Duration(r.Int64N(int64(p.o.Delay)) + 1)
	}
	return d
}

// operation is one that a plan decides on.
type operation struct {
	do     func() error
	repeat func() error // does it twice
	fails  func() error // says that it did not happen
}

// run does the operation as the plan decides.
func (p *Plan) run(ctx context.Context, site string, op operation) error {
	switch d := p.next(site); d.Kind {
	case Delay:
		timer := time.NewTimer(d.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	case Fail:
		return op.fails()
	case Lose:
		if err := op.do(); err != nil {
			return err
		}
		return op.fails()
	case Repeat:
		return op.repeat()
	case CrashBefore:
		p.o.Exit()
	case CrashAfter:
		err := op.do()
		p.o.Exit()
		return err
	}
	return op.do()
}
