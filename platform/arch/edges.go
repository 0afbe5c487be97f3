package arch

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

func edgeRules() []*Rule {
	return []*Rule{
		{
			Name:   "spec",
			Reason: "what a module uses, publishes and handles is read from its Spec by the platform, the deployment and this tool; all must read the same",
			Fix:    "write the Spec as one literal: constants in Name and Uses, variables of v1 packages in Publishes and Subscribes",
			module: readableSpec,
		},
		{
			Name:   "undeclared-edge",
			Reason: "an edge that Uses does not name gets no connection, no authorisation and no network policy: it works in nobody's split",
			Fix:    "name the module in Uses of the Spec, or do without the call",
			pkg:    undeclaredEdge,
		},
		{
			Name:   "unused-edge",
			Reason: "a Uses without a call grants a module access to another one that it does not need, and forbids the other one's calls as a cycle",
			Fix:    "remove the module from Uses",
			module: unusedEdge,
		},
		{
			Name:   "call-cycle",
			Reason: "modules that call each other can only start, stop and be released together: they are one service",
			Fix:    "replace the call that matters less by an event",
			world:  callCycle,
		},
		{
			Name:   "event-cycle",
			Reason: "modules that hear of each other can send events round for ever, and neither contract can be changed without a look at the other",
			Fix:    "check that no event leads to itself",
			Note:   true,
			world:  eventCycle,
		},
	}
}

func readableSpec(p *pass) {
	for _, u := range p.module.unreadable {
		p.add(Finding{Pos: u.pos, Message: u.what})
	}
	for _, e := range p.module.Uses {
		if e.To == p.module.Name || p.world.Module(e.To) == nil {
			p.add(Finding{Pos: e.Pos, Message: fmt.Sprintf("module %s uses %s, which is no other module", p.module.Name, e.To)})
		}
	}
	for _, refs := range [][]EventRef{p.module.Publishes, p.module.Subscribes} {
		for _, ref := range refs {
			if ref.Message == "" {
				p.add(Finding{Pos: ref.Pos, Message: fmt.Sprintf("%s is not set to event.Define[*Message]() in its v1 package", ref)})
			}
		}
	}
}

// uses reports whether Uses names a module, or may.
func (m *Module) uses(to string) bool {
	return m.unknown["Uses"] || slices.ContainsFunc(m.Uses, func(e Edge) bool { return e.To == to })
}

func undeclaredEdge(p *pass) {
	m := p.world.Module(p.pkg.Module)
	if m == nil || p.pkg.Info == nil || p.pkg.Layer == "v1" {
		return
	}
	info := p.pkg.Info
	p.eachUse(func(id *ast.Ident) {
		if to := p.edgeOf(info.Uses[id]); to != "" && to != m.Name && !m.uses(to) {
			p.at(id.Pos(), nil, "module %s calls module %s through %s, but its Uses does not name it", m.Name, to, id.Name)
		}
	})
	for _, f := range p.pkg.Files {
		if f.Test {
			continue
		}
		called := map[ast.Expr]bool{}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if !p.isConn(calleeOf(info, n)) {
					break
				}
				called[n.Fun] = true
				p.checkConn(m, n)
			case *ast.SelectorExpr:
				if f, ok := info.Uses[n.Sel].(*types.Func); ok && !called[n] && p.isConn(f) {
					p.at(n.Pos(), nil, "module %s hands Env.Conn around: which modules it calls cannot be read", m.Name)
				}
			case *ast.BasicLit:
				if to := p.methodName(n); to != "" && to != m.Name && !m.uses(to) {
					p.at(n.Pos(), nil, "module %s names a method of module %s, but its Uses does not name it", m.Name, to)
				}
			}
			return true
		})
	}
}

// isConn reports whether f is Env.Conn, or a method of an interface that Env
// may be behind.
func (p *pass) isConn(f *types.Func) bool {
	if isFunc(f, p.world.Path+modulePackage, "Env.Conn") {
		return true
	}
	if f == nil || f.Name() != "Conn" || f.Signature().Recv() == nil || !types.IsInterface(f.Signature().Recv().Type()) {
		return false
	}
	s := f.Signature()
	return s.Params().Len() == 1 && isString(s.Params().At(0).Type()) && s.Results().Len() == 2 &&
		isNamed(s.Results().At(0).Type(), "google.golang.org/grpc", "ClientConnInterface")
}

func (p *pass) checkConn(m *Module, call *ast.CallExpr) {
	if len(call.Args) != 1 {
		return
	}
	v := p.pkg.Info.Types[call.Args[0]].Value
	switch {
	case v == nil || v.Kind() != constant.String:
		p.at(call.Pos(), nil, "module %s asks for a connection by a name that is no constant: which modules it calls cannot be read", m.Name)
	case !m.uses(constant.StringVal(v)):
		p.at(call.Pos(), nil, "module %s asks for a connection to %s, but its Uses does not name it", m.Name, constant.StringVal(v))
	}
}

// edgeOf is the module that a name of its v1 package calls: the client of a
// service, its constructor, its methods and their full names.
func (p *pass) edgeOf(obj types.Object) string {
	if obj == nil || obj.Pkg() == nil {
		return ""
	}
	module, ok := contractOf(p.world.Path, obj.Pkg().Path())
	if !ok {
		return ""
	}
	switch obj := obj.(type) {
	case *types.TypeName:
		if n, ok := types.Unalias(obj.Type()).(*types.Named); ok && isClient(n) {
			return module
		}
	case *types.Func:
		if _, ok := p.world.clientMethod(obj); ok || strings.HasPrefix(obj.Name(), "New") && strings.HasSuffix(obj.Name(), "Client") {
			return module
		}
	case *types.Const:
		if strings.HasSuffix(obj.Name(), "_FullMethodName") {
			return module
		}
	}
	return ""
}

// methodName is the module of a gRPC method that a string literal names, as
// in "/cleave.user.v1.UserService/GetUsers".
func (p *pass) methodName(lit *ast.BasicLit) string {
	if lit.Kind != token.STRING {
		return ""
	}
	rest, ok := strings.CutPrefix(constant.StringVal(constant.MakeFromLiteral(lit.Value, lit.Kind, 0)), "/"+p.world.Path+".")
	if !ok {
		return ""
	}
	module, rest, ok := strings.Cut(rest, ".")
	if !ok || !strings.HasPrefix(rest, "v1.") || p.world.Module(module) == nil {
		return ""
	}
	return module
}

func unusedEdge(p *pass) {
	called := map[string]bool{}
	for _, n := range p.program(p.module.Name).nodes {
		for _, c := range n.calls {
			if to, ok := p.world.clientMethod(c.callee); ok && n.pkg.Layer != "v1" {
				called[to] = true
			}
		}
		n.inspect(func(x ast.Node) bool {
			switch x := x.(type) {
			case *ast.SelectorExpr: // a method value, or the full name of a method
				if f, ok := n.pkg.Info.Uses[x.Sel].(*types.Func); ok {
					if to, ok := p.world.clientMethod(f); ok {
						called[to] = true
					}
				} else if c, ok := n.pkg.Info.Uses[x.Sel].(*types.Const); ok {
					called[p.edgeOf(c)] = true
				}
			case *ast.BasicLit:
				called[p.methodName(x)] = true
			}
			return true
		})
	}
	for _, e := range p.module.Uses {
		if !called[e.To] {
			p.add(Finding{Pos: e.Pos, Message: fmt.Sprintf("module %s uses %s and never calls it", p.module.Name, e.To)})
		}
	}
}

// dependence is a reason why one module depends on another.
type dependence struct {
	from, to string
	event    string // "" for a call
	pos      token.Position
}

func (d dependence) link() Link {
	if d.event == "" {
		return Link{What: d.from + " calls " + d.to, Pos: d.pos}
	}
	return Link{What: d.from + " hears " + d.event + " of " + d.to, Pos: d.pos}
}

func dependences(w *World, events bool) []dependence {
	var all []dependence
	for _, m := range w.Modules {
		for _, e := range m.Uses {
			all = append(all, dependence{from: m.Name, to: e.To, pos: e.Pos})
		}
		for _, e := range m.Subscribes {
			if events && e.Module != m.Name {
				all = append(all, dependence{from: m.Name, to: e.Module, event: e.Var, pos: e.Pos})
			}
		}
	}
	return all
}

func callCycle(p *pass) {
	for _, cycle := range cycles(p.world, dependences(p.world, false)) {
		p.addCycle(cycle, "modules call each other in a cycle: ")
	}
}

func eventCycle(p *pass) {
	for _, cycle := range cycles(p.world, dependences(p.world, true)) {
		if slices.ContainsFunc(cycle, func(d dependence) bool { return d.event != "" }) {
			p.addCycle(cycle, "modules depend on each other in a cycle, by events: ")
		}
	}
}

func (p *pass) addCycle(cycle []dependence, what string) {
	names := []string{cycle[0].from}
	var chain []Link
	for _, d := range cycle {
		names = append(names, d.to)
		chain = append(chain, d.link())
	}
	p.add(Finding{Pos: cycle[0].pos, Chain: chain, Message: what + strings.Join(names, " → ")})
}

// cycles returns the shortest cycle through each module that is in one, each
// cycle once. Calls go before events where both make a step.
func cycles(w *World, all []dependence) [][]dependence {
	var found [][]dependence
	reported := map[string]bool{}
	for _, m := range w.Modules {
		cycle := shortestCycle(m.Name, all)
		if cycle == nil {
			continue
		}
		var names []string
		for _, d := range cycle {
			names = append(names, d.from)
		}
		slices.Sort(names)
		if key := strings.Join(names, " "); !reported[key] {
			reported[key] = true
			found = append(found, cycle)
		}
	}
	return found
}

func shortestCycle(start string, all []dependence) []dependence {
	came := map[string]dependence{}
	queue := []string{start}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		for _, d := range all {
			if _, seen := came[d.to]; d.from != at || seen {
				continue
			}
			came[d.to] = d
			if d.to == start {
				var cycle []dependence
				for at := start; ; at = came[at].from {
					cycle = append(cycle, came[at])
					if came[at].from == start {
						slices.Reverse(cycle)
						return cycle
					}
				}
			}
			queue = append(queue, d.to)
		}
	}
	return nil
}
