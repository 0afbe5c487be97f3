package arch

import (
	"go/ast"
	"go/token"
	"go/types"
	"maps"
	"strings"
)

// untranslatedError follows the errors of calls of other modules to where a
// function returns them as they came.
func untranslatedError(p *pass) {
	prog := p.program(p.module.Name)
	t := &tracer{program: prog, leaks: map[*node]leak{}, passing: map[*node]bool{}}
	for changed := true; changed; {
		changed = false
		for _, n := range prog.nodes {
			if _, known := t.leaks[n]; known || n.pkg.Layer == "v1" || n.typ == nil {
				continue
			}
			if l, ok := t.trace(n, nil); ok {
				t.leaks[n], changed = l, true
			}
		}
	}
	for n, l := range t.leaks {
		if t.leaves(n) {
			p.at(l.returned, []Link{
				{What: "the error comes from " + l.what, Pos: p.world.at(l.from)}, {What: n.name + " returns it", Pos: p.world.at(l.returned)},
			}, "%s returns an error of another module as its own", n.name)
		}
	}
	p.embeddedClients()
}

// embeddedClients reports structs whose promoted methods are another module's.
func (p *pass) embeddedClients() {
	for _, pkg := range p.world.Packages {
		if pkg.Module != p.module.Name || pkg.Info == nil || pkg.Layer == "v1" {
			continue
		}
		for _, f := range pkg.Files {
			ast.Inspect(f.AST, func(n ast.Node) bool {
				st, ok := n.(*ast.StructType)
				if !ok || f.Test {
					return !f.Test
				}
				for _, field := range st.Fields.List {
					if to, ok := p.world.clientType(pkg.Info.TypeOf(field.Type)); ok && len(field.Names) == 0 && to != pkg.Module {
						p.at(field.Pos(), nil, "a struct of %s embeds the client of module %s, whose methods return errors as they came", pkg.Dir, to)
					}
				}
				return true
			})
		}
	}
}

// leak is where an error comes from and where a function returns it.
type leak struct {
	what     string
	from     token.Pos
	returned token.Pos
}

// tracer finds functions whose error results are those of other modules.
type tracer struct {
	program *program
	leaks   map[*node]leak
	passing map[*node]bool // functions being asked whether they pass an error on
}

// leaves reports whether what n returns goes to somebody who takes it for an
// error of this module: not to a function of its own package alone.
func (t *tracer) leaves(n *node) bool {
	if n.lit != nil {
		for _, o := range t.program.ways[n] {
			if strings.Contains(o.what, "saga") || o.what == "an event handler" {
				return true
			}
		}
		return false
	}
	if n.fn.Exported() || len(t.program.references(n.fn)) > 0 {
		return true
	}
	for _, c := range n.callers {
		if c.in.pkg != n.pkg || c.callee != nil && c.callee.Signature().Recv() != nil && types.IsInterface(c.callee.Signature().Recv().Type()) {
			return true
		}
	}
	return len(n.callers) == 0
}

// state is the variables that hold a remote error, with where it came from.
type state map[types.Object]source

type source struct {
	what string
	from token.Pos
}

// trace runs through a function. given is a parameter that holds a remote
// error, or nil.
func (t *tracer) trace(n *node, given types.Object) (leak, bool) {
	r := &run{tracer: t, n: n, info: n.pkg.Info, vars: state{}}
	if given != nil {
		r.vars[given] = source{what: given.Name(), from: given.Pos()}
	}
	if body, ok := n.body.(*ast.BlockStmt); ok {
		r.block(body.List)
	}
	return r.found, r.leaked
}

// run is one way through a function, statement by statement.
type run struct {
	*tracer
	n      *node
	info   *types.Info
	vars   state
	found  leak
	leaked bool
}

func (r *run) block(list []ast.Stmt) {
	for _, s := range list {
		r.stmt(s)
	}
}

// branches runs each branch from the same state and keeps what any leaves.
func (r *run) branches(list ...func()) {
	before, after := maps.Clone(r.vars), state{}
	for _, branch := range list {
		r.vars = maps.Clone(before)
		branch()
		maps.Copy(after, r.vars)
	}
	r.vars = after
}

func (r *run) stmt(s ast.Stmt) {
	switch s := s.(type) {
	case *ast.AssignStmt:
		r.assign(s.Lhs, s.Rhs)
	case *ast.DeclStmt:
		if g, ok := s.Decl.(*ast.GenDecl); ok && g.Tok == token.VAR {
			for _, spec := range g.Specs {
				v := spec.(*ast.ValueSpec)
				lhs := make([]ast.Expr, len(v.Names))
				for i, name := range v.Names {
					lhs[i] = name
				}
				r.assign(lhs, v.Values)
			}
		}
	case *ast.ExprStmt:
		r.eval(s.X)
	case *ast.ReturnStmt:
		r.ret(s)
	case *ast.BlockStmt:
		r.block(s.List)
	case *ast.LabeledStmt:
		r.stmt(s.Stmt)
	case *ast.IfStmt:
		if s.Init != nil {
			r.stmt(s.Init)
		}
		r.eval(s.Cond)
		r.branches(func() { r.block(s.Body.List) }, func() {
			if s.Else != nil {
				r.stmt(s.Else)
			}
		})
	case *ast.ForStmt:
		if s.Init != nil {
			r.stmt(s.Init)
		}
		r.branches(func() { r.block(s.Body.List); r.block(s.Body.List) }, func() {})
	case *ast.RangeStmt:
		r.branches(func() { r.block(s.Body.List); r.block(s.Body.List) }, func() {})
	case *ast.SwitchStmt:
		if s.Init != nil {
			r.stmt(s.Init)
		}
		r.cases(s.Body)
	case *ast.TypeSwitchStmt:
		r.cases(s.Body)
	case *ast.SelectStmt:
		r.cases(s.Body)
	}
}

func (r *run) cases(body *ast.BlockStmt) {
	branches := []func(){func() {}}
	for _, c := range body.List {
		branches = append(branches, func() {
			switch c := c.(type) {
			case *ast.CaseClause:
				r.block(c.Body)
			case *ast.CommClause:
				r.block(c.Body)
			}
		})
	}
	r.branches(branches...)
}

func (r *run) assign(lhs, rhs []ast.Expr) {
	for i, l := range lhs {
		if len(rhs) == 0 {
			continue
		}
		e := rhs[min(i, len(rhs)-1)]
		obj := objectOf(r.info, l)
		if obj == nil || !isError(obj.Type()) {
			if i == 0 && len(rhs) == 1 && len(lhs) == 1 {
				r.eval(e)
			}
			continue
		}
		if src, ok := r.eval(e); ok {
			r.vars[obj] = src
		} else {
			delete(r.vars, obj)
		}
	}
}

func (r *run) ret(s *ast.ReturnStmt) {
	if r.leaked {
		return
	}
	for _, e := range s.Results {
		if t := r.info.TypeOf(e); !isError(t) && !isTuple(t) {
			continue
		}
		if src, ok := r.eval(e); ok {
			r.found, r.leaked = leak{what: src.what, from: src.from, returned: s.Pos()}, true
			return
		}
	}
	if len(s.Results) == 0 && r.n.typ.Results != nil {
		for _, field := range r.n.typ.Results.List {
			for _, name := range field.Names {
				if src, ok := r.vars[r.info.Defs[name]]; ok {
					r.found, r.leaked = leak{what: src.what, from: src.from, returned: s.Pos()}, true
				}
			}
		}
	}
}

func isTuple(t types.Type) bool {
	_, ok := t.(*types.Tuple)
	return ok
}

// eval is whether an expression is, or holds, a remote error.
func (r *run) eval(e ast.Expr) (source, bool) {
	switch e := ast.Unparen(e).(type) {
	case *ast.Ident:
		src, ok := r.vars[r.info.ObjectOf(e)]
		return src, ok
	case *ast.TypeAssertExpr:
		return r.eval(e.X)
	case *ast.StarExpr:
		return r.eval(e.X)
	case *ast.UnaryExpr:
		return r.eval(e.X)
	case *ast.CompositeLit: // an error of the module's own that holds it, and unwraps to it
		for _, el := range e.Elts {
			if kv, ok := el.(*ast.KeyValueExpr); ok {
				el = kv.Value
			}
			if src, ok := r.eval(el); ok {
				return src, true
			}
		}
	case *ast.BinaryExpr:
		r.eval(e.X)
		r.eval(e.Y)
	case *ast.CallExpr:
		return r.call(e)
	}
	return source{}, false
}

func (r *run) call(e *ast.CallExpr) (source, bool) {
	c := &call{in: r.n, expr: e, callee: calleeOf(r.info, e)}
	if r.program.isRemote(c) {
		return source{what: types.ExprString(e.Fun), from: e.Pos()}, true
	}
	var tainted []int
	var from source
	for i, arg := range e.Args {
		if src, ok := r.eval(arg); ok {
			tainted, from = append(tainted, i), src
		}
	}
	if isFunc(c.callee, "errors", "As") && len(tainted) > 0 {
		if u, ok := e.Args[1].(*ast.UnaryExpr); ok {
			r.vars[objectOf(r.info, u.X)] = from
		}
		return source{}, false
	}
	if !r.yieldsError(e) {
		return source{}, false
	}
	if sel, ok := e.Fun.(*ast.SelectorExpr); ok {
		if src, ok := r.eval(sel.X); ok {
			return src, true // f.With(…) of a remote fault is that fault
		}
	}
	for _, target := range r.program.targetsOf(r.n, e) {
		if l, ok := r.leaks[target]; ok && target.pkg == r.n.pkg {
			return source{what: l.what, from: l.from}, true
		}
		for _, i := range tainted {
			if r.passes(target, e, i) {
				return from, true
			}
		}
	}
	for _, arg := range e.Args { // retry(func() error { … })
		if lit, ok := ast.Unparen(arg).(*ast.FuncLit); ok {
			if l, ok := r.leaks[r.program.lits[lit]]; ok {
				return source{what: l.what, from: l.from}, true
			}
		}
	}
	return from, len(tainted) > 0 && r.wraps(c.callee)
}

func (r *run) yieldsError(e *ast.CallExpr) bool {
	t := r.info.TypeOf(e)
	if tuple, ok := t.(*types.Tuple); ok {
		return tuple.Len() > 0 && isError(tuple.At(tuple.Len()-1).Type())
	}
	return isError(t)
}

// wraps lists the functions that return what they are given, in other paper.
func (r *run) wraps(f *types.Func) bool {
	root := r.program.world.Path
	return isFunc(f, "fmt", "Errorf") || isFunc(f, "errors", "Join") || isFunc(f, "errors", "Unwrap") || isFunc(f, root+faultPackage, "From") ||
		isFunc(f, "google.golang.org/grpc/status", "Convert") || isFunc(f, "google.golang.org/grpc/status", "FromError")
}

// passes reports whether target returns its i-th argument as it came.
func (r *run) passes(target *node, e *ast.CallExpr, i int) bool {
	v := parameter(target, e, e.Args[i])
	if v == nil || r.passing[target] {
		return false
	}
	r.passing[target] = true
	defer delete(r.passing, target)
	_, ok := r.trace(target, v)
	return ok
}
