package arch

import (
	"bytes"
	"encoding/gob"
	"go/token"
	"go/types"
	"os"
	"path/filepath"

	"golang.org/x/tools/go/gcexportdata"
)

// maxCache bounds the file of the cache, in bytes: beyond it, what the last run
// did not need is forgotten.
const maxCache = 64 << 20

// cache keeps the declarations of packages in one file, by keys that name their
// sources. Writers replace the file, so that readers see the old or the new.
type cache struct {
	file    string
	entries map[string][]byte // as gcexportdata writes them
}

func openCache(dir string) *cache {
	c := &cache{file: filepath.Join(dir, "dependencies"), entries: map[string][]byte{}}
	if content, err := os.ReadFile(c.file); err == nil {
		if gob.NewDecoder(bytes.NewReader(content)).Decode(&c.entries) != nil {
			c.entries = map[string][]byte{}
		}
	}
	return c
}

// read adds a package to known, and reports whether the cache has it.
func (c *cache) read(fset *token.FileSet, known map[string]*types.Package, path, key string) bool {
	data := c.entries[key]
	if data == nil {
		return false
	}
	_, err := gcexportdata.Read(bytes.NewReader(data), fset, known, path)
	return err == nil
}

// save adds packages, given by path with their keys, and writes the file.
func (c *cache) save(fset *token.FileSet, known map[string]*types.Package, keys map[string]string) error {
	added, size := map[string][]byte{}, 0
	for path, key := range keys {
		var b bytes.Buffer
		if gcexportdata.Write(&b, fset, known[path]) == nil { // else it is read from its source each time
			added[key] = b.Bytes()
			size += b.Len()
		}
	}
	for key, data := range c.entries {
		if size += len(data); size <= maxCache && added[key] == nil {
			added[key] = data
		}
	}
	dir := filepath.Dir(c.file)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	partial, err := os.CreateTemp(dir, "partial-*")
	if err != nil {
		return err
	}
	defer os.Remove(partial.Name())
	err = gob.NewEncoder(partial).Encode(added)
	if cerr := partial.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(partial.Name(), c.file)
}
