//go:build unix

package db

import (
	"errors"
	"net"
	"syscall"
)

// alive reports whether an idle connection can still be used, without a round
// trip: the server of a live one has nothing to say, while that of a broken one
// has closed it, mostly after saying why. After a restart of the server this
// saves one failed request per connection in the pool.
func alive(conn net.Conn) bool {
	if wrapped, ok := conn.(interface{ NetConn() net.Conn }); ok { // TLS
		conn = wrapped.NetConn()
	}
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	silent := false
	err = raw.Control(func(fd uintptr) { // raw.Read would wait for pgx's own reader, if that has been left waiting
		_, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		silent = errors.Is(err, syscall.EAGAIN)
	})
	return err == nil && silent
}
