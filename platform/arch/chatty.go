package arch

import (
	"go/ast"
	"go/token"
	"go/types"
)

// chattyLoop reports calls of other modules, direct or through functions of
// the module, that are made once for each element of something: inside a loop,
// with arguments that depend on the element. A call with a list of elements is
// the batch form. A call that does not depend on the element is a retry.
func chattyLoop(p *pass) {
	prog := p.program(p.module.Name)
	for _, n := range prog.nodes {
		n.inspect(func(x ast.Node) bool {
			if body, elements := prog.loop(n, x); body != nil {
				p.callsPerElement(prog, n, body, elements)
			}
			return true
		})
	}
}

// loop returns the body of a loop and the variables that are its elements, or
// say which one it is.
func (p *program) loop(n *node, x ast.Node) (*ast.BlockStmt, map[types.Object]bool) {
	info := n.pkg.Info
	elements := map[types.Object]bool{}
	add := func(e ast.Expr) {
		if e == nil {
			return
		}
		if obj := objectOf(info, e); obj != nil && !isList(obj.Type()) {
			elements[obj] = true
		}
	}
	switch x := x.(type) {
	case *ast.RangeStmt:
		add(x.Key)
		add(x.Value)
		return x.Body, elements
	case *ast.ForStmt:
		if init, ok := x.Init.(*ast.AssignStmt); ok {
			for _, lhs := range init.Lhs {
				add(lhs)
			}
		} else {
			workList(info, x.Body, add)
		}
		return x.Body, elements
	case *ast.CallExpr: // sync.Map.Range, and functions that call what they are given once per element
		for _, arg := range x.Args {
			lit, ok := ast.Unparen(arg).(*ast.FuncLit)
			if !ok || !p.runsPerElement(n, x, arg) {
				continue
			}
			for _, field := range lit.Type.Params.List {
				for _, name := range field.Names {
					if !isContext(info.TypeOf(name)) {
						add(name)
					}
				}
			}
			return lit.Body, elements
		}
	}
	return nil, nil
}

// workList finds the elements that a loop without a counter takes from a list
// or receives.
func workList(info *types.Info, body *ast.BlockStmt, add func(ast.Expr)) {
	shrinks := map[types.Object]bool{}
	ast.Inspect(body, func(n ast.Node) bool {
		if a, ok := n.(*ast.AssignStmt); ok {
			for i, rhs := range a.Rhs {
				if s, ok := rhs.(*ast.SliceExpr); ok && len(a.Lhs) == len(a.Rhs) && objectOf(info, a.Lhs[i]) == objectOf(info, s.X) {
					shrinks[objectOf(info, s.X)] = true
				}
			}
		}
		return true
	})
	ast.Inspect(body, func(n ast.Node) bool {
		if a, ok := n.(*ast.AssignStmt); ok {
			for i, rhs := range a.Rhs {
				switch rhs := rhs.(type) {
				case *ast.IndexExpr:
					if shrinks[objectOf(info, rhs.X)] {
						add(a.Lhs[i])
					}
				case *ast.UnaryExpr:
					if rhs.Op == token.ARROW {
						add(a.Lhs[i])
					}
				}
			}
		}
		return true
	})
}

// runsPerElement reports whether a function that is given to a call runs once
// per element of something.
func (p *program) runsPerElement(n *node, to *ast.CallExpr, arg ast.Expr) bool {
	if isFunc(calleeOf(n.pkg.Info, to), "sync", "Map.Range") {
		return true
	}
	for _, target := range p.targetsOf(n, to) {
		v := parameter(target, to, arg)
		if v == nil {
			continue
		}
		perElement := false
		target.inspect(func(x ast.Node) bool {
			if loop, ok := x.(*ast.RangeStmt); ok {
				ast.Inspect(loop.Body, func(y ast.Node) bool {
					if call, ok := y.(*ast.CallExpr); ok && objectOf(target.pkg.Info, call.Fun) == v {
						perElement = true
					}
					return true
				})
			}
			return true
		})
		if perElement {
			return true
		}
	}
	return false
}

func isList(t types.Type) bool {
	switch t.Underlying().(type) {
	case *types.Slice, *types.Array, *types.Map:
		return true
	}
	return false
}

func (p *pass) callsPerElement(prog *program, n *node, body *ast.BlockStmt, elements map[types.Object]bool) {
	info := n.pkg.Info
	spread(info, body, elements)
	ast.Inspect(body, func(x ast.Node) bool {
		expr, ok := x.(*ast.CallExpr)
		if !ok {
			return true
		}
		c := prog.callOf(n, expr)
		if c == nil || !prog.isRemote(c) && !prog.leads(c, prog.remote) {
			return true
		}
		for _, arg := range expr.Args {
			if !isContext(info.TypeOf(arg)) && mentions(info, arg, elements) {
				chain := prog.chain(c, prog.remote)
				if prog.isRemote(c) {
					chain = nil
				}
				p.at(expr.Pos(), chain, "%s calls another module for each element of a loop", n.name)
				return false
			}
		}
		return true
	})
}

// callOf finds a call in a node or in the functions inside it.
func (p *program) callOf(n *node, expr *ast.CallExpr) *call {
	for _, m := range p.nodes {
		if m.body.Pos() > expr.Pos() || m.body.End() < expr.End() || m.pkg != n.pkg {
			continue
		}
		for _, c := range m.calls {
			if c.expr == expr {
				return c
			}
		}
	}
	return nil
}

// spread adds the variables that are made from elements.
func spread(info *types.Info, body *ast.BlockStmt, elements map[types.Object]bool) {
	ast.Inspect(body, func(n ast.Node) bool {
		if a, ok := n.(*ast.AssignStmt); ok {
			for i, lhs := range a.Lhs {
				obj, rhs := objectOf(info, lhs), a.Rhs[min(i, len(a.Rhs)-1)]
				if obj == nil || isError(obj.Type()) || isContext(obj.Type()) {
					continue
				}
				if _, single := rhs.(*ast.CompositeLit); isList(obj.Type()) && !single {
					continue
				}
				if body.Pos() <= obj.Pos() && obj.Pos() < body.End() && mentions(info, rhs, elements) {
					elements[obj] = true
				}
			}
		}
		return true
	})
}

func mentions(info *types.Info, e ast.Expr, objs map[types.Object]bool) bool {
	found := false
	ast.Inspect(e, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && objs[info.Uses[id]] {
			found = true
		}
		return !found
	})
	return found
}
