package arch

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"reflect"
	"strings"

	"gorm.io/gorm/schema"
)

// literal reads the values by which GORM and pgx are told of tables and SQL
// without a call.
func (r *sqlReader) literal(lit *ast.CompositeLit) {
	n := namedOf(r.pkg.Info.TypeOf(lit))
	if n == nil || !isStorage(n) {
		return
	}
	kind := n.Obj().Name()
	if kind == "Identifier" { // pgx
		var names []string
		for _, e := range lit.Elts {
			if texts := r.folder.texts(e); len(texts) == 1 {
				names = append(names, `"`+texts[0].String()+`"`)
			}
		}
		r.add(folded{{text: " ", pos: lit.Pos()}}, 0, "FROM "+strings.Join(names, "."), lit)
		return
	}
	for _, e := range lit.Elts {
		kv, ok := e.(*ast.KeyValueExpr)
		if !ok {
			continue
		}
		key, _ := kv.Key.(*ast.Ident)
		switch {
		case key == nil:
		case key.Name == "SQL":
			for _, text := range r.folder.texts(kv.Value) {
				r.add(text, 0, text.String(), kv.Value)
			}
		case kind == "Table" && key.Name == "Name", key.Name == "Table":
			r.name(kv.Value)
		}
	}
}

// statement reads an assignment to the table of a GORM statement.
func (r *sqlReader) statement(s *ast.AssignStmt) {
	for i, lhs := range s.Lhs {
		sel, ok := lhs.(*ast.SelectorExpr)
		if ok && sel.Sel.Name == "Table" && isNamed(r.pkg.Info.TypeOf(sel.X), "gorm.io/gorm", "Statement") && len(s.Lhs) == len(s.Rhs) {
			r.name(s.Rhs[i])
		}
	}
}

// tag reads GORM's struct tags.
func (r *sqlReader) tag(field *ast.Field) {
	if field.Tag == nil {
		return
	}
	tag := constant.StringVal(constant.MakeFromLiteral(field.Tag.Value, token.STRING, 0))
	settings := schema.ParseTagSetting(reflect.StructTag(tag).Get("gorm"), ";")
	at := folded{{text: " ", pos: field.Tag.Pos()}}
	if join := settings["MANY2MANY"]; join != "" {
		r.add(at, 0, "FROM "+join, field.Tag)
	}
	for _, key := range []string{"TYPE", "CHECK", "DEFAULT", "CONSTRAINT"} {
		if settings[key] != "" {
			r.add(at, 0, settings[key], field.Tag)
		}
	}
	if settings["FOREIGNKEY"] != "" || settings["REFERENCES"] != "" {
		r.association(field)
	}
}

// association reports a field that is a row of another module.
func (r *sqlReader) association(field *ast.Field) {
	named := elementOf(r.pkg.Info.TypeOf(field.Type))
	if named == nil {
		return
	}
	table := r.tableOf(named)
	if owner := r.world.ownerOf(r.module, table); owner != "" {
		r.uses = append(r.uses, codeUse{
			rule: "foreign-key", pos: field.Pos(), given: field.Pos(),
			message: fmt.Sprintf("module %s associates its rows with the table %s of %s", r.module.Name, table, owner),
		})
	}
}

// elementOf is the named struct in pointers and lists.
func elementOf(t types.Type) *types.Named {
	for t != nil {
		switch u := types.Unalias(t).(type) {
		case *types.Pointer:
			t = u.Elem()
		case *types.Slice:
			t = u.Elem()
		case *types.Array:
			t = u.Elem()
		case *types.Named:
			if _, ok := u.Underlying().(*types.Struct); ok {
				return u
			}
			return nil
		default:
			return nil
		}
	}
	return nil
}

// tableOf is the table that GORM takes for a type: what its method TableName
// returns, also one of an embedded struct, else the plural of its name.
func (r *sqlReader) tableOf(n *types.Named) string {
	obj, _, _ := types.LookupFieldOrMethod(types.NewPointer(n), true, n.Obj().Pkg(), "TableName")
	fn, ok := obj.(*types.Func)
	if !ok {
		return schema.NamingStrategy{}.TableName(n.Obj().Name())
	}
	if decl := r.folder.decls[fn]; decl != nil {
		for _, s := range decl.Body.List {
			if ret, ok := s.(*ast.ReturnStmt); ok && len(ret.Results) == 1 {
				return r.folder.texts(ret.Results[0])[0].String()
			}
		}
	}
	return ""
}

// model reads the struct from which GORM derives a table, when the call's
// chain names none.
func (r *sqlReader) model(method string, call *ast.CallExpr) {
	switch method {
	case "Model", "Create", "Save", "First", "Take", "Last", "Find", "Delete", "FirstOrCreate", "FirstOrInit", "AutoMigrate", "CreateInBatches":
	default:
		return
	}
	if !r.isFresh(call) {
		return
	}
	for _, arg := range call.Args {
		named := elementOf(r.pkg.Info.TypeOf(arg))
		if named == nil {
			if unary, ok := arg.(*ast.UnaryExpr); ok {
				named = elementOf(r.pkg.Info.TypeOf(unary.X))
			}
		}
		if named == nil {
			continue
		}
		table := r.tableOf(named)
		if owner := r.world.ownerOf(r.module, table); owner != "" {
			r.uses = append(r.uses, codeUse{
				rule: "foreign-table", pos: arg.Pos(), given: arg.Pos(),
				message: fmt.Sprintf("module %s names the table %s of %s, by the type %s", r.module.Name, table, owner, named.Obj().Name()),
			})
		}
		if method != "AutoMigrate" {
			return
		}
	}
}

// isFresh reports whether the chain of a call begins at a new session, so that
// no Model, Table or Raw that stands elsewhere can name the table.
func (r *sqlReader) isFresh(call *ast.CallExpr) bool {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	if sel.Sel.Name == "Model" {
		return true
	}
	for {
		switch x := ast.Unparen(sel.X).(type) {
		case *ast.Ident:
			return r.sessions[r.pkg.Info.ObjectOf(x)]
		case *ast.CallExpr:
			callee := calleeOf(r.pkg.Info, x)
			if callee == nil || callee.Pkg() == nil {
				return false
			}
			if !below(callee.Pkg().Path(), storage()...) {
				return r.isSession(callee)
			}
			switch callee.Name() {
			case "Model", "Table", "Raw", "Exec":
				return false
			}
			if sel, ok = x.Fun.(*ast.SelectorExpr); !ok {
				return false
			}
		default:
			return false
		}
	}
}

// isSession reports whether f gives a new GORM session.
func (r *sqlReader) isSession(f *types.Func) bool {
	return isFunc(f, r.world.Path+dbPackage, "DB.Conn") || isFunc(f, r.world.Path+dbPackage, "DB.Queue")
}

// session notes the variables that hold nothing but a new session.
func (r *sqlReader) session(s *ast.AssignStmt) {
	for i, lhs := range s.Lhs {
		obj := objectOf(r.pkg.Info, lhs)
		if obj == nil || i >= len(s.Rhs) || !isNamed(obj.Type(), "gorm.io/gorm", "DB") {
			continue
		}
		call, ok := s.Rhs[i].(*ast.CallExpr)
		_, again := r.sessions[obj]
		r.sessions[obj] = ok && !again && r.isSession(calleeOf(r.pkg.Info, call))
	}
}

// row reads a struct that GORM takes for the row of a table: it has a primary
// key.
func (r *sqlReader) row(spec *ast.TypeSpec) {
	st, ok := spec.Type.(*ast.StructType)
	if !ok {
		return
	}
	for _, field := range st.Fields.List {
		if field.Tag == nil {
			continue
		}
		tag := constant.StringVal(constant.MakeFromLiteral(field.Tag.Value, token.STRING, 0))
		settings := schema.ParseTagSetting(reflect.StructTag(tag).Get("gorm"), ";")
		named := elementOf(r.pkg.Info.TypeOf(spec.Name))
		if settings["PRIMARYKEY"] == "" && settings["PRIMARY_KEY"] == "" || named == nil {
			continue
		}
		if table := r.tableOf(named); r.world.ownerOf(r.module, table) != "" {
			r.uses = append(r.uses, codeUse{
				rule: "foreign-table", pos: spec.Pos(), given: spec.Pos(),
				message: fmt.Sprintf("module %s names the table %s of %s, by the type %s", r.module.Name, table,
					r.world.ownerOf(r.module, table), spec.Name.Name),
			})
		}
	}
}
