package sqltext_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/platform/arch/sqltext"
)

func TestRefs(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]string{
		"SELECT * FROM users": "users",
		"select u.id from users u join \"user\".accounts a on a.user_id = u.id":                            "users join:user.accounts",
		"SELECT 1 FROM a, b x, (SELECT 1 FROM c) d, e":                                                     "a join:b join:e c",
		"SELECT 1 FROM a JOIN b ON a.x = b.y, c WHERE a.x = 1":                                             "a join:c join:b col:a.x col:b.y col:a.x",
		"WITH due AS MATERIALIZED (SELECT id FROM mails) UPDATE mails SET x = 1 FROM due":                  "mails mails",
		"WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n FROM t) SELECT n FROM t, u":                 "join:u",
		"INSERT INTO users (id) VALUES (?) ON CONFLICT (id) DO UPDATE SET id = excluded.id":                "users col:excluded.id",
		"DELETE FROM a USING b WHERE a.id = b.id":                                                          "a b col:a.id col:b.id",
		"SELECT extract(epoch FROM created_at), trim(both from x) FROM orders":                             "orders",
		"SELECT a IS DISTINCT FROM b FROM orders":                                                          "orders",
		"SELECT * FROM unnest(?) x, generate_series(1, 2)":                                                 "",
		" FOR UPDATE OF users SKIP LOCKED":                                                                 "users",
		"SELECT 1 FROM o FOR UPDATE OF u":                                                                  "o u",
		"SELECT 1 FROM users u FOR NO KEY UPDATE OF u":                                                     "users",
		"CREATE TABLE x (id uuid REFERENCES users (id) ON DELETE CASCADE)":                                 "x key:users",
		"CREATE UNIQUE INDEX CONCURRENTLY i ON users (id)":                                                 "users",
		"CREATE TRIGGER t BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger FOR EACH ROW EXECUTE FUNCTION f()": "ledger",
		"DROP TABLE IF EXISTS a, b":                                                                        "a b",
		"TRUNCATE a, b CASCADE":                                                                            "a b",
		"LOCK TABLE a IN EXCLUSIVE MODE":                                                                   "a",
		"GRANT SELECT ON TABLE users TO x":                                                                 "users",
		"GRANT SELECT ON users TO x":                                                                       "users",
		"GRANT USAGE ON SCHEMA \"user\" TO x":                                                              "schema:user",
		"SELECT nextval('user.seq'), 'accounts'::regclass FROM a":                                          "user.seq accounts a",
		"DO $$ BEGIN EXECUTE 'DELETE FROM users'; END $$":                                                  "users",
		"DO $$ BEGIN DELETE FROM users; END $$":                                                            "users",
		"SELECT * FROM " + sqltext.Unknown + ".users":                                                      "users",
		"SELECT * FROM us" + sqltext.Unknown:                                                               "",
		"SELECT * FROM " + sqltext.Unknown + "s":                                                           "",
		"-- FROM users\nSELECT 'FROM users', /* JOIN users */ 1 ":                                          "",
		"users.id = ?":      "col:users.id",
		"JOIN `users` ON 1": "join:users",
		"SELECT * FROM [users] LEFT OUTER JOIN LATERAL f(x) ON true":  "users",
		"UPDATE ONLY users SET a = 1":                                 "users",
		"COPY users (id) FROM STDIN":                                  "users stdin",
		"MERGE INTO a USING b ON a.x = b.x WHEN MATCHED THEN DELETE":  "a b col:a.x col:b.x",
		"ALTER TABLE a RENAME TO b":                                   "a",
		"SELECT count(*) FROM (SELECT 1 FROM outbox LIMIT 1) AS w":    "outbox",
		"UPDATE t SET a = (SELECT r.e FROM r WHERE r.u = t.u) FROM x": "t r x col:r.e col:r.u col:t.u",
	} {
		t.Run(sql, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, r := range sqltext.Refs(sql) {
				name := r.Name
				if r.Schema != "" {
					name = strings.TrimSuffix(r.Schema+"."+r.Name, ".")
				}
				got = append(got, [...]string{"", "join:", "key:", "col:", "schema:"}[r.Kind]+name)
			}
			require.Equal(t, want, strings.Join(got, " "))
		})
	}
}

func TestIsSQL(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		"SELECT a FROM b":                      true,
		"select * from b":                      true,
		"select count(*) from b":               true,
		"insert into b values (?)":             true,
		"update b set c = ?":                   true,
		"delete from user.accounts":            true,
		"WITH a AS (SELECT 1) SELECT * FROM a": true,
		" FOR UPDATE OF users":                 true,
		"LEFT JOIN users ON a = b":             true,
		"WHERE id = ?":                         true,
		"$body$":                               false,
		"select items from users":              false,
		"delete from users failed":             false,
		"update users":                         false,
		"cannot select from users":             false,
		"Insert into the inbox":                false,
		"from users to orders":                 false,
		"orders":                               false,
		"drop the order on the table":          false,
	} {
		t.Run(s, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, want, sqltext.IsSQL(s))
		})
	}
}

func TestCreated(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"a", "B", "c", "d", "e", "f"}, sqltext.Created(`-- +goose Up
		CREATE TABLE a (id int); CREATE UNLOGGED TABLE IF NOT EXISTS "B" (id int);
		CREATE OR REPLACE VIEW public.c AS SELECT 1; CREATE MATERIALIZED VIEW d AS SELECT 2; CREATE SEQUENCE e;
		CREATE INDEX i ON a (id); ALTER TABLE a RENAME TO f; ALTER TABLE a ADD COLUMN b int;`))
}

func TestEscapes(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]string{
		"SET search_path TO \"user\"":                       "SET search_path",
		"SET LOCAL ROLE cleave_user":                        "SET role",
		"SET SESSION AUTHORIZATION x":                       "SET authorization",
		"SELECT set_config('search_path', 'user', true)":    "set_config of search_path",
		"SELECT set_config('work_mem', '1', true)":          "",
		"ATTACH DATABASE 'user.db' AS u":                    "ATTACH",
		"SELECT * FROM dblink('x', 'SELECT 1 FROM users')":  "dblink",
		"CREATE EXTENSION IF NOT EXISTS postgres_fdw":       "the extension postgres_fdw",
		"CREATE EXTENSION pg_trgm":                          "",
		"UPDATE users SET role = ?":                         "",
		"DO $$ BEGIN SET search_path = x; END $$":           "SET search_path",
		"IMPORT FOREIGN SCHEMA public FROM SERVER x INTO y": "a foreign server",
		"ALTER ROLE x SET search_path = y":                  "SET search_path",
		"SELECT load_extension('x')":                        "load_extension",
	} {
		t.Run(sql, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, f := range sqltext.Escapes(sql) {
				got = append(got, f.What)
			}
			require.Equal(t, want, strings.Join(got, " "))
		})
	}
}

func TestVolatile(t *testing.T) {
	t.Parallel()
	require.Equal(t, "[{now() 7} {current_timestamp 14} {random() 33} {strftime('now') 43}]",
		fmt.Sprint(sqltext.Volatile("SELECT now(), CURRENT_TIMESTAMP, random(), strftime('%s', 'now'), now, date(x), a.now()")))
}
