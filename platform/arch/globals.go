package arch

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// globalState reports package variables that hold state: by their type, or
// because something writes to them. Values that are set once and only read are
// none: errors, embedded files, event types, compiled expressions, tables.
func globalState(p *pass) {
	if p.pkg.Module == "" || p.pkg.Info == nil || p.pkg.Layer == "v1/rest" {
		return
	}
	writes := p.writes()
	for _, f := range p.pkg.Files {
		if f.Test || p.pkg.Layer == "v1" && strings.HasSuffix(f.Name, ".pb.go") {
			continue
		}
		for _, spec := range valueSpecs(f.AST, token.VAR) {
			for _, name := range spec.Names {
				obj := p.pkg.Info.Defs[name]
				if obj == nil || name.Name == "_" {
					continue
				}
				if at, ok := writes[obj]; ok {
					p.at(name.Pos(), []Link{{What: "it is written here", Pos: p.world.at(at)}}, "the variable %s of %s changes", name.Name, p.pkg.Dir)
				} else if what := p.stateful(obj.Type(), map[types.Type]bool{}); what != "" {
					p.at(name.Pos(), nil, "the variable %s of %s holds state: %s", name.Name, p.pkg.Dir, what)
				}
			}
		}
		p.processState(f)
	}
	for obj, at := range writes {
		if obj.Pkg() != p.pkg.Types {
			p.at(at, nil, "%s changes the variable %s.%s", p.pkg.Dir, obj.Pkg().Name(), obj.Name())
		}
	}
}

// writes are the package variables, also of other packages, that the package
// writes to or hands the address of, with the first place.
func (p *pass) writes() map[types.Object]token.Pos {
	found := map[types.Object]token.Pos{}
	note := func(e ast.Expr) {
		obj := p.rootVariable(e)
		if obj == nil {
			return
		}
		if at, ok := found[obj]; !ok || e.Pos() < at {
			found[obj] = e.Pos()
		}
	}
	for _, f := range p.pkg.Files {
		if f.Test || p.pkg.Layer == "v1" && strings.HasSuffix(f.Name, ".pb.go") {
			continue
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				if n.Tok != token.DEFINE {
					for _, lhs := range n.Lhs {
						note(lhs)
					}
				}
			case *ast.IncDecStmt:
				note(n.X)
			case *ast.RangeStmt:
				if n.Tok == token.ASSIGN {
					note(n.Key)
					note(n.Value)
				}
			case *ast.SendStmt:
				note(n.Chan)
			case *ast.UnaryExpr:
				if n.Op == token.AND {
					note(n.X)
				}
			case *ast.CallExpr:
				if e := p.mutated(n); e != nil {
					note(e)
				}
			}
			return true
		})
	}
	return found
}

// rootVariable is the package variable that an expression reaches into.
func (p *pass) rootVariable(e ast.Expr) types.Object {
	for e != nil {
		if v, ok := objectOf(p.pkg.Info, e).(*types.Var); ok && v.Pkg() != nil && v.Parent() == v.Pkg().Scope() {
			return v
		}
		switch x := e.(type) {
		case *ast.ParenExpr:
			e = x.X
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.SliceExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		default:
			return nil
		}
	}
	return nil
}

// mutated is what a call changes: the receiver of a method that writes to it,
// or the first argument of a function that works in place.
func (p *pass) mutated(call *ast.CallExpr) ast.Expr {
	if id, ok := ast.Unparen(call.Fun).(*ast.Ident); ok && len(call.Args) > 0 {
		if _, ok := p.pkg.Info.Uses[id].(*types.Builtin); ok && slices.Contains([]string{"delete", "clear", "copy", "close"}, id.Name) {
			return call.Args[0]
		}
	}
	f := calleeOf(p.pkg.Info, call)
	if f == nil || f.Pkg() == nil {
		return nil
	}
	if f.Signature().Recv() == nil {
		path, name := f.Pkg().Path(), f.Name()
		if len(call.Args) > 0 && (path == "slices" && (strings.HasPrefix(name, "Sort") && !strings.HasPrefix(name, "Sorted") || name == "Reverse") ||
			path == "sort" && name != "SearchInts" && name != "Search" && name != "SearchStrings" || path == "maps" && (name == "Copy" || name == "DeleteFunc")) {
			return call.Args[0]
		}
		return nil
	}
	sel, ok := ast.Unparen(call.Fun).(*ast.SelectorExpr)
	if ok && p.writesReceiver(f) {
		return sel.X
	}
	return nil
}

// writesReceiver reports whether a method of the Go module writes to what its
// receiver points to.
func (p *pass) writesReceiver(f *types.Func) bool {
	for _, pkg := range p.world.Packages {
		if pkg.Types != f.Pkg() || pkg.Info == nil {
			continue
		}
		for _, file := range pkg.Files {
			for _, d := range file.AST.Decls {
				fn, ok := d.(*ast.FuncDecl)
				if !ok || fn.Body == nil || fn.Recv == nil || pkg.Info.Defs[fn.Name] != f || len(fn.Recv.List[0].Names) == 0 {
					continue
				}
				recv := pkg.Info.Defs[fn.Recv.List[0].Names[0]]
				return writesTo(pkg.Info, fn.Body, recv)
			}
		}
	}
	return false
}

func writesTo(info *types.Info, body ast.Node, obj types.Object) bool {
	found := false
	check := func(e ast.Expr) {
		for e != nil && objectOf(info, e) != obj {
			switch x := e.(type) {
			case *ast.SelectorExpr:
				e = x.X
			case *ast.IndexExpr:
				e = x.X
			case *ast.StarExpr:
				e = x.X
			case *ast.ParenExpr:
				e = x.X
			default:
				return
			}
		}
		found = found || e != nil
	}
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for _, lhs := range n.Lhs {
				check(lhs)
			}
		case *ast.IncDecStmt:
			check(n.X)
		case *ast.CallExpr:
			if id, ok := n.Fun.(*ast.Ident); ok && (id.Name == "delete" || id.Name == "clear") && len(n.Args) > 0 {
				check(n.Args[0])
			}
		}
		return true
	})
	return found
}

// stateful is what makes values of a type hold state, or "".
func (p *pass) stateful(t types.Type, seen map[types.Type]bool) string {
	t = types.Unalias(t)
	if seen[t] || isError(t) {
		return ""
	}
	seen[t] = true
	switch u := t.(type) {
	case *types.Chan:
		return "a channel"
	case *types.Pointer:
		return p.stateful(u.Elem(), seen)
	case *types.Slice:
		return p.stateful(u.Elem(), seen)
	case *types.Array:
		return p.stateful(u.Elem(), seen)
	case *types.Map:
		return p.stateful(u.Elem(), seen)
	case *types.Struct:
		for f := range u.Fields() {
			if what := p.stateful(f.Type(), seen); what != "" {
				return what
			}
		}
	case *types.Named:
		if u.Obj().Pkg() == nil {
			return ""
		}
		path, name := u.Obj().Pkg().Path(), u.Obj().Name()
		switch {
		case path == "sync" && name != "Pool" && name != "Locker", path == "sync/atomic", path == "time" && (name == "Timer" || name == "Ticker"),
			path == "strings" && name == "Builder", path == "bytes" && name == "Buffer", path == "math/rand" || path == "math/rand/v2",
			path == "net/http" && (name == "Client" || name == "ServeMux"), path == "container/list" || path == "container/ring",
			below(path, storage()...), path == p.world.Path+dbPackage && name == "DB", path == p.world.Path+eventPackage && name == "Publisher":
			return u.Obj().Pkg().Name() + "." + name
		case below(path, "github.com/prometheus/client_golang"):
			return u.Obj().Pkg().Name() + "." + name
		case below(path, "google.golang.org/protobuf"), isMessage(u):
			return ""
		case below(path, p.world.Path+"/modules") || strings.Contains(path, "."):
			for m := range u.Methods() {
				if p.writesReceiver(m.Origin()) {
					return "its method " + m.Name() + " writes to it"
				}
			}
			return p.stateful(u.Underlying(), seen)
		}
	}
	return ""
}

// isMessage reports whether a type is a protobuf message, which has a mutex
// that nobody locks.
func isMessage(n *types.Named) bool {
	obj, _, _ := types.LookupFieldOrMethod(types.NewPointer(n), true, nil, "ProtoReflect")
	return obj != nil
}

// processState reports functions that change what the whole process shares.
func (p *pass) processState(f *File) {
	ast.Inspect(f.AST, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		callee := calleeOf(p.pkg.Info, call)
		if callee == nil || callee.Pkg() == nil || callee.Signature().Recv() != nil {
			return true
		}
		name := callee.Name()
		shared := false
		switch callee.Pkg().Path() {
		case "os":
			shared = slices.Contains([]string{"Setenv", "Unsetenv", "Clearenv", "Chdir"}, name)
		case "log/slog":
			shared = name == "SetDefault" || name == "SetLogLoggerLevel"
		case "log", "runtime/debug", "go.opentelemetry.io/otel":
			shared = strings.HasPrefix(name, "Set")
		case "net/http":
			shared = name == "Handle" || name == "HandleFunc"
		case "expvar":
			shared = true
		case "github.com/prometheus/client_golang/prometheus":
			shared = strings.HasSuffix(name, "Register") || name == "Unregister"
		}
		if shared {
			p.at(call.Pos(), nil, "%s changes the process by %s.%s", p.pkg.Dir, callee.Pkg().Name(), name)
		}
		return true
	})
}
