package changed

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"cleave/platform/module"
)

// Plan is what to test after a change.
type Plan struct {
	Modules  []string // that have changed, or depend on one that has; sorted
	Packages []string // as go test takes them; sorted
	Why      string   // one line for people
}

// everything is the plan for a change that can break anything.
const everything = "./..."

// wholes are the packages that run all modules together.
var wholes = []string{"./cmd/app/...", "./test/isolation/...", "./test/journey/...", "./test/skew/..."}

// tested are the folders outside modules whose packages test all that can be
// broken there.
var tested = []string{"cmd/app", "cmd/cleave", "test/isolation", "test/journey", "test/skew", "test/bench", "platform/arch"}

// Select maps changed files, relative to the root of the tree, to what to
// test. A module that is not among modules depends on nothing.
func Select(files []string, modules []module.Description) Plan {
	touched := map[string]bool{}
	packages := map[string]bool{}
	for _, f := range files {
		switch {
		case document(f):
		case strings.HasPrefix(f, "modules/") && strings.Count(f, "/") >= 2:
			touched[strings.Split(f, "/")[1]] = true
		case strings.HasPrefix(f, "release/"):
			packages["./cmd/cleave/contract/..."] = true
			packages["./test/skew/..."] = true
		default:
			i := slices.IndexFunc(tested, func(dir string) bool { return strings.HasPrefix(f, dir+"/") })
			if i < 0 {
				return Plan{Packages: []string{everything}, Why: fmt.Sprintf("Testing everything: %s has changed.", f)}
			}
			packages["./"+tested[i]+"/..."] = true
			if tested[i] == "platform/arch" {
				packages["./cmd/cleave/..."] = true
			}
		}
	}
	affected := dependants(touched, modules)
	for name := range affected {
		packages["./modules/"+name+"/..."] = true
	}
	if len(touched) > 0 {
		for _, p := range wholes {
			packages[p] = true
		}
	}
	p := Plan{Modules: slices.Sorted(maps.Keys(affected)), Packages: slices.Sorted(maps.Keys(packages))}
	switch {
	case len(files) == 0:
		p.Why = "Nothing has changed, nothing to test."
	case len(p.Packages) == 0:
		p.Why = "Only documents have changed, nothing to test."
	case len(touched) == 0:
		p.Why = "No module has changed. Testing " + strings.Join(p.Packages, " ")
	default:
		p.Why = fmt.Sprintf("Changed: %s. Testing %s", strings.Join(slices.Sorted(maps.Keys(touched)), ", "), strings.Join(p.Packages, " "))
	}
	return p
}

// document reports whether a file is for people alone. The README is not: its
// commands are tested.
func document(f string) bool {
	switch {
	case f == "README.md":
		return false
	case strings.HasPrefix(f, "docs/"), path.Base(f) == "LICENSE", f == ".gitignore":
		return true
	}
	return path.Ext(f) == ".md" && !strings.Contains(f, "testdata/")
}

// dependants adds to the modules touched all that call them or handle their
// events, directly or through others.
func dependants(touched map[string]bool, modules []module.Description) map[string]bool {
	next := map[string][]string{}
	for _, m := range modules {
		for _, used := range m.Uses {
			next[used] = append(next[used], m.Name)
		}
		for _, e := range m.Publishes {
			next[m.Name] = append(next[m.Name], e.Handlers...)
		}
	}
	all := maps.Clone(touched)
	queue := slices.Collect(maps.Keys(touched))
	for len(queue) > 0 {
		for _, n := range next[queue[0]] {
			if !all[n] {
				all[n] = true
				queue = append(queue, n)
			}
		}
		queue = queue[1:]
	}
	return all
}
