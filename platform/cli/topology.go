package cli

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cleave/platform/fault"
)

// These are the parts of the process API that the commands use.
type (
	placedModule struct {
		Name     string `json:"name"`
		Runs     bool   `json:"runs"`
		Requests string `json:"requests"`
	}
	placedEdge struct {
		Caller string `json:"caller"`
		Callee string `json:"callee"`
		Target string `json:"target"`
		Calls  int64  `json:"calls"`
		Faults int64  `json:"faults"`
	}
	placement struct {
		Modules []placedModule `json:"modules"`
		Edges   []placedEdge   `json:"edges"`
		version string
	}
)

const (
	processPath = "/api/v1/admin/process"
	here        = "here"
)

func (s *server) placement(ctx context.Context) (p placement, err error) {
	p.version, err = s.call(ctx, http.MethodGet, processPath, "", nil, &p)
	return p, err
}

// placed asks a server where everything is.
func (a *app) placed(ctx context.Context, r remote) (s *server, p placement, err error) {
	if s, err = a.connect(r); err == nil {
		p, err = s.placement(ctx)
	}
	return s, p, err
}

// change sends a change of what was read last, and reads again when something else has moved meanwhile.
func (s *server) change(ctx context.Context, path string, body any) (p placement, err error) {
	const attempts = 5
	for range attempts {
		if p, err = s.placement(ctx); err != nil {
			return p, err
		}
		if p.version, err = s.call(ctx, http.MethodPut, processPath+path, p.version, body, &p); err == nil {
			return p, nil
		}
		var r *refusal
		if !errors.As(err, &r) || r.status != http.StatusPreconditionFailed && r.code != "moving" {
			return p, err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return p, err
}

func (s *server) setEdge(ctx context.Context, caller, callee, target string) (placement, error) {
	return s.change(ctx, "/edges/"+caller+"/"+callee, map[string]string{"target": target})
}

func (s *server) placeModule(ctx context.Context, name string, runs bool, requests string) (placement, error) {
	return s.change(ctx, "/modules/"+name, map[string]any{"runs": runs, "requests": requests})
}

func (p placement) module(name string) (placedModule, error) {
	for _, m := range p.Modules {
		if m.Name == name {
			return m, nil
		}
	}
	return placedModule{}, fault.New(fault.Invalid, "module_unknown", "the server knows of no module %q", name)
}

func (p placement) edgesTo(name string) (edges []placedEdge) {
	for _, e := range p.Edges {
		if e.Callee == name {
			edges = append(edges, e)
		}
	}
	return edges
}

const moveNote = "\nA restart of the server undoes it: what is to last belongs into its configuration (topology.modules, topology.peers)."

func (a *app) edge() *cobra.Command {
	group := &cobra.Command{Use: "edge", Short: "Show where the calls between modules of a running server go, or send them elsewhere"}
	var r remote
	list := &cobra.Command{
		Use:   "list",
		Short: "List the edges of a running server",
		RunE: func(c *cobra.Command, _ []string) error {
			_, p, err := a.placed(c.Context(), r)
			if err != nil {
				return err
			}
			return a.print(p.Edges)
		},
	}
	set := &cobra.Command{
		Use:   "set CALLER→CALLEE TARGET",
		Short: "Send the calls of one module to another one elsewhere, under traffic",
		Long: "Sends the calls of one module to another one elsewhere: TARGET is here, or an address as in topology.peers. Calls under way end\n" +
			"where they began. CALLER→CALLEE may be written with -> or as two arguments." + moveNote,
		Example: "  app edge set order→user 10.0.0.7:7443 --token-file token",
		Args:    cobra.RangeArgs(2, 3),
		RunE: func(c *cobra.Command, args []string) error {
			caller, callee, target, err := edgeArgs(args)
			if err != nil {
				return err
			}
			s, err := a.connect(r)
			if err != nil {
				return err
			}
			p, err := s.setEdge(c.Context(), caller, callee, target)
			if err != nil {
				return err
			}
			return a.print(p.Edges)
		},
	}
	r.add(list)
	r.add(set)
	group.AddCommand(list, set)
	return group
}

func edgeArgs(args []string) (caller, callee, target string, err error) {
	if len(args) == 3 {
		return args[0], args[1], args[2], nil
	}
	for _, arrow := range []string{"→", "->"} {
		if from, to, ok := strings.Cut(args[0], arrow); ok && from != "" && to != "" {
			return from, to, args[1], nil
		}
	}
	return "", "", "", fault.New(fault.Invalid, "edge_invalid", "the edge is %q, allowed: CALLER→CALLEE, such as order→user", args[0])
}

// placing adds `app module start`, `stop` and `where`.
func (a *app) placing() []*cobra.Command {
	var r remote
	var to string
	where := &cobra.Command{
		Use: "where", Short: "Show which modules a running server runs, and where it sends the requests for the others",
		RunE: func(c *cobra.Command, _ []string) error {
			_, p, err := a.placed(c.Context(), r)
			if err != nil {
				return err
			}
			return a.print(p.Modules)
		},
	}
	start := &cobra.Command{
		Use: "start NAME", Args: cobra.ExactArgs(1), Short: "Start a module in a running server, beside the processes that run it already",
		Long: "Starts a module in a running server, beside the processes that run it already. Requests and calls go on to those: see app merge." + moveNote,
		RunE: func(c *cobra.Command, args []string) error { return a.place(c.Context(), r, args[0], true, "") },
	}
	stop := &cobra.Command{
		Use: "stop NAME", Args: cobra.ExactArgs(1), Short: "Stop a module in a running server, which hands its events and sagas over",
		Long: "Stops a module in a running server. Another process must run it: it takes over events and sagas, and --requests-to says where that\n" +
			"is unless requests go elsewhere already. No edge of the server may lead to the module here: see app edge set." + moveNote,
		RunE: func(c *cobra.Command, args []string) error { return a.place(c.Context(), r, args[0], false, to) },
	}
	stop.Flags().StringVar(&to, "requests-to", "", "send the requests of clients to the process at `ADDRESS`")
	for _, c := range []*cobra.Command{where, start, stop} {
		r.add(c)
	}
	return []*cobra.Command{where, start, stop}
}

func (a *app) place(ctx context.Context, r remote, name string, runs bool, requests string) error {
	s, p, err := a.placed(ctx, r)
	if err != nil {
		return err
	}
	m, err := p.module(name)
	if err != nil {
		return err
	}
	if requests == "" {
		requests = m.Requests
	}
	if p, err = s.placeModule(ctx, name, runs, requests); err != nil {
		return err
	}
	return a.print(p.Modules)
}
