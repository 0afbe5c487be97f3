package arch

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// World is a Go module with its business modules, as the rules see it.
type World struct {
	Root    string // the folder of go.mod, absolute
	Path    string // of the Go module
	Fset    *token.FileSet
	Modules []*Module // by name
	// Packages are those of the Go module, each after all that it imports, and
	// behind them the variants (see Package.Variant).
	Packages []*Package
	Problems []error // what does not compile

	files          fs.FS // below Root
	platformTables map[string]bool
	listing        *listing
	known          map[string]*types.Package // of dependencies
	jobs           map[string]*job           // what was type-checked, by package
}

// Package is a package of the Go module. Those of business modules have types.
type Package struct {
	Path   string
	Dir    string // relative to Root, with slashes
	Module string // the business module that it belongs to, or ""
	// Layer is where in its business module the package is: "" for the root,
	// "v1", "v1/rest", "migrations", or without "internal/": "domain",
	// "store", "api/sub".
	Layer string
	Files []*File // that the rules check
	// Variant means that Files holds one file that the build leaves out here,
	// checked together with those that it takes.
	Variant bool
	Types   *types.Package // nil outside business modules
	Info    *types.Info    // nil like Types

	imports map[string]string
}

// File is a Go file.
type File struct {
	Name string // relative to Root, with slashes
	Test bool   // it serves tests: only the rules about imports of other modules see it
	AST  *ast.File
}

// Options are how to read a World.
type Options struct {
	Dir   string // anywhere in the Go module; default: the working directory
	Cache string // a folder for what the next run can use again; "" for none
}

// Open reads the Go module around o.Dir. It fails when the go command cannot
// list it; what does not compile is in Problems.
func Open(ctx context.Context, o Options) (*World, error) {
	root, err := findRoot(o.Dir)
	if err != nil {
		return nil, err
	}
	l, err := list(ctx, root)
	if err != nil {
		return nil, err
	}
	w := &World{Root: root, Path: l.module, Fset: token.NewFileSet(), files: os.DirFS(root), listing: l}
	w.known = loadDependencies(w.Fset, l, o.Cache)
	return w, w.build(nil)
}

// findRoot is the folder of the go.mod that rules dir.
func findRoot(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "go.mod")); err == nil {
			return d, nil
		}
		if d == filepath.Dir(d) {
			return "", fmt.Errorf("there is no go.mod in %s or above", dir)
		}
	}
}

// build parses and type-checks the module's own packages, but those that are
// done, and reads the Specs and tables of its business modules.
func (w *World) build(done map[string]*job) error {
	known := maps.Clone(w.known)
	w.jobs = maps.Clone(done)
	if w.jobs == nil {
		w.jobs = map[string]*job{}
	}
	for path, j := range done {
		known[path] = j.types
	}
	var jobs []*job
	typed := w.listing.typed()
	for _, p := range w.listing.sorted {
		if typed[p.path] && w.jobs[p.path] == nil {
			jobs = append(jobs, w.job(p))
			w.jobs[p.path] = jobs[len(jobs)-1]
		}
	}
	checkTypes(w.Fset, jobs, known)
	var variants []*Package
	for _, p := range w.listing.sorted {
		if !p.own {
			continue
		}
		pkg := w.newPackage(p)
		if j := w.jobs[p.path]; j != nil && j.full {
			w.Problems = append(w.Problems, j.errs...)
			pkg.Types, pkg.Info = j.types, j.info
			pkg.Files = w.wrap(j.files, false)
		} else {
			pkg.Files = w.importsOnly(p.files, false)
		}
		if p.imports["testing"] != "" {
			// It serves tests alone: tool-import keeps it out of the deployable.
			for _, f := range pkg.Files {
				f.Test = true
			}
		}
		pkg.Files = append(pkg.Files, w.importsOnly(p.tests, true)...)
		w.Packages = append(w.Packages, pkg)
		for _, file := range p.ignored {
			variants = append(variants, w.variant(p, file))
		}
	}
	w.Packages = append(w.Packages, variants...)
	return w.readModules()
}

func (w *World) readModules() error {
	platform, err := sqlFiles(w.files, "platform/db/migrations")
	if err != nil {
		return err
	}
	w.platformTables = tablesOf(platform)
	w.Modules, err = readModules(w.files, w.Path)
	return err
}

func (w *World) job(p *listed) *job {
	module, layer := place(strings.TrimPrefix(p.path, w.Path+"/"))
	if module == "" || layer == "v1/rest" {
		return &job{pkg: p, parse: w.parser(true)}
	}
	return &job{pkg: p, parse: w.parser(false), full: true}
}

func (w *World) newPackage(p *listed) *Package {
	pkg := &Package{Path: p.path, Dir: p.dir, imports: p.imports}
	pkg.Module, pkg.Layer = place(p.dir)
	return pkg
}

// place is the business module and the layer of a folder below the root.
func place(dir string) (module, layer string) {
	rest, ok := strings.CutPrefix(dir, "modules/")
	if !ok {
		return "", ""
	}
	module, layer, _ = strings.Cut(rest, "/")
	return module, strings.TrimPrefix(layer, "internal/")
}

// variant is a package as it is with one of the files that are left out.
func (w *World) variant(p *listed, file string) *Package {
	pkg := w.newPackage(p)
	pkg.Variant = true
	if j := w.jobs[p.path]; j == nil || !j.full {
		pkg.Files = w.importsOnly([]string{file}, false)
		return pkg
	}
	with := *p
	with.files = append(slices.Clone(p.files), file)
	if name := w.packageName(file); name != p.name {
		with.files = []string{file} // a program that is run by itself, or a folder without compiled files
	}
	j := w.job(&with)
	found := make(map[string]*types.Package, len(w.jobs))
	for path, other := range w.jobs {
		found[path] = other.types
	}
	// Its errors are those of files that are not meant to be built together.
	j.run(w.Fset, found, w.known)
	pkg.Types, pkg.Info = j.types, j.info
	for _, f := range w.wrap(j.files, false) {
		if f.Name == file {
			pkg.Files = append(pkg.Files, f)
		}
	}
	return pkg
}

func (w *World) packageName(file string) string {
	src, err := fs.ReadFile(w.files, file)
	if err != nil {
		return ""
	}
	f, err := parser.ParseFile(token.NewFileSet(), file, src, parser.PackageClauseOnly)
	if err != nil {
		return ""
	}
	return f.Name.Name
}

func (w *World) parser(declarationsOnly bool) func(*token.FileSet, string) (*ast.File, error) {
	return func(fset *token.FileSet, file string) (*ast.File, error) {
		src, err := fs.ReadFile(w.files, file)
		if err != nil {
			return nil, err
		}
		f, err := parser.ParseFile(fset, file, src, parser.SkipObjectResolution|parser.ParseComments)
		if f != nil && declarationsOnly {
			dropBodies(f)
		}
		return f, err
	}
}

func (w *World) importsOnly(files []string, test bool) []*File {
	var parsed []*ast.File
	for _, file := range files {
		src, err := fs.ReadFile(w.files, file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // an editor has removed it since it was listed
		}
		if err != nil {
			w.Problems = append(w.Problems, err)
			continue
		}
		f, err := parser.ParseFile(w.Fset, file, src, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			w.Problems = append(w.Problems, err)
		}
		if f != nil {
			parsed = append(parsed, f)
		}
	}
	return w.wrap(parsed, test)
}

func (w *World) wrap(parsed []*ast.File, test bool) []*File {
	files := make([]*File, len(parsed))
	for i, f := range parsed {
		files[i] = &File{Name: w.Fset.File(f.FileStart).Name(), Test: test, AST: f}
	}
	return files
}

// at is a position with its file relative to the root. A line directive does
// not move it.
func (w *World) at(pos token.Pos) token.Position { return w.Fset.PositionFor(pos, false) }

// Module returns the business module of that name, or nil.
func (w *World) Module(name string) *Module {
	i := slices.IndexFunc(w.Modules, func(m *Module) bool { return m.Name == name })
	if i < 0 {
		return nil
	}
	return w.Modules[i]
}
