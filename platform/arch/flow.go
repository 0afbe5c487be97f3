package arch

import (
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
)

// running says where a function runs.
type running uint8

const (
	where    running = iota // where its caller runs
	inTx                    // in a transaction of the module's database
	outside                 // in none, whatever runs it
	likelyTx                // in one of something that looks like the database
)

// occasion is one way in which a function comes to run.
type occasion struct {
	running running
	caller  *node // nil when nothing of the module calls it
	pos     token.Pos
	what    string
}

// occasions are all ways in which n comes to run, as far as they can be seen.
func (p *program) occasions(n *node) []occasion {
	var all []occasion
	if n.lit != nil {
		all = p.flow(use{n.parent, n.lit}, map[any]bool{})
	}
	for _, c := range n.callers {
		if n.lit == nil {
			all = append(all, p.called(c))
		}
	}
	if n.fn != nil {
		for _, u := range p.references(n.fn) {
			all = append(all, p.flow(u, map[any]bool{})...)
		}
	}
	return all
}

func (p *program) called(c *call) occasion {
	if c.async {
		return occasion{running: outside, caller: c.in, pos: c.expr.Pos(), what: "go statement in " + c.in.name}
	}
	return occasion{caller: c.in, pos: c.expr.Pos(), what: c.in.name + " calls " + types.ExprString(c.expr.Fun)}
}

// references are the uses of a function as a value.
func (p *program) references(f *types.Func) []use {
	if p.values == nil {
		p.values = map[string][]use{}
		for _, n := range p.nodes {
			p.findReferences(n)
		}
	}
	return p.values[f.FullName()]
}

func (p *program) findReferences(n *node) {
	n.inspect(func(x ast.Node) bool {
		id, ok := x.(*ast.Ident)
		if !ok {
			return true
		}
		f, ok := n.pkg.Info.Uses[id].(*types.Func)
		if !ok || p.funcs[f.Origin().FullName()] == nil {
			return true
		}
		var e ast.Expr = id
		for up := n.parents[e]; ; up = n.parents[e] {
			switch up := up.(type) {
			case *ast.SelectorExpr, *ast.IndexExpr, *ast.IndexListExpr, *ast.ParenExpr:
				e = up.(ast.Expr)
				continue
			case *ast.CallExpr:
				if up.Fun == e {
					return true
				}
			}
			break
		}
		name := f.Origin().FullName()
		p.values[name] = append(p.values[name], use{n, e})
		return true
	})
}

// flow follows a function value to where it is called.
func (p *program) flow(u use, seen map[any]bool) []occasion {
	if seen[u.expr] {
		return nil
	}
	seen[u.expr] = true
	e := u.expr
	up := u.in.parents[e]
	for {
		paren, ok := up.(*ast.ParenExpr)
		if !ok {
			break
		}
		e, up = paren, u.in.parents[paren]
	}
	here := []occasion{{caller: u.in, pos: e.Pos(), what: u.in.name}}
	switch up := up.(type) {
	case *ast.CallExpr:
		if up.Fun != e {
			return p.flowArgument(u, up, e, seen)
		}
		c := &call{in: u.in, expr: up}
		_, c.async = u.in.parents[up].(*ast.GoStmt)
		return []occasion{p.called(c)}
	case *ast.KeyValueExpr:
		if lit, ok := u.in.parents[up].(*ast.CompositeLit); ok {
			return p.flowField(u, lit, up, here)
		}
	case *ast.AssignStmt:
		for i, rhs := range up.Rhs {
			if rhs == e && len(up.Lhs) == len(up.Rhs) {
				return p.flowVariable(u, up.Lhs[i], here, seen)
			}
		}
	case *ast.ValueSpec:
		for i, v := range up.Values {
			if v == e && len(up.Names) == len(up.Values) {
				return p.flowVariable(u, up.Names[i], here, seen)
			}
		}
	case *ast.ReturnStmt:
		return p.flowResult(u.in, seen)
	}
	return here
}

// flowArgument follows a function into the function that it is given to.
func (p *program) flowArgument(u use, to *ast.CallExpr, arg ast.Expr, seen map[any]bool) []occasion {
	info := u.in.pkg.Info
	callee := calleeOf(info, to)
	at := func(r running, what string) []occasion {
		return []occasion{{running: r, caller: u.in, pos: to.Pos(), what: what}}
	}
	root := p.world.Path
	switch {
	case isFunc(callee, root+dbPackage, "DB.Tx"):
		return at(inTx, "a transaction")
	case isFunc(callee, root+eventPackage, "On"):
		return at(inTx, "an event handler")
	case isFunc(callee, root+dbPackage, "DB.AfterCommit"), isFunc(callee, "time", "AfterFunc"), isFunc(callee, "context", "AfterFunc"),
		isFunc(callee, "golang.org/x/sync/errgroup", "Group.Go"), isFunc(callee, "golang.org/x/sync/errgroup", "Group.TryGo"),
		isFunc(callee, "sync", "WaitGroup.Go"):
		return at(outside, shortName(callee)+" in "+u.in.name)
	}
	if looksLikeTx(callee) {
		return at(likelyTx, "a transaction")
	}
	if _, ok := u.in.parents[to].(*ast.GoStmt); ok {
		return at(outside, "go statement in "+u.in.name)
	}
	var all []occasion
	for _, target := range p.targetsOf(u.in, to) {
		if v := parameter(target, to, arg); v != nil {
			for _, of := range p.uses[v] {
				all = append(all, p.flow(of, seen)...)
			}
		}
	}
	if len(all) == 0 {
		return at(where, u.in.name)
	}
	return all
}

// looksLikeTx reports whether f is the method of an interface that db.DB may
// be behind.
func looksLikeTx(f *types.Func) bool {
	if f == nil || f.Name() != "Tx" || f.Signature().Recv() == nil || !types.IsInterface(f.Signature().Recv().Type()) {
		return false
	}
	params := f.Signature().Params()
	return params.Len() == 2 && isContext(params.At(0).Type())
}

func (p *program) targetsOf(n *node, expr *ast.CallExpr) []*node {
	for _, c := range n.calls {
		if c.expr == expr {
			return c.targets
		}
	}
	return nil
}

// parameter is the variable of target that receives the argument.
func parameter(target *node, to *ast.CallExpr, arg ast.Expr) *types.Var {
	i := 0
	for _, field := range target.typ.Params.List {
		for _, name := range field.Names {
			if i < len(to.Args) && to.Args[i] == arg {
				v, _ := target.pkg.Info.Defs[name].(*types.Var)
				return v
			}
			i++
		}
		if len(field.Names) == 0 {
			i++
		}
	}
	return nil
}

// flowField knows the fields of sagas; any other field keeps the function
// where it is.
func (p *program) flowField(u use, lit *ast.CompositeLit, kv *ast.KeyValueExpr, here []occasion) []occasion {
	t := u.in.pkg.Info.TypeOf(lit)
	key, _ := kv.Key.(*ast.Ident)
	switch {
	case key == nil:
	case isNamed(t, p.world.Path+sagaPackage, "Definition") && key.Name == "Failed":
		return []occasion{{running: inTx, caller: u.in, pos: kv.Pos(), what: "the end of a saga"}}
	case isNamed(t, p.world.Path+sagaPackage, "Step"):
		if local(u.in.pkg.Info, lit) {
			return []occasion{{running: inTx, caller: u.in, pos: kv.Pos(), what: "a local step of a saga"}}
		}
		return []occasion{{running: outside, caller: u.in, pos: kv.Pos(), what: "a remote step of a saga"}}
	case u.in.fn == nil && u.in.lit == nil:
		here[0].running = outside // a Spec
	}
	return here
}

func local(info *types.Info, step *ast.CompositeLit) bool {
	for _, e := range step.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok {
			if key, ok := kv.Key.(*ast.Ident); ok && key.Name == "Local" {
				v := info.Types[kv.Value].Value
				return v != nil && v.Kind() == constant.Bool && constant.BoolVal(v)
			}
		}
	}
	return false
}

func (p *program) flowVariable(u use, lhs ast.Expr, here []occasion, seen map[any]bool) []occasion {
	id, ok := lhs.(*ast.Ident)
	if !ok {
		return here
	}
	var all []occasion
	for _, of := range p.uses[u.in.pkg.Info.ObjectOf(id)] {
		all = append(all, p.flow(of, seen)...)
	}
	return all
}

// flowResult follows what a function returns to where that is used.
func (p *program) flowResult(n *node, seen map[any]bool) []occasion {
	var all []occasion
	for _, c := range n.callers {
		all = append(all, p.flow(use{c.in, c.expr}, seen)...)
	}
	if len(all) == 0 {
		return []occasion{{running: outside, pos: n.pos, what: n.name + " returns it"}}
	}
	return all
}

// findTransactional returns the functions that only ever run in a transaction.
func (p *program) findTransactional() map[*node]bool {
	ways := make(map[*node][]occasion, len(p.nodes))
	in := make(map[*node]bool, len(p.nodes))
	for _, n := range p.nodes {
		ways[n] = p.occasions(n)
		in[n] = len(ways[n]) > 0
	}
	for changed := true; changed; {
		changed = false
		for _, n := range p.nodes {
			if in[n] && !everyOccasion(ways[n], in) {
				in[n], changed = false, true
			}
		}
	}
	p.ways = ways
	return in
}

func everyOccasion(ways []occasion, in map[*node]bool) bool {
	for _, o := range ways {
		if o.running != inTx && o.running != likelyTx && (o.running != where || o.caller == nil || !in[o.caller]) {
			return false
		}
	}
	return true
}

// outsideChain is the shortest way on which n comes to run without a
// transaction, the caller first.
func (p *program) outsideChain(n *node) []Link {
	type step struct {
		n    *node
		from *step
		link Link
	}
	seen := map[*node]bool{n: true}
	queue := []*step{{n: n}}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		next := false
		for _, o := range p.ways[s.n] {
			if o.running == inTx || o.running == likelyTx || o.caller != nil && o.running == where && (seen[o.caller] || p.transactional[o.caller]) {
				continue
			}
			if o.caller == nil || o.running != where {
				return unwind(&step{from: s, link: Link{What: o.what, Pos: p.world.at(o.pos)}}, func(s *step) (*step, Link) { return s.from, s.link })
			}
			seen[o.caller], next = true, true
			queue = append(queue, &step{n: o.caller, from: s, link: Link{What: o.what, Pos: p.world.at(o.pos)}})
		}
		if !next {
			return unwind(s, func(s *step) (*step, Link) { return s.from, s.link })
		}
	}
	return nil
}

func unwind[S comparable](s S, back func(S) (S, Link)) []Link {
	var links []Link
	var zero S
	for s != zero {
		from, link := back(s)
		if link.What != "" {
			links = append(links, link)
		}
		s = from
	}
	return links
}

// sometimesTransactional returns the functions that may run in a transaction,
// each with the occasion on the shortest way.
func (p *program) sometimesTransactional() map[*node]occasion {
	found := map[*node]occasion{}
	for changed := true; changed; {
		changed = false
		for _, n := range p.nodes {
			if _, ok := found[n]; ok {
				continue
			}
			for _, o := range p.ways[n] {
				_, callerIs := found[o.caller]
				if o.running == inTx || o.running == where && o.caller != nil && callerIs {
					found[n], changed = o, true
					break
				}
			}
		}
	}
	return found
}
