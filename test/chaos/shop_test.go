package chaos_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	orderrest "cleave/modules/order/v1/rest"
	userrest "cleave/modules/user/v1/rest"
	"cleave/platform/db"
	"cleave/platform/nettest"
	"cleave/test/harness"
)

// shop is a running installation with everyone who uses it.
type shop struct {
	name     string // of the scenario: two in one run do not do the same
	program  string
	dir      string
	db       db.Config
	settings []string
	brokered bool     // events may be where no table shows them
	addrs    []string // of the processes, the same after each restart
	fronts   []string // where clients reach them

	findings    findings
	staff       *staff
	customers   []*customer
	lamp, chair uuid.UUID
	idle        []func()

	mu      sync.Mutex
	running []*harness.Process // by address; nil while there is none
	all     []*harness.Process
	rested  time.Duration // what settled waited
	last    string        // what it waited for at the end
	kills   []time.Time
	starts  []time.Time // when each next process was ready

	gate    sync.RWMutex // see shut
	closing atomic.Bool
	ended   atomic.Bool
	answers atomic.Int64
	audits  atomic.Int64
	reads   atomic.Int64
	struck  atomic.Int64
}

// closed reports whether customers and staff should come to an end.
func (s *shop) closed() bool { return s.closing.Load() || s.over() }

// over reports whether nothing matters any more.
func (s *shop) over() bool { return s.ended.Load() || len(s.findings.list()) > 0 }

func (s *shop) answered() { s.answers.Add(1) }

// plan is what a scenario wants of its installation.
type plan struct {
	program  string        // default: binary
	replicas int           // default: 1
	broker   string        // URL; default: events stay in the process
	single   bool          // each event in a transaction of its own, whose time shows the order
	lease    time.Duration // of sagas; default: that of the program
	via      *network      // between clients, processes and Postgres, if not nil
}

// newShop starts an installation, and opens the shop: staff, customers with
// some credit, and a full store.
func newShop(t *testing.T, c db.Config, p plan) *shop {
	t.Helper()
	s := &shop{name: t.Name(), program: p.program, dir: filepath.Join(t.TempDir(), "data"), db: c}
	if s.program == "" {
		s.program = binary
	}
	if p.via != nil {
		c = p.via.postgres(t, c)
	}
	s.settings = []string{
		"CLEAVE_DATA_DIR=" + s.dir, "CLEAVE_DB_DSN=" + c.DSN, "CLEAVE_DB_ADMIN_DSN=" + c.AdminDSN, "CLEAVE_DB_ROLE_SECRET=" + c.RoleSecret,
		"CLEAVE_LOG_LEVEL=warn",
	}
	if s.brokered = p.broker != ""; s.brokered {
		s.settings = append(s.settings, "CLEAVE_EVENTS_PIPE="+p.broker)
	}
	if p.lease > 0 {
		s.settings = append(s.settings, "CLEAVE_SAGAS_LEASE="+p.lease.String())
	}
	if p.single {
		s.settings = append(s.settings, "CLEAVE_EVENTS_BATCH=1")
	}
	for range max(p.replicas, 1) {
		s.addrs = append(s.addrs, nettest.FreeAddress(t))
	}
	s.fronts = s.addrs
	if p.via != nil {
		s.fronts = []string{p.via.proxy(t, "clients", s.addrs[0])}
	}
	s.running = make([]*harness.Process, len(s.addrs))
	t.Cleanup(func() {
		s.ended.Store(true)
		for i := range s.addrs {
			s.kill(i)
		}
		for _, idle := range s.idle {
			idle()
		}
	})
	token := ""
	for i := range s.addrs {
		got, err := s.serve(i)
		require.NoError(t, err)
		token = max(token, got)
	}
	require.NoError(t, s.keepReceived())
	s.welcome(t, token)
	return s
}

// welcome hires staff and lets customers in.
func (s *shop) welcome(t *testing.T, token string) {
	t.Helper()
	const customers = 4
	ctx := t.Context()
	boss, err := s.newClient("staff", "root@example.com")
	require.NoError(t, err)
	r, err := boss.apis[0].users.CreateFirstAdminWithResponse(ctx, nil,
		userrest.CreateFirstAdmin{Token: token, Email: boss.email, Password: password, DisplayName: "Grace Hopper"})
	require.NoError(t, err)
	require.NotNil(t, r.JSON201, "%s", r.Body)
	boss.logIn()
	s.staff = &staff{client: boss, shipped: map[uuid.UUID]int{}, disabled: map[uuid.UUID]int{}}
	for name, into := range map[string]*uuid.UUID{"Lamp": &s.lamp, "Chair": &s.chair} {
		r, err := boss.apis[0].orders.CreateProductWithResponse(ctx, nil, orderrest.CreateProduct{
			SKU: strings.ToUpper(name), Name: name, Price: orderrest.Money{MinorUnits: 1, Currency: "EUR"}, Stock: firstStock,
		})
		require.NoError(t, err)
		require.NotNil(t, r.JSON201, "%s", r.Body)
		*into = r.JSON201.ID
	}
	for i := range customers {
		c, err := s.newClient(fmt.Sprintf("customer %d", i), fmt.Sprintf("customer%d@example.com", i))
		require.NoError(t, err)
		r, err := c.apis[0].users.RegisterUserWithResponse(ctx, nil, userrest.RegisterUser{Email: c.email, Password: password, DisplayName: "Ada Lovelace"})
		require.NoError(t, err)
		require.NotNil(t, r.JSON201, "%s", r.Body)
		c.logIn()
		s.customers = append(s.customers, &customer{client: c})
		s.staff.topUp(c.id, "opening credit of "+c.email, 3000)
	}
}

// during runs everyone's day while fn makes trouble, and everyone's last
// requests after it.
func (s *shop) during(t *testing.T, fn func()) {
	t.Helper()
	reader, err := s.newClient("reader", s.staff.email)
	require.NoError(t, err)
	reader.logIn()
	var people, readers sync.WaitGroup
	for _, c := range s.customers {
		people.Go(c.run)
	}
	people.Go(s.staff.run)
	readers.Go(s.audit)
	readers.Go(func() { s.watch(reader) })
	fn()
	s.closing.Store(true)
	people.Wait()
	s.settled(t)
	s.ended.Store(true)
	readers.Wait()
}

// shut keeps everyone from an SQLite file while it has no process: a reader
// would spare the next process the recovery that the last one left to it.
func (s *shop) shut() (reopen func()) {
	if s.db.DSN != "" {
		return func() {}
	}
	s.gate.Lock()
	return s.gate.Unlock
}

// serve starts process i and waits until it serves; settings are for this life
// of it.
func (s *shop) serve(i int, settings ...string) (token string, err error) {
	p, err := s.launch(i, settings...)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, token, err = p.Ready(ctx); err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.starts = append(s.starts, time.Now())
	return token, nil
}

// launch starts process i and does not wait.
func (s *shop) launch(i int, settings ...string) (*harness.Process, error) {
	settings = append(settings, "CLEAVE_HTTP_ADDR="+s.addrs[i])
	p, err := harness.Start(harness.Command(s.program, append(settings, s.settings...), "serve"))
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running[i] = p
	s.all = append(s.all, p)
	return p, nil
}

// kill ends process i as a power cut would.
func (s *shop) kill(i int) {
	s.mu.Lock()
	p := s.running[i]
	s.running[i] = nil
	s.mu.Unlock()
	if p == nil {
		return
	}
	_ = p.Signal(syscall.SIGKILL) // it may have ended by itself, which check finds
	<-p.Exited()
	s.check(p)
}

// alive finds processes that have ended without being killed.
func (s *shop) alive(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, p := range s.running {
		select {
		case <-p.Exited():
			s.findings.add("process %d has ended by itself, code %d:\n%s", i, p.Code(), p.Log())
		default:
		}
	}
}

// check looks for what no process may do, whatever happens to it.
func (s *shop) check(p *harness.Process) {
	for i, line := range p.Lines() {
		if strings.HasPrefix(line, "panic:") || strings.HasPrefix(line, "fatal error:") || strings.HasPrefix(line, "WARNING: DATA RACE") {
			s.findings.add("the program broke down: %s", strings.Join(p.Lines()[i:min(i+12, len(p.Lines()))], "\n"))
			return
		}
	}
}

func (s *shop) processes() []*harness.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all
}
