package topology_test

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	_ "modernc.org/sqlite" // the driver sqlite

	_ "cleave/modules/order/v1" // the types of events
	_ "cleave/modules/user/v1"
)

// open reaches the tables of a module past the program.
func (s *site) open(t testing.TB, module string) *sql.DB {
	t.Helper()
	var d *sql.DB
	if s.db.DSN == "" {
		path := (&url.URL{Path: filepath.ToSlash(filepath.Join(s.of(module).dir, module+".db"))}).EscapedPath()
		var err error
		d, err = sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)&_txlock=immediate")
		require.NoError(t, err)
	} else {
		c, err := pgx.ParseConfig(s.db.AdminDSN)
		require.NoError(t, err)
		c.RuntimeParams["search_path"] = `"` + module + `"`
		d = stdlib.OpenDB(*c)
	}
	d.SetMaxOpenConns(1)
	return d
}

// hold lets nobody write a module's table until release is called.
func (s *site) hold(t testing.TB, module, table string) (release func()) {
	t.Helper()
	d := s.open(t, module)
	tx, err := d.BeginTx(context.WithoutCancel(t.Context()), nil)
	require.NoError(t, err)
	if s.db.DSN != "" {
		_, err = tx.Exec("LOCK TABLE " + table + " IN EXCLUSIVE MODE") // reading goes on
		require.NoError(t, err)
	}
	return func() {
		require.NoError(t, tx.Rollback())
		require.NoError(t, d.Close())
	}
}

// keepEvents lets the databases keep a copy of every event that is published
// and received: the program empties and deletes them.
func (s *site) keepEvents(t testing.TB) {
	t.Helper()
	for _, module := range names {
		var statements []string
		for table, columns := range map[string]string{"outbox": "type, key, causation, payload, '' AS subscriber", "inbox": "type, key, causation, payload, subscriber"} {
			values := strings.NewReplacer("'' AS subscriber", "''", "type", "NEW.type", "key", "NEW.key", "causation", "NEW.causation", "payload", "NEW.payload").Replace(columns)
			if table == "inbox" {
				values = strings.Replace(values, ", subscriber", ", NEW.subscriber", 1)
			}
			copied := "topology_" + table
			into := "INSERT INTO " + copied + " (type, key, causation, payload, subscriber) VALUES (" + values + ")"
			if s.db.DSN == "" {
				statements = append(statements,
					"CREATE TABLE "+copied+" (seq integer PRIMARY KEY, type text, key text, causation text, payload blob, subscriber text)",
					"CREATE TRIGGER "+copied+" AFTER INSERT ON "+table+" BEGIN "+into+"; END")
				continue
			}
			statements = append(statements,
				"CREATE TABLE "+copied+" (seq bigserial PRIMARY KEY, type text, key text, causation text, payload bytea, subscriber text)",
				"CREATE FUNCTION "+copied+`() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = "`+module+`" AS $$ BEGIN `+into+"; RETURN NEW; END $$",
				"CREATE TRIGGER "+copied+" AFTER INSERT ON "+table+" FOR EACH ROW EXECUTE FUNCTION "+copied+"()")
		}
		d := s.open(t, module)
		for _, statement := range statements {
			_, err := d.Exec(statement)
			require.NoError(t, err, statement)
		}
		require.NoError(t, d.Close())
	}
}

// query is the answer as lists of texts: times and numbers as they are, bytes in hexadecimal.
func query(t testing.TB, d *sql.DB, statement string) (columns []string, all [][]string) {
	t.Helper()
	r, err := d.QueryContext(context.WithoutCancel(t.Context()), statement)
	require.NoError(t, err, statement)
	defer r.Close()
	columns, err = r.Columns()
	require.NoError(t, err)
	for r.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		require.NoError(t, r.Scan(into...))
		row := make([]string, len(columns))
		for i, v := range values {
			switch v := v.(type) {
			case []byte:
				row[i] = "0x" + hex.EncodeToString(v)
			case time.Time:
				row[i] = v.UTC().Format(time.RFC3339Nano)
			default:
				row[i] = fmt.Sprint(v)
			}
		}
		all = append(all, row)
	}
	require.NoError(t, r.Err())
	return columns, all
}

// settle waits until nothing is left to do anywhere.
func (s *script) settle() {
	require.True(s.t, happens(func() bool {
		for _, module := range names {
			d := s.site.open(s.t, module)
			waiting := "SELECT (SELECT COUNT(*) FROM outbox) + (SELECT COUNT(*) FROM inbox WHERE state = 'pending') + (SELECT COUNT(*) FROM sagas WHERE state IN ('running', 'compensating'))"
			switch module {
			case "user":
				waiting += " + (SELECT COUNT(*) FROM mail_requests)"
			case "notification":
				waiting += " + (SELECT COUNT(*) FROM mails WHERE state = 'queued')"
			}
			_, rows := query(s.t, d, waiting)
			require.NoError(s.t, d.Close())
			if rows[0][0] != "0" {
				return false
			}
		}
		return true
	}), "something does not come to an end")
}

// apart are the tables that must differ, or that record says in another way.
var apart = []string{
	"event_history",                     // kept by the pipe within a process, by the broker otherwise
	"event_subscribers",                 // likewise
	"saga_owners",                       // the processes
	"secrets",                           // random
	"topology_inbox", "topology_outbox", // the events, see below
}

// volatile are the columns, by table, that say how often something was tried or by whom.
var volatile = map[string][]string{
	"sagas":            {"attempts", "due_at", "deadline", "owner", "history", "cause", "updated_at", "traceparent"},
	"inbox":            {"seq", "attempts", "traceparent", "due_at", "at", "done_at"},
	"mails":            {"attempts", "due_at", "sent_at"},
	"idempotency_keys": {"key_hash", "fingerprint", "answer", "scope"},
	"audit":            {"hash", "trace_id", "address"},
	"audit_head":       {"hash"},
	"users":            {"password_hash"},
	"signing_keys":     {"private_key", "public_key", "kid"},
	"sessions":         {"address"},
	"revocations":      {"seq"},

	"module_versions": {"tstamp"}, "platform_versions": {"tstamp"},
}

// tables records what every module has stored, and what events there were.
func (s *script) tables() {
	list := "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
	for _, module := range names {
		if s.site.db.DSN != "" {
			list = "SELECT tablename FROM pg_tables WHERE schemaname = '" + module + "' ORDER BY tablename"
		}
		d := s.site.open(s.t, module)
		_, tables := query(s.t, d, list)
		for _, table := range tables {
			if slices.Contains(apart, table[0]) {
				continue
			}
			columns, rows := query(s.t, d, `SELECT * FROM "`+table[0]+`"`)
			var texts []string
			for _, row := range rows {
				var cells []string
				for i, c := range columns {
					if !slices.Contains(volatile[table[0]], c) {
						cells = append(cells, c+"="+row[i])
					}
				}
				texts = append(texts, strings.Join(cells, " "))
			}
			s.rec.addRows("the table "+module+"."+table[0], texts)
		}
		s.events(d, module, "outbox", "published")
		s.events(d, module, "inbox", "received")
		require.NoError(s.t, d.Close())
	}
}

// events records what a module has published or received: for each key and subscriber in order.
func (s *script) events(d *sql.DB, module, table, what string) {
	_, rows := query(s.t, d, "SELECT subscriber, type, key, causation, payload FROM topology_"+table+" ORDER BY seq")
	streams := map[string][]string{}
	for _, row := range rows {
		payload, err := hex.DecodeString(strings.TrimPrefix(row[4], "0x"))
		require.NoError(s.t, err)
		stream := row[0] + " of key " + row[2]
		streams[stream] = append(streams[stream], row[1]+" because of "+row[3]+": "+decode(s.t, row[1], payload))
	}
	var texts []string
	for stream, events := range streams {
		texts = append(texts, strings.TrimSpace(stream)+"\n   "+strings.Join(events, "\n   "))
	}
	s.rec.addRows("the events that "+module+" has "+what, texts)
}

// decode is an event's payload as JSON with sorted members.
func decode(t testing.TB, name string, payload []byte) string {
	t.Helper()
	mt, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(name))
	require.NoError(t, err, name)
	m := mt.New().Interface()
	require.NoError(t, proto.Unmarshal(payload, m))
	text, err := protojson.MarshalOptions{EmitUnpopulated: true, UseProtoNames: true}.Marshal(m)
	require.NoError(t, err)
	var v any
	require.NoError(t, json.Unmarshal(text, &v))
	text, err = json.Marshal(v)
	require.NoError(t, err)
	return string(text)
}
