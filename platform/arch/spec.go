package arch

import (
	"errors"
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// Module is a business module, read from its Spec, its v1 package and its
// migrations without compiling anything.
type Module struct {
	Name       string // the folder below modules/, which is also its schema
	SpecPos    token.Position
	Uses       []Edge
	Publishes  []EventRef
	Subscribes []EventRef
	Events     map[string]string // the events that v1 defines: variable to message
	Tables     map[string]bool   // also views and sequences, as its migrations create them
	Migrations []Migration
	Queries    []Migration // other SQL files, which programs embed

	unreadable []unreadable    // what of the Spec tools cannot read
	unknown    map[string]bool // fields with elements that they cannot read
}

// Edge is an element of Uses.
type Edge struct {
	To  string
	Pos token.Position
}

// EventRef names an event of some module's v1 package.
type EventRef struct {
	Module, Var string
	Message     string // the Go name of the protobuf message; "" when v1 does not define the event
	Pos         token.Position
}

func (e EventRef) String() string { return e.Module + "v1." + e.Var }

// Migration is an SQL file of a module.
type Migration struct {
	Name string // relative to the root, with slashes
	Text string
}

type unreadable struct {
	pos  token.Position
	what string
}

// readModules reads every folder below modules/.
func readModules(files fs.FS, goModule string) ([]*Module, error) {
	dirs, err := fs.ReadDir(files, "modules")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for modules: %w", err)
	}
	var modules []*Module
	for _, d := range dirs {
		if !d.IsDir() {
			continue
		}
		r := &specReader{files: files, goModule: goModule, fset: token.NewFileSet(), module: &Module{Name: d.Name(), Events: map[string]string{}, unknown: map[string]bool{}}}
		if err := r.read(); err != nil {
			return nil, fmt.Errorf("read module %s: %w", d.Name(), err)
		}
		modules = append(modules, r.module)
	}
	byName := make(map[string]*Module, len(modules))
	for _, m := range modules {
		byName[m.Name] = m
	}
	for _, m := range modules {
		for _, refs := range [][]EventRef{m.Publishes, m.Subscribes} {
			for i, ref := range refs {
				if of := byName[ref.Module]; of != nil {
					refs[i].Message = of.Events[ref.Var]
				}
			}
		}
	}
	return modules, nil
}

// specReader reads one module.
type specReader struct {
	files    fs.FS
	goModule string
	fset     *token.FileSet
	module   *Module
	consts   map[string]ast.Expr // of the root package
}

func (r *specReader) read() error {
	dir := "modules/" + r.module.Name
	root, err := r.parse(dir)
	if err != nil {
		return err
	}
	r.consts = constants(root)
	for _, f := range root {
		r.findSpec(f)
	}
	if len(root) > 0 && !r.module.SpecPos.IsValid() {
		r.module.SpecPos = r.fset.PositionFor(root[0].Package, false)
		r.cannot(r.module.SpecPos, "package %s declares no variable Module with a module.Spec literal", r.module.Name)
	}
	v1, err := r.parse(dir + "/v1")
	if err != nil {
		return err
	}
	for _, f := range v1 {
		r.findEvents(f)
	}
	return r.readSQL(dir)
}

// parse reads the Go files of a folder, whatever their build constraints.
// Syntax errors are for the compiler to tell.
func (r *specReader) parse(dir string) ([]*ast.File, error) {
	names, err := fs.Glob(r.files, dir+"/*.go")
	if err != nil {
		return nil, err
	}
	var parsed []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") || strings.HasSuffix(name, ".pb.go") {
			continue
		}
		src, err := fs.ReadFile(r.files, name)
		if err != nil {
			return nil, err
		}
		if f, _ := parser.ParseFile(r.fset, name, src, parser.SkipObjectResolution); f != nil {
			parsed = append(parsed, f)
		}
	}
	return parsed, nil
}

func constants(files []*ast.File) map[string]ast.Expr {
	found := map[string]ast.Expr{}
	for _, f := range files {
		for _, s := range valueSpecs(f, token.CONST) {
			for i, name := range s.Names {
				if i < len(s.Values) {
					found[name.Name] = s.Values[i]
				}
			}
		}
	}
	return found
}

func valueSpecs(f *ast.File, kind token.Token) []*ast.ValueSpec {
	var specs []*ast.ValueSpec
	for _, d := range f.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == kind {
			for _, s := range g.Specs {
				specs = append(specs, s.(*ast.ValueSpec))
			}
		}
	}
	return specs
}

func (r *specReader) findSpec(f *ast.File) {
	for _, s := range valueSpecs(f, token.VAR) {
		for i, name := range s.Names {
			if name.Name != "Module" || i >= len(s.Values) {
				continue
			}
			r.module.SpecPos = r.fset.PositionFor(name.Pos(), false)
			lit, ok := s.Values[i].(*ast.CompositeLit)
			if !ok {
				r.cannot(r.module.SpecPos, "Module must be a module.Spec literal")
				continue
			}
			r.readSpec(f, lit)
		}
	}
}

func (r *specReader) readSpec(f *ast.File, lit *ast.CompositeLit) {
	for _, e := range lit.Elts {
		kv, ok := e.(*ast.KeyValueExpr)
		if !ok {
			r.cannot(r.pos(e), "the fields of the Spec must be named")
			return
		}
		switch kv.Key.(*ast.Ident).Name {
		case "Name":
			if name, ok := r.text(kv.Value); !ok || name != r.module.Name {
				r.cannot(r.pos(kv.Value), "Name must be %q, the name of the folder and of the schema", r.module.Name)
			}
		case "Uses":
			for _, el := range r.elements(kv.Value, "Uses") {
				if to, ok := r.text(el); ok {
					r.module.Uses = append(r.module.Uses, Edge{To: to, Pos: r.pos(el)})
				} else {
					r.module.unknown["Uses"] = true
					r.cannot(r.pos(el), "an element of Uses must be a string constant")
				}
			}
		case "Publishes":
			r.module.Publishes = r.events(f, kv.Value, "Publishes")
		case "Subscribes":
			r.module.Subscribes = r.events(f, kv.Value, "Subscribes")
		}
	}
}

func (r *specReader) elements(e ast.Expr, field string) []ast.Expr {
	switch e := e.(type) {
	case *ast.CompositeLit:
		return e.Elts
	case *ast.Ident:
		if e.Name == "nil" {
			return nil
		}
	}
	r.module.unknown[field] = true
	r.cannot(r.pos(e), "%s must be a literal list", field)
	return nil
}

// text is the value of a string constant.
func (r *specReader) text(e ast.Expr) (string, bool) {
	v := r.value(e, map[string]bool{})
	if v == nil || v.Kind() != constant.String {
		return "", false
	}
	return constant.StringVal(v), true
}

func (r *specReader) value(e ast.Expr, open map[string]bool) constant.Value {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return r.value(e.X, open)
	case *ast.BasicLit:
		return constant.MakeFromLiteral(e.Value, e.Kind, 0)
	case *ast.Ident:
		if of := r.consts[e.Name]; of != nil && !open[e.Name] {
			open[e.Name] = true
			return r.value(of, open)
		}
	case *ast.BinaryExpr:
		x, y := r.value(e.X, open), r.value(e.Y, open)
		if e.Op == token.ADD && x != nil && y != nil && x.Kind() == constant.String && y.Kind() == constant.String {
			return constant.BinaryOp(x, e.Op, y)
		}
	}
	return nil
}

// events reads a list of variables of v1 packages.
func (r *specReader) events(f *ast.File, e ast.Expr, field string) []EventRef {
	var refs []EventRef
	for _, el := range r.elements(e, field) {
		ref, ok := r.event(f, el)
		if !ok {
			r.module.unknown[field] = true
			r.cannot(r.pos(el), "an element of %s must be a variable of a v1 package, such as %sv1.Created", field, r.module.Name)
			continue
		}
		refs = append(refs, ref)
	}
	return refs
}

func (r *specReader) event(f *ast.File, e ast.Expr) (EventRef, bool) {
	sel, ok := e.(*ast.SelectorExpr)
	if !ok {
		return EventRef{}, false
	}
	base, ok := sel.X.(*ast.Ident)
	if !ok {
		return EventRef{}, false
	}
	for _, im := range f.Imports {
		p, err := strconv.Unquote(im.Path.Value)
		if err != nil {
			continue
		}
		module, ok := contractOf(r.goModule, p)
		name := module + "v1" // as protoc-gen-go names the packages here
		if im.Name != nil {
			name = im.Name.Name
		}
		if ok && name == base.Name {
			return EventRef{Module: module, Var: sel.Sel.Name, Pos: r.pos(e)}, true
		}
	}
	return EventRef{}, false
}

// contractOf is the business module whose v1 package has the import path.
func contractOf(goModule, importPath string) (string, bool) {
	rest, ok := strings.CutPrefix(importPath, goModule+"/modules/")
	if !ok {
		return "", false
	}
	module, layer, _ := strings.Cut(rest, "/")
	return module, layer == "v1"
}

// findEvents collects variables that are set to event.Define[*Message]().
func (r *specReader) findEvents(f *ast.File) {
	for _, s := range valueSpecs(f, token.VAR) {
		for i, name := range s.Names {
			if i >= len(s.Values) {
				continue
			}
			call, ok := s.Values[i].(*ast.CallExpr)
			if !ok {
				continue
			}
			index, ok := call.Fun.(*ast.IndexExpr)
			if !ok {
				continue
			}
			if star, ok := index.Index.(*ast.StarExpr); ok {
				if message, ok := star.X.(*ast.Ident); ok {
					r.module.Events[name.Name] = message.Name
				}
			}
		}
	}
}

func (r *specReader) readSQL(dir string) error {
	all, err := sqlFiles(r.files, dir)
	if err != nil {
		return err
	}
	for _, m := range all {
		if strings.HasPrefix(m.Name, dir+"/migrations/") {
			r.module.Migrations = append(r.module.Migrations, m)
		} else {
			r.module.Queries = append(r.module.Queries, m)
		}
	}
	r.module.Tables = tablesOf(r.module.Migrations)
	return nil
}

// sqlFiles are the SQL files below a folder, sorted by name.
func sqlFiles(files fs.FS, dir string) ([]Migration, error) {
	var all []Migration
	err := fs.WalkDir(files, dir, func(name string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case d.IsDir() && d.Name() == "testdata":
			return fs.SkipDir
		case d.IsDir() || strings.ToLower(path.Ext(name)) != ".sql":
			return nil
		}
		text, err := fs.ReadFile(files, name)
		all = append(all, Migration{Name: name, Text: string(text)})
		return err
	})
	return all, err
}

func (r *specReader) pos(n ast.Node) token.Position { return r.fset.PositionFor(n.Pos(), false) }

func (r *specReader) cannot(pos token.Position, format string, args ...any) {
	r.module.unreadable = append(r.module.unreadable, unreadable{pos: pos, what: fmt.Sprintf(format, args...)})
}
