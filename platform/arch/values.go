package arch

import (
	"go/ast"
	"go/token"
	"go/types"
)

// valueTypes are the concrete types that an expression of interface type may
// have, as far as assignments, calls and results in the module tell.
func (p *program) valueTypes(n *node, e ast.Expr, seen map[any]bool) []types.Type {
	e = ast.Unparen(e)
	t := n.pkg.Info.TypeOf(e)
	if t == nil || seen[e] {
		return nil
	}
	if !types.IsInterface(t) {
		return []types.Type{t}
	}
	seen[e] = true
	var all []types.Type
	switch e := e.(type) {
	case *ast.CallExpr:
		if n.pkg.Info.Types[e.Fun].IsType() && len(e.Args) == 1 {
			return p.valueTypes(n, e.Args[0], seen)
		}
		for _, target := range p.targetsOf(n, e) {
			for _, r := range target.returns {
				if len(r.Results) > 0 {
					all = append(all, p.valueTypes(target, r.Results[0], seen)...)
				}
			}
		}
	case *ast.TypeAssertExpr:
		return p.valueTypes(n, e.X, seen)
	case *ast.IndexExpr:
		return p.elementTypes(n, e.X, seen)
	case *ast.Ident:
		obj := n.pkg.Info.ObjectOf(e)
		if obj == nil || seen[obj] {
			return nil
		}
		seen[obj] = true
		all = append(all, p.assignedTypes(n, obj, seen)...)
		all = append(all, p.parameterTypes(n, obj, seen)...)
	}
	return all
}

// assignedTypes are the types of what a local variable is set to.
func (p *program) assignedTypes(n *node, obj types.Object, seen map[any]bool) []types.Type {
	for n.parent != nil && (obj.Pos() < n.body.Pos() || obj.Pos() > n.body.End()) {
		n = n.parent
	}
	var all []types.Type
	info := n.pkg.Info
	ast.Inspect(n.body, func(x ast.Node) bool {
		switch x := x.(type) {
		case *ast.AssignStmt:
			for i, lhs := range x.Lhs {
				if objectOf(info, lhs) == obj && len(x.Lhs) == len(x.Rhs) {
					all = append(all, p.valueTypes(n, x.Rhs[i], seen)...)
				}
			}
		case *ast.ValueSpec:
			for i, name := range x.Names {
				if info.Defs[name] == obj && i < len(x.Values) {
					all = append(all, p.valueTypes(n, x.Values[i], seen)...)
				}
			}
		case *ast.RangeStmt:
			if x.Value != nil && objectOf(info, x.Value) == obj {
				all = append(all, p.elementTypes(n, x.X, seen)...)
			}
		}
		return true
	})
	return all
}

// elementTypes are the types of the elements of a list.
func (p *program) elementTypes(n *node, list ast.Expr, seen map[any]bool) []types.Type {
	var all []types.Type
	switch list := ast.Unparen(list).(type) {
	case *ast.CompositeLit:
		for _, e := range list.Elts {
			if kv, ok := e.(*ast.KeyValueExpr); ok {
				e = kv.Value
			}
			all = append(all, p.valueTypes(n, e, seen)...)
		}
	case *ast.Ident:
		obj := n.pkg.Info.ObjectOf(list)
		ast.Inspect(n.body, func(x ast.Node) bool {
			if a, ok := x.(*ast.AssignStmt); ok && len(a.Lhs) == 1 && len(a.Rhs) == 1 && objectOf(n.pkg.Info, a.Lhs[0]) == obj && a.Tok != token.ADD_ASSIGN {
				if lit, ok := a.Rhs[0].(*ast.CompositeLit); ok {
					all = append(all, p.elementTypes(n, lit, seen)...)
				}
			}
			return true
		})
	}
	return all
}

// parameterTypes are the types of what the module's calls give to a parameter.
func (p *program) parameterTypes(n *node, obj types.Object, seen map[any]bool) []types.Type {
	var all []types.Type
	for ; n != nil; n = n.parent {
		if n.typ == nil {
			continue
		}
		for _, c := range n.callers {
			for _, arg := range c.expr.Args {
				if v := parameter(n, c.expr, arg); v != nil && v == obj {
					all = append(all, p.valueTypes(c.in, arg, seen)...)
				}
			}
		}
	}
	return all
}
