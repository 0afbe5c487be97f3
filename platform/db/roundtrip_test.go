package db_test

import (
	"context"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
)

// roundTrips passes connections on to a server and counts how often a client
// speaks after the server has.
type roundTrips struct {
	mu     sync.Mutex
	count  int
	answer bool // the server spoke last
}

func (r *roundTrips) heard(server bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !server && r.answer {
		r.count++
	}
	r.answer = server
}

func (r *roundTrips) during(fn func()) int {
	r.mu.Lock()
	r.count, r.answer = 0, true
	r.mu.Unlock()
	fn()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

func (r *roundTrips) serve(t *testing.T, server string) (address string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			upstream, err := net.Dial("tcp", server)
			if err != nil {
				_ = client.Close()
				continue
			}
			go r.pipe(upstream, client, false)
			go r.pipe(client, upstream, true)
		}
	}()
	return listener.Addr().String()
}

func (r *roundTrips) pipe(to io.WriteCloser, from io.Reader, server bool) {
	defer func() { _ = to.Close() }()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		r.heard(server)
		if _, err = to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func TestRoundTrips(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := dbtest.Postgres(t)
	require.NoError(t, db.Setup(ctx, c, []string{"order"}))
	dsn, err := url.Parse(c.DSN)
	require.NoError(t, err)
	counter := &roundTrips{}
	dsn.Host = counter.serve(t, dsn.Host)
	c.AdminDSN, c.DSN, c.MaxConns = "", dsn.String(), 1 // which is too few to migrate, and taken as 2
	d := dbtest.Open(t, c, "order", itemMigrations, constraints)
	insert := func(ctx context.Context) error {
		return d.Queue(ctx).Exec("INSERT INTO items (id, name) VALUES ('a', 'a')").Error
	}
	remove := func(ctx context.Context) error { return d.Queue(ctx).Exec("DELETE FROM items").Error }
	update := func(ctx context.Context) error { return d.Conn(ctx).Exec("UPDATE items SET stock = 1").Error }
	read := func(ctx context.Context) error { return d.Conn(ctx).Find(&[]item{}).Error }
	refuse := func(context.Context) error { return errRefused }
	for name, test := range map[string]struct {
		want  int
		steps []func(context.Context) error
	}{
		"Nothing":       {0, nil},
		"NothingFailed": {0, []func(context.Context) error{refuse}},
		"QueueOnly":     {1, []func(context.Context) error{insert, remove}},
		"QueueFailed":   {0, []func(context.Context) error{insert, refuse}},
		"Write":         {2, []func(context.Context) error{update}},
		"WriteFailed":   {2, []func(context.Context) error{update, refuse}},
		"WriteAndQueue": {2, []func(context.Context) error{update, insert, remove}},
		"QueueAndWrite": {2, []func(context.Context) error{insert, remove, update}},
		"Read":          {3, []func(context.Context) error{read}},
		"ReadAndQueue":  {3, []func(context.Context) error{read, insert, remove}},
		"Mixed":         {5, []func(context.Context) error{update, insert, read, remove, update}},
	} {
		tx := func() {
			_ = d.Tx(ctx, func(ctx context.Context) error {
				for _, step := range test.steps {
					if err := step(ctx); err != nil {
						return err
					}
				}
				return nil
			})
		}
		tx() // the connection prepares the statements
		require.Equal(t, test.want, counter.during(tx), name)
	}
}
