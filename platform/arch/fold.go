package arch

import (
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"maps"
	"slices"
	"strings"

	"cleave/platform/arch/sqltext"
)

// Limits of what the folder follows. Beyond them a text is unknown.
const (
	maxTexts = 16 // that one expression may be
	maxDepth = 12 // of variables and calls
)

// folded is a text with the places that its parts come from.
type folded []part

type part struct {
	text string
	pos  token.Pos // of the literal or the expression
	// exact means that byte i of text stands at pos+1+i.
	exact bool
}

func (f folded) String() string {
	var b strings.Builder
	for _, p := range f {
		b.WriteString(p.text)
	}
	return b.String()
}

// at is where the byte at an offset comes from.
func (f folded) at(offset int) token.Pos {
	for _, p := range f {
		if offset < len(p.text) {
			if p.exact {
				return p.pos + 1 + token.Pos(offset)
			}
			return p.pos
		}
		offset -= len(p.text)
	}
	return token.NoPos
}

// folder finds the texts that string expressions of some packages may be: by
// constants, concatenation, variables, parameters, fields, and the functions
// that programs put texts together with. What it cannot tell is
// sqltext.Unknown.
type folder struct {
	info     *types.Info
	assigned map[types.Object][]assignment
	appended map[types.Object][]ast.Expr // what is written to a strings.Builder, in order
	calls    map[*types.Func][]*ast.CallExpr
	decls    map[*types.Func]*ast.FuncDecl
	lits     map[types.Object]*ast.FuncLit // functions in variables
}

type assignment struct {
	value ast.Expr
	tok   token.Token
}

func newFolder(pkgs ...*Package) *folder {
	f := &folder{
		info: mergedInfo(pkgs), assigned: map[types.Object][]assignment{}, appended: map[types.Object][]ast.Expr{},
		calls: map[*types.Func][]*ast.CallExpr{}, decls: map[*types.Func]*ast.FuncDecl{}, lits: map[types.Object]*ast.FuncLit{},
	}
	for _, pkg := range pkgs {
		for _, file := range pkg.Files {
			if !file.Test {
				ast.Inspect(file.AST, f.collect)
			}
		}
	}
	return f
}

// mergedInfo knows the expressions of all packages.
func mergedInfo(pkgs []*Package) *types.Info {
	if len(pkgs) == 1 {
		return pkgs[0].Info
	}
	info := newInfo()
	for _, pkg := range pkgs {
		maps.Copy(info.Types, pkg.Info.Types)
		maps.Copy(info.Defs, pkg.Info.Defs)
		maps.Copy(info.Uses, pkg.Info.Uses)
	}
	return info
}

func (f *folder) collect(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.AssignStmt:
		if len(n.Lhs) == len(n.Rhs) {
			for i, lhs := range n.Lhs {
				f.assign(objectOf(f.info, lhs), n.Rhs[i], n.Tok)
			}
		}
	case *ast.RangeStmt:
		if n.Value != nil {
			f.assign(objectOf(f.info, n.Value), n.X, token.RANGE)
		}
	case *ast.ValueSpec:
		for i, name := range n.Names {
			if i < len(n.Values) {
				f.assign(f.info.Defs[name], n.Values[i], token.ASSIGN)
			}
		}
	case *ast.KeyValueExpr:
		if id, ok := n.Key.(*ast.Ident); ok {
			if v, ok := f.info.Uses[id].(*types.Var); ok && v.IsField() {
				f.assign(v, n.Value, token.ASSIGN)
			}
		}
	case *ast.CallExpr:
		callee := calleeOf(f.info, n)
		if callee != nil {
			f.calls[callee] = append(f.calls[callee], n)
		}
		if isFunc(callee, "strings", "Builder.WriteString") || isFunc(callee, "bytes", "Buffer.WriteString") {
			f.append(n.Fun.(*ast.SelectorExpr).X, n.Args[0])
		} else if isFunc(callee, "fmt", "Fprintf") && len(n.Args) > 1 {
			f.append(n.Args[0], n)
		}
	case *ast.FuncDecl:
		if fn, ok := f.info.Defs[n.Name].(*types.Func); ok && n.Body != nil {
			f.decls[fn] = n
		}
	}
	return true
}

func (f *folder) assign(to types.Object, value ast.Expr, tok token.Token) {
	if to == nil {
		return
	}
	if lit, ok := value.(*ast.FuncLit); ok {
		f.lits[to] = lit
	}
	if isString(to.Type()) || isStringList(to.Type()) {
		f.assigned[to] = append(f.assigned[to], assignment{value, tok})
	}
}

func (f *folder) append(to, what ast.Expr) {
	if unary, ok := to.(*ast.UnaryExpr); ok {
		to = unary.X
	}
	if obj := objectOf(f.info, to); obj != nil {
		f.appended[obj] = append(f.appended[obj], what)
	}
}

// isStringList reports whether t is a list or a map of strings.
func isStringList(t types.Type) bool {
	switch t := t.Underlying().(type) {
	case *types.Slice:
		return isString(t.Elem())
	case *types.Array:
		return isString(t.Elem())
	case *types.Map:
		return isString(t.Elem())
	}
	return false
}

// bindings are the texts of parameters in the call that is being followed.
type bindings map[types.Object][]folded

func unknownText(e ast.Expr) []folded {
	return []folded{{{text: sqltext.Unknown, pos: e.Pos()}}}
}

// texts are what e may be.
func (f *folder) texts(e ast.Expr) []folded { return f.eval(e, nil, 0) }

func (f *folder) eval(e ast.Expr, in bindings, depth int) []folded {
	if depth > maxDepth {
		return unknownText(e)
	}
	switch e := ast.Unparen(e).(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			s := constant.StringVal(constant.MakeFromLiteral(e.Value, e.Kind, 0))
			return []folded{{{text: s, pos: e.Pos(), exact: len(s)+2 == len(e.Value)}}}
		}
	case *ast.BinaryExpr:
		if e.Op == token.ADD {
			return product(f.eval(e.X, in, depth+1), f.eval(e.Y, in, depth+1))
		}
	case *ast.CallExpr:
		if found := f.call(e, in, depth+1); found != nil {
			return found
		}
	case *ast.IndexExpr:
		if list := f.list(e.X, in, depth+1); list != nil {
			return limit(slices.Concat(list...))
		}
	case *ast.Ident, *ast.SelectorExpr:
		if f.info.Types[e].Value == nil {
			if found := f.variable(objectOf(f.info, e), in, depth+1); found != nil {
				return found
			}
		}
	}
	if v := f.info.Types[e].Value; v != nil && v.Kind() == constant.String {
		return []folded{{{text: constant.StringVal(v), pos: e.Pos()}}}
	}
	return unknownText(e)
}

func limit(texts []folded) []folded { return texts[:min(len(texts), maxTexts)] }

func product(xs, ys []folded) []folded {
	var all []folded
	for _, x := range xs {
		for _, y := range ys {
			all = append(all, slices.Concat(x, y))
		}
	}
	return limit(all)
}

// variable is what a variable, a parameter or a field may hold.
func (f *folder) variable(obj types.Object, in bindings, depth int) []folded {
	if obj == nil {
		return nil
	}
	if bound, ok := in[obj]; ok {
		return bound
	}
	var all []folded
	for _, a := range f.assigned[obj] {
		if !isString(obj.Type()) || depth > maxDepth {
			return nil
		}
		var texts []folded
		if a.tok == token.RANGE {
			texts = limit(slices.Concat(f.list(a.value, in, depth+2)...))
		} else {
			texts = f.eval(a.value, in, depth+2)
		}
		if a.tok == token.ADD_ASSIGN && len(all) > 0 {
			all = product(all, texts)
		} else {
			all = limit(append(all, texts...))
		}
	}
	if len(all) == 0 {
		all = f.parameter(obj, depth)
	}
	return all
}

// parameter is what the calls in the package give to a parameter.
func (f *folder) parameter(obj types.Object, depth int) []folded {
	var all []folded
	for fn, decl := range f.decls {
		if decl.Pos() > obj.Pos() || decl.End() < obj.Pos() {
			continue
		}
		i := parameterIndex(fn.Signature(), obj)
		for _, call := range f.calls[fn] {
			if i >= 0 && i < len(call.Args) {
				all = append(all, f.eval(call.Args[i], nil, depth+4)...)
			}
		}
	}
	return limit(all)
}

func parameterIndex(s *types.Signature, obj types.Object) int {
	for i := range s.Params().Len() {
		if s.Params().At(i) == obj {
			return i
		}
	}
	return -1
}

// list is what the elements of a list or map of strings may be.
func (f *folder) list(e ast.Expr, in bindings, depth int) [][]folded {
	if depth > maxDepth {
		return nil
	}
	switch e := ast.Unparen(e).(type) {
	case *ast.CompositeLit:
		var all [][]folded
		for _, el := range e.Elts {
			if kv, ok := el.(*ast.KeyValueExpr); ok {
				el = kv.Value
			}
			all = append(all, f.eval(el, in, depth+1))
		}
		return all
	case *ast.Ident, *ast.SelectorExpr:
		var all [][]folded
		for _, a := range f.assigned[objectOf(f.info, e)] {
			all = append(all, f.list(a.value, in, depth+1)...)
		}
		return all
	case *ast.CallExpr: // append(list, more...)
		if id, ok := e.Fun.(*ast.Ident); ok && id.Name == "append" {
			all := f.list(e.Args[0], in, depth+1)
			for _, arg := range e.Args[1:] {
				all = append(all, f.eval(arg, in, depth+1))
			}
			return all
		}
	}
	return nil
}
