package arch

import (
	"go/ast"
	"go/types"
	"strings"
)

func contractRules() []*Rule {
	return []*Rule{
		{
			Name:   "contract-escape",
			Reason: "a session, a transaction or a context value means nothing in another process; what relies on it works until the split",
			Fix:    "pass plain values: ids, times, messages",
			pkg:    contractEscape,
			module: escapingTransaction,
		},
		{
			Name:   "module-surface",
			Reason: "what a module's root package exports beside its Spec is an API that no contract check sees",
			Fix:    "move it behind internal/, or into v1 when other modules need it",
			pkg:    moduleSurface,
		},
		{
			Name:   "call-in-transaction",
			Reason: "the callee cannot see the transaction's rows, and the transaction holds its locks for as long as the network takes",
			Fix:    "call before the transaction begins, or from a remote step of a saga",
			module: callInTransaction,
		},
		{
			Name:   "untranslated-error",
			Reason: "another module's error codes that leave through this module become its own contract, which it can neither keep nor document",
			Fix:    "turn each code that matters into a fault of this module, and wrap the other as its cause: fault.New(…).Wrap(err)",
			module: untranslatedError,
		},
		{
			Name:   "sibling-dial",
			Reason: "a call beside Env.Conn has no deadline, identity, trace, retry or counter, and does not follow when the sibling moves",
			Fix:    "take the connection from Env.Conn",
			pkg:    siblingDial,
		},
		{
			Name:   "hidden-access",
			Reason: "what is reached by reflection or behind the type system's back is seen by no rule and by no compiler",
			Fix:    "name what is meant",
			pkg:    hiddenAccess,
		},
	}
}

func contractEscape(p *pass) {
	if p.pkg.Info == nil || p.pkg.Types == nil {
		return
	}
	for _, f := range p.pkg.Files {
		if f.Test {
			continue
		}
		for _, d := range f.AST.Decls {
			p.escapesIn(d)
		}
	}
	if p.pkg.Layer == "v1" {
		p.contextHelpers()
	} else {
		p.contextValues()
	}
}

// escapesIn reports exported names of a declaration whose types hold what must
// stay in the store.
func (p *pass) escapesIn(d ast.Decl) {
	report := func(id *ast.Ident, t types.Type) {
		if !id.IsExported() || t == nil {
			return
		}
		if found := storageIn(t); found != nil {
			p.at(id.Pos(), nil, "%s exports %s with a %s", p.pkg.Dir, id.Name, types.TypeString(found, (*types.Package).Name))
		}
		if p.pkg.Layer == "v1" {
			if found := findType(t, p.isDatabase, map[types.Type]bool{}); found != nil {
				p.at(id.Pos(), nil, "%s exports %s with a %s", p.pkg.Dir, id.Name, types.TypeString(found, (*types.Package).Name))
			}
		}
	}
	info := p.pkg.Info
	switch d := d.(type) {
	case *ast.FuncDecl:
		if obj := info.Defs[d.Name]; obj != nil {
			report(d.Name, obj.Type())
			p.smuggled(d)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				if obj := info.Defs[s.Name]; obj != nil {
					report(s.Name, obj.Type().Underlying())
					if _, isPlain := s.Type.(*ast.StructType); !isPlain {
						report(s.Name, info.TypeOf(s.Type)) // an alias, or a type derived from one
					}
				}
			case *ast.ValueSpec:
				for _, name := range s.Names {
					if obj := info.Defs[name]; obj != nil {
						report(name, obj.Type())
					}
				}
			}
		}
	}
}

// smuggled reports values of a database library that an exported function
// returns as an interface.
func (p *pass) smuggled(d *ast.FuncDecl) {
	if d.Body == nil || !d.Name.IsExported() {
		return
	}
	ast.Inspect(d.Body, func(n ast.Node) bool {
		ret, ok := n.(*ast.ReturnStmt)
		if !ok {
			_, isLit := n.(*ast.FuncLit)
			return !isLit
		}
		results := p.pkg.Info.Defs[d.Name].(*types.Func).Signature().Results()
		for i, e := range ret.Results {
			n := namedOf(p.pkg.Info.TypeOf(e))
			if n != nil && isStorage(n) && i < results.Len() && types.IsInterface(results.At(i).Type()) && storageIn(results.At(i).Type()) == nil && !isError(n) {
				p.at(ret.Pos(), nil, "%s returns a %s from %s as something else", p.pkg.Dir, n.Obj().Pkg().Name()+"."+n.Obj().Name(), d.Name.Name)
			}
		}
		return true
	})
}

func (p *pass) isDatabase(n *types.Named) bool {
	return n.Obj().Pkg() != nil && n.Obj().Pkg().Path() == p.world.Path+dbPackage
}

// contextHelpers reports context values that a contract offers: they do not
// cross a process boundary.
func (p *pass) contextHelpers() {
	p.eachUse(func(id *ast.Ident) {
		f, ok := p.pkg.Info.Uses[id].(*types.Func)
		if ok && (isFunc(f, "context", "WithValue") || isFunc(f, "context", "Context.Value")) {
			p.at(id.Pos(), nil, "the contract of module %s uses values of contexts", p.pkg.Module)
		}
	})
}

// contextValues reports a context with a value that is given to a client, and
// the reading of a value under a key of another module.
func (p *pass) contextValues() {
	info := p.pkg.Info
	for _, f := range p.pkg.Files {
		if f.Test {
			continue
		}
		laden := map[types.Object]bool{}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				for i, rhs := range n.Rhs {
					if len(n.Lhs) == len(n.Rhs) && isLaden(info, rhs, laden) {
						laden[objectOf(info, n.Lhs[i])] = true
					}
				}
			case *ast.CallExpr:
				p.contextCall(n, laden)
			}
			return true
		})
	}
}

func (p *pass) contextCall(call *ast.CallExpr, laden map[types.Object]bool) {
	info := p.pkg.Info
	callee := calleeOf(info, call)
	if isFunc(callee, "context", "Context.Value") && len(call.Args) == 1 || isFunc(callee, "context", "WithValue") && len(call.Args) == 3 {
		key := info.TypeOf(call.Args[len(call.Args)/2])
		if n := namedOf(key); n != nil && n.Obj().Pkg() != nil {
			if module, _ := p.world.moduleOf(n.Obj().Pkg().Path()); module != "" && module != p.pkg.Module {
				p.at(call.Pos(), nil, "module %s shares a value of the context with module %s", p.pkg.Module, module)
			}
		}
	}
	if to, ok := p.world.clientMethod(callee); ok && len(call.Args) > 0 && isLaden(info, call.Args[0], laden) {
		p.at(call.Pos(), nil, "module %s calls module %s with a value in the context, which does not get there", p.pkg.Module, to)
	}
}

// isLaden reports whether a context holds a value, or metadata that the edge
// replaces.
func isLaden(info *types.Info, e ast.Expr, laden map[types.Object]bool) bool {
	switch e := ast.Unparen(e).(type) {
	case *ast.CallExpr:
		f := calleeOf(info, e)
		if isFunc(f, "context", "WithValue") || isFunc(f, "google.golang.org/grpc/metadata", "AppendToOutgoingContext") ||
			isFunc(f, "google.golang.org/grpc/metadata", "NewOutgoingContext") {
			return true
		}
		return f != nil && f.Pkg() != nil && f.Pkg().Path() == "context" && len(e.Args) > 0 && isLaden(info, e.Args[0], laden)
	case *ast.Ident:
		return laden[info.ObjectOf(e)]
	}
	return false
}

// escapingTransaction reports the context of a transaction that something
// outside it is given to keep.
func escapingTransaction(p *pass) {
	prog := p.program(p.module.Name)
	for _, n := range prog.nodes {
		begin := n
		for begin != nil && !prog.beginsTx(begin) {
			begin = begin.parent
		}
		if begin == nil {
			continue
		}
		info := n.pkg.Info
		within := func(e ast.Expr) bool {
			obj := objectOf(info, e)
			return obj != nil && begin.lit.Pos() <= obj.Pos() && obj.Pos() <= begin.lit.End()
		}
		n.inspect(func(x ast.Node) bool {
			switch x := x.(type) {
			case *ast.AssignStmt:
				for i, rhs := range x.Rhs {
					if len(x.Lhs) != len(x.Rhs) || !isContext(info.TypeOf(rhs)) || !within(rhs) {
						continue
					}
					to, isVariable := x.Lhs[i].(*ast.Ident)
					if !isVariable || to.Name != "_" && !within(to) {
						p.at(x.Pos(), nil, "%s keeps the context of a transaction beyond its end", n.name)
					}
				}
			case *ast.SendStmt:
				if isContext(info.TypeOf(x.Value)) && within(x.Value) {
					p.at(x.Pos(), nil, "%s sends the context of a transaction away", n.name)
				}
			}
			return true
		})
	}
}

func moduleSurface(p *pass) {
	if p.pkg.Module == "" || p.pkg.Layer != "" || p.pkg.Types == nil {
		return
	}
	for _, f := range p.pkg.Files {
		for id, obj := range p.pkg.Info.Defs {
			if obj == nil || !id.IsExported() || id.Name == "Module" || obj.Parent() != p.pkg.Types.Scope() ||
				id.Pos() < f.AST.FileStart || id.Pos() >= f.AST.FileEnd || f.Test {
				continue
			}
			p.at(id.Pos(), nil, "module %s exports %s beside its Spec", p.pkg.Module, id.Name)
		}
	}
}

func callInTransaction(p *pass) {
	prog := p.program(p.module.Name)
	sometimes := prog.sometimesTransactional()
	for _, n := range prog.nodes {
		if _, ok := sometimes[n]; !ok {
			continue
		}
		for _, c := range n.calls {
			if !c.async && prog.isRemote(c) {
				chain := prog.insideChain(n, sometimes)
				p.at(c.expr.Pos(), append(chain, Link{What: n.name + " calls " + types.ExprString(c.expr.Fun), Pos: p.world.at(c.expr.Pos())}),
					"%s calls another module and may run in a transaction", n.name)
			}
		}
	}
}

// insideChain is the way on which n comes to run in a transaction, the
// transaction first.
func (p *program) insideChain(n *node, sometimes map[*node]occasion) []Link {
	var links []Link
	for n != nil && len(links) < len(p.nodes) {
		o := sometimes[n]
		links = append([]Link{{What: o.what, Pos: p.world.at(o.pos)}}, links...)
		if o.running != where {
			break
		}
		n = o.caller
	}
	return links
}

func hiddenAccess(p *pass) {
	if p.pkg.Module == "" || p.pkg.Info == nil || p.pkg.Layer == "v1" {
		return
	}
	for _, f := range p.pkg.Files {
		if f.Test {
			continue
		}
		for _, im := range f.AST.Imports {
			switch im.Path.Value {
			case `"unsafe"`, `"plugin"`, `"C"`:
				p.at(im.Pos(), nil, "module %s imports %s", p.pkg.Module, strings.Trim(im.Path.Value, `"`))
			}
		}
		for _, group := range f.AST.Comments {
			for _, c := range group.List {
				if strings.HasPrefix(c.Text, "//go:linkname ") {
					p.at(c.Pos(), nil, "module %s links to a name that is not exported to it", p.pkg.Module)
				}
			}
		}
	}
	p.eachUse(func(id *ast.Ident) {
		f, ok := p.pkg.Info.Uses[id].(*types.Func)
		if !ok || f.Pkg() == nil || f.Pkg().Path() != "reflect" {
			return
		}
		switch f.Name() {
		case "Method", "MethodByName", "FieldByName", "FieldByNameFunc", "Call", "CallSlice", "NewAt", "UnsafePointer", "UnsafeAddr", "MakeFunc":
			p.at(id.Pos(), nil, "module %s reaches what it does not name, by reflect's %s", p.pkg.Module, f.Name())
		}
	})
}
