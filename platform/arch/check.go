package arch

import (
	"errors"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"runtime"
	"sync"
)

// job is the type-checking of one package. Its results are there once run has
// returned.
type job struct {
	pkg   *listed
	parse func(fset *token.FileSet, file string) (*ast.File, error)
	full  bool // function bodies too, with the types of all expressions

	done  chan struct{}
	files []*ast.File
	types *types.Package
	info  *types.Info // nil unless full
	errs  []error
}

// checkTypes type-checks packages side by side, each after those that it
// imports; known are the types of those that are checked already. Jobs must be
// in the order of the listing: in an import cycle, the import of a later one
// is an error of the package.
func checkTypes(fset *token.FileSet, jobs []*job, known map[string]*types.Package) {
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	earlier := make(map[string]*job, len(jobs))
	var wg sync.WaitGroup
	for _, j := range jobs {
		j.done = make(chan struct{})
		var needs []*job
		for _, path := range j.pkg.imports {
			if need := earlier[path]; need != nil {
				needs = append(needs, need)
			}
		}
		earlier[j.pkg.path] = j
		wg.Go(func() {
			defer close(j.done)
			found := make(map[string]*types.Package, len(needs))
			for _, need := range needs {
				<-need.done
				found[need.pkg.path] = need.types
			}
			slots <- struct{}{}
			defer func() { <-slots }()
			j.run(fset, found, known)
		})
	}
	wg.Wait()
}

func (j *job) run(fset *token.FileSet, found, known map[string]*types.Package) {
	for _, file := range j.pkg.files {
		f, err := j.parse(fset, file)
		if err != nil {
			j.errs = append(j.errs, err)
		}
		if f != nil {
			j.files = append(j.files, f)
		}
	}
	if j.full {
		j.info = newInfo()
	}
	cfg := types.Config{
		IgnoreFuncBodies: !j.full, FakeImportC: true, Sizes: types.SizesFor("gc", runtime.GOARCH),
		Error: func(err error) { j.errs = append(j.errs, err) },
		Importer: importer(func(path string) (*types.Package, error) {
			return resolve(path, j.pkg.imports, found, known)
		}),
	}
	j.types, _ = cfg.Check(j.pkg.path, fset, j.files, j.info) // errors go to cfg.Error
}

var errNotListed = errors.New("the go command does not list it")

func resolve(path string, imports map[string]string, sources ...map[string]*types.Package) (*types.Package, error) {
	if path == "unsafe" {
		return types.Unsafe, nil
	}
	if actual, ok := imports[path]; ok {
		path = actual
	}
	for _, known := range sources {
		if p := known[path]; p != nil {
			return p, nil
		}
	}
	return nil, fmt.Errorf("%s: %w", path, errNotListed)
}

type importer func(path string) (*types.Package, error)

func (f importer) Import(path string) (*types.Package, error) { return f(path) }

func newInfo() *types.Info {
	return &types.Info{
		Types:        map[ast.Expr]types.TypeAndValue{},
		Defs:         map[*ast.Ident]types.Object{},
		Uses:         map[*ast.Ident]types.Object{},
		Implicits:    map[ast.Node]types.Object{},
		Selections:   map[*ast.SelectorExpr]*types.Selection{},
		Instances:    map[*ast.Ident]types.Instance{},
		FileVersions: map[*ast.File]string{},
	}
}
