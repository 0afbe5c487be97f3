package arch

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"

	"cleave/platform/arch/sqltext"
)

func tableRules() []*Rule {
	const fix = "ask the module that owns the table through its v1, or keep a copy that its events bring"
	return []*Rule{
		{
			Name:   "foreign-table",
			Reason: "a module that reads another's tables breaks when they change, and has nothing to read once they are on another server",
			Fix:    fix, pkg: (*pass).sqlInCode, module: (*pass).sqlInMigrations,
		},
		{
			Name:   "foreign-join",
			Reason: "a join needs both modules' tables in one database for ever",
			Fix:    "read the own rows, then ask the other module for theirs with one batch call", pkg: (*pass).sqlInCode, module: (*pass).sqlInMigrations,
		},
		{
			Name:   "foreign-key",
			Reason: "a foreign key into another schema lets one module's rows forbid the other's deletes, and cannot be kept when the schemas part",
			Fix:    "store the id alone, and react to the other module's events", pkg: (*pass).sqlInCode, module: (*pass).sqlInMigrations,
		},
		{
			Name:   "schema-escape",
			Reason: "a session that changes its role, search path or database is no longer held to the module's own schema",
			Fix:    "use the connection as the platform gives it", pkg: (*pass).sqlInCode, module: (*pass).sqlInMigrations,
		},
	}
}

// tablesOf are the tables, views and sequences that migrations create.
func tablesOf(migrations []Migration) map[string]bool {
	tables := map[string]bool{}
	for _, m := range migrations {
		for _, name := range sqltext.Created(m.Text) {
			tables[strings.ToLower(name)] = true
		}
	}
	return tables
}

// ownerOf is who else has a table of that name, when the module itself has
// none: another module, or the platform, which keeps outbox, inbox and sagas in
// every schema and alone may touch them.
func (w *World) ownerOf(m *Module, table string) string {
	table = strings.ToLower(table) // SQLite does not tell letters by their case, even quoted
	if m.Tables[table] {
		return ""
	}
	for _, other := range w.Modules {
		if other != m && other.Tables[table] {
			return "module " + other.Name
		}
	}
	if w.platformTables[table] {
		return "the platform"
	}
	return ""
}

// sqlUse is what an SQL text does that some rule forbids.
type sqlUse struct {
	rule    string
	offset  int
	message string
}

// sqlUses reads a text of module m. stmt says that it is known to be SQL.
func (w *World) sqlUses(m *Module, sql string) []sqlUse {
	var uses []sqlUse
	refs := sqltext.Refs(sql)
	joined := map[int]bool{} // statements that read an own table
	for _, r := range refs {
		if r.Kind <= sqltext.Join && r.Schema == "" && w.ownerOf(m, r.Name) == "" {
			joined[r.Statement] = true
		}
	}
	for _, r := range refs {
		owner, name := w.foreignRef(m, r)
		if owner == "" {
			continue
		}
		use := sqlUse{rule: "foreign-table", offset: r.Offset, message: fmt.Sprintf("module %s names the table %s of %s", m.Name, name, owner)}
		switch {
		case r.Kind == sqltext.Schema:
			use.message = fmt.Sprintf("module %s names the schema of %s", m.Name, owner)
		case r.Kind == sqltext.Key:
			use.rule, use.message = "foreign-key", fmt.Sprintf("module %s makes a foreign key to the table %s of %s", m.Name, name, owner)
		case r.Kind == sqltext.Join, r.Kind == sqltext.Table && joined[r.Statement] && slices.ContainsFunc(refs, func(o sqltext.Ref) bool {
			return o.Statement == r.Statement && o.Kind == sqltext.Join
		}):
			use.rule, use.message = "foreign-join", fmt.Sprintf("module %s joins the table %s of %s", m.Name, name, owner)
		}
		uses = append(uses, use)
	}
	for _, e := range sqltext.Escapes(sql) {
		uses = append(uses, sqlUse{rule: "schema-escape", offset: e.Offset, message: fmt.Sprintf("module %s leaves its schema by %s", m.Name, e.What)})
	}
	for _, v := range sqltext.Volatile(sql) {
		uses = append(uses, sqlUse{
			rule: clockRule, offset: v.Offset, message: fmt.Sprintf("module %s takes times or random values from the database, by %s", m.Name, v.What),
		})
	}
	return uses
}

// foreignRef is the other module whose table or schema a reference means.
func (w *World) foreignRef(m *Module, r sqltext.Ref) (owner, name string) {
	schema := w.Module(r.Schema)
	switch {
	case r.Kind == sqltext.Schema || r.Kind != sqltext.Column && r.Schema != "" && schema != nil:
		if schema == nil || schema == m {
			return "", ""
		}
		return "module " + schema.Name, r.Schema + "." + r.Name
	case r.Kind == sqltext.Column && schema != nil && schema != m && schema.Tables[r.Name]:
		return "module " + schema.Name, r.Schema + "." + r.Name
	case r.Kind == sqltext.Column:
		return w.ownerOf(m, r.Schema), r.Schema
	default:
		return w.ownerOf(m, r.Name), r.Name
	}
}

func (p *pass) sqlInMigrations() {
	for _, file := range slices.Concat(p.module.Migrations, p.module.Queries) {
		for _, use := range p.world.sqlUses(p.module, file.Text) {
			if use.rule == p.rule.Name {
				line := 1 + strings.Count(file.Text[:use.offset], "\n")
				p.add(Finding{Pos: token.Position{Filename: file.Name, Line: line, Column: 1}, Message: use.message})
			}
		}
	}
}

// sqlInCode reports what the SQL in a package's strings does.
func (p *pass) sqlInCode() {
	m := p.world.Module(p.pkg.Module)
	if m == nil || p.pkg.Info == nil || p.pkg.Layer == "v1" {
		return
	}
	for _, u := range p.sqlUsesOf(m, p.pkg) {
		if u.rule != p.rule.Name {
			continue
		}
		var chain []Link
		if at, end := p.world.at(u.pos), p.world.at(u.given); at.Filename != end.Filename || at.Line != end.Line {
			chain = []Link{{What: "the text is here", Pos: at}, {What: "and becomes SQL here", Pos: end}}
		}
		p.at(u.pos, chain, "%s", u.message)
	}
}

// codeUse is an sqlUse in a Go file.
type codeUse struct {
	rule, message string
	pos           token.Pos // of the text
	given         token.Pos // of the expression that it is part of
}

// sqlUsesOf collects once for all rules.
func (c *check) sqlUsesOf(m *Module, pkg *Package) []codeUse {
	if uses, ok := c.sql[pkg]; ok {
		return uses
	}
	r := &sqlReader{world: c.world, module: m, pkg: pkg, folder: c.folder(pkg), sessions: map[types.Object]bool{}}
	for _, f := range pkg.Files {
		if !f.Test {
			r.read(f)
		}
	}
	c.sql[pkg] = r.uses
	return r.uses
}

// folder follows texts through the packages of pkg's module. A variant has one
// of its own, because its objects are others.
func (c *check) folder(pkg *Package) *folder {
	if pkg.Variant {
		return newFolder(pkg)
	}
	if c.folders[pkg.Module] == nil {
		var pkgs []*Package
		for _, other := range c.world.Packages {
			if other.Module == pkg.Module && other.Info != nil && !other.Variant && other.Layer != "v1" {
				pkgs = append(pkgs, other)
			}
		}
		c.folders[pkg.Module] = newFolder(pkgs...)
	}
	return c.folders[pkg.Module]
}

// sqlReader looks for SQL in one package.
type sqlReader struct {
	world  *World
	module *Module
	pkg    *Package
	folder *folder
	uses   []codeUse
	// sessions are the variables that hold a GORM session.
	sessions map[types.Object]bool
}

func (r *sqlReader) read(f *File) {
	var stack []ast.Node
	ast.Inspect(f.AST, func(n ast.Node) bool {
		if n == nil {
			stack = stack[:len(stack)-1]
			return true
		}
		var parent ast.Node
		if len(stack) > 0 {
			parent = stack[len(stack)-1]
		}
		stack = append(stack, n)
		switch n := n.(type) {
		case *ast.AssignStmt:
			r.session(n)
			r.statement(n)
		case *ast.TypeSpec:
			r.row(n)
		case *ast.CallExpr:
			r.sink(n)
		case *ast.CompositeLit:
			r.literal(n)
		case *ast.Field:
			r.tag(n)
		case *ast.FuncDecl:
			r.tableName(n)
		}
		if e, ok := n.(ast.Expr); ok && r.isWhole(e, parent) {
			for _, text := range r.folder.texts(e) {
				if sqltext.IsSQL(text.String()) {
					r.add(text, 0, text.String(), e)
				}
			}
		}
		return true
	})
}

// isWhole reports whether e makes a text that is no part of a larger one.
func (r *sqlReader) isWhole(e ast.Expr, parent ast.Node) bool {
	t := r.pkg.Info.TypeOf(e)
	if t == nil || !isString(t) {
		return false
	}
	switch e.(type) {
	case *ast.BasicLit, *ast.BinaryExpr, *ast.CallExpr:
	default:
		return false
	}
	switch parent := parent.(type) {
	case *ast.BinaryExpr, *ast.ParenExpr, *ast.ImportSpec, *ast.Field:
		return false
	case *ast.CallExpr:
		callee := calleeOf(r.pkg.Info, parent)
		return callee == nil || callee.Pkg() == nil || callee.Pkg().Path() != "fmt" && callee.Pkg().Path() != "strings"
	}
	return true
}

// add reads a text of which the first skip bytes of sql were put before it.
func (r *sqlReader) add(text folded, skip int, sql string, given ast.Expr) {
	for _, use := range r.world.sqlUses(r.module, sql) {
		pos := text.at(max(use.offset-skip, 0))
		if pos == token.NoPos {
			pos = given.Pos()
		}
		r.uses = append(r.uses, codeUse{rule: use.rule, message: use.message, pos: pos, given: given.Pos()})
	}
}

// sink reads what a call gives to a database library.
func (r *sqlReader) sink(call *ast.CallExpr) {
	callee := calleeOf(r.pkg.Info, call)
	if callee == nil || callee.Pkg() == nil || !below(callee.Pkg().Path(), storage()...) {
		return
	}
	name := callee.Name()
	switch name {
	case "Table", "HasTable", "DropTable", "RenameTable", "CreateTable", "HasColumn", "AddColumn", "DropColumn":
		for _, arg := range call.Args {
			r.name(arg)
		}
	}
	r.model(name, call)
	params := callee.Signature().Params()
	for i := range min(params.Len(), len(call.Args)) {
		t := params.At(i).Type()
		if !isString(t) && (!types.IsInterface(t) || i > 0) {
			continue
		}
		if isString(r.pkg.Info.TypeOf(call.Args[i])) {
			for _, text := range r.folder.texts(call.Args[i]) {
				r.add(text, 0, text.String(), call.Args[i])
			}
		}
		return // what follows are values
	}
}

// name reads an expression that is the name of a table.
func (r *sqlReader) name(e ast.Expr) {
	if !isString(r.pkg.Info.TypeOf(e)) {
		return
	}
	const from = "FROM "
	for _, text := range r.folder.texts(e) {
		r.add(text, len(from), from+text.String(), e)
	}
}

// tableName reads the methods by which GORM asks for a type's table.
func (r *sqlReader) tableName(fn *ast.FuncDecl) {
	if fn.Name.Name != "TableName" || fn.Recv == nil || fn.Body == nil {
		return
	}
	ast.Inspect(fn.Body, func(n ast.Node) bool {
		if ret, ok := n.(*ast.ReturnStmt); ok && len(ret.Results) == 1 {
			r.name(ret.Results[0])
		}
		return true
	})
}
