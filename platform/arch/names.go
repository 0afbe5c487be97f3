package arch

import (
	"go/ast"
	"go/types"
	"slices"
	"strings"
)

// Names of the platform, below the path of the Go module.
const (
	dbPackage     = "/platform/db"
	eventPackage  = "/platform/event"
	faultPackage  = "/platform/fault"
	modulePackage = "/platform/module"
	sagaPackage   = "/platform/saga"
)

// isNamed reports whether t is, or points to, the named type of that package.
func isNamed(t types.Type, pkg, name string) bool {
	n := namedOf(t)
	return n != nil && n.Obj().Name() == name && n.Obj().Pkg() != nil && n.Obj().Pkg().Path() == pkg
}

// namedOf is the named type that t is or points to, or nil.
func namedOf(t types.Type) *types.Named {
	if t == nil {
		return nil
	}
	t = types.Unalias(t)
	if ptr, ok := t.(*types.Pointer); ok {
		t = types.Unalias(ptr.Elem())
	}
	n, _ := t.(*types.Named)
	return n
}

// calleeOf is the function or method that a call names, without type
// arguments; nil for the call of a value and for conversions and built-ins.
func calleeOf(info *types.Info, call *ast.CallExpr) *types.Func {
	f, _ := objectOf(info, call.Fun).(*types.Func)
	if f != nil {
		f = f.Origin()
	}
	return f
}

// objectOf is what an identifier or a selector, in parentheses or with type
// arguments, refers to.
func objectOf(info *types.Info, e ast.Expr) types.Object {
	switch e := ast.Unparen(e).(type) {
	case *ast.Ident:
		return info.ObjectOf(e)
	case *ast.SelectorExpr:
		return info.ObjectOf(e.Sel)
	case *ast.IndexExpr:
		return objectOf(info, e.X)
	case *ast.IndexListExpr:
		return objectOf(info, e.X)
	}
	return nil
}

// isFunc reports whether f is the package's function of that name or, for a
// name like DB.Tx, the method of that type.
func isFunc(f *types.Func, pkg, name string) bool {
	if f == nil || f.Pkg() == nil || f.Pkg().Path() != pkg {
		return false
	}
	if recv := f.Signature().Recv(); recv != nil {
		n := namedOf(recv.Type())
		return n != nil && n.Obj().Name()+"."+f.Name() == name
	}
	return f.Name() == name
}

// clientMethod is the module whose service a method of a generated gRPC client
// calls, and whether f is one.
func (w *World) clientMethod(f *types.Func) (module string, ok bool) {
	if f == nil || f.Pkg() == nil || f.Signature().Recv() == nil {
		return "", false
	}
	module, ok = contractOf(w.Path, f.Pkg().Path())
	if !ok {
		return "", false
	}
	n := namedOf(f.Signature().Recv().Type())
	return module, n != nil && isClient(n)
}

// isClient reports whether n is the client interface of a service, or its
// generated implementation.
func isClient(n *types.Named) bool {
	name, isClient := strings.CutSuffix(n.Obj().Name(), "Client")
	if !isClient || n.Obj().Pkg() == nil {
		return false
	}
	exported := strings.ToUpper(name[:min(1, len(name))]) + name[min(1, len(name)):]
	return n.Obj().Pkg().Scope().Lookup("New"+exported+"Client") != nil
}

// clientType is the module whose client interface t is.
func (w *World) clientType(t types.Type) (module string, ok bool) {
	n := namedOf(t)
	if n == nil || n.Obj().Pkg() == nil || !isClient(n) {
		return "", false
	}
	return contractOf(w.Path, n.Obj().Pkg().Path())
}

func isError(t types.Type) bool {
	return t != nil && types.Implements(t, types.Universe.Lookup("error").Type().Underlying().(*types.Interface))
}

func isContext(t types.Type) bool { return isNamed(t, "context", "Context") }

// isString reports whether t is a string of any name.
func isString(t types.Type) bool {
	if t == nil {
		return false
	}
	b, ok := t.Underlying().(*types.Basic)
	return ok && b.Info()&types.IsString != 0
}

// storage lists what only the store layer may know.
func storage() []string {
	return []string{"gorm.io", "database/sql", "github.com/jackc/pgx", "github.com/jmoiron/sqlx", "modernc.org/sqlite", "github.com/mattn/go-sqlite3"}
}

// below reports whether an import path is one of roots or below it, major
// versions included.
func below(path string, roots ...string) bool {
	return slices.ContainsFunc(roots, func(root string) bool { return path == root || strings.HasPrefix(path, root+"/") })
}

// storageIn is the first type of a database library that t holds, as far as
// its users can reach: in pointers, lists, maps, signatures, exported fields
// and the methods of interfaces.
func storageIn(t types.Type) types.Type { return findType(t, isStorage, map[types.Type]bool{}) }

func isStorage(n *types.Named) bool {
	return n.Obj().Pkg() != nil && below(n.Obj().Pkg().Path(), storage()...)
}

func findType(t types.Type, match func(*types.Named) bool, seen map[types.Type]bool) types.Type {
	t = types.Unalias(t)
	if t == nil || seen[t] {
		return nil
	}
	seen[t] = true
	var inner []types.Type
	switch t := t.(type) {
	case *types.Named:
		if match(t) {
			return t
		}
		for arg := range t.TypeArgs().Types() {
			inner = append(inner, arg)
		}
	case *types.Pointer:
		inner = append(inner, t.Elem())
	case *types.Slice:
		inner = append(inner, t.Elem())
	case *types.Array:
		inner = append(inner, t.Elem())
	case *types.Chan:
		inner = append(inner, t.Elem())
	case *types.Map:
		inner = append(inner, t.Key(), t.Elem())
	case *types.Signature:
		for v := range t.Params().Variables() {
			inner = append(inner, v.Type())
		}
		for v := range t.Results().Variables() {
			inner = append(inner, v.Type())
		}
	case *types.Struct:
		for f := range t.Fields() {
			if f.Exported() {
				inner = append(inner, f.Type())
			}
		}
	case *types.Interface:
		for m := range t.Methods() {
			inner = append(inner, m.Type())
		}
	}
	for _, i := range inner {
		if found := findType(i, match, seen); found != nil {
			return found
		}
	}
	return nil
}
