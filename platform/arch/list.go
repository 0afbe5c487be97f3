package arch

import (
	"context"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/tools/go/packages"
)

// listed is what the go command knows of a package. Names of files and folders
// are relative to the root of the module, with slashes, when it is one of its
// own, else absolute.
type listed struct {
	path, name string
	dir        string
	files      []string          // that are compiled
	ignored    []string          // Go files that a build constraint excludes
	tests      []string          // test files
	imports    map[string]string // from the path in an import declaration to the package's path
	optional   []string          // what ignored files import
	own        bool              // belongs to the module that is checked
}

// listing is the packages of a Go module and all that they import.
type listing struct {
	module   string // its path
	packages map[string]*listed
	sorted   []*listed // each after all that it imports, unless there is a cycle
}

// list asks the go command for the packages of the Go module at root, without
// compiling anything and as they are built: without cgo.
func list(ctx context.Context, root string) (*listing, error) {
	cfg := &packages.Config{
		Context: ctx, Dir: root, Env: append(os.Environ(), "CGO_ENABLED=0"),
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedImports | packages.NeedDeps | packages.NeedModule,
	}
	roots, err := packages.Load(cfg, "./...")
	if err != nil {
		return nil, fmt.Errorf("list the packages below %s: %w", root, err)
	}
	l := &listing{packages: map[string]*listed{}}
	for _, p := range roots {
		if p.Module != nil && p.Module.Main {
			l.module = p.Module.Path
		}
	}
	if l.module == "" {
		return nil, fmt.Errorf("list the packages below %s: there is no Go module with packages", root)
	}
	packages.Visit(roots, nil, func(p *packages.Package) { l.add(root, p) })
	if err := l.addUnlisted(os.DirFS(root)); err != nil {
		return nil, err
	}
	for _, p := range l.sorted {
		for _, f := range p.ignored {
			if p.own {
				p.optional = append(p.optional, importsOf(filepath.Join(root, f))...)
			}
		}
	}
	return l, nil
}

// importsOf are the paths that a file imports. Whether it can be parsed is told
// elsewhere.
func importsOf(file string) []string {
	f, _ := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if f == nil {
		return nil
	}
	var paths []string
	for _, im := range f.Imports {
		if path, err := strconv.Unquote(im.Path.Value); err == nil {
			paths = append(paths, path)
		}
	}
	return paths
}

// addUnlisted adds the folders with Go files of which the build takes none:
// the go command leaves them out.
func (l *listing) addUnlisted(files fs.FS) error {
	for _, top := range []string{"modules", "platform", "cmd"} {
		err := fs.WalkDir(files, top, func(name string, d fs.DirEntry, err error) error {
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return nil
			case err != nil || !d.IsDir():
				return err
			case d.Name() == "testdata" || strings.HasPrefix(d.Name(), "_") || strings.HasPrefix(d.Name(), "."):
				return fs.SkipDir
			case l.packages[l.module+"/"+name] != nil:
				return nil
			}
			found, err := fs.Glob(files, name+"/*.go")
			if err != nil || len(found) == 0 {
				return err
			}
			p := &listed{path: l.module + "/" + name, dir: name, own: true, imports: map[string]string{}}
			for _, f := range found {
				if strings.HasSuffix(f, "_test.go") {
					p.tests = append(p.tests, f)
				} else {
					p.ignored = append(p.ignored, f)
				}
			}
			l.packages[p.path] = p
			l.sorted = append(l.sorted, p)
			return nil
		})
		if err != nil {
			return fmt.Errorf("look for Go files in %s: %w", top, err)
		}
	}
	return nil
}

func (l *listing) add(root string, p *packages.Package) {
	if len(p.GoFiles) == 0 && len(p.IgnoredFiles) == 0 {
		return
	}
	e := &listed{
		path: p.PkgPath, name: p.Name, files: p.GoFiles, imports: map[string]string{},
		own: p.PkgPath == l.module || strings.HasPrefix(p.PkgPath, l.module+"/"),
	}
	for as, q := range p.Imports {
		e.imports[as] = q.PkgPath
	}
	e.dir = filepath.Dir(slices.Concat(p.GoFiles, p.IgnoredFiles)[0])
	if e.own {
		e.addUncompiled()
		e.relativeTo(root)
	}
	l.packages[e.path] = e
	l.sorted = append(l.sorted, e)
}

// addUncompiled finds the Go files that the go command passes over: tests, and
// those for other systems or tags.
func (e *listed) addUncompiled() {
	all, _ := filepath.Glob(filepath.Join(e.dir, "*.go")) // fails only on a malformed pattern
	for _, f := range all {
		base := filepath.Base(f)
		switch {
		case slices.Contains(e.files, f) || base[0] == '_' || base[0] == '.':
		case strings.HasSuffix(base, "_test.go"):
			e.tests = append(e.tests, f)
		default:
			e.ignored = append(e.ignored, f)
		}
	}
}

func (e *listed) relativeTo(root string) {
	rel := func(file string) string {
		if r, err := filepath.Rel(root, file); err == nil {
			return filepath.ToSlash(r)
		}
		return file
	}
	e.dir = rel(e.dir)
	for _, files := range [][]string{e.files, e.ignored, e.tests} {
		for i := range files {
			files[i] = rel(files[i])
		}
	}
}

// typed are the Go module's own packages of which the rules need the types:
// those of the business modules, and what they stand on.
func (l *listing) typed() map[string]bool {
	typed := map[string]bool{}
	var visit func(path string)
	visit = func(path string) {
		p := l.packages[path]
		if p == nil || !p.own || typed[path] {
			return
		}
		typed[path] = true
		for _, to := range p.imports {
			visit(to)
		}
	}
	for _, p := range l.sorted {
		if p.own && below(p.path, l.module+"/modules") {
			visit(p.path)
		}
	}
	return typed
}
