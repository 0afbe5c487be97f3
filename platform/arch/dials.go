package arch

import (
	"go/ast"
	"go/token"
	"go/types"
	"net"
	"net/url"
	"slices"
	"strings"

	"cleave/platform/arch/sqltext"
)

// siblingDial reports calls of other modules past their edge: the REST client
// of a sibling, a gRPC connection of the module's own, and HTTP requests to
// anywhere that is not plainly another company's.
func siblingDial(p *pass) {
	if p.pkg.Module == "" || p.pkg.Layer == "v1/rest" {
		return
	}
	p.eachImport(func(f *File, path string, at token.Pos) {
		module, layer := p.world.moduleOf(path)
		if !f.Test && below(path, httpClients()...) {
			p.at(at, nil, "module %s imports %s, an HTTP client", p.pkg.Module, path)
		}
		if !f.Test && layer == "v1/rest" && module != p.pkg.Module {
			p.at(at, nil, "module %s imports the REST client of module %s", p.pkg.Module, module)
		}
	})
	if p.pkg.Info == nil || p.pkg.Layer == "v1" {
		return
	}
	p.eachUse(func(id *ast.Ident) {
		f, ok := p.pkg.Info.Uses[id].(*types.Func)
		if !ok {
			return
		}
		for _, name := range []string{"NewClient", "Dial", "DialContext"} {
			if isFunc(f, "google.golang.org/grpc", name) || isFunc(f, "net/rpc", name) || isFunc(f, "net/rpc", name+"HTTP") {
				p.at(id.Pos(), nil, "module %s opens a connection of its own, by %s.%s", p.pkg.Module, f.Pkg().Name(), name)
			}
		}
	})
	folder := p.folder(p.pkg)
	for _, f := range p.pkg.Files {
		if f.Test {
			continue
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				p.request(folder, n)
				p.dial(folder, n)
			case *ast.CompositeLit:
				if isNamed(p.pkg.Info.TypeOf(n), "net/http", "Request") && len(n.Elts) > 0 {
					p.at(n.Pos(), nil, "module %s sends HTTP requests to an address that no constant names", p.pkg.Module)
				}
			}
			return true
		})
	}
}

// httpClients are libraries that send HTTP requests, and nothing else.
func httpClients() []string {
	return []string{
		"connectrpc.com/connect", "github.com/go-resty/resty", "github.com/gorilla/websocket", "github.com/hashicorp/go-retryablehttp",
		"github.com/valyala/fasthttp", "golang.org/x/net/websocket", "net/http/httputil", "net/rpc",
	}
}

// dial reports a connection to an address that a constant shows to be a
// sibling's. Others may be of any protocol.
func (p *pass) dial(folder *folder, call *ast.CallExpr) {
	callee := calleeOf(p.pkg.Info, call)
	if callee == nil || callee.Pkg() == nil || callee.Pkg().Path() != "net" && callee.Pkg().Path() != "crypto/tls" || !strings.HasPrefix(callee.Name(), "Dial") {
		return
	}
	for _, arg := range call.Args {
		if !isString(p.pkg.Info.TypeOf(arg)) {
			continue
		}
		for _, text := range folder.texts(arg) {
			if host, _, err := net.SplitHostPort(text.String()); err == nil && host != "" && !p.isOutside("https://"+host) && !strings.Contains(host, sqltext.Unknown) {
				p.at(call.Pos(), nil, "module %s opens a connection to %s", p.pkg.Module, text)
			}
		}
	}
}

// request reports a call that makes or sends an HTTP request, unless it is to
// an address outside that a constant names.
func (p *pass) request(folder *folder, call *ast.CallExpr) {
	callee := calleeOf(p.pkg.Info, call)
	at := -1
	switch {
	case callee == nil || callee.Pkg() == nil || callee.Pkg().Path() != "net/http":
		return
	case isFunc(callee, "net/http", "NewRequest"):
		at = 1
	case isFunc(callee, "net/http", "NewRequestWithContext"):
		at = 2
	default:
		for _, name := range []string{"Get", "Head", "Post", "PostForm"} {
			if isFunc(callee, "net/http", name) || isFunc(callee, "net/http", "Client."+name) {
				at = 0
			}
		}
	}
	if at < 0 || at >= len(call.Args) {
		return
	}
	for _, text := range folder.texts(call.Args[at]) {
		if p.isOutside(text.String()) {
			continue
		}
		to := "an address that no constant names"
		if !strings.HasPrefix(text.String(), sqltext.Unknown) {
			to = strings.ReplaceAll(text.String(), sqltext.Unknown, "…")
		}
		p.at(call.Pos(), nil, "module %s sends HTTP requests to %s", p.pkg.Module, to)
		return
	}
}

// isOutside reports whether a URL names a host on the internet: with a dot, no
// module's and not this machine.
func (p *pass) isOutside(s string) bool {
	u, err := url.Parse(strings.ReplaceAll(s, sqltext.Unknown, "x"))
	scheme, _, _ := strings.Cut(s, sqltext.Unknown)
	if err != nil || !strings.HasPrefix(scheme, "https://") && !strings.HasPrefix(scheme, "http://") {
		return false
	}
	host := u.Hostname()
	if authority := strings.TrimPrefix(scheme[strings.Index(scheme, "//"):], "//"); !strings.Contains(authority, "/") && strings.Contains(s, sqltext.Unknown) {
		return false // part of the host is unknown
	}
	labels := strings.Split(host, ".")
	inside := slices.Contains([]string{"local", "svc", "internal", "localhost"}, labels[len(labels)-1]) || slices.Contains(labels, "svc")
	isAddress := labels[len(labels)-1] == "" || strings.Contains(host, ":") || labels[len(labels)-1][0] <= '9'
	return len(labels) > 1 && !inside && !isAddress && p.world.Module(labels[0]) == nil
}
