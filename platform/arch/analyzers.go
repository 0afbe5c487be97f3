package arch

import (
	"fmt"
	"go/ast"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"golang.org/x/tools/go/analysis"
)

// Analyzers are the rules of a package for go vet -vettool. Those of a module
// or of the world need all packages at once and run in Check alone.
func Analyzers() []*analysis.Analyzer {
	// One world for all rules on a package.
	world := &analysis.Analyzer{
		Name: "boundaryworld", Doc: "boundaryworld: what the boundary rules share", ResultType: reflect.TypeFor[*World](),
		Run: func(pass *analysis.Pass) (any, error) { return packageWorld(pass) },
	}
	var all []*analysis.Analyzer
	for _, r := range Rules() {
		if r.pkg == nil {
			continue
		}
		all = append(all, &analysis.Analyzer{
			Name: strings.ReplaceAll(r.Name, "-", ""), Doc: r.Name + ": " + r.Reason, Requires: []*analysis.Analyzer{world},
			Run: func(pass *analysis.Pass) (any, error) {
				if w := pass.ResultOf[world].(*World); w != nil {
					report(pass, w, r)
				}
				return nil, nil
			},
		})
	}
	return all
}

// packageWorld is a world with the package of a pass alone; nil when the package
// is not the Go module's own.
func packageWorld(pass *analysis.Pass) (*World, error) {
	path, _, _ := strings.Cut(pass.Pkg.Path(), " ") // a test variant has its name behind
	if pass.Module == nil || len(pass.Files) == 0 || strings.HasSuffix(path, ".test") || !below(path, pass.Module.Path) {
		return nil, nil
	}
	root, err := findRoot(filepath.Dir(pass.Fset.File(pass.Files[0].FileStart).Name()))
	if err != nil {
		return nil, err
	}
	w := &World{Root: root, Path: pass.Module.Path, Fset: pass.Fset, files: os.DirFS(root)}
	if err := w.readModules(); err != nil {
		return nil, err
	}
	dir := strings.TrimPrefix(strings.TrimPrefix(strings.TrimSuffix(path, "_test"), w.Path), "/")
	pkg := &Package{Path: path, Dir: dir, Types: pass.Pkg, Info: pass.TypesInfo}
	if pkg.Module, pkg.Layer = place(dir); pkg.Module == "" {
		pkg.Types, pkg.Info = nil, nil
	}
	helper := false
	for _, f := range pass.Files {
		name := pass.Fset.File(f.FileStart).Name()
		test := strings.HasSuffix(name, "_test.go")
		helper = helper || !test && importsTesting(f)
		pkg.Files = append(pkg.Files, &File{Name: name, Test: test, AST: f})
	}
	for _, f := range pkg.Files {
		f.Test = f.Test || helper
	}
	w.Packages = []*Package{pkg}
	return w, nil
}

// report runs one rule, side by side with others on the same world.
func report(pass *analysis.Pass, w *World, r *Rule) {
	c := newCheck(w)
	c.runPackages(r)
	c.sort()
	c.applyWaivers(waiversIn(w))
	for _, f := range c.findings {
		if f.Rule == r && f.counts() {
			pass.Report(analysis.Diagnostic{Pos: f.pos, Message: fmt.Sprintf("%s: %s. Fix: %s", r.Name, f.Message, f.Fix)})
		}
	}
}

// importsTesting reports whether a file imports testing. When it is no test
// itself, its package serves tests.
func importsTesting(f *ast.File) bool {
	return slices.ContainsFunc(f.Imports, func(im *ast.ImportSpec) bool { return im.Path.Value == `"testing"` })
}
