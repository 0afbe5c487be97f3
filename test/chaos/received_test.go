package chaos_test

import (
	"database/sql"
	"fmt"
	"net/url"
	"path/filepath"
)

// keepReceived lets the database keep a copy of what notification learns of
// profile changes: the program empties the payload of an event once it has been
// handled, and the order is checked by what was in it.
func (s *shop) keepReceived() error {
	statements := []string{
		"CREATE TABLE chaos_received (seq bigint PRIMARY KEY, payload bytea NOT NULL)",
		`CREATE FUNCTION chaos_receive() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = notification AS
			$$ BEGIN INSERT INTO chaos_received VALUES (NEW.seq, NEW.payload); RETURN NEW; END $$`,
		`CREATE TRIGGER chaos_receive AFTER INSERT ON inbox FOR EACH ROW WHEN (NEW.subscriber = 'notification.keep_contact')
			EXECUTE FUNCTION chaos_receive()`,
	}
	if s.db.DSN == "" {
		statements = []string{
			"CREATE TABLE chaos_received (seq integer PRIMARY KEY, payload blob NOT NULL)",
			`CREATE TRIGGER chaos_receive AFTER INSERT ON inbox WHEN NEW.subscriber = 'notification.keep_contact'
				BEGIN INSERT INTO chaos_received VALUES (NEW.seq, NEW.payload); END`,
		}
	}
	d, err := s.openToWrite("notification")
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	for _, statement := range statements {
		if _, err := d.Exec(statement); err != nil {
			return fmt.Errorf("keep what notification receives: %w", err)
		}
	}
	return nil
}

func (s *shop) openToWrite(module string) (*sql.DB, error) {
	if s.db.DSN != "" {
		return s.open(module)
	}
	path := (&url.URL{Path: filepath.ToSlash(filepath.Join(s.dir, module+".db"))}).EscapedPath()
	return sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)")
}
