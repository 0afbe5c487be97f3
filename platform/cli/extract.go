package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"cleave/platform/fault"
)

// settle is how long what has moved is watched before the next step.
const settle = time.Second

func (a *app) extract() *cobra.Command {
	var r remote
	var to string
	var compare time.Duration
	c := &cobra.Command{
		Use:   "extract MODULE --to ADDRESS",
		Short: "Move a module of a running server to another process, under traffic",
		Long: "Moves a module of a running server to another process that runs it, at ADDRESS (its topology.addr), step by step: compare what both\n" +
			"answer to the same reads, move the calls of the other modules, move the requests of clients, stop the module here. Each step is\n" +
			"checked; when one fails, those before are taken back. Both processes must share the Postgres and the broker." + moveNote,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if to == "" || to == here {
				return fault.New(fault.Invalid, "to_missing", "say with --to where the module is to go, such as --to 10.0.0.7:7443")
			}
			return a.move(c.Context(), r, args[0], to, compare)
		},
	}
	r.add(c)
	c.Flags().StringVar(&to, "to", "", "the `ADDRESS` of the process that takes the module")
	c.Flags().DurationVar(&compare, "compare", 2*time.Second, "compare reads for this `TIME`, 1s to 10s; 0 compares nothing")
	return c
}

func (a *app) merge() *cobra.Command {
	var r remote
	var compare time.Duration
	c := &cobra.Command{
		Use:   "merge MODULE",
		Short: "Move a module from another process into a running server, under traffic",
		Long: "Moves a module from another process into a running server: the opposite of app extract, with the same steps and checks. The other\n" +
			"process goes on running the module until it is stopped." + moveNote,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.move(c.Context(), r, args[0], here, compare) },
	}
	r.add(c)
	c.Flags().DurationVar(&compare, "compare", 2*time.Second, "compare reads for this `TIME`, 1s to 10s; 0 compares nothing")
	return c
}

// move is the state of a move: what takes the steps back that were done, the last one first.
type move struct {
	*app
	*server
	name, to string
	undo     []func(context.Context) error
}

// move moves a module to another process, or here. All that it does is on standard error, and where everything is in the end on
// standard output.
func (a *app) move(ctx context.Context, r remote, name, to string, compare time.Duration) error {
	if compare != 0 && (compare < time.Second || compare > 10*time.Second) {
		return fault.New(fault.Invalid, "compare_invalid", "--compare is %s, allowed: 0, or 1s to 10s", compare)
	}
	s, before, err := a.placed(ctx, r)
	if err != nil {
		return err
	}
	m, err := before.module(name)
	if err != nil {
		return err
	}
	if m.Runs == (to == here) && m.Requests == to {
		return fault.New(fault.Conflict, "already_there", "the module %s is there already", name)
	}
	if to != here && !m.Runs {
		return fault.New(fault.Conflict, "module_not_here", "the module %s does not run in the server at %s", name, s.url)
	}
	v := &move{app: a, server: s, name: name, to: to}
	if err := v.steps(ctx, m, before.edgesTo(name), compare); err != nil {
		return v.back(err)
	}
	after, err := s.placement(ctx)
	if err != nil {
		return err
	}
	return a.print(after.Modules)
}

func (v *move) steps(ctx context.Context, m placedModule, edges []placedEdge, compare time.Duration) error {
	if v.to == here && !m.Runs {
		err := v.step("start "+v.name+" here", func() error {
			_, err := v.placeModule(ctx, v.name, true, m.Requests)
			return err
		}, func(ctx context.Context) error {
			_, err := v.placeModule(ctx, v.name, false, m.Requests)
			return err
		})
		if err != nil {
			return err
		}
	}
	if compare > 0 {
		if err := v.compare(ctx, compare); err != nil {
			return err
		}
	}
	for _, e := range edges {
		err := v.step(fmt.Sprintf("move the calls of %s from %s to %s", e.Caller, e.Target, v.to), func() error {
			_, err := v.setEdge(ctx, e.Caller, e.Callee, v.to)
			return err
		}, func(ctx context.Context) error {
			_, err := v.setEdge(ctx, e.Caller, e.Callee, e.Target)
			return err
		})
		if err != nil {
			return err
		}
	}
	err := v.step(fmt.Sprintf("move the requests of clients from %s to %s", m.Requests, v.to), func() error {
		_, err := v.placeModule(ctx, v.name, true, v.to)
		return err
	}, func(ctx context.Context) error {
		_, err := v.placeModule(ctx, v.name, true, m.Requests)
		return err
	})
	if err != nil {
		return err
	}
	if err := v.watch(ctx); err != nil {
		return err
	}
	if v.to == here {
		return nil
	}
	return v.step("stop "+v.name+" here", func() error {
		_, err := v.placeModule(ctx, v.name, false, v.to)
		return err
	}, nil)
}

func (v *move) step(what string, do func() error, undo func(context.Context) error) error {
	began := time.Now()
	fmt.Fprintf(v.Err, "%s ... ", what)
	if err := do(); err != nil {
		fmt.Fprintln(v.Err, "failed")
		return fmt.Errorf("%s: %w", what, err)
	}
	fmt.Fprintf(v.Err, "done in %s\n", time.Since(began).Round(time.Millisecond))
	if undo != nil {
		v.undo = append(v.undo, undo)
	}
	return nil
}

// compare fails when the two places answer differently.
func (v *move) compare(ctx context.Context, during time.Duration) error {
	var result struct {
		Compared, Different int64
		Example             string
	}
	err := v.step("compare what both answer to the same reads", func() error {
		path := fmt.Sprintf("%s/modules/%s/comparison?seconds=%d&with=%s", processPath, v.name, int(during.Seconds()), url.QueryEscape(v.to))
		_, err := v.call(ctx, http.MethodGet, path, "", nil, &result)
		return err
	}, nil)
	if err != nil {
		return err
	}
	fmt.Fprintf(v.Err, "  %d reads compared, %d different\n", result.Compared, result.Different)
	if result.Different > 0 {
		return fault.New(fault.Conflict, "answers_differ", "%d of %d reads were answered differently, such as %s", result.Different, result.Compared, result.Example)
	}
	return nil
}

// watch fails when calls to where the module is now do.
func (v *move) watch(ctx context.Context) error {
	return v.step("watch the calls", func() error {
		before, err := v.placement(ctx)
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(settle):
		}
		after, err := v.placement(ctx)
		if err != nil {
			return err
		}
		for i, e := range after.edgesTo(v.name) {
			old := before.edgesTo(v.name)[i]
			// Refusals are faults, too, and not rare; calls that all fail are something else.
			if calls := e.Calls - old.Calls; calls > 0 && e.Faults-old.Faults == calls {
				return fault.New(fault.Unavailable, "calls_fail", "each of %d calls of %s failed", calls, e.Caller)
			}
		}
		return nil
	}, nil)
}

// back takes the steps back that were done.
func (v *move) back(cause error) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // also when the command was interrupted
	defer cancel()
	for i := len(v.undo) - 1; i >= 0; i-- {
		fmt.Fprint(v.Err, "take the step before back ... ")
		if err := v.undo[i](ctx); err != nil {
			fmt.Fprintln(v.Err, "failed")
			return errors.Join(cause, fmt.Errorf("take back: %w; see app module where and app edge list", err))
		}
		fmt.Fprintln(v.Err, "done")
	}
	return cause
}
