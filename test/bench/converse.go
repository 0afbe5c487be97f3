package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// socket is a TCP connection that Go's network poller does not know. The poller
// wakes a goroutine, and often a thread, for each answer, which took half of the
// load generator's processor time.
type socket int

func (s socket) Read(b []byte) (int, error)  { return unix.Read(int(s), b) }
func (s socket) Write(b []byte) (int, error) { return unix.Write(int(s), b) }
func (s socket) Close() error                { return unix.Close(int(s)) }

// dialSocket is dial for the clients of converse. The address is one of IPv4.
func dialSocket(addr, token string) (*client, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, fmt.Errorf("open a socket: %w", err)
	}
	unix.CloseOnExec(fd)
	err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect to %s: %w", addr, err), unix.Close(fd))
	}
	return &client{conn: socket(fd), reader: bufio.NewReader(socket(fd)), host: addr, token: token}, nil
}

// patience is how long converse waits until any of its clients is answered.
const patience = 30 * time.Second

// converse keeps a request of each client under way for a while, and waits for
// the last answers. It is one thread that waits for all connections at once, as
// pgbench's are. ask sends a client's next request; answered checks what came
// back. The first error ends it.
func converse(ctx context.Context, clients []*client, d time.Duration, ask func(client int) error, answered func(client, status int, answer []byte) error) (sample, error) {
	waiting := make([]unix.PollFd, len(clients))
	asked := make([]time.Time, len(clients))
	s := sample{times: make([]time.Duration, 0, 1<<17)}
	began := time.Now()
	for i, c := range clients {
		waiting[i] = unix.PollFd{Fd: int32(c.conn.(socket)), Events: unix.POLLIN}
		asked[i] = time.Now()
		if err := ask(i); err != nil {
			return s, err
		}
	}
	for left := len(clients); left > 0; {
		ready, err := unix.Poll(waiting, int(patience.Milliseconds()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err == nil && ready == 0 {
			err = fmt.Errorf("no answer within %s", patience)
		}
		if err != nil {
			return s, err
		}
		for i := range waiting {
			if waiting[i].Revents == 0 {
				continue
			}
			status, answer, err := clients[i].receive()
			if err != nil {
				return s, err
			}
			now := time.Now()
			s.times = append(s.times, now.Sub(asked[i]))
			if err = answered(i, status, answer); err != nil {
				return s, err
			}
			if now.Sub(began) >= d || ctx.Err() != nil {
				waiting[i] = unix.PollFd{Fd: -1} // which poll passes over
				left--
				continue
			}
			asked[i] = now
			if err = ask(i); err != nil {
				return s, err
			}
		}
	}
	s.elapsed, s.done = time.Since(began), len(s.times)
	slices.Sort(s.times)
	return s, ctx.Err()
}
