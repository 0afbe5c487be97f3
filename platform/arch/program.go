package arch

import (
	"go/ast"
	"go/token"
	"go/types"
)

// program is the functions of one business module and the calls between them,
// through all its packages. Calls of interface methods go to every method of
// the module that may be meant.
type program struct {
	world *World
	nodes []*node
	funcs map[string]*node // by full name: objects of a variant are others
	lits  map[*ast.FuncLit]*node
	// methods are those of the module's types by name, for calls through
	// interfaces.
	methods map[string][]*node
	// uses are the places where a variable of function type is used.
	uses map[types.Object][]use
	// held are the functions that variables hold.
	held map[types.Object][]*types.Func
	// values are the uses of a function as a value, by its full name.
	values map[string][]use

	ways          map[*node][]occasion
	transactional map[*node]bool
	remote        map[*node]*call
	publishing    map[*node]*call
}

// node is a function, a function literal, or the initialisers of a file's
// package variables.
type node struct {
	pkg     *Package
	name    string // as chains print it
	fn      *types.Func
	lit     *ast.FuncLit
	parent  *node // of a literal
	typ     *ast.FuncType
	body    ast.Node
	pos     token.Pos
	calls   []*call
	callers []*call
	parents map[ast.Node]ast.Node // of the file
	returns []*ast.ReturnStmt
}

// call is a call in a node.
type call struct {
	in      *node
	expr    *ast.CallExpr
	callee  *types.Func // nil: a value is called
	targets []*node
	async   bool // a go statement
}

// use is an expression in a node.
type use struct {
	in   *node
	expr ast.Expr
}

func newProgram(w *World, module string) *program {
	p := &program{
		world: w, funcs: map[string]*node{}, lits: map[*ast.FuncLit]*node{}, methods: map[string][]*node{}, uses: map[types.Object][]use{},
		held: map[types.Object][]*types.Func{},
	}
	for _, pkg := range w.Packages {
		if pkg.Module == module && pkg.Info != nil {
			for _, f := range pkg.Files {
				if !f.Test {
					p.addFile(pkg, f)
				}
			}
		}
	}
	for _, n := range p.nodes {
		p.findCalls(n)
	}
	for _, n := range p.nodes {
		for _, c := range n.calls {
			p.resolve(c)
		}
	}
	p.transactional = p.findTransactional()
	p.remote = p.reaching(p.isRemote)
	p.publishing = p.reaching(p.isPublish)
	return p
}

func (p *program) addFile(pkg *Package, f *File) {
	parents := map[ast.Node]ast.Node{}
	var stack []ast.Node
	ast.Inspect(f.AST, func(n ast.Node) bool {
		if n == nil {
			stack = stack[:len(stack)-1]
			return true
		}
		if len(stack) > 0 {
			parents[n] = stack[len(stack)-1]
		}
		stack = append(stack, n)
		return true
	})
	vars := &node{pkg: pkg, name: "the variables of package " + f.AST.Name.Name, body: f.AST, pos: f.AST.Package, parents: parents}
	p.nodes = append(p.nodes, vars)
	for _, d := range f.AST.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok {
			p.addLits(vars, d)
			continue
		}
		obj, _ := pkg.Info.Defs[fn.Name].(*types.Func)
		if obj == nil || fn.Body == nil {
			continue
		}
		n := &node{pkg: pkg, name: shortName(obj), fn: obj, typ: fn.Type, body: fn.Body, pos: fn.Name.Pos(), parents: parents}
		p.nodes = append(p.nodes, n)
		if p.funcs[obj.FullName()] == nil {
			p.funcs[obj.FullName()] = n
		}
		if fn.Recv != nil {
			p.methods[obj.Name()] = append(p.methods[obj.Name()], n)
		}
		p.addLits(n, fn.Body)
	}
}

func (p *program) addLits(parent *node, in ast.Node) {
	ast.Inspect(in, func(x ast.Node) bool {
		lit, ok := x.(*ast.FuncLit)
		if !ok {
			return true
		}
		n := &node{
			pkg: parent.pkg, name: "a function in " + parent.name, lit: lit, parent: parent, typ: lit.Type, body: lit.Body, pos: lit.Pos(),
			parents: parent.parents,
		}
		p.nodes = append(p.nodes, n)
		p.lits[lit] = n
		p.addLits(n, lit.Body)
		return false
	})
}

// shortName is like app.App.PlaceOrder.
func shortName(f *types.Func) string {
	name := f.Name()
	if recv := f.Signature().Recv(); recv != nil {
		if n := namedOf(recv.Type()); n != nil {
			name = n.Obj().Name() + "." + name
		}
	}
	return f.Pkg().Name() + "." + name
}

// inspect walks the node without the functions inside it.
func (n *node) inspect(fn func(ast.Node) bool) {
	ast.Inspect(n.body, func(x ast.Node) bool {
		switch x := x.(type) {
		case *ast.FuncLit:
			if x.Body != n.body {
				fn(x)
				return false
			}
		case *ast.FuncDecl:
			if n.fn == nil && n.lit == nil {
				return false
			}
		}
		return x == nil || fn(x)
	})
}

func (p *program) findCalls(n *node) {
	info := n.pkg.Info
	n.inspect(func(x ast.Node) bool {
		switch x := x.(type) {
		case *ast.CallExpr:
			if tv := info.Types[x.Fun]; tv.IsType() || tv.IsBuiltin() {
				return true
			}
			c := &call{in: n, expr: x, callee: calleeOf(info, x)}
			_, c.async = n.parents[x].(*ast.GoStmt)
			n.calls = append(n.calls, c)
		case *ast.ReturnStmt:
			n.returns = append(n.returns, x)
		case *ast.AssignStmt:
			for i, lhs := range x.Lhs {
				if f, ok := objectOf(info, x.Rhs[min(i, len(x.Rhs)-1)]).(*types.Func); ok && len(x.Lhs) == len(x.Rhs) {
					p.held[objectOf(info, lhs)] = append(p.held[objectOf(info, lhs)], f.Origin())
				}
			}
		case *ast.Ident:
			if v, ok := info.Uses[x].(*types.Var); ok {
				if _, ok := v.Type().Underlying().(*types.Signature); ok {
					p.uses[v] = append(p.uses[v], use{n, x})
				}
			}
		}
		return true
	})
}

// resolve finds the functions of the module that a call may run.
func (p *program) resolve(c *call) {
	if c.callee != nil {
		c.targets = p.targets(c.callee)
	} else if lit, ok := ast.Unparen(c.expr.Fun).(*ast.FuncLit); ok {
		c.targets = []*node{p.lits[lit]}
	} else {
		for _, f := range p.held[objectOf(c.in.pkg.Info, c.expr.Fun)] {
			c.targets = append(c.targets, p.targets(f)...)
		}
	}
	for _, t := range c.targets {
		t.callers = append(t.callers, c)
	}
}

// targets are the functions that may run when f is called.
func (p *program) targets(f *types.Func) []*node {
	recv := f.Signature().Recv()
	if recv == nil || !types.IsInterface(recv.Type()) {
		if n := p.funcs[f.FullName()]; n != nil {
			return []*node{n}
		}
		return nil
	}
	var all []*node
	iface, _ := recv.Type().Underlying().(*types.Interface)
	for _, m := range p.methods[f.Name()] {
		if iface != nil && implements(m.fn.Signature().Recv().Type(), iface) {
			all = append(all, m)
		}
	}
	return all
}

func implements(t types.Type, iface *types.Interface) bool {
	if types.Implements(t, iface) {
		return true
	}
	_, isPointer := t.(*types.Pointer)
	return !isPointer && types.Implements(types.NewPointer(t), iface)
}

// reaching returns the nodes that make a call which is, or leads to, one that
// counts, each with the first call of the shortest way there.
func (p *program) reaching(counts func(*call) bool) map[*node]*call {
	found := map[*node]*call{}
	var queue []*node
	for _, n := range p.nodes {
		for _, c := range n.calls {
			if found[n] == nil && counts(c) {
				found[n] = c
				queue = append(queue, n)
			}
		}
	}
	for len(queue) > 0 {
		n := queue[0]
		queue = queue[1:]
		for _, c := range n.callers {
			if found[c.in] == nil {
				found[c.in] = c
				queue = append(queue, c.in)
			}
		}
		// A literal runs, as far as anybody can tell, where it stands.
		if n.parent != nil && found[n.parent] == nil {
			found[n.parent] = &call{in: n.parent, expr: found[n].expr, callee: found[n].callee, targets: []*node{n}}
			queue = append(queue, n.parent)
		}
	}
	return found
}

// chain is the way from a call to the call that counts.
func (p *program) chain(c *call, reach map[*node]*call) []Link {
	var links []Link
	for {
		links = append(links, Link{What: c.in.name + " calls " + types.ExprString(c.expr.Fun), Pos: p.world.at(c.expr.Pos())})
		if len(c.targets) == 0 {
			return links
		}
		next := (*call)(nil)
		for _, t := range c.targets {
			if reach[t] != nil {
				next = reach[t]
				break
			}
		}
		if next == nil || len(links) > len(p.nodes) {
			return links
		}
		c = next
	}
}

// isPublish reports whether a call publishes an event: of a method that looks
// like event.Publisher's, or of a function value that does, so that nothing in
// between hides it.
func (p *program) isPublish(c *call) bool {
	if isFunc(c.callee, p.world.Path+eventPackage, "Publisher.Publish") {
		return true
	}
	s := signatureOf(c)
	if s == nil || s.Params().Len() != 3 || !isContext(s.Params().At(0).Type()) ||
		!isNamed(s.Params().At(2).Type(), "google.golang.org/protobuf/reflect/protoreflect", "ProtoMessage") {
		return false
	}
	return c.callee == nil || c.callee.Name() == "Publish" && c.callee.Signature().Recv() != nil && types.IsInterface(c.callee.Signature().Recv().Type())
}

// isRemote reports whether a call goes to another module: by a method of its
// client, by a value that holds one, or by its connection itself.
func (p *program) isRemote(c *call) bool {
	if c.in.pkg.Layer == "v1" {
		return false // generated
	}
	if to, ok := p.world.clientMethod(c.callee); ok {
		return to != c.in.pkg.Module
	}
	if c.callee != nil {
		return isFunc(c.callee, "google.golang.org/grpc", "ClientConnInterface.Invoke") || isFunc(c.callee, "google.golang.org/grpc", "ClientConn.Invoke")
	}
	s := signatureOf(c)
	if s == nil || !s.Variadic() {
		return false
	}
	options, ok := s.Params().At(s.Params().Len() - 1).Type().(*types.Slice)
	return ok && isNamed(options.Elem(), "google.golang.org/grpc", "CallOption")
}

func signatureOf(c *call) *types.Signature {
	t := c.in.pkg.Info.TypeOf(c.expr.Fun)
	if t == nil {
		return nil
	}
	s, _ := t.Underlying().(*types.Signature)
	return s
}
