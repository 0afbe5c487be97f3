package db

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"cleave/platform/fault"
)

// setupLock is the advisory lock that lets one process at a time set up a database.
const setupLock = 0x636c65617665 // "cleave"

var moduleName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,30}$`)

// Setup prepares what Open needs for the given modules. It may run at every
// start and in several processes at once.
//
// On SQLite it creates the data folder and checks that it can be written.
//
// On Postgres it connects with AdminDSN, to DSN's database if DSN is set, and
// gives each module a login role <database>_<module> that owns the schema
// <module>, finds its tables there by search_path, and has no right elsewhere:
// PUBLIC loses CONNECT and TEMPORARY on the database and everything on the
// schema public, so the database should be Cleave's own. The admin needs
// CREATEROLE and must own the database, or be superuser. Without AdminDSN, and
// for modules with a DSN of their own, it checks that the module can log in.
//
// A role's password is HMAC-SHA256(RoleSecret, role) in hex, so a process that
// knows RoleSecret can connect without having been told any password. Changing
// RoleSecret and running Setup again changes the passwords.
func Setup(ctx context.Context, c Config, modules []string) error {
	var shared, own []string
	folder := false
	for _, m := range modules {
		switch {
		case !moduleName.MatchString(m):
			return fault.New(fault.Invalid, "module_name", "%q cannot name a schema: use at most 31 lower-case letters, digits and underscores", m)
		case c.dialectOf(m) == sqliteDialect:
			folder = true
		case c.Modules[m] != "" || c.AdminDSN == "":
			own = append(own, m)
		default:
			shared = append(shared, m)
		}
	}
	if folder {
		if err := setupFolder(c.Dir); err != nil {
			return err
		}
	}
	if len(shared) > 0 {
		if err := setupServer(ctx, c, shared); err != nil {
			return err
		}
	}
	for _, m := range own {
		if err := checkLogin(ctx, c, m); err != nil {
			return err
		}
	}
	return nil
}

func setupFolder(dir string) error {
	invalid := func(err error) error {
		var p *fs.PathError
		if errors.As(err, &p) {
			err = p.Err
		}
		return fault.New(fault.Invalid, "database_folder", "cannot write to the data folder %q (%v): choose another data.dir or correct its permissions", dir, err)
	}
	if dir == "" {
		return fault.New(fault.Invalid, "database_folder", "the data folder is not set: set data.dir")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return invalid(err)
	}
	probe, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return invalid(err)
	}
	if err = errors.Join(probe.Close(), os.Remove(probe.Name())); err != nil {
		return invalid(err)
	}
	return nil
}

// checkLogin opens and closes a module's database.
func checkLogin(ctx context.Context, c Config, module string) error {
	d, err := Open(ctx, c, module, nil)
	if err != nil {
		return err
	}
	return d.Close()
}

func setupServer(ctx context.Context, c Config, modules []string) error {
	cfg, err := parseDSN("db.admin_dsn", c.AdminDSN)
	if err != nil {
		return err
	}
	if c.DSN != "" {
		shared, err := parseDSN("db.dsn", c.DSN)
		if err != nil {
			return err
		}
		cfg.Database = shared.Database
	}
	secret, err := c.roleSecret()
	if err != nil {
		return err
	}
	for _, m := range modules {
		if _, err := roleName(cfg.Database, m); err != nil {
			return err
		}
	}
	connecting, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(connecting, cfg)
	if err != nil {
		return connectFault("db.admin_dsn", cfg, err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		s := setup{tx: tx, database: cfg.Database}
		if err := s.start(ctx); err != nil {
			return err
		}
		for _, m := range slices.Sorted(slices.Values(modules)) {
			if err := s.module(ctx, m, secret); err != nil {
				return err
			}
		}
		return nil
	})
	return setupFault(cfg.User, cfg.Database, err)
}

// setup runs in one transaction: a database is set up, or as it was.
type setup struct {
	tx        pgx.Tx
	database  string
	superuser bool
}

func (s *setup) exec(ctx context.Context, format string, identifiers ...any) error {
	for i, name := range identifiers {
		identifiers[i] = pgx.Identifier{name.(string)}.Sanitize()
	}
	statement := fmt.Sprintf(format, identifiers...)
	if _, err := s.tx.Exec(ctx, statement); err != nil {
		shown, _, _ := strings.Cut(statement, " PASSWORD ")
		return fmt.Errorf("%s: %w", shown, err)
	}
	return nil
}

func (s *setup) start(ctx context.Context) error {
	if _, err := s.tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(setupLock)); err != nil {
		return err
	}
	if err := s.tx.QueryRow(ctx, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user").Scan(&s.superuser); err != nil {
		return err
	}
	if err := s.exec(ctx, "REVOKE CONNECT, TEMPORARY ON DATABASE %s FROM PUBLIC", s.database); err != nil {
		return err
	}
	public, err := s.exists(ctx, "SELECT FROM pg_namespace WHERE nspname = 'public'")
	if err != nil {
		return err
	}
	if public {
		if err := s.exec(ctx, "REVOKE ALL ON SCHEMA public FROM PUBLIC"); err != nil {
			return err
		}
	}
	// Revoking what someone else granted is a warning, not an error.
	open, err := s.exists(ctx, `SELECT FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) a
		WHERE datname = current_database() AND a.grantee = 0
		UNION ALL SELECT FROM pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner))) a
		WHERE nspname = 'public' AND a.grantee = 0`)
	if err == nil && open {
		err = fault.New(fault.Invalid, "database_admin", "the role in db.admin_dsn must own database %q to close it to others", s.database)
	}
	return err
}

func (s *setup) exists(ctx context.Context, query string, args ...any) (found bool, err error) {
	err = s.tx.QueryRow(ctx, "SELECT EXISTS ("+query+")", args...).Scan(&found)
	return found, err
}

func (s *setup) module(ctx context.Context, module, secret string) error {
	role, err := roleName(s.database, module)
	if err != nil {
		return err
	}
	if err = s.role(ctx, role, rolePassword(secret, role)); err != nil {
		return err
	}
	if err = s.exec(ctx, "GRANT CONNECT ON DATABASE %s TO %s", s.database, role); err != nil {
		return err
	}
	if err = s.exec(ctx, "ALTER ROLE %s IN DATABASE %s SET search_path = %s", role, s.database, module); err != nil {
		return err
	}
	return s.schema(ctx, module, role)
}

// role creates the role or sets its password, and refuses one that could
// reach beyond its schema.
func (s *setup) role(ctx context.Context, role, password string) error {
	verifier, err := scramVerifier(password)
	if err != nil {
		return err
	}
	known, err := s.exists(ctx, "SELECT FROM pg_roles WHERE rolname = $1", role)
	if err != nil {
		return err
	}
	verb := "CREATE ROLE %s NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS LOGIN PASSWORD '" + verifier + "'"
	if known {
		powerful, err := s.exists(ctx, `SELECT FROM pg_roles r WHERE rolname = $1 AND (rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication
			OR rolbypassrls OR EXISTS (SELECT FROM pg_auth_members WHERE member = r.oid))`, role)
		if err != nil {
			return err
		}
		if powerful {
			return fault.New(fault.Conflict, "database_role", "role %q exists and has more rights than a module may have: drop it or take them away", role)
		}
		verb = "ALTER ROLE %s LOGIN PASSWORD '" + verifier + "'"
	}
	return s.exec(ctx, verb, role)
}

// schema gives the role its schema. An admin who is not superuser must be a
// member of the role for that, and is so no longer than needed.
func (s *setup) schema(ctx context.Context, schema, role string) error {
	var owner string
	err := s.tx.QueryRow(ctx, "SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = $1", schema).Scan(&owner)
	switch {
	case err == nil && owner == role:
		return nil
	case err == nil:
		return fault.New(fault.Conflict, "database_schema", "schema %q in database %q belongs to role %q: rename it or choose another database", schema, s.database, owner)
	case !errors.Is(err, pgx.ErrNoRows):
		return err
	}
	if s.superuser {
		return s.exec(ctx, "CREATE SCHEMA %s AUTHORIZATION %s", schema, role)
	}
	if err = s.exec(ctx, "GRANT %s TO CURRENT_USER", role); err != nil {
		return err
	}
	if err = s.exec(ctx, "CREATE SCHEMA %s AUTHORIZATION %s", schema, role); err != nil {
		return err
	}
	return s.exec(ctx, "REVOKE %s FROM CURRENT_USER", role)
}
