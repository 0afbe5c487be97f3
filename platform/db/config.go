package db

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"runtime"
	"time"

	"github.com/jackc/pgx/v5"

	"cleave/platform/fault"
)

const (
	sqliteDialect   = "sqlite"
	postgresDialect = "postgres"
)

// Config says where the modules' data lives. Without a DSN for a module, its
// data is an SQLite file in Dir.
type Config struct {
	Dir        string            // SQLite: the data folder, one file per module (order.db)
	DSN        string            // Postgres: server and database; user and password are replaced per module
	AdminDSN   string            // Postgres: may create roles and schemas; only Setup connects with it
	RoleSecret string            // key of the module roles' passwords; empty: AdminDSN's password
	Modules    map[string]string // complete DSN of a module that has its own server or role
	MaxConns   int               // Postgres: connections per module, at least 2; 0 = 4 x GOMAXPROCS, at least 8

	// Commit stands around every commit, for tests that make it fail; nil: nothing does. What it does not commit is
	// rolled back, and what it returns counts as the commit's error.
	Commit func(ctx context.Context, module string, commit func() error) error
}

// Dialect is "postgres" when a server is configured for all modules, else
// "sqlite". A module named in Modules is on Postgres in either case.
func (c Config) Dialect() string {
	if c.DSN == "" && c.AdminDSN == "" {
		return sqliteDialect
	}
	return postgresDialect
}

func (c Config) dialectOf(module string) string {
	if c.Modules[module] != "" {
		return postgresDialect
	}
	return c.Dialect()
}

func (c Config) maxConns() int {
	if c.MaxConns > 0 {
		return max(2, c.MaxConns)
	}
	return max(8, 4*runtime.GOMAXPROCS(0))
}

// server is the key and the value of the DSN that names the common server.
func (c Config) server() (key, dsn string) {
	if c.DSN != "" {
		return "db.dsn", c.DSN
	}
	return "db.admin_dsn", c.AdminDSN
}

// moduleConn is how a module connects: with its own DSN if it has one, else to
// the common server as its own role. key names the setting to correct when the
// connection fails.
func (c Config) moduleConn(module string) (key string, cfg *pgx.ConnConfig, err error) {
	if dsn := c.Modules[module]; dsn != "" {
		key = "db.modules." + module
		cfg, err = parseDSN(key, dsn)
		return key, cfg, err
	}
	key, dsn := c.server()
	if cfg, err = parseDSN(key, dsn); err != nil {
		return key, nil, err
	}
	if cfg.User, err = roleName(cfg.Database, module); err != nil {
		return key, nil, err
	}
	secret, err := c.roleSecret()
	if err != nil {
		return key, nil, err
	}
	cfg.Password = rolePassword(secret, cfg.User)
	return key, cfg, nil
}

// roleSecret refuses to derive passwords from nothing: anyone could compute them.
func (c Config) roleSecret() (string, error) {
	if c.RoleSecret != "" {
		return c.RoleSecret, nil
	}
	if c.AdminDSN == "" {
		return "", fault.New(fault.Invalid, "database_role_secret",
			"db.role_secret is empty: set it to the value that the set-up used (it defaults to the password in db.admin_dsn)")
	}
	cfg, err := parseDSN("db.admin_dsn", c.AdminDSN)
	if err != nil {
		return "", err
	}
	if cfg.Password == "" {
		return "", fault.New(fault.Invalid, "database_role_secret",
			"db.role_secret is empty and db.admin_dsn has no password to derive the modules' passwords from: set db.role_secret")
	}
	return cfg.Password, nil
}

// roleName is the login role of a module: roles belong to the whole server, so
// the database's name keeps two installations apart. Postgres cuts names off
// at 63 bytes, which could make two roles one.
func roleName(database, module string) (string, error) {
	role := database + "_" + module
	if len(role) > 63 {
		return "", fault.New(fault.Invalid, "database_role_name",
			"the role name %q is longer than the 63 bytes that Postgres allows: shorten the database's name", role)
	}
	return role, nil
}

func rolePassword(secret, role string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(role))
	return hex.EncodeToString(mac.Sum(nil))
}

// Micros is t as unix microseconds, the form in which both dialects store times.
func Micros(t time.Time) int64 { return t.UnixMicro() }

// FromMicros is the inverse of Micros, in UTC.
func FromMicros(us int64) time.Time { return time.UnixMicro(us).UTC() }
