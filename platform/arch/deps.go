package arch

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"os"
	"slices"
)

// loadDependencies returns the types of the foreign packages that the module's
// own import. They come from the cache in cacheDir, else from the sources, of
// which only the declarations are read: compiling them, as export data of the
// go command needs, takes minutes on an empty build cache. An empty cacheDir
// means no cache; one that cannot be used is only slower.
func loadDependencies(fset *token.FileSet, l *listing, cacheDir string) map[string]*types.Package {
	d := &dependencies{fset: fset, listing: l, keys: map[string]string{}, known: map[string]*types.Package{"unsafe": types.Unsafe}}
	if cacheDir == "" {
		d.check(d.everything())
		return d.known
	}
	d.cache = openCache(cacheDir)
	missing := d.read(l.directDependencies())
	if len(missing) > 0 {
		d.check(missing)
		_ = d.cache.save(fset, d.known, d.keysOf(missing))
	}
	return d.known
}

// dependencies is the loading of foreign packages.
type dependencies struct {
	fset    *token.FileSet
	listing *listing
	keys    map[string]string // of packages, see key
	known   map[string]*types.Package
	cache   *cache
}

func (d *dependencies) everything() []*listed {
	var all []*listed
	for _, p := range d.listing.sorted {
		if !p.own && p.path != "unsafe" {
			all = append(all, p)
		}
	}
	return all
}

// key names the sources of a package and of all that it imports, by the size
// and the time of the files.
func (d *dependencies) key(p *listed) string {
	if k := d.keys[p.path]; k != "" {
		return k
	}
	h := sha256.New()
	for _, f := range p.files {
		if info, err := os.Stat(f); err == nil {
			fmt.Fprintln(h, f, info.Size(), info.ModTime().UnixNano())
		}
	}
	for _, to := range slices.Sorted(maps.Values(p.imports)) {
		if q := d.listing.packages[to]; q != nil {
			fmt.Fprintln(h, to, d.key(q))
		}
	}
	d.keys[p.path] = hex.EncodeToString(h.Sum(nil)[:16])
	return d.keys[p.path]
}

func (d *dependencies) keysOf(pkgs []*listed) map[string]string {
	keys := make(map[string]string, len(pkgs))
	for _, p := range pkgs {
		keys[p.path] = d.key(p)
	}
	return keys
}

// read takes packages from the cache. It returns those that are not in it,
// with what they need that is not in it either, each after what it imports.
func (d *dependencies) read(paths []string) []*listed {
	var missing []*listed
	seen := map[string]bool{}
	var need func(path string)
	need = func(path string) {
		p := d.listing.packages[path]
		if p == nil || path == "unsafe" || seen[path] {
			return
		}
		seen[path] = true
		if d.cache.read(d.fset, d.known, path, d.key(p)) {
			return
		}
		for _, to := range slices.Sorted(maps.Values(p.imports)) {
			need(to)
		}
		missing = append(missing, p)
	}
	for _, path := range paths {
		need(path)
	}
	return missing
}

// check type-checks the declarations of packages. Errors are passed over:
// without bodies there are some, and a dependency that does not compile is not
// this tool's concern.
func (d *dependencies) check(pkgs []*listed) {
	jobs := make([]*job, len(pkgs))
	for i, p := range pkgs {
		jobs[i] = &job{pkg: p, parse: declarations}
	}
	checkTypes(d.fset, jobs, maps.Clone(d.known))
	for _, j := range jobs {
		d.known[j.pkg.path] = j.types
	}
}

func (l *listing) directDependencies() []string {
	var direct []string
	typed := l.typed()
	for _, p := range l.sorted {
		if !typed[p.path] {
			continue
		}
		for _, path := range slices.Concat(slices.Collect(maps.Values(p.imports)), p.optional) {
			if q := l.packages[path]; q != nil && !q.own {
				direct = append(direct, path)
			}
		}
	}
	slices.Sort(direct)
	return slices.Compact(direct)
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
