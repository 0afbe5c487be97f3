// Package demo is the command `app demo`: a shop's worth of customers who order
// through the public API of a running server, at a steady rate.
//
// What they do follows from the seed alone. A run can be repeated on the same
// server: it logs in as the same administrator, tops the catalogue up, and
// registers new customers.
package demo

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"cleave/platform/fault"
	"cleave/platform/module"
)

// Limits of what can be asked for.
const (
	maxRate   = 10_000 // orders a second
	maxOrders = 1_000_000
	maxUsers  = 1000
)

type options struct {
	url        string
	adminEmail string
	password   string // the file that holds the administrator's
	token      string // makes the first administrator
	rate       float64
	duration   time.Duration
	users      int
	seed       uint64
}

// orders is how many the run places.
func (o *options) orders() int { return int(o.rate * o.duration.Seconds()) }

func (o *options) check() error {
	bad := func(format string, args ...any) error {
		return fault.New(fault.Invalid, "option_invalid", format, args...)
	}
	switch {
	case o.rate <= 0 || o.rate > maxRate:
		return bad("--rate is %v, allowed: more than 0 and at most %d orders a second", o.rate, maxRate)
	case o.duration <= 0:
		return bad("--duration is %v, allowed: more than 0, such as 30s", o.duration)
	case o.users < 2 || o.users > maxUsers:
		return bad("--users is %d, allowed: 2 to %d", o.users, maxUsers)
	case o.rate*o.duration.Seconds() < 1 || o.rate*o.duration.Seconds() > maxOrders:
		return bad("--rate %v for --duration %v is %.0f orders, allowed: 1 to %d", o.rate, o.duration, o.rate*o.duration.Seconds(), maxOrders)
	}
	return nil
}

// Command returns `app demo`.
func Command(tool *module.Tool) *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:   "demo",
		Short: "Let customers order from a running server, and show the figures",
		Long: "Register customers, fill a catalogue, and place orders at a steady rate through the public API of a running server, however\n" +
			"fast it answers. Some orders are cancelled, some shipped and delivered; the last customer has no credit and is refused.\n\n" +
			"The first run makes the first administrator, with the token that the server left in its data folder, and keeps the password\n" +
			"in a file for the next run. For a server on another machine, give --url, and --first-admin-token or the log-in of an\n" +
			"administrator. Interrupted, it finishes the orders under way and prints the summary.\n\n" +
			"The exit code is 0 when every order went as planned, also when it was interrupted, 1 when one did not, and 2 for wrong flags.",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := tool.Config()
			if err != nil {
				return err
			}
			if err := o.check(); err != nil {
				return err
			}
			if o.url == "" {
				o.url = cfg.LocalURL(cfg.HTTP.Addr)
			}
			o.url = strings.TrimRight(o.url, "/")
			s, err := play(c.Context(), &o, cfg.Data.Dir, newScreen(tool.Err))
			if err != nil {
				return err
			}
			if err := tool.Print(s); err != nil {
				return err
			}
			if s.Errors > 0 {
				return fmt.Errorf("%d orders did not go as planned", s.Errors)
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&o.url, "url", "", "reach the server at `URL` (default: where the configuration lets it listen)")
	f.StringVar(&o.adminEmail, "admin-email", "demo-admin@example.com", "log in as the administrator with this `ADDRESS`")
	f.StringVar(&o.password, "admin-password-file", "", "read the administrator's password from `FILE` (default: "+passwordFile+" in the data folder, made when needed)")
	f.StringVar(&o.token, "first-admin-token", "", "make the first administrator with this `TOKEN` (default: from the file that the server left in the data folder)")
	f.Float64Var(&o.rate, "rate", 10, "place `N` orders a second")
	f.DurationVar(&o.duration, "duration", 30*time.Second, "place orders for this `TIME`")
	f.IntVar(&o.users, "users", 10, "register `N` customers")
	f.Uint64Var(&o.seed, "seed", 1, "choose what happens by `NUMBER`")
	return c
}

// play is the whole run. Its error means that it could not begin.
func play(ctx context.Context, o *options, dataDir string, out *screen) (summary, error) {
	defer out.end()
	r, err := prepare(ctx, o, dataDir, out)
	if ctx.Err() != nil {
		out.say("interrupted before the first order")
		return summary{URL: o.url, Seed: o.seed}, nil
	}
	if err != nil {
		return summary{}, err
	}
	return r.placeAll(ctx, out), nil
}

// screen shows one line of progress: rewritten in place on a terminal, and
// elsewhere written anew.
type screen struct {
	terminal *os.File // nil: not one

	mu   sync.Mutex
	out  io.Writer
	open bool // the cursor stands behind an unfinished line
}

func newScreen(out io.Writer) *screen {
	s := &screen{out: out}
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		s.terminal = f
	}
	return s
}

// interval is how often progress is worth showing.
func (s *screen) interval() time.Duration {
	if s.terminal != nil {
		return 200 * time.Millisecond
	}
	return 2 * time.Second
}

// show replaces the line of progress.
func (s *screen) show(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	if s.terminal == nil {
		s.say(line)
		return
	}
	// A line that wraps cannot be rewritten.
	if width, _, err := term.GetSize(int(s.terminal.Fd())); err == nil && width > 1 && len(line) >= width {
		line = line[:width-1]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprint(s.out, "\r\x1b[K"+line)
	s.open = true
}

// say writes a line that stays.
func (s *screen) say(line string) {
	s.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintln(s.out, line)
}

// end leaves the line of progress as it is.
func (s *screen) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open {
		fmt.Fprintln(s.out)
		s.open = false
	}
}
