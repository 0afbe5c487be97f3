package arch

import (
	"go/ast"
	"go/token"
	"go/types"
	"maps"
	"regexp"
	"slices"
	"strings"

	"cleave/platform/arch/sqltext"
)

// call is what a call that makes a text may return; nil when nothing is known.
func (f *folder) call(e *ast.CallExpr, in bindings, depth int) []folded {
	if f.info.Types[e.Fun].IsType() && len(e.Args) == 1 {
		return f.eval(e.Args[0], in, depth) // a conversion
	}
	callee := calleeOf(f.info, e)
	if callee == nil || callee.Pkg() == nil {
		if lit := f.literal(e.Fun); lit != nil {
			return f.results(lit.Type, lit.Body, e, in, depth)
		}
		return nil
	}
	name := callee.Name()
	switch callee.Pkg().Path() {
	case "fmt":
		return f.format(name, e, in, depth)
	case "strings", "bytes":
		return f.stringsCall(callee, e, in, depth)
	}
	if decl := f.decls[callee]; decl != nil && callee.Signature().Results().Len() > 0 {
		return f.results(decl.Type, decl.Body, e, in, depth)
	}
	return nil
}

// literal is the function that is called by a literal or through a variable.
func (f *folder) literal(fun ast.Expr) *ast.FuncLit {
	if lit, ok := ast.Unparen(fun).(*ast.FuncLit); ok {
		return lit
	}
	return f.lits[objectOf(f.info, fun)]
}

// results are the first results that a function may return to a call.
func (f *folder) results(typ *ast.FuncType, body *ast.BlockStmt, e *ast.CallExpr, in bindings, depth int) []folded {
	if depth > maxDepth {
		return nil
	}
	bound, i := maps.Clone(in), 0
	if bound == nil {
		bound = bindings{}
	}
	for _, field := range typ.Params.List {
		for _, name := range field.Names {
			if obj := f.info.Defs[name]; obj != nil && i < len(e.Args) && isString(obj.Type()) {
				bound[obj] = f.eval(e.Args[i], in, depth+2)
			}
			i++
		}
		if len(field.Names) == 0 {
			i++
		}
	}
	var all []folded
	ast.Inspect(body, func(n ast.Node) bool {
		if r, ok := n.(*ast.ReturnStmt); ok && len(r.Results) > 0 {
			all = append(all, f.eval(r.Results[0], bound, depth+2)...)
		}
		_, isLit := n.(*ast.FuncLit)
		return !isLit
	})
	return limit(all)
}

// format is Sprint, Sprintln, Sprintf and their kin.
func (f *folder) format(name string, e *ast.CallExpr, in bindings, depth int) []folded {
	args := e.Args
	switch name {
	case "Sprint", "Sprintln":
		texts := []folded{nil}
		for _, arg := range args {
			texts = product(texts, f.eval(arg, in, depth+1))
		}
		return texts
	case "Fprintf", "Appendf":
		args = args[1:]
	case "Sprintf":
	default:
		return nil
	}
	var all []folded
	for _, format := range f.eval(args[0], in, depth+1) {
		all = append(all, f.sprintf(format, args[1:], in, depth)...)
	}
	return limit(all)
}

var verb = regexp.MustCompile(`%[-+# 0]*(\[\d+\])?[\d.*]*([a-zA-Z%])`)

func (f *folder) sprintf(format folded, args []ast.Expr, in bindings, depth int) []folded {
	texts, next := []folded{nil}, 0
	for _, p := range format {
		rest := p
		for {
			at := verb.FindStringSubmatchIndex(rest.text)
			if at == nil {
				break
			}
			texts = product(texts, []folded{{rest.cut(0, at[0])}})
			v := rest.text[at[4]:at[5]]
			if at[2] >= 0 {
				next = int(rest.text[at[2]+1]-'0') - 1
			}
			switch {
			case v == "%":
				texts = product(texts, []folded{{{text: "%", pos: p.pos}}})
			case next >= 0 && next < len(args):
				texts = product(texts, verbTexts(v, f.eval(args[next], in, depth+1)))
				next++
			}
			rest = rest.cut(at[1], len(rest.text))
		}
		texts = product(texts, []folded{{rest}})
	}
	return texts
}

// verbTexts is what a verb makes of a text. What it makes of other values is
// unknown, and so is their text.
func verbTexts(v string, texts []folded) []folded {
	if v != "q" {
		return texts
	}
	quoted := make([]folded, len(texts))
	for i, t := range texts {
		quoted[i] = slices.Concat(folded{{text: `"`}}, t, folded{{text: `"`}})
	}
	return quoted
}

// cut is the part from one offset to another.
func (p part) cut(from, to int) part {
	cut := part{text: p.text[from:to], pos: p.pos, exact: p.exact}
	if p.exact {
		cut.pos += token.Pos(from)
	}
	return cut
}

func (f *folder) stringsCall(callee *types.Func, e *ast.CallExpr, in bindings, depth int) []folded {
	args := func(i int) []folded { return f.eval(e.Args[i], in, depth+1) }
	switch callee.Name() {
	case "Join":
		return f.join(e, in, depth)
	case "String":
		if sel, ok := e.Fun.(*ast.SelectorExpr); ok {
			texts := []folded{nil}
			for _, what := range f.appended[objectOf(f.info, sel.X)] {
				texts = product(texts, f.eval(what, in, depth+1))
			}
			return texts
		}
	case "TrimSpace", "Clone", "Trim", "TrimLeft", "TrimRight", "TrimPrefix", "TrimSuffix", "ToValidUTF8":
		return args(0)
	case "ToLower":
		return mapTexts(args(0), strings.ToLower)
	case "ToUpper":
		return mapTexts(args(0), strings.ToUpper)
	case "Replace", "ReplaceAll":
		if len(e.Args) >= 3 {
			return replaceTexts(args(0), args(1), args(2))
		}
		if r := f.replacer(e); r != nil { // NewReplacer(old, new, …).Replace(text)
			texts := args(0)
			for i := 0; i+1 < len(r.Args); i += 2 {
				texts = replaceTexts(texts, f.eval(r.Args[i], in, depth+1), f.eval(r.Args[i+1], in, depth+1))
			}
			return texts
		}
	}
	return nil
}

// replacer is the call of NewReplacer that makes the receiver of e.
func (f *folder) replacer(e *ast.CallExpr) *ast.CallExpr {
	sel, ok := e.Fun.(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	r, ok := sel.X.(*ast.CallExpr)
	if !ok || !isFunc(calleeOf(f.info, r), "strings", "NewReplacer") {
		return nil
	}
	return r
}

func (f *folder) join(e *ast.CallExpr, in bindings, depth int) []folded {
	list := f.list(e.Args[0], in, depth+1)
	if list == nil {
		return nil
	}
	texts := list[0]
	for _, el := range list[1:] {
		texts = product(product(texts, f.eval(e.Args[1], in, depth+1)), el)
	}
	return texts
}

// mapTexts changes texts whose places stay about right.
func mapTexts(texts []folded, fn func(string) string) []folded {
	mapped := make([]folded, len(texts))
	for i, t := range texts {
		for _, p := range t {
			p.text = fn(p.text)
			mapped[i] = append(mapped[i], p)
		}
	}
	return mapped
}

func replaceTexts(texts, old, replacement []folded) []folded {
	var all []folded
	for _, t := range texts {
		for _, o := range old {
			for _, r := range replacement {
				s := t.String()
				if o.String() != sqltext.Unknown {
					s = strings.ReplaceAll(s, o.String(), r.String())
				}
				pos := t.at(0)
				if len(r) > 0 && strings.Contains(t.String(), o.String()) {
					pos = r[0].pos
				}
				all = append(all, folded{{text: s, pos: pos}})
			}
		}
	}
	return limit(all)
}
