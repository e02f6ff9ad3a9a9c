package vendorapi

import (
	"crypto/tls"
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// hungUp tells whether the other end has closed a connection on which nothing
// was asked yet, or has said something unasked, as proxies do before closing.
// It does not wait. A TLS 1.3 server may have sent tickets for later sessions,
// which nobody has read: on such a connection only the end counts.
func hungUp(conn net.Conn) bool {
	speaks := false
	if c, ok := conn.(*tls.Conn); ok {
		speaks = c.ConnectionState().Version >= tls.VersionTLS13
		conn = c.NetConn()
	}
	if c, ok := conn.(*counted); ok {
		conn = c.Conn
	}
	sys, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sys.SyscallConn()
	if err != nil {
		return true
	}
	hung := false
	err = raw.Control(func(fd uintptr) {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | unix.POLLRDHUP}}
		_, err := unix.Poll(poll, 0)
		for errors.Is(err, unix.EINTR) {
			_, err = unix.Poll(poll, 0)
		}
		seen := poll[0].Revents
		if speaks {
			seen &^= unix.POLLIN
		}
		hung = err != nil || seen != 0
	})
	return hung || err != nil
}
