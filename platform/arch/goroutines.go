package arch

import (
	"go/ast"
	"go/types"
)

// goroutines reports what starts a goroutine and does not see to its end. It
// must end with a context, by a receive from Done in the goroutine itself, or
// be waited for in the package: by the Wait of the group that counts it, or by
// a receive from a channel that it closes or sends on.
func goroutines(p *pass) {
	if p.pkg.Module == "" || p.pkg.Info == nil || p.pkg.Layer == "v1" {
		return
	}
	g := &launches{
		info: p.pkg.Info, waited: map[types.Object]bool{}, detached: map[types.Object]bool{}, bodies: map[types.Object]*ast.BlockStmt{},
		timers: map[types.Object]*ast.CallExpr{}, stopped: map[*ast.CallExpr]bool{},
	}
	for _, f := range p.pkg.Files {
		if !f.Test {
			ast.Inspect(f.AST, g.collect)
		}
	}
	for _, f := range p.pkg.Files {
		if f.Test {
			continue
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				if !g.ends(g.body(n.Call.Fun)) {
					p.at(n.Pos(), nil, "module %s starts a goroutine that nothing ends and nobody waits for", p.pkg.Module)
				}
			case *ast.CallExpr:
				p.launch(g, n)
			}
			return true
		})
	}
}

// launch reports the functions of libraries that start goroutines.
func (p *pass) launch(g *launches, call *ast.CallExpr) {
	callee := calleeOf(g.info, call)
	switch {
	case isFunc(callee, "sync", "WaitGroup.Go"), isFunc(callee, "golang.org/x/sync/errgroup", "Group.Go"), isFunc(callee, "golang.org/x/sync/errgroup", "Group.TryGo"):
		if sel, ok := call.Fun.(*ast.SelectorExpr); ok && !g.waited[objectOf(g.info, sel.X)] && !g.ends(g.body(call.Args[0])) {
			p.at(call.Pos(), nil, "module %s starts a goroutine in a group that nobody waits for", p.pkg.Module)
		}
	case isFunc(callee, "time", "AfterFunc"):
		if isNamed(g.info.TypeOf(call.Args[1]), "context", "CancelFunc") || g.stopped[call] {
			return
		}
		p.at(call.Pos(), nil, "module %s starts a timer that nobody stops", p.pkg.Module)
	}
}

// launches is what a package does with goroutines.
type launches struct {
	info *types.Info
	// waited are the groups whose Wait is called, and the channels that are
	// received from.
	waited map[types.Object]bool
	// detached are the contexts that nothing of the module's stop ends.
	detached map[types.Object]bool
	bodies   map[types.Object]*ast.BlockStmt // of functions, also those in variables
	stopped  map[*ast.CallExpr]bool          // timers that are stopped
	timers   map[types.Object]*ast.CallExpr
}

func (g *launches) collect(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.FuncDecl:
		g.bodies[g.info.Defs[n.Name]] = n.Body
	case *ast.UnaryExpr:
		if n.Op.String() == "<-" {
			g.waited[objectOf(g.info, n.X)] = true
		}
	case *ast.RangeStmt:
		if t := g.info.TypeOf(n.X); t != nil {
			if _, ok := t.Underlying().(*types.Chan); ok {
				g.waited[objectOf(g.info, n.X)] = true
			}
		}
	case *ast.CallExpr:
		if sel, ok := n.Fun.(*ast.SelectorExpr); ok {
			switch f := calleeOf(g.info, n); {
			case isFunc(f, "sync", "WaitGroup.Wait"), isFunc(f, "golang.org/x/sync/errgroup", "Group.Wait"):
				g.waited[objectOf(g.info, sel.X)] = true
			case isFunc(f, "time", "Timer.Stop"):
				g.stopped[g.timers[objectOf(g.info, sel.X)]] = true
			}
		}
	case *ast.AssignStmt:
		for i, lhs := range n.Lhs {
			g.assign(objectOf(g.info, lhs), n.Rhs[min(i, len(n.Rhs)-1)])
		}
	}
	return true
}

func (g *launches) assign(to types.Object, value ast.Expr) {
	switch value := ast.Unparen(value).(type) {
	case *ast.FuncLit:
		g.bodies[to] = value.Body
	case *ast.CallExpr:
		if isFunc(calleeOf(g.info, value), "time", "AfterFunc") {
			g.timers[to] = value
		}
		if to != nil && isContext(to.Type()) && g.isDetached(value) {
			g.detached[to] = true
		}
	}
}

// isDetached reports whether a context begins at nothing.
func (g *launches) isDetached(e ast.Expr) bool {
	switch e := ast.Unparen(e).(type) {
	case *ast.Ident, *ast.SelectorExpr:
		return g.detached[objectOf(g.info, e)]
	case *ast.CallExpr:
		f := calleeOf(g.info, e)
		if isFunc(f, "context", "Background") || isFunc(f, "context", "TODO") || isFunc(f, "context", "WithoutCancel") {
			return true
		}
		return f != nil && f.Pkg() != nil && f.Pkg().Path() == "context" && len(e.Args) > 0 && g.isDetached(e.Args[0])
	}
	return false
}

// body is that of a function which is started, when it is in the package.
func (g *launches) body(fun ast.Expr) *ast.BlockStmt {
	if lit, ok := ast.Unparen(fun).(*ast.FuncLit); ok {
		return lit.Body
	}
	return g.bodies[objectOf(g.info, fun)]
}

// ends reports whether something ends a goroutine or waits for it.
func (g *launches) ends(body *ast.BlockStmt) bool {
	if body == nil {
		return false
	}
	found := false
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.UnaryExpr:
			if call, ok := n.X.(*ast.CallExpr); ok && n.Op.String() == "<-" && isFunc(calleeOf(g.info, call), "context", "Context.Done") {
				if sel, ok := call.Fun.(*ast.SelectorExpr); ok && !g.isDetached(sel.X) {
					found = true
				}
			}
		case *ast.SendStmt:
			found = found || g.waited[objectOf(g.info, n.Chan)]
		case *ast.CallExpr:
			if sel, ok := n.Fun.(*ast.SelectorExpr); ok && isFunc(calleeOf(g.info, n), "sync", "WaitGroup.Done") {
				found = found || g.waited[objectOf(g.info, sel.X)]
			}
			if id, ok := n.Fun.(*ast.Ident); ok && id.Name == "close" && len(n.Args) == 1 {
				found = found || g.waited[objectOf(g.info, n.Args[0])]
			}
		}
		return !found
	})
	return found
}
