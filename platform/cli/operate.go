package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"cleave/platform/audit"
	"cleave/platform/db"
	"cleave/platform/fault"
	"cleave/platform/module"
	"cleave/platform/ops/repair"
)

// The commands that operate on a module work on its database, also while servers run: on Postgres beside them, on SQLite
// in turns of a few milliseconds. What they change is taken up by the servers at their next poll.

// operated opens the databases of the modules wanted, one after the other, and calls fn with each. It fails when the schema is
// not the one of this binary.
func (a *app) operated(ctx context.Context, wanted []string, fn func(repair.Module) error) error {
	cfg, specs, err := a.migrated(wanted)
	if err != nil {
		return err
	}
	for _, s := range specs {
		if err := a.operate(ctx, cfg.Database(), s, cfg.Auth.Issuer, fn); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) operate(ctx context.Context, c db.Config, s module.Spec, issuer string, fn func(repair.Module) error) (err error) {
	if c.Dialect() == "sqlite" && c.Modules[s.Name] == "" {
		if _, err := os.Stat(db.File(c.Dir, s.Name)); err != nil {
			return fault.New(fault.Invalid, "database_missing", "module %s has no database in %s: give the folder with --data-dir or data.dir", s.Name, c.Dir).Wrap(err)
		}
	}
	d, err := db.Open(ctx, c, s.Name, s.Constraints)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	if err := d.CheckSchema(ctx, s.Migrations); err != nil {
		return err
	}
	return fn(repair.Module{DB: d, Audit: audit.New(d, issuer, time.Now), Actor: operator()})
}

// operator is the user of the operating system, as the audit log names them.
func operator() audit.Actor {
	name := fmt.Sprint("uid ", os.Getuid())
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username
	}
	return audit.Actor{Issuer: "cli", Subject: name}
}

// one calls fn with the one module that --module names.
func (a *app) one(ctx context.Context, wanted []string, fn func(repair.Module) error) error {
	if len(wanted) != 1 {
		return fault.New(fault.Invalid, "module_missing", "name one module with --module NAME")
	}
	return a.operated(ctx, wanted, fn)
}

// pair accepts the two names of one thing, or none for all that match.
func pair(_ *cobra.Command, args []string) error {
	if len(args) != 0 && len(args) != 2 {
		return fmt.Errorf("give the two names of one, or none for all that match the filters; %d arguments were given", len(args))
	}
	return nil
}

// span is a pair of flags --since and --until.
type span struct{ since, until string }

func (s *span) add(c *cobra.Command, what string) {
	c.Flags().StringVar(&s.since, "since", "", "only "+what+" at or after `TIME`: RFC 3339, or a duration ago such as 2h")
	c.Flags().StringVar(&s.until, "until", "", "only "+what+" before `TIME`")
}

func (s *span) times() (since, until time.Time, err error) {
	if since, err = moment("since", s.since); err == nil {
		until, err = moment("until", s.until)
	}
	return since, until, err
}

func moment(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return time.Now().Add(-ago), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, fault.New(fault.Invalid, "time_invalid", "--%s is %q, allowed: a time such as 2026-11-23T09:30:00Z, or a duration ago such as 2h", flag, text)
	}
	return t, nil
}

const defaultRows = 100

// limited adds the flag --limit.
func limited(c *cobra.Command, limit *int, most int) {
	c.Flags().IntVar(limit, "limit", defaultRows, fmt.Sprintf("at most `N`, from 1 to %d", most))
}

func checkLimit(limit, most int) error {
	if limit < 1 || limit > most {
		return fault.New(fault.Invalid, "limit_invalid", "--limit is %d, allowed: 1 to %d", limit, most)
	}
	return nil
}

// confirmed asks before what cannot be taken back; without a terminal it takes --yes.
func (a *app) confirmed(yes bool, question string) error {
	if yes {
		return nil
	}
	if f, ok := a.In.(*os.File); !ok || !isatty.IsTerminal(f.Fd()) {
		return fault.New(fault.Invalid, "confirmation_missing", "%s There is no terminal to ask: use --yes", question)
	}
	fmt.Fprintf(a.Err, "%s [y/N] ", question)
	answer, err := readLine(a.In)
	if err != nil {
		return err
	}
	if answer = strings.ToLower(answer); answer != "y" && answer != "yes" {
		return fault.New(fault.Canceled, "not_confirmed", "nothing was changed")
	}
	return nil
}

// readLine reads no further than the end of the line.
func readLine(in io.Reader) (string, error) {
	var line []byte
	for b := make([]byte, 1); len(line) < 64; {
		n, err := in.Read(b)
		if n == 0 && errors.Is(err, io.EOF) || n == 1 && b[0] == '\n' {
			break
		}
		if n == 0 && err != nil {
			return "", fmt.Errorf("read the answer: %w", err)
		}
		line = append(line, b[:n]...)
	}
	return strings.TrimSpace(string(line)), nil
}
