package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"cleave/platform/config"
	"cleave/platform/db"
)

// mailer is a module's section as a module would declare it.
type mailer struct {
	From  string        `mapstructure:"from" validate:"omitempty,email"`
	Every time.Duration `mapstructure:"every" validate:"min=1s,max=1h"`
	Kinds []string      `mapstructure:"kinds" validate:"dive,oneof=placed shipped"`
	Ratio float64       `mapstructure:"ratio" validate:"min=0,max=1"`
	SMTP  struct {
		Addr     string `mapstructure:"addr" validate:"omitempty,hostname_port"`
		Password string `mapstructure:"password" secret:"true" validate:"omitempty,min=8"`
	} `mapstructure:"smtp"`
}

type input struct {
	file  string
	env   []string
	flags []string
}

// setup loads in, with the modules user (no section) and mailer.
func setup(t *testing.T, in input) (*config.Config, *mailer, error) {
	t.Helper()
	o := config.Options{Env: in.env, Flags: pflag.NewFlagSet("app", pflag.ContinueOnError)}
	if in.file != "" {
		o.File = filepath.Join(t.TempDir(), "app.yaml")
		require.NoError(t, os.WriteFile(o.File, []byte(in.file), 0o600))
	}
	config.AddFlags(o.Flags)
	require.NoError(t, o.Flags.Parse(in.flags))
	m := &mailer{Every: time.Minute}
	o.Sections = map[string]any{"user": nil, "mailer": m}
	c, err := config.Load(o)
	return c, m, err
}

func TestLoad(t *testing.T) {
	t.Parallel()

	t.Run("NothingSaid", func(t *testing.T) {
		t.Parallel()
		c, err := config.Load(config.Options{})
		require.NoError(t, err)
		require.Equal(t, "127.0.0.1:8080", c.HTTP.Addr)
		require.Equal(t, int64(1<<20), c.HTTP.MaxBody)
		require.Equal(t, 720*time.Hour, c.Auth.RefreshTTL)
		require.True(t, c.DB.MigrateOnStart)
		for _, r := range config.Describe(c) {
			require.Equal(t, "default", r.Source, r.Key)
		}
	})
	t.Run("LaterLayersWin", func(t *testing.T) {
		t.Parallel()
		c, m, err := setup(t, input{
			file:  "http:\n  addr: :1\n  max_body: 2048\nlog:\n  level: warn\nevents:\n  poll: 1s\nmodules:\n  mailer:\n    every: 2s\n    kinds: [placed]\n    smtp: {addr: 'mail:25'}\n",
			env:   []string{"CLEAVE_HTTP_ADDR=:2", "CLEAVE_LOG_LEVEL=error", "CLEAVE_MODULES_MAILER_KINDS=placed, shipped", "HOME=/x", "CLEAVE_MODULES_MAILER_SMTP_PASSWORD=hushhush", "CLEAVE_MODULES_MAILER_RATIO=0.5", "CLEAVE_EVENTS_PIPE=kafka+tls://u:hush@h,h2?sasl=plain"},
			flags: []string{"--addr", ":3", "--set", "sagas.workers=4", "--set", "db.modules.mailer=postgres://u:hush@h/d"},
		})
		require.NoError(t, err)
		require.Equal(t, ":3", c.HTTP.Addr)
		require.Equal(t, int64(2048), c.HTTP.MaxBody)
		require.Equal(t, "error", c.Log.Level)
		require.Equal(t, time.Second, c.Events.Poll)
		require.Equal(t, 4, c.Sagas.Workers)
		require.Equal(t, map[string]string{"mailer": "postgres://u:hush@h/d"}, c.DB.Modules)
		require.Same(t, m, c.Modules["mailer"])
		require.Equal(t, 2*time.Second, m.Every)
		require.Equal(t, []string{"placed", "shipped"}, m.Kinds)
		require.InDelta(t, 0.5, m.Ratio, 0)
		require.Equal(t, "mail:25", m.SMTP.Addr)
		require.Equal(t, "hushhush", m.SMTP.Password)

		rows := map[string]config.Row{}
		for _, r := range config.Describe(c) {
			rows[r.Key] = r
		}
		require.Equal(t, config.Row{Key: "http.addr", Value: ":3", Source: "flag --addr"}, rows["http.addr"])
		require.Equal(t, "env CLEAVE_LOG_LEVEL", rows["log.level"].Source)
		require.Regexp(t, `^file:.*app\.yaml:3$`, rows["http.max_body"].Source)
		require.Equal(t, config.Row{Key: "sagas.workers", Value: "4", Source: "flag --set"}, rows["sagas.workers"])
		require.Equal(t, config.Row{Key: "modules.mailer.smtp.password", Value: "***", Source: "env CLEAVE_MODULES_MAILER_SMTP_PASSWORD"}, rows["modules.mailer.smtp.password"])
		require.Equal(t, "placed,shipped", rows["modules.mailer.kinds"].Value)
		require.Equal(t, config.Row{Key: "db.modules.mailer", Value: "postgres://u:***@h/d", Source: "flag --set"}, rows["db.modules.mailer"])
		require.Equal(t, "kafka+tls://***@h,h2?sasl=plain", rows["events.pipe"].Value)
		require.Equal(t, "default", rows["trace.exporter"].Source)
		require.Equal(t, "10m", rows["auth.access_ttl"].Value)
		require.Equal(t, "720h", rows["auth.refresh_ttl"].Value)
	})
	t.Run("EmptySectionsAndServiceLinks", func(t *testing.T) {
		t.Parallel()
		c, _, err := setup(t, input{
			file: "http:\ndb:\n  modules:\nmodules:\n  user:\n",
			env: []string{
				"CLEAVE_CONFIG=x.yaml", "CLEAVE_TEST_POSTGRES=postgres://x", "CLEAVE_PORT=tcp://10.0.0.1:8080", "CLEAVE_SERVICE_HOST=10.0.0.1",
				"CLEAVE_ORDER_SERVICE_PORT_HTTP=80", "CLEAVE_ORDER_PORT_8080_TCP_ADDR=10.0.0.1", "CLEAVE_ORDER_PORT_8080_TCP=tcp://10.0.0.1:8080",
			},
		})
		require.NoError(t, err)
		require.Equal(t, "127.0.0.1:8080", c.HTTP.Addr)
	})
	t.Run("AnEmptyFile", func(t *testing.T) {
		t.Parallel()
		_, _, err := setup(t, input{file: "# nothing yet\n"})
		require.NoError(t, err)
	})
}

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		input
		want []string // each in one line of the error
	}{
		"UnknownKeyInFile":      {input{file: "http:\n  adr: :1\n"}, []string{"http.adr is not a known key", "app.yaml:2", "did you mean http.addr?"}},
		"UnknownSection":        {input{file: "htp:\n  addr: :1\n"}, []string{"htp.addr is not a known key", "http.addr"}},
		"UnknownVariable":       {input{env: []string{"CLEAVE_HTTP_ADR=:1"}}, []string{"CLEAVE_HTTP_ADR is not a known key", "env CLEAVE_HTTP_ADR", "did you mean CLEAVE_HTTP_ADDR?"}},
		"PortVariable":          {input{env: []string{"CLEAVE_PORT=9090"}}, []string{"CLEAVE_PORT is not a known key"}},
		"UnknownFlagKey":        {input{flags: []string{"--set", "log.lvel=info"}}, []string{"log.lvel is not a known key", "flag --set", "did you mean log.level?"}},
		"SetWithoutValue":       {input{flags: []string{"--set", "log.level"}}, []string{"log.level", "flag --set", "allowed: KEY=VALUE"}},
		"UnknownModule":         {input{file: "modules:\n  mailr:\n    from: a@b.example\n"}, []string{"modules.mailr.from is not a known key", "modules.mailer.from"}},
		"ModuleWithoutSection":  {input{file: "modules:\n  user:\n    x: 1\n"}, []string{"modules.user.x is not a known key"}},
		"UnknownModuleDatabase": {input{env: []string{"CLEAVE_DB_MODULES_ORDR=postgres://u:hush@h/d"}}, []string{"db.modules.ordr", "one of the modules mailer, user", "env CLEAVE_DB_MODULES_ORDR"}},
		"ScalarForSection":      {input{file: "http: 8080\n"}, []string{"http is ***", "allowed: a section with the keys http.addr, ", "app.yaml:1"}},
		"NullValue":             {input{file: "http:\n  addr:\n"}, []string{"http.addr is empty", "app.yaml:2", "host:port"}},
		"NotYAML":               {input{file: "http: [\n"}, []string{"the configuration file is not YAML", "app.yaml"}},
		"NotAMapping":           {input{file: "- http\n"}, []string{"the configuration file is not a YAML mapping", "app.yaml"}},
		"DuplicateKey":          {input{file: "log:\n  level: info\n  level: warn\n"}, []string{"already defined", "app.yaml"}},
		"SecondDocument":        {input{file: "log:\n  level: info\n---\nlog:\n  level: warn\n"}, []string{"more than one YAML document"}},

		"AddrWithoutPort":    {input{env: []string{"CLEAVE_HTTP_ADDR=localhost"}}, []string{`http.addr is "localhost"`, "env CLEAVE_HTTP_ADDR", "allowed: host:port with a port from 0 to 65535"}},
		"AddrBigPort":        {input{flags: []string{"--addr=:70000"}}, []string{`http.addr is ":70000"`, "flag --addr", "65535"}},
		"EmptyAddr":          {input{env: []string{"CLEAVE_HTTP_ADDR="}}, []string{`http.addr is ""`, "env CLEAVE_HTTP_ADDR"}},
		"PublicURL":          {input{env: []string{"CLEAVE_HTTP_PUBLIC_URL=shop.example"}}, []string{`http.public_url is "shop.example"`, "allowed: an http or https URL, or empty"}},
		"BodyNotANumber":     {input{env: []string{"CLEAVE_HTTP_MAX_BODY=1MB"}}, []string{`http.max_body is "1MB"`, "env CLEAVE_HTTP_MAX_BODY", "a whole number from 1024 to 67108864"}},
		"BodyTooSmall":       {input{file: "http:\n  max_body: 0\n"}, []string{"http.max_body is 0", "app.yaml:2", "from 1024 to 67108864"}},
		"BodyFraction":       {input{file: "http:\n  max_body: 2048.5\n"}, []string{"http.max_body is 2048.5", "a whole number"}},
		"BodyOverflow":       {input{file: "http:\n  max_body: 18446744073709551615\n"}, []string{"http.max_body is 18446744073709551615", "a whole number"}},
		"BodyIsAList":        {input{file: "http:\n  max_body: [2048]\n"}, []string{"http.max_body is [2048]", "a whole number"}},
		"DurationNoUnit":     {input{file: "http:\n  request_timeout: 15\n"}, []string{"http.request_timeout is 15", "a duration from 100ms to 10m, such as"}},
		"DurationNegative":   {input{env: []string{"CLEAVE_HTTP_DRAIN_DELAY=-1s"}}, []string{"http.drain_delay is -1s", "a duration from 0s to 5m"}},
		"DurationTooLong":    {input{env: []string{"CLEAVE_HTTP_SHUTDOWN_TIMEOUT=1h"}}, []string{"http.shutdown_timeout is 1h", "from 1s to 10m"}},
		"EmptyDataFolder":    {input{flags: []string{"--data", ""}}, []string{`data.dir is ""`, "flag --data", "the path of a folder"}},
		"NumberForText":      {input{file: "data:\n  dir: 12\n"}, []string{"data.dir is 12", "the path of a folder"}},
		"DSNScheme":          {input{env: []string{"CLEAVE_DB_DSN=mysql://root:hush@h/d"}}, []string{`db.dsn is "mysql://root:***@h/d"`, "a Postgres address"}},
		"DSNWithoutScheme":   {input{env: []string{"CLEAVE_DB_ADMIN_DSN=root:hush@h/d"}}, []string{`db.admin_dsn is "***"`, "a Postgres address"}},
		"DSNUnescaped":       {input{env: []string{"CLEAVE_DB_DSN=postgres://root:hu%zz@hush@h/d"}}, []string{`db.dsn is "postgres://root:***@h/d"`}},
		"DSNWithoutHost":     {input{env: []string{"CLEAVE_DB_DSN=postgres://root:hush"}}, []string{`db.dsn is "***"`}},
		"ModuleDSN":          {input{env: []string{"CLEAVE_DB_MODULES_USER=hush"}}, []string{`db.modules.user is "***"`, "env CLEAVE_DB_MODULES_USER", "a complete Postgres address"}},
		"ShortRoleSecret":    {input{env: []string{"CLEAVE_DB_ROLE_SECRET=hush"}}, []string{`db.role_secret is "***"`, "text from 16 to 1024 characters, or empty"}},
		"SecretOfWrongType":  {input{file: "db:\n  role_secret: [hush]\n"}, []string{"db.role_secret is ***", "text"}},
		"MaxConns":           {input{flags: []string{"--set=db.max_conns=-1"}}, []string{"db.max_conns is -1", "flag --set", "from 0 to 1000"}},
		"BoolWord":           {input{file: "db:\n  migrate_on_start: yes\n"}, []string{`db.migrate_on_start is "yes"`, "allowed: true or false"}},
		"BoolNumber":         {input{file: "db:\n  migrate_on_start: 1\n"}, []string{"db.migrate_on_start is 1", "true or false"}},
		"LogLevel":           {input{flags: []string{"--log-level=trace"}}, []string{`log.level is "trace"`, "flag --log-level", "one of debug, info, warn, error"}},
		"LogFormat":          {input{flags: []string{"--log-format=xml"}}, []string{`log.format is "xml"`, "one of text, json, or empty"}},
		"TraceExporter":      {input{env: []string{"CLEAVE_TRACE_EXPORTER=jaeger"}}, []string{`trace.exporter is "jaeger"`, "one of none, otlp, stdout"}},
		"Issuer":             {input{env: []string{"CLEAVE_AUTH_ISSUER=cleave"}}, []string{`auth.issuer is "cleave"`, "an http or https URL"}},
		"AccessTTL":          {input{env: []string{"CLEAVE_AUTH_ACCESS_TTL=2h"}}, []string{"auth.access_ttl is 2h", "a duration from 5s to 1h"}},
		"RefreshUnderAccess": {input{env: []string{"CLEAVE_AUTH_REFRESH_TTL=5m"}}, []string{"auth.refresh_ttl is 5m", "at least auth.access_ttl"}},
		"EventBatch":         {input{env: []string{"CLEAVE_EVENTS_BATCH=0"}}, []string{"events.batch is 0", "from 1 to 1000"}},
		"EventPoll":          {input{env: []string{"CLEAVE_EVENTS_POLL=1ns"}}, []string{"events.poll is 1ns", "from 10ms to 1m"}},
		"EventAttempts":      {input{env: []string{"CLEAVE_EVENTS_MAX_ATTEMPTS=9999"}}, []string{"events.max_attempts is 9999", "from 1 to 1000"}},
		"BackoffCrossed":     {input{env: []string{"CLEAVE_EVENTS_BACKOFF_MIN=1m"}}, []string{"events.backoff_max is 30s (default)", "at least events.backoff_min"}},
		"EventPipe":          {input{env: []string{"CLEAVE_EVENTS_PIPE=redis://app:hush@host"}}, []string{`events.pipe is "redis://***@host"`, "nats://"}},
		"EventRetention":     {input{env: []string{"CLEAVE_EVENTS_RETENTION=0"}}, []string{"events.retention is 0s", "from 1m to 8760h"}},
		"SagaPoll":           {input{env: []string{"CLEAVE_SAGAS_POLL=x"}}, []string{`sagas.poll is "x"`, "from 10ms to 1m"}},
		"SagaLease":          {input{env: []string{"CLEAVE_SAGAS_LEASE=1ms"}}, []string{"sagas.lease is 1ms", "from 1s to 10m"}},
		"SagaWorkers":        {input{env: []string{"CLEAVE_SAGAS_WORKERS=257"}}, []string{"sagas.workers is 257", "from 1 to 256"}},

		"SectionEmail":    {input{file: "modules:\n  mailer:\n    from: nobody\n"}, []string{`modules.mailer.from is "nobody"`, "app.yaml:3", "an e-mail address, or empty"}},
		"SectionElement":  {input{env: []string{"CLEAVE_MODULES_MAILER_KINDS=placed,sent"}}, []string{`modules.mailer.kinds.1 is "sent"`, "env CLEAVE_MODULES_MAILER_KINDS", "one of placed, shipped"}},
		"SectionListText": {input{file: "modules:\n  mailer:\n    kinds: {a: 1}\n"}, []string{"modules.mailer.kinds.a is not a known key"}},
		"SectionRatio":    {input{file: "modules:\n  mailer:\n    ratio: 1.5\n"}, []string{"modules.mailer.ratio is 1.5", "a number from 0 to 1"}},
		"SectionSecret":   {input{env: []string{"CLEAVE_MODULES_MAILER_SMTP_PASSWORD=hush"}}, []string{`modules.mailer.smtp.password is "***"`, "of at least 8 characters"}},
		"SectionSMTPPort": {input{env: []string{"CLEAVE_MODULES_MAILER_SMTP_ADDR=mail"}}, []string{`modules.mailer.smtp.addr is "mail"`, "host:port with a port from 1 to 65535, or empty"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := setup(t, tc.input)
			var bad *config.Error
			require.ErrorAs(t, err, &bad)
			require.Len(t, bad.Problems, 1, "%v", err)
			for _, w := range tc.want {
				require.Contains(t, err.Error(), w)
			}
			require.NotContains(t, err.Error(), "hush")
			require.NotContains(t, err.Error(), "\n")
		})
	}
	t.Run("MissingFile", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "no.yaml")
		_, err := config.Load(config.Options{File: path})
		require.ErrorContains(t, err, "the configuration file cannot be read: no such file or directory (file:"+path+")")
	})
	t.Run("EverythingAtOnce", func(t *testing.T) {
		t.Parallel()
		_, _, err := setup(t, input{
			file:  "http:\n  adr: 1\nlog:\n  level: loud\n",
			env:   []string{"CLEAVE_EVENTS_BATCH=many", "CLEAVE_NONSENSE=1"},
			flags: []string{"--addr", "x"},
		})
		require.Len(t, strings.Split(err.Error(), "\n"), 5)
		for _, w := range []string{"http.adr", "log.level", "events.batch", "CLEAVE_NONSENSE", "http.addr"} {
			require.ErrorContains(t, err, w)
		}
	})
	t.Run("KeysThatShareAVariable", func(t *testing.T) {
		t.Parallel()
		_, err := config.Load(config.Options{Sections: map[string]any{"mailer": &struct {
			A string `mapstructure:"smtp_addr"`
			B struct {
				C string `mapstructure:"addr"`
			} `mapstructure:"smtp"`
		}{}}})
		require.ErrorContains(t, err, "share the variable CLEAVE_MODULES_MAILER_SMTP_ADDR")
	})
}

func TestMasking(t *testing.T) {
	t.Parallel()
	for given, shown := range map[string]string{
		"postgres://app:hush@db:5432/cleave?sslmode=require":        "postgres://app:***@db:5432/cleave?sslmode=require",
		"postgres://app@db/cleave?password=hush&sslmode=disable":    "postgres://app@db/cleave?password=***&sslmode=disable",
		"postgres://app:hu@sh/hush@db/cleave":                       "postgres://app:***@db/cleave",
		"host=db dbname=cleave user=app password='hu sh' port=5432": "host=db dbname=cleave user=app password=*** port=5432",
		"postgres://db/cleave":                                      "postgres://db/cleave",
	} {
		c := config.Default()
		c.DB.DSN, c.DB.RoleSecret = given, "hush"
		for _, r := range config.Describe(c) {
			require.NotContains(t, r.Value, "hush")
			if r.Key == "db.dsn" {
				require.Equal(t, shown, r.Value)
			}
		}
	}
}

func TestURLs(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		":8080": "http://127.0.0.1:8080", "0.0.0.0:8080": "http://127.0.0.1:8080", "[::]:8080": "http://[::1]:8080",
		"127.0.0.1:80": "http://127.0.0.1:80", "[::1]:80": "http://[::1]:80", "shop.example:80": "http://shop.example:80",
	} {
		require.Equal(t, want, config.Default().LocalURL(addr))
	}
	c := config.Default()
	require.Equal(t, "http://127.0.0.1:9", c.BaseURL(":9"))
	c.HTTP.PublicURL = "https://shop.example/"
	require.Equal(t, "https://shop.example", c.BaseURL(":9"))
}

func TestDatabase(t *testing.T) {
	t.Parallel()
	c, _, err := setup(t, input{flags: []string{
		"--data", "store", "--set", "db.dsn=postgres://h/d", "--set", "db.admin_dsn=postgres://root@h/d",
		"--set", "db.role_secret=0123456789abcdef", "--set", "db.modules.user=postgres://u@h/d", "--set", "db.max_conns=7",
	}})
	require.NoError(t, err)
	require.Equal(t, db.Config{
		Dir: "store", DSN: "postgres://h/d", AdminDSN: "postgres://root@h/d", RoleSecret: "0123456789abcdef",
		Modules: map[string]string{"user": "postgres://u@h/d"}, MaxConns: 7,
	}, c.Database())
}
