package arch

import (
	"context"
	"errors"
	"go/build"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// real is the World of this repository, from its sources alone: so it knows
// dependencies in full, also what only a planted file uses.
var real = sync.OnceValues(func() (*World, error) { return Open(context.Background(), Options{}) })

func setup(t *testing.T) *World {
	t.Helper()
	w, err := real()
	require.NoError(t, err)
	require.Empty(t, w.Problems)
	return w
}

// plant returns the world with files added or replaced.
func plant(t *testing.T, w *World, files map[string]string) *World {
	t.Helper()
	layer := fstest.MapFS{}
	for name, text := range files {
		layer[name] = &fstest.MapFile{Data: []byte(text)}
	}
	planted := &World{
		Root: w.Root, Path: w.Path, Fset: w.Fset, known: w.known, files: overlay{layer, w.files}, listing: w.listing.with(t, files),
	}
	require.NoError(t, planted.build(unchanged(w, planted.listing)))
	return planted
}

// unchanged is what has been type-checked of w and is the same in l.
func unchanged(w *World, l *listing) map[string]*job {
	done := maps.Clone(w.jobs)
	typed := l.typed()
	for _, p := range l.sorted {
		stale := w.listing.packages[p.path] != p
		for _, path := range p.imports {
			q := l.packages[path]
			stale = stale || q != nil && typed[path] && done[path] == nil
		}
		if stale {
			delete(done, p.path)
		}
	}
	return done
}

// with is the listing as the go command would give it with the files.
func (l *listing) with(t *testing.T, files map[string]string) *listing {
	t.Helper()
	with := &listing{module: l.module, packages: maps.Clone(l.packages)}
	for name, text := range files {
		if path.Ext(name) != ".go" || strings.Contains(name, "/testdata/") {
			continue
		}
		dir := path.Dir(name)
		p := &listed{path: l.module + "/" + dir, dir: dir, own: true, imports: map[string]string{}}
		if old := with.packages[p.path]; old != nil {
			*p = *old
			p.imports = maps.Clone(old.imports)
		}
		with.packages[p.path] = p
		ctxt := build.Default
		ctxt.OpenFile = func(string) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
		match, err := ctxt.MatchFile(dir, path.Base(name))
		require.NoError(t, err)
		switch {
		case slices.Contains(slices.Concat(p.files, p.tests, p.ignored), name):
		case strings.HasSuffix(name, "_test.go"):
			p.tests = append(slices.Clone(p.tests), name)
		case !match:
			p.ignored = append(slices.Clone(p.ignored), name)
		default:
			p.files = append(slices.Clone(p.files), name)
		}
		if match && !strings.HasSuffix(name, "_test.go") {
			f, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ImportsOnly)
			require.NoError(t, err)
			for _, im := range f.Imports {
				to, err := strconv.Unquote(im.Path.Value)
				require.NoError(t, err)
				p.imports[to] = to
			}
		}
	}
	with.sort()
	return with
}

func (l *listing) sort() {
	seen := map[string]bool{}
	var visit func(p *listed)
	visit = func(p *listed) {
		if p == nil || seen[p.path] {
			return
		}
		seen[p.path] = true
		for _, to := range slices.Sorted(maps.Values(p.imports)) {
			visit(l.packages[to])
		}
		l.sorted = append(l.sorted, p)
	}
	for _, path := range slices.Sorted(maps.Keys(l.packages)) {
		visit(l.packages[path])
	}
}

// overlay is one file system above another.
type overlay [2]fs.FS

func (o overlay) Open(name string) (fs.File, error) {
	f, err := o[0].Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return o[1].Open(name)
	}
	return f, err
}

func (o overlay) ReadDir(name string) ([]fs.DirEntry, error) {
	above, errAbove := fs.ReadDir(o[0], name)
	below, errBelow := fs.ReadDir(o[1], name)
	if errAbove != nil && errBelow != nil {
		return nil, errBelow
	}
	for _, e := range below {
		if !slices.ContainsFunc(above, func(a fs.DirEntry) bool { return a.Name() == e.Name() }) {
			above = append(above, e)
		}
	}
	slices.SortFunc(above, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return above, nil
}
