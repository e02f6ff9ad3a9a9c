package vendorapi

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// punctual keeps a request from being written after its permit has ended. The
// permit was judged when it was taken; between that and the first byte a busy
// machine may let the process, or the goroutine that writes, wait for longer
// than the governor counts on, and calls that were meant to go out apart would
// go out together. So the connection looks at the clock once more, with nothing
// but the system call to follow.
type punctual struct {
	by   time.Time
	late atomic.Bool
}

// punctualFor is what the caller's permit asks for; nil: nothing.
func punctualFor(ctx context.Context) *punctual {
	by := fanout.SendBy(ctx)
	if by.IsZero() {
		return nil
	}
	return &punctual{by: by}
}

// roundTrip makes the request, unless it is too late for it.
func (p *punctual) roundTrip(rt http.RoundTripper, req *http.Request) (*http.Response, error) {
	if p == nil {
		return rt.RoundTrip(req)
	}
	if !p.inTime() {
		return nil, fanout.ErrTooLate
	}
	ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{GotConn: p.connected})
	return rt.RoundTrip(req.WithContext(ctx))
}

// connected hands the request's deadline to the connection that will carry it,
// if it is one of ours.
func (p *punctual) connected(info httptrace.GotConnInfo) {
	conn := info.Conn
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	if c, ok := conn.(*counted); ok {
		c.due.Store(p)
	}
}

// inTime tells whether the request may still be written, and remembers if not.
func (p *punctual) inTime() bool {
	if time.Now().After(p.by) {
		p.late.Store(true)
		return false
	}
	return true
}

// tooLate tells whether the request was held back.
func (p *punctual) tooLate() bool { return p != nil && p.late.Load() }

// Write implements net.Conn.
func (c *counted) Write(b []byte) (int, error) {
	if due := c.due.Swap(nil); due != nil && !due.inTime() {
		return 0, fanout.ErrTooLate // the transport closes the connection
	}
	return c.Conn.Write(b)
}
