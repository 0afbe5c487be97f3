package arch

import (
	"fmt"
	"go/ast"
	"go/types"
)

func eventRules() []*Rule {
	return []*Rule{
		{
			Name:   "foreign-event",
			Reason: "an event says what happened in the module that owns it; published by another one it is a lie, and its order per key is gone",
			Fix:    "publish an event of the own v1, or ask the owner to act through its v1",
			module: foreignEvent,
		},
		{
			Name:   "undeclared-event",
			Reason: "the outbox refuses a type that Publishes does not name, so the transaction around it fails",
			Fix:    "name the event in Publishes of the Spec",
			module: undeclaredEvent,
		},
		{
			Name:   "publish-outside-tx",
			Reason: "an event that commits without its rows, or rows without their event, is what the outbox is there to prevent",
			Fix:    "publish inside DB.Tx, with the context that Tx gives, after the rows",
			module: publishOutsideTx,
		},
		{
			Name:   "undeclared-subscription",
			Reason: "a handler that Subscribes does not name fails the start, and no broker would deliver to it",
			Fix:    "name the event in Subscribes of the Spec",
			pkg:    undeclaredSubscription,
		},
		{
			Name:   "unused-subscription",
			Reason: "a subscription without a handler binds the module to another one's contract for nothing",
			Fix:    "remove the event from Subscribes, or handle it",
			module: unusedSubscription,
		},
	}
}

// messageOf is the module and the Go name of a protobuf message of a v1
// package.
func (w *World) messageOf(t types.Type) (module, message string, ok bool) {
	// A struct that embeds a message is that message to protobuf.
	obj, _, _ := types.LookupFieldOrMethod(t, true, nil, "ProtoReflect")
	if method, isFunc := obj.(*types.Func); isFunc {
		if module, message, ok = w.inContract(namedOf(method.Signature().Recv().Type())); ok {
			return module, message, true
		}
	}
	return w.inContract(namedOf(t))
}

func (w *World) inContract(n *types.Named) (module, name string, ok bool) {
	if n == nil || n.Obj().Pkg() == nil {
		return "", "", false
	}
	module, ok = contractOf(w.Path, n.Obj().Pkg().Path())
	return module, n.Obj().Name(), ok
}

// eachPublish calls fn for the messages that the module's calls of Publish may
// be given.
func (p *pass) eachPublish(fn func(c *call, module, message string)) {
	prog := p.program(p.module.Name)
	for _, n := range prog.nodes {
		for _, c := range n.calls {
			if !prog.isPublish(c) || len(c.expr.Args) < 3 {
				continue
			}
			for _, t := range prog.valueTypes(n, c.expr.Args[2], map[any]bool{}) {
				if module, message, ok := p.world.messageOf(t); ok {
					fn(c, module, message)
				}
			}
		}
	}
}

func foreignEvent(p *pass) {
	for _, e := range p.module.Publishes {
		if e.Module != p.module.Name {
			p.add(Finding{Pos: e.Pos, Message: fmt.Sprintf("module %s declares to publish %s", p.module.Name, e)})
		}
	}
	p.eachPublish(func(c *call, module, message string) {
		if module != p.module.Name {
			p.at(c.expr.Pos(), nil, "module %s publishes %s of module %s", p.module.Name, message, module)
		}
	})
}

func undeclaredEvent(p *pass) {
	declared := map[string]bool{}
	for _, e := range p.module.Publishes {
		declared[e.Message] = true
	}
	p.eachPublish(func(c *call, module, message string) {
		if module == p.module.Name && !declared[message] && !p.module.unknown["Publishes"] {
			p.at(c.expr.Pos(), nil, "module %s publishes %s, but its Publishes does not name it", module, message)
		}
	})
}

func publishOutsideTx(p *pass) {
	prog := p.program(p.module.Name)
	for _, n := range prog.nodes {
		for _, c := range n.calls {
			if !prog.isPublish(c) {
				if outer := prog.outerContext(c); outer != nil && prog.leads(c, prog.publishing) {
					p.at(c.expr.Pos(), prog.chain(c, prog.publishing), "%s publishes with the context %s of outside the transaction", n.name, outer.Name())
				}
				continue
			}
			if !prog.transactional[n] {
				chain := prog.outsideChain(n)
				p.at(c.expr.Pos(), append(chain, Link{What: n.name + " publishes", Pos: p.world.at(c.expr.Pos())}),
					"%s publishes, and may run outside a transaction", n.name)
			} else if outer := prog.outerContext(c); outer != nil {
				p.at(c.expr.Pos(), nil, "%s publishes with the context %s of outside the transaction", n.name, outer.Name())
			}
		}
	}
}

// leads reports whether a call runs a function in reach.
func (p *program) leads(c *call, reach map[*node]*call) bool {
	for _, t := range c.targets {
		if reach[t] != nil {
			return true
		}
	}
	return false
}

// outerContext is the context that a call inside a transaction is given from
// outside it, or nil.
func (p *program) outerContext(c *call) types.Object {
	begin := c.in
	for begin != nil && !p.beginsTx(begin) {
		begin = begin.parent
	}
	if begin == nil {
		return nil
	}
	for _, arg := range c.expr.Args {
		if !isContext(c.in.pkg.Info.TypeOf(arg)) {
			continue
		}
		if obj := objectOf(c.in.pkg.Info, arg); obj != nil && (obj.Pos() < begin.lit.Pos() || obj.Pos() > begin.lit.End()) {
			return obj
		}
		return nil
	}
	return nil
}

// beginsTx reports whether a literal is what a transaction runs.
func (p *program) beginsTx(n *node) bool {
	if n.lit == nil {
		return false
	}
	for _, o := range p.ways[n] {
		if o.running == inTx || o.running == likelyTx {
			return true
		}
	}
	return false
}

func undeclaredSubscription(p *pass) {
	m := p.world.Module(p.pkg.Module)
	if m == nil || p.pkg.Info == nil {
		return
	}
	p.eachUse(func(id *ast.Ident) {
		if module, message, ok := p.handled(p.pkg.Info, id); ok && !m.subscribes(module, message) {
			p.at(id.Pos(), nil, "module %s handles %s of module %s, but its Subscribes does not name it", m.Name, message, module)
		}
	})
}

// handled is the event that an instance of event.On handles.
func (p *pass) handled(info *types.Info, id *ast.Ident) (module, message string, ok bool) {
	f, isFn := info.Uses[id].(*types.Func)
	if !isFn || !isFunc(f.Origin(), p.world.Path+eventPackage, "On") {
		return "", "", false
	}
	inst := info.Instances[id]
	if inst.TypeArgs == nil || inst.TypeArgs.Len() != 1 {
		return "", "", false
	}
	return p.world.messageOf(inst.TypeArgs.At(0))
}

// subscribes reports whether Subscribes names an event, or may.
func (m *Module) subscribes(module, message string) bool {
	if m.unknown["Subscribes"] {
		return true
	}
	for _, e := range m.Subscribes {
		if e.Module == module && e.Message == message {
			return true
		}
	}
	return false
}

func unusedSubscription(p *pass) {
	handled := map[[2]string]bool{}
	for _, pkg := range p.world.Packages {
		if pkg.Module != p.module.Name || pkg.Info == nil {
			continue
		}
		for id := range pkg.Info.Instances {
			if module, message, ok := p.handled(pkg.Info, id); ok {
				handled[[2]string{module, message}] = true
			}
		}
	}
	for _, e := range p.module.Subscribes {
		if e.Message != "" && !handled[[2]string{e.Module, e.Message}] {
			p.add(Finding{Pos: e.Pos, Message: fmt.Sprintf("module %s subscribes to %s and never handles it", p.module.Name, e)})
		}
	}
}
