package arch

import (
	"fmt"
	"go/ast"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/tools/go/analysis"
)

// Analyzers are the rules of a package for go vet -vettool. Those of a module
// or of the world need all packages at once and run in Check alone.
func Analyzers() []*analysis.Analyzer {
	var all []*analysis.Analyzer
	for _, r := range Rules() {
		if r.pkg == nil {
			continue
		}
		all = append(all, &analysis.Analyzer{
			Name: strings.ReplaceAll(r.Name, "-", ""), Doc: r.Name + ": " + r.Reason,
			Run: func(pass *analysis.Pass) (any, error) { return nil, analyze(pass, r) },
		})
	}
	return all
}

// analyze runs a rule on the package of a pass.
func analyze(pass *analysis.Pass, r *Rule) error {
	if pass.Module == nil || len(pass.Files) == 0 || strings.HasSuffix(pass.Pkg.Path(), ".test") {
		return nil
	}
	path, _, _ := strings.Cut(pass.Pkg.Path(), " ") // a test variant has its name behind
	root, err := findRoot(filepath.Dir(pass.Fset.File(pass.Files[0].FileStart).Name()))
	if err != nil || !below(path, pass.Module.Path) {
		return err
	}
	w := &World{Root: root, Path: pass.Module.Path, Fset: pass.Fset, files: os.DirFS(root)}
	if err := w.readModules(); err != nil {
		return err
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
	c := newCheck(w)
	c.runPackages(r)
	c.sort()
	c.applyWaivers(waiversIn(w))
	for _, f := range c.findings {
		if f.Rule == r && f.counts() {
			pass.Report(analysis.Diagnostic{Pos: f.pos, Message: fmt.Sprintf("%s: %s. Fix: %s", r.Name, f.Message, f.Fix)})
		}
	}
	return nil
}

// importsTesting reports whether a file imports testing. When it is no test
// itself, its package serves tests.
func importsTesting(f *ast.File) bool {
	return slices.ContainsFunc(f.Imports, func(im *ast.ImportSpec) bool { return im.Path.Value == `"testing"` })
}
