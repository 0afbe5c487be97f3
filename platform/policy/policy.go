// Package policy keeps a module's policy in its database, where it can be
// changed while the program runs.
//
// The table policies holds the lines of the module's policy file, as the newest
// binary brought them, and the rows that were added at run time. A process
// decides by the lines of its own binary, so that an older replica goes on
// working while a newer one starts, and by the rows: those are in force in the
// process that changed them when the change is committed, and in all others
// within Poll. Every change is written to the module's audit log in its own
// transaction.
//
// A module's table holds rules about its own permissions only. Who may change
// policies is a permission of the platform and no module's, so that no change
// can lock everyone out: what denies too much can always be removed again.
package policy

import (
	"context"
	"log/slog"
	"regexp"
	"slices"
	"sync"
	"time"

	"cleave/platform/audit"
	"cleave/platform/auth"
	"cleave/platform/db"
	"cleave/platform/fault"
)

// Poll is how often a process looks for what others changed.
const Poll = 250 * time.Millisecond

// MaxRows bounds what can be added to a module at run time.
const MaxRows = 1000

// Row is a rule as the table has it.
type Row struct {
	ID         string
	Origin     string // auth.FromFile or auth.FromRow
	Line       int
	Role       string
	Permission string
	Scope      string
	Effect     string // allow or deny
	ChangedBy  string // ISSUER:SUBJECT; "file" for a line
	ChangedAt  int64  // Unix time in microseconds: of a line, when a binary first brought it
}

// Allow and Deny are the effects.
const (
	Allow = "allow"
	Deny  = "deny"
)

func (r Row) rule(module string) auth.Rule {
	return auth.Rule{Module: module, Origin: r.Origin, Line: r.Line, ID: r.ID, Role: r.Role, Permission: r.Permission, Scope: r.Scope, Deny: r.Effect == Deny}
}

// Deps are what a Store works with; all but Log must be set.
type Deps struct {
	DB     *db.DB
	Audit  *audit.Log
	Policy *auth.Policy
	Now    func() time.Time
	NewID  func() string
	Log    *slog.Logger // of Run
	Actor  audit.Actor  // who changes; the zero value: the principal of the context
}

// Store is the policy of one module.
type Store struct {
	Deps
	mu      sync.Mutex // of what follows
	applied int64      // the version in force
}

// New returns the store of d.DB's module. Load puts its rows in force.
func New(d Deps) *Store {
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	return &Store{Deps: d, applied: -1}
}

// List returns the module's rules: the lines of the newest binary's file, then the rows, the oldest first.
func (s *Store) List(ctx context.Context) ([]Row, error) {
	var rows []Row
	err := s.DB.Conn(ctx).Raw("SELECT * FROM policies ORDER BY origin, line, changed_at, id").Scan(&rows).Error
	return rows, err
}

var roleName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)

// Add adds a rule. It fails with Unprocessable, codes role_invalid, permission_unknown, rule_invalid and too_many_rules, and with
// Conflict, code rule_exists, when a row says the same.
func (s *Store) Add(ctx context.Context, role, permission, scope string, deny bool) (Row, error) {
	row := Row{ID: s.NewID(), Origin: auth.FromRow, Role: role, Permission: permission, Scope: scope, Effect: Allow, ChangedAt: db.Micros(s.Now())}
	if deny {
		row.Effect = Deny
	}
	if !roleName.MatchString(role) {
		return Row{}, fault.New(fault.Unprocessable, "role_invalid", "a role is 1 to 63 lower-case letters, digits, _ and -, and begins with a letter")
	}
	if err := row.rule(s.DB.Module()).Check(); err != nil {
		return Row{}, fault.New(fault.Unprocessable, "rule_invalid", "%s", err)
	}
	if !s.Policy.Known(permission) {
		return Row{}, fault.New(fault.Unprocessable, "permission_unknown", "module %s has no permission %q", s.DB.Module(), permission)
	}
	row.ChangedBy = s.actor(ctx)
	err := s.change(ctx, "ops:policy:add", &row, func(ctx context.Context, rows []Row) ([]Row, error) {
		if len(rows) >= MaxRows {
			return nil, fault.New(fault.Unprocessable, "too_many_rules", "module %s has %d rules of run time, which is the most", s.DB.Module(), len(rows))
		}
		if slices.ContainsFunc(rows, func(r Row) bool {
			return r.Role == row.Role && r.Permission == row.Permission && r.Scope == row.Scope && r.Effect == row.Effect
		}) {
			return nil, fault.New(fault.Conflict, "rule_exists", "there is a row that says the same")
		}
		return append(rows, row), s.insert(ctx, row)
	})
	return row, err
}

func (s *Store) actor(ctx context.Context) string {
	if s.Actor.Subject != "" {
		return s.Actor.String()
	}
	p, _ := auth.From(ctx)
	return audit.Actor{Issuer: p.Issuer, Subject: p.Subject}.String()
}

// Remove takes a row back. It fails with NotFound, code rule_not_found, also for a line of the file: deny what that grants.
func (s *Store) Remove(ctx context.Context, id string) (Row, error) {
	var row Row
	err := s.change(ctx, "ops:policy:remove", &row, func(ctx context.Context, rows []Row) ([]Row, error) {
		i := slices.IndexFunc(rows, func(r Row) bool { return r.ID == id })
		if i < 0 {
			return nil, fault.New(fault.NotFound, "rule_not_found", "module %s has no row %q that was added at run time", s.DB.Module(), id)
		}
		row = rows[i]
		return slices.Delete(rows, i, i+1), s.DB.Queue(ctx).Exec("DELETE FROM policies WHERE id = ?", id).Error
	})
	return row, err
}
