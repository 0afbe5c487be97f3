package arch

import (
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"strconv"
	"strings"
)

func importRules() []*Rule {
	return []*Rule{
		{
			Name:   "foreign-import",
			Reason: "code behind another module's v1 changes with that module; whoever imports it must be built and released with it, so the two cannot be split",
			Fix:    "use what modules/X/v1 offers, or ask its owner for it there",
			pkg:    foreignImport,
		},
		{
			Name:   "platform-import",
			Reason: "every module stands on the platform; a platform that knows a module drags that module into every process",
			Fix:    "let the module hand over what is needed, through its Spec or an interface of the platform",
			pkg:    platformImport,
		},
		{
			Name:   "app-import",
			Reason: "a deployable that reaches into a module cannot leave that module out",
			Fix:    "import the module itself for its Spec, its v1 or its v1/rest",
			pkg:    appImport,
		},
		{
			Name:   "tool-import",
			Reason: "tools that are linked into the deployable make it larger, slower to build and open to their vulnerabilities",
			Fix:    "keep the tool in cmd/cleave or in a test",
			world:  toolImport,
		},
		{
			Name:   "domain-import",
			Reason: "a domain that knows databases, transports or messages cannot be tested without them and changes whenever they do",
			Fix:    "take what is needed as a plain value, or declare an interface in app and implement it in store or api",
			pkg:    domainImport,
		},
		{
			Name:   "layer",
			Reason: "a library that is used all over cannot be replaced; where each is used is where its traps are handled once",
			Fix:    "move the code into the layer that owns the library",
			pkg:    layers,
		},
	}
}

// eachImport calls fn for the import declarations of the pass's package.
func (p *pass) eachImport(fn func(f *File, path string, at token.Pos)) {
	for _, f := range p.pkg.Files {
		for _, im := range f.AST.Imports {
			if path, err := strconv.Unquote(im.Path.Value); err == nil {
				fn(f, path, im.Pos())
			}
		}
	}
}

// moduleOf splits the import path of a package of a business module.
func (w *World) moduleOf(path string) (module, layer string) {
	rel, ok := strings.CutPrefix(path, w.Path+"/")
	if !ok {
		return "", ""
	}
	return place(rel)
}

func foreignImport(p *pass) {
	if p.pkg.Module == "" {
		return
	}
	p.eachImport(func(f *File, path string, at token.Pos) {
		module, layer := p.world.moduleOf(path)
		switch {
		case module != "" && module != p.pkg.Module && layer != "v1" && layer != "v1/rest":
			p.at(at, nil, "module %s imports %s, which belongs to module %s", p.pkg.Module, path, module)
		case module == "" && !f.Test && p.world.isOwn(path) && !below(path, p.world.Path+"/platform"):
			p.at(at, nil, "module %s imports %s, which belongs neither to it nor to the platform", p.pkg.Module, path)
		}
	})
}

// isOwn reports whether a package belongs to the Go module.
func (w *World) isOwn(path string) bool { return below(path, w.Path) }

func platformImport(p *pass) {
	if !strings.HasPrefix(p.pkg.Dir, "platform/") {
		return
	}
	p.eachImport(func(_ *File, path string, at token.Pos) {
		module, _ := p.world.moduleOf(path)
		switch {
		case module != "":
			p.at(at, nil, "%s imports %s: the platform may know no module", p.pkg.Dir, path)
		case p.world.isOwn(path) && !below(path, p.world.Path+"/platform"):
			chain := p.importChain(func(pkg *Package) bool { return pkg.Path == path }, func(to string) bool {
				module, _ := p.world.moduleOf(to)
				return module != ""
			})
			p.at(at, chain, "%s imports %s, which is no part of the platform", p.pkg.Dir, path)
		}
	})
}

// importChain is the shortest chain of imports among the module's own packages
// from one that is a start to a path that is an end.
func (p *pass) importChain(start func(*Package) bool, end func(path string) bool) []Link {
	byPath := map[string]*Package{}
	from := map[string]string{}
	var queue []string
	for _, pkg := range p.world.Packages {
		if byPath[pkg.Path] == nil {
			byPath[pkg.Path] = pkg
			if start(pkg) {
				from[pkg.Path] = ""
				queue = append(queue, pkg.Path)
			}
		}
	}
	for len(queue) > 0 {
		path := queue[0]
		queue = queue[1:]
		for _, f := range byPath[path].Files {
			for _, im := range f.AST.Imports {
				to, err := strconv.Unquote(im.Path.Value)
				if _, seen := from[to]; err != nil || f.Test || seen {
					continue
				}
				from[to] = path
				if end(to) {
					return p.importLinks(byPath, from, to)
				}
				if byPath[to] != nil {
					queue = append(queue, to)
				}
			}
		}
	}
	return nil
}

func (p *pass) importLinks(byPath map[string]*Package, from map[string]string, to string) []Link {
	var links []Link
	for path := to; from[path] != ""; path = from[path] {
		importer := byPath[from[path]]
		links = append(links, Link{What: fmt.Sprintf("%s imports %s", importer.Path, path), Pos: p.world.at(importPos(importer, path))})
	}
	slices.Reverse(links)
	return links
}

func importPos(pkg *Package, path string) token.Pos {
	for _, f := range pkg.Files {
		for _, im := range f.AST.Imports {
			if im.Path.Value == strconv.Quote(path) && !f.Test {
				return im.Pos()
			}
		}
	}
	return token.NoPos
}

func appImport(p *pass) {
	if p.pkg.Dir != "cmd/app" && !strings.HasPrefix(p.pkg.Dir, "cmd/app/") {
		return
	}
	p.eachImport(func(_ *File, path string, at token.Pos) {
		module, layer := p.world.moduleOf(path)
		if module != "" && layer != "" && layer != "v1" && layer != "v1/rest" {
			p.at(at, nil, "%s imports %s, an internal of module %s", p.pkg.Dir, path, module)
		}
	})
}

func toolImport(p *pass) {
	root := p.world.Path
	chain := p.importChain(func(pkg *Package) bool { return pkg.Path == root+"/cmd/app" }, func(to string) bool {
		return below(to, "golang.org/x/tools", "testing", root+"/platform/arch", root+"/platform/moduletest", root+"/platform/db/dbtest", root+"/cmd/cleave")
	})
	if chain != nil {
		last := chain[len(chain)-1]
		p.add(Finding{Pos: last.Pos, Chain: chain, Message: "cmd/app links a tool: " + last.What})
	}
}

func domainImport(p *pass) {
	if p.pkg.Layer != "domain" && !strings.HasPrefix(p.pkg.Layer, "domain/") {
		return
	}
	own := p.world.Path + "/modules/" + p.pkg.Module + "/internal/domain"
	p.eachImport(func(f *File, path string, at token.Pos) {
		if f.Test || path == p.world.Path+faultPackage || below(path, own) || isStandard(path, p.world.Path) && !below(path, "database/sql", "net/http") {
			return
		}
		what := "neither the standard library nor platform/fault"
		switch {
		case below(path, storage()...):
			what = "a database"
		case below(path, "google.golang.org/protobuf") || strings.HasPrefix(path, p.world.Path+"/modules/") && strings.Contains(path, "/v1"):
			what = "protobuf messages"
		}
		p.at(at, nil, "the domain of module %s imports %s: %s", p.pkg.Module, path, what)
	})
}

// isStandard reports whether a path is of the standard library: its first
// element has no dot, and is not the Go module's own.
func isStandard(path, goModule string) bool {
	first, _, _ := strings.Cut(path, "/")
	own, _, _ := strings.Cut(goModule, "/")
	return !strings.Contains(first, ".") && first != own
}

// owner says where a library may be imported.
type owner struct {
	libraries []string
	where     string
	allowed   func(p *pass) bool
	everybody bool // the rule is for the whole Go module, not for business modules alone
}

func owners() []owner {
	inLayer := func(layers ...string) func(*pass) bool {
		return func(p *pass) bool { return below(p.pkg.Layer, layers...) }
	}
	inDir := func(dir string) func(*pass) bool {
		return func(p *pass) bool { return below(p.pkg.Dir, dir) }
	}
	return []owner{
		{libraries: storage(), where: "the store layer", allowed: inLayer("store")},
		{libraries: []string{"github.com/gin-gonic", "github.com/gin-contrib"}, where: "the api layer", allowed: inLayer("api")},
		{libraries: []string{"google.golang.org/grpc", "github.com/fullstorydev/grpchan"}, where: "the api layer", allowed: func(p *pass) bool {
			return below(p.pkg.Layer, "api") || p.pkg.Layer == "v1"
		}},
		{libraries: []string{"github.com/spf13/viper"}, where: "platform/config", allowed: inDir("platform/config"), everybody: true},
		{libraries: []string{"github.com/casbin"}, where: "platform/auth", allowed: inDir("platform/auth"), everybody: true},
	}
}

func layers(p *pass) {
	isModule := p.pkg.Module != ""
	p.eachImport(func(f *File, path string, at token.Pos) {
		if f.Test || below(p.pkg.Layer, "domain") {
			return // the domain has a rule of its own
		}
		for _, o := range owners() {
			if (isModule || o.everybody) && below(path, o.libraries...) && !o.allowed(p) {
				p.at(at, nil, "%s imports %s, which is for %s alone", p.pkg.Dir, path, o.where)
			}
		}
		module, layer := p.world.moduleOf(path)
		if isModule && module == p.pkg.Module && p.pkg.Layer == "v1" && layer != "v1" {
			p.at(at, nil, "the contract of module %s imports %s, which other modules would then need", module, path)
		}
	})
	if p.pkg.Info == nil || p.pkg.Layer == "v1" {
		return
	}
	if !below(p.pkg.Layer, "api") {
		p.clientsOutsideAPI()
	}
	if !below(p.pkg.Layer, "store") {
		p.storageOutsideStore()
	}
}

// clientsOutsideAPI reports the use of another module's client in a layer that
// should know only a small interface of its own.
func (p *pass) clientsOutsideAPI() {
	p.eachUse(func(id *ast.Ident) {
		obj := p.pkg.Info.Uses[id]
		if obj == nil || obj.Pkg() == nil {
			return
		}
		module, ok := contractOf(p.world.Path, obj.Pkg().Path())
		if !ok || module == p.pkg.Module {
			return
		}
		if m, ok := p.world.clientType(obj.Type()); ok && strings.HasSuffix(obj.Name(), "Client") {
			p.at(id.Pos(), nil, "%s uses the client of module %s, which is for the api layer alone", p.pkg.Dir, m)
		} else if strings.HasPrefix(obj.Name(), "New") && strings.HasSuffix(obj.Name(), "Client") {
			p.at(id.Pos(), nil, "%s makes a client of module %s, which is for the api layer alone", p.pkg.Dir, module)
		}
	})
}

// storageOutsideStore reports values of a database library that come without
// an import, such as the result of db.Conn.
func (p *pass) storageOutsideStore() {
	for _, f := range p.pkg.Files {
		if f.Test {
			continue
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if t := p.pkg.Info.TypeOf(call); t != nil {
				if n := namedOf(t); n != nil && isStorage(n) && !callsStorage(p, call) {
					p.at(call.Pos(), nil, "%s gets a %s, which is for the store layer alone", p.pkg.Dir, n.Obj().Pkg().Name()+"."+n.Obj().Name())
				}
			}
			return true
		})
	}
}

// callsStorage reports whether the callee itself is of a database library: the
// first call of a chain is to blame, not every one.
func callsStorage(p *pass, call *ast.CallExpr) bool {
	f := calleeOf(p.pkg.Info, call)
	return f != nil && f.Pkg() != nil && below(f.Pkg().Path(), storage()...)
}

// eachUse calls fn for the identifiers of the package's checked files that are
// not tests.
func (p *pass) eachUse(fn func(*ast.Ident)) {
	for _, f := range p.pkg.Files {
		if f.Test {
			continue
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok {
				fn(id)
			}
			return true
		})
	}
}
