package docs

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Fault is a code that the sources can return.
type Fault struct{ Code, Kind, Message, Package string }

// Faults lists every fault.New with a literal code below root/platform and
// root/modules, without tests.
func Faults(root string) ([]Fault, error) {
	var all []Fault
	for _, top := range []string{"platform", "modules"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(path string, e fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case e.IsDir() && e.Name() == "testdata":
				return filepath.SkipDir
			case e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
				return nil
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			dir, err := filepath.Rel(root, filepath.Dir(path))
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if f, ok := faultOf(n); ok {
					f.Package = filepath.ToSlash(dir)
					all = append(all, f)
				}
				return true
			})
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(all, func(a, b Fault) int { return strings.Compare(a.Code+" "+a.Package, b.Code+" "+b.Package) })
	return slices.CompactFunc(all, func(a, b Fault) bool { return a == b }), nil
}

// faultOf reads fault.New(fault.Kind, "code", "message", ...). A fault without
// a code of its own says no more than its kind and is left out.
func faultOf(n ast.Node) (Fault, bool) {
	call, ok := n.(*ast.CallExpr)
	if !ok || len(call.Args) < 3 {
		return Fault{}, false
	}
	fn, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || fn.Sel.Name != "New" || !isIdent(fn.X, "fault") {
		return Fault{}, false
	}
	kind, ok := call.Args[0].(*ast.SelectorExpr)
	code, ok2 := literal(call.Args[1])
	message, ok3 := literal(call.Args[2])
	if !ok || !ok2 || !ok3 || code == "" {
		return Fault{}, false
	}
	return Fault{Code: code, Kind: kind.Sel.Name, Message: message}, true
}

func isIdent(e ast.Expr, name string) bool {
	i, ok := e.(*ast.Ident)
	return ok && i.Name == name
}

func literal(e ast.Expr) (string, bool) {
	l, ok := e.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(l.Value)
	return s, err == nil
}

func faultsPage(all []Fault) []byte {
	var b bytes.Buffer
	b.WriteString(notice + "# Errors\n\nThe `code` of a problem (RFC 9457) and of a gRPC `ErrorInfo`. `%s` and the like stand for details.\n\n")
	b.WriteString("| Code | Kind | Message | From |\n|---|---|---|---|\n")
	for _, f := range all {
		fmt.Fprintf(&b, "| `%s` | %s | %s | `%s` |\n", f.Code, f.Kind, strings.ReplaceAll(f.Message, "|", "\\|"), f.Package)
	}
	return b.Bytes()
}
