package config

import "cleave/platform/db"

// Database is what platform/db needs of c.
func (c *Config) Database() db.Config {
	return db.Config{
		Dir: c.Data.Dir, DSN: c.DB.DSN, AdminDSN: c.DB.AdminDSN, RoleSecret: c.DB.RoleSecret, Modules: c.DB.Modules, MaxConns: c.DB.MaxConns,
	}
}
