package vendorapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// Options are what a client may be told besides its plan. The zero value is fine.
type Options struct {
	// RoundTripper makes the requests; nil is a transport of the client's own.
	// One that is given must not follow redirects or repeat requests.
	RoundTripper http.RoundTripper
	InFlight     int    // calls at once that connections are kept for; default 16
	UserAgent    string // default sluice
	Budget       int    // bytes that bodies may hold at once; default [DefaultBudget]
	// Starved is called when a body must wait for others to be released: a good
	// moment to land what is waiting. It must not block. May be nil.
	Starved func()
}

// A Client makes a vendor's calls. It implements [fanout.Vendor] and is safe
// for concurrent use. Each Call is one request: redirects are not followed and
// nothing is repeated, since each would be a call without a permit.
type Client struct {
	plan    *Plan
	rt      http.RoundTripper
	spares  *spares // nil: the transport dials, or rt is not ours
	secrets Secrets
	agent   string
	budget  *budget
	large   chan struct{} // one large answer is taken apart at a time: a tree is many times its text

	lastSaid atomic.Pointer[said]

	held  atomic.Pointer[held]
	mu    sync.Mutex     // serialises renewing
	known []*credentials // all there ever were, to mask them; guarded by mu
}

var _ fanout.Vendor = (*Client)(nil)

// held is what one moment's calls authenticate with.
type held struct {
	*credentials
	mask *masker
}

// NewClient makes a client for plan. It reads the secrets at once: a missing
// one is an error that says where to put it.
func NewClient(plan *Plan, secrets Secrets, opt Options) (*Client, error) {
	creds, err := plan.credentials(secrets)
	if err != nil {
		return nil, err
	}
	c := &Client{plan: plan, rt: opt.RoundTripper, secrets: secrets, agent: opt.UserAgent, large: make(chan struct{}, 1)}
	if c.agent == "" {
		c.agent = "sluice"
	}
	if c.rt == nil {
		inFlight := opt.InFlight
		if inFlight <= 0 {
			inFlight = 16
		}
		t := newTransport(plan.Timeouts, inFlight)
		c.rt, c.spares = t, spareFor(t, plan.base, plan.Timeouts.Connect, inFlight)
	}
	total := opt.Budget
	if total == 0 {
		total = DefaultBudget
	}
	c.budget = newBudget(total, plan.Bounds.Bytes, opt.Starved)
	c.known = []*credentials{creds}
	c.held.Store(&held{creds, newMasker(c.known)})
	return c, nil
}

// newTransport is HTTP/1.1 with connections kept warm. HTTP/2 is left off: its
// transport repeats requests that a server turned away, and one connection's
// stall is every call's.
func newTransport(t Timeouts, inFlight int) *http.Transport {
	http1 := new(http.Protocols)
	http1.SetHTTP1(true)
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: t.Connect, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:    t.Connect,
		TLSClientConfig:        &tls.Config{NextProtos: []string{"http/1.1"}},
		Protocols:              http1,
		MaxIdleConns:           inFlight,
		MaxIdleConnsPerHost:    inFlight,
		MaxConnsPerHost:        2 * inFlight, // never what a call waits for
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true, // done here, so that it is bounded
	}
}

// Warm opens up to n connections, and no more than Options.InFlight, so that
// the first calls need not wait for them; while calls are being made, the
// client keeps a few to spare by itself. It returns when they stand or have
// failed, at the latest after the plan's connect timeout; an error is left for
// the calls to tell. A connection that is not used within some 20 seconds is
// closed: call Warm just before the first calls. Behind a proxy, or with a
// RoundTripper of one's own, it does nothing.
func (c *Client) Warm(ctx context.Context, n int) {
	if c.spares != nil {
		c.spares.warm(ctx, n)
	}
}

// Close closes idle and spare connections, and waits for what the client runs
// besides calls.
func (c *Client) Close() {
	if c.spares != nil {
		c.spares.close()
	}
	if t, ok := c.rt.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// oneShot is an empty body that cannot be read again. For a request without
// any body, net/http's transport silently sends a GET again when a kept
// connection dies before the first byte of the answer (see shouldRetryRequest
// there), though the vendor may have seen and counted it. A request whose body
// it cannot rewind is never repeated; finding the body empty, it sends a plain
// GET without one.
type oneShot struct{}

func (oneShot) Read([]byte) (int, error) { return 0, io.EOF }
func (oneShot) Close() error             { return nil }

// request builds the page's request.
func (c *Client) request(ctx context.Context, page *call, h *held) (*http.Request, error) {
	u, err := page.url()
	if err != nil {
		return nil, err
	}
	req := &http.Request{
		Method: http.MethodGet, URL: u, Host: u.Host, Header: make(http.Header),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: oneShot{},
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Accept-Encoding", "gzip")
	req.Header.Set("User-Agent", c.agent)
	for _, t := range c.plan.spec.headers {
		v, err := t.val.expand(h.lookup(c.plan.setting))
		if err != nil {
			return nil, err
		}
		if !headerValue(v) {
			return nil, fmt.Errorf("header %s: the value has a character that a header cannot hold", t.name)
		}
		req.Header.Set(t.name, v)
	}
	if err := page.headers(req.Header, h.lookup(page.text)); err != nil {
		return nil, err
	}
	if h.auth != "" {
		req.Header.Set("Authorization", h.auth)
	}
	return req.WithContext(ctx), nil
}

// Call implements [fanout.Vendor]: one page, one request.
func (c *Client) Call(ctx context.Context, t fanout.Task, cursor string) (fanout.Page, error) {
	if ctx.Err() != nil {
		return fanout.Page{}, context.Cause(ctx)
	}
	x := &exchange{client: c, parent: ctx, held: c.held.Load(), request: "tier " + t.Tier, page: 1}
	page, err := c.plan.call(t, cursor)
	if err != nil {
		return fanout.Page{}, x.fail(fanout.Broken, 0, err)
	}
	x.call, x.page = page, page.state.Page+1
	x.watch = newWatch(ctx, c.plan.Timeouts)
	defer x.watch.stop()
	req, err := c.request(x.watch.ctx, page, x.held)
	if err != nil {
		return fanout.Page{}, x.fail(fanout.Broken, 0, err)
	}
	x.request = requestLine(req.URL)
	if c.spares != nil {
		c.spares.touch()
	}
	due := punctualFor(ctx)
	resp, err := due.roundTrip(c.rt, req)
	if due.tooLate() {
		return fanout.Page{}, fanout.ErrTooLate
	}
	if err != nil {
		return fanout.Page{}, x.noAnswer(0, err)
	}
	defer resp.Body.Close()
	x.said = c.hear(resp.Header)
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fanout.Page{}, x.status(resp)
	}
	answer, err := x.answer(resp)
	answer.Limits, answer.Headers = x.said.limits, x.said.headers
	return answer, err
}

func requestLine(u *url.URL) string { return "GET " + clip(u.String(), 4<<10) }

// renew reads the secrets again after the vendor refused those in used. It
// tells whether there are other ones now.
func (c *Client) renew(used *held) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held.Load() != used {
		return true, nil // another call did
	}
	fresh, err := c.plan.credentials(c.secrets)
	if err != nil {
		return false, err
	}
	if fresh.same(used.credentials) {
		return false, nil
	}
	c.known = append(c.known, fresh)
	if len(c.known) > 8 {
		c.known = c.known[len(c.known)-8:]
	}
	c.held.Store(&held{fresh, newMasker(c.known)})
	return true, nil
}

// watch ends a call that takes too long. Its context ends with the caller's,
// or with an errTimeout as its cause.
type watch struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	idle   time.Duration
	total  *time.Timer
	phase  *time.Timer
	why    atomic.Pointer[errTimeout]
}

// errTimeout is one of the client's own time limits.
type errTimeout struct{ text string }

func (e *errTimeout) Error() string { return e.text }

func newWatch(parent context.Context, t Timeouts) *watch {
	w := &watch{idle: t.Idle}
	w.ctx, w.cancel = context.WithCancelCause(parent)
	w.why.Store(&errTimeout{fmt.Sprintf("no answer within %s", t.FirstByte)})
	w.total = time.AfterFunc(t.Total, func() { w.cancel(&errTimeout{fmt.Sprintf("no complete answer within %s", t.Total)}) })
	w.phase = time.AfterFunc(t.FirstByte, func() { w.cancel(w.why.Load()) })
	return w
}

// reading starts the idle clock, again for each piece of the body.
func (w *watch) reading() {
	w.why.Store(&errTimeout{fmt.Sprintf("the answer stood still for %s", w.idle)})
	w.phase.Reset(w.idle)
}

// waiting stops the idle clock while the client itself is what is slow. The
// total goes on: the call's place in flight is held no longer than that.
func (w *watch) waiting() { w.phase.Stop() }

func (w *watch) stop() {
	w.total.Stop()
	w.phase.Stop()
	w.cancel(nil)
}

// exchange is one call on its way, and what its errors need to say.
type exchange struct {
	client  *Client
	parent  context.Context
	held    *held
	call    *call
	watch   *watch
	request string
	page    int
	excerpt string
	said    said
}

// fail makes the call's error, with every secret masked.
func (x *exchange) fail(class fanout.Class, status int, err error) error {
	m := x.client.held.Load().mask
	if text := err.Error(); m.text(text) != text {
		err = errors.New(m.text(text))
	}
	return &fanout.CallError{
		Class: class, Status: status, Request: m.text(x.request), Page: x.page, Excerpt: x.excerpt, Err: err,
		Limits: x.said.limits, Headers: x.said.headers,
	}
}

// noAnswer judges an error of the network. The end of the caller's context is
// nobody's fault and is returned as it is.
func (x *exchange) noAnswer(status int, err error) error {
	if x.parent.Err() != nil {
		return context.Cause(x.parent)
	}
	var late *errTimeout
	if errors.As(context.Cause(x.watch.ctx), &late) {
		return x.fail(fanout.Unavailable, status, late)
	}
	if status != 0 {
		return x.fail(fanout.Bad, status, fmt.Errorf("the answer is cut: %w", err))
	}
	if strings.Contains(err.Error(), "server response headers exceeded") {
		return x.fail(fanout.Broken, 0, err)
	}
	return x.fail(fanout.Unavailable, 0, err)
}
