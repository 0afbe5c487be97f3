package arch

import (
	"bytes"
	"crypto/sha256"
	"encoding/gob"
	"encoding/hex"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/tools/go/gcexportdata"
)

// exported is the declarations of one package in the cache of dependencies.
type exported struct {
	Path string
	Data []byte // as gcexportdata writes it
}

// loadDependencies returns the types of the foreign packages that the module's
// own import. They come from a file in cacheDir that an earlier run has left
// for exactly these sources, else from the sources themselves, of which only
// the declarations are read: compiling them, as export data of the go command
// needs, takes minutes on an empty build cache. An empty cacheDir means no
// cache, and a cache that cannot be used is only slower.
func loadDependencies(fset *token.FileSet, l *listing, cacheDir string) map[string]*types.Package {
	direct := l.directDependencies()
	file := ""
	if cacheDir != "" {
		file = filepath.Join(cacheDir, "deps-"+l.dependencyKey(direct))
		if known, err := readDependencies(fset, file, direct); err == nil {
			return known
		}
	}
	known := l.checkDependencies(fset)
	if file != "" {
		_ = writeDependencies(fset, file, direct, known) // it is only faster with one
	}
	return known
}

func (l *listing) directDependencies() []string {
	var direct []string
	typed := l.typed()
	for _, p := range l.sorted {
		if !typed[p.path] {
			continue
		}
		for _, path := range p.imports {
			if q := l.packages[path]; q != nil && !q.own && path != "unsafe" {
				direct = append(direct, path)
			}
		}
	}
	slices.Sort(direct)
	return slices.Compact(direct)
}

// dependencyKey names the sources of all dependencies by their size and time.
func (l *listing) dependencyKey(direct []string) string {
	h := sha256.New()
	fmt.Fprintln(h, direct)
	for _, p := range l.sorted {
		if p.own {
			continue
		}
		for _, f := range p.files {
			if info, err := os.Stat(f); err == nil {
				fmt.Fprintln(h, f, info.Size(), info.ModTime().UnixNano())
			}
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func readDependencies(fset *token.FileSet, file string, direct []string) (map[string]*types.Package, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var entries []exported
	if err := gob.NewDecoder(bytes.NewReader(content)).Decode(&entries); err != nil {
		return nil, err
	}
	known := map[string]*types.Package{"unsafe": types.Unsafe}
	for _, e := range entries {
		if _, err := gcexportdata.Read(bytes.NewReader(e.Data), fset, known, e.Path); err != nil {
			return nil, err
		}
	}
	for _, path := range direct {
		if known[path] == nil {
			return nil, fmt.Errorf("%s is not in the cache", path)
		}
	}
	return known, nil
}

func writeDependencies(fset *token.FileSet, file string, direct []string, known map[string]*types.Package) error {
	entries := make([]exported, 0, len(direct))
	for _, path := range direct {
		var b bytes.Buffer
		if err := gcexportdata.Write(&b, fset, known[path]); err != nil {
			return err
		}
		entries = append(entries, exported{Path: path, Data: b.Bytes()})
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	partial, err := os.CreateTemp(filepath.Dir(file), "partial-*")
	if err != nil {
		return err
	}
	defer os.Remove(partial.Name())
	err = gob.NewEncoder(partial).Encode(entries)
	if cerr := partial.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err := os.Rename(partial.Name(), file); err != nil {
		return err
	}
	return forgetOldest(filepath.Dir(file))
}

// forgetOldest keeps the newest files of the cache: branches differ in what
// they import, and what few of them import is soon read again.
func forgetOldest(dir string) error {
	const keep = 8
	files, err := filepath.Glob(filepath.Join(dir, "deps-*"))
	if err != nil || len(files) <= keep {
		return err
	}
	age := map[string]time.Time{}
	for _, f := range files {
		if info, err := os.Stat(f); err == nil {
			age[f] = info.ModTime()
		}
	}
	slices.SortFunc(files, func(a, b string) int { return age[b].Compare(age[a]) })
	for _, f := range files[keep:] {
		err = errors.Join(err, os.Remove(f))
	}
	return err
}

// checkDependencies type-checks the declarations of all dependencies. Errors
// are passed over: without bodies there are some, and a dependency that does
// not compile is not this tool's concern.
func (l *listing) checkDependencies(fset *token.FileSet) map[string]*types.Package {
	var jobs []*job
	for _, p := range l.sorted {
		if !p.own && p.path != "unsafe" {
			jobs = append(jobs, &job{pkg: p, parse: declarations})
		}
	}
	checkTypes(fset, jobs, nil)
	known := make(map[string]*types.Package, len(jobs))
	for _, j := range jobs {
		known[j.pkg.path] = j.types
	}
	return known
}

// declarations parses a file and drops the bodies of its functions.
func declarations(fset *token.FileSet, file string) (*ast.File, error) {
	f, err := parser.ParseFile(fset, file, nil, parser.SkipObjectResolution)
	if f == nil {
		return nil, err
	}
	dropBodies(f)
	return f, nil
}

func dropBodies(f *ast.File) {
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok {
			fn.Body = nil
		}
	}
}
