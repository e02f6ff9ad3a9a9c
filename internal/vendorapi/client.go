package vendorapi

import (
	"bytes"
	"cmp"
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
	// Sessions keeps what a login yields; nil: the client's [Secrets] if that can,
	// or else the client for itself.
	Sessions Sessions
	// Starved is called when a body must wait for others to be released: a good
	// moment to land what is waiting. It must not block. May be nil.
	Starved func()
}

// A Client makes a vendor's calls. It implements [fanout.Vendor] and is safe for
// concurrent use. Each request goes out under a permit: the transport follows no
// redirect and repeats nothing, and what a call needs beside its own request (a
// login, the hop of a redirect) takes a permit of its own.
type Client struct {
	plan     *Plan
	rt       http.RoundTripper
	away     http.RoundTripper // for other origins that the spec allows
	spares   *spares           // nil: the transport dials, or rt is not ours
	secrets  Secrets
	sessions Sessions
	recorder *Recorder // nil: nobody keeps what is said
	agent    string
	budget   *budget
	large    chan struct{} // one large answer is taken apart at a time: a tree is many times its text

	lastSaid atomic.Pointer[said]

	held   atomic.Pointer[held]
	mu     sync.Mutex     // serialises renewing
	known  []*credentials // the latest, to mask them; guarded by mu
	tokens []string       // and what their sessions were; guarded by mu
}

var _ fanout.Vendor = (*Client)(nil)

// held is what one moment's calls authenticate with.
type held struct {
	*credentials
	spec  *auth
	mark  string   // of the credentials
	token *Session // nil: none yet, or none is needed
	sent  string   // what token is sent as
	spent bool     // the vendor has refused token
	mask  *masker
}

// NewClient makes a client for plan. It reads the secrets at once: a missing
// one is an error that says where to put it.
func NewClient(plan *Plan, secrets Secrets, opt Options) (*Client, error) {
	creds, err := plan.credentials(secrets)
	if err != nil {
		return nil, err
	}
	c := &Client{plan: plan, rt: opt.RoundTripper, away: opt.RoundTripper, secrets: secrets, sessions: opt.Sessions,
		agent: cmp.Or(opt.UserAgent, "sluice"), large: make(chan struct{}, 1)}
	if c.sessions == nil {
		if c.sessions, _ = secrets.(Sessions); c.sessions == nil {
			c.sessions = &ownSessions{}
		}
	}
	if c.rt == nil {
		inFlight := opt.InFlight
		if inFlight <= 0 {
			inFlight = 16
		}
		secure, err := plan.tlsConfig(creds)
		if err != nil {
			return nil, err
		}
		t := newTransport(plan, inFlight)
		t.TLSClientConfig = secure
		c.rt, c.spares = t, spareFor(t, plan.base, plan.Timeouts.Connect, inFlight)
		c.away = newAway(plan, inFlight)
	}
	c.budget = newBudget(cmp.Or(opt.Budget, DefaultBudget), plan.Bounds.Bytes, opt.Starved)
	c.known = []*credentials{creds}
	_, err = c.hold(creds, nil)
	return c, err
}

// newTransport is HTTP/1.1 with connections kept warm. HTTP/2 is left off: its
// transport repeats requests that a server turned away, and one connection's
// stall is every call's.
func newTransport(plan *Plan, inFlight int) *http.Transport {
	t := plan.Timeouts
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
		MaxResponseHeaderBytes: int64(plan.Bounds.Headers),
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
	for _, rt := range []http.RoundTripper{c.rt, c.away} {
		if t, ok := rt.(interface{ CloseIdleConnections() }); ok {
			t.CloseIdleConnections()
		}
	}
}

// oneShot is an empty body that cannot be read again. For a request without
// any body, net/http's transport silently sends a GET again when a kept
// connection dies before the first byte of the answer (see shouldRetryRequest
// there), though the vendor may have seen and counted it. A request whose body
// it cannot rewind is never repeated; finding the body empty, it sends a plain
// GET without one. A POST it would only send again by an Idempotency-Key, which
// no spec may set, or when nothing at all was written.
type oneShot struct{}

func (oneShot) Read([]byte) (int, error) { return 0, io.EOF }
func (oneShot) Close() error             { return nil }

// request builds the page's request, or that for another place that it was
// redirected to. Another origin gets nothing secret.
func (c *Client) request(ctx context.Context, page *call, h *held, to *url.URL) (*http.Request, error) {
	draft, err := page.draft(ctx)
	if err != nil {
		return nil, err
	}
	u := draft.full()
	if to != nil {
		u, page.asked = to, to
	}
	foreign := !sameOrigin(u, c.plan.base)
	if key := h.key; key != "" && !foreign && h.spec.carrier.in == "body" {
		if page.tier.method != http.MethodPost {
			return nil, errors.New("auth sends its key in the body, which a GET does not have: say post")
		}
		if err := draft.putInBody(h.spec.carrier.name, key); err != nil {
			return nil, err
		}
	}
	body := draft.bytes()
	req := &http.Request{
		Method: page.tier.method, URL: u, Host: u.Host, Header: make(http.Header),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: oneShot{},
	}
	switch {
	case len(body) > 0:
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body)) // GetBody stays nil
	case req.Method == http.MethodPost:
		req.Body = http.NoBody // or it would be sent in chunks
	}
	if draft.kind != "" {
		req.Header.Set("Content-Type", draft.kind)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Accept-Encoding", "gzip")
	req.Header.Set("User-Agent", c.agent)
	for _, t := range c.plan.spec.headers {
		if foreign && t.val.secret() {
			continue
		}
		v, err := t.val.expand(h.lookup(c.plan.setting))
		if err != nil {
			return nil, err
		}
		if !headerValue(v) {
			return nil, fmt.Errorf("header %s: the value has a character that a header cannot hold", t.name)
		}
		req.Header.Set(t.name, v)
	}
	if err := page.headers(req.Header, h.lookup(page.text), foreign); err != nil {
		return nil, err
	}
	for name, v := range draft.header {
		req.Header.Set(name, v)
	}
	if !foreign {
		h.authorize(req, body, strings.TrimPrefix(u.EscapedPath(), c.plan.base.EscapedPath()))
	}
	return req.WithContext(ctx), nil
}

// Call implements [fanout.Vendor]: one page, one request; and as many more, each
// under a permit of its own, as a login or redirects take.
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
	for {
		h, err := c.session(ctx)
		if err != nil {
			return fanout.Page{}, err
		}
		x.held = h
		answer, err := x.once()
		if errors.Is(err, errEmpty) {
			answer, err = x.empty()
		}
		if !errors.Is(err, errAgain) {
			answer.Limits, answer.Headers = x.said.limits, x.said.headers
			return answer, err
		}
		if err := fanout.NextPermit(ctx); err != nil {
			return fanout.Page{}, err
		}
	}
}

// empty is the page of an answer that the spec takes for a list without items.
func (x *exchange) empty() (fanout.Page, error) {
	c := x.call
	if c.plan.spec.proof != nil && c.first() {
		return fanout.Page{}, x.fail(fanout.Refused, x.code, errUnproved)
	}
	p := fanout.Page{Status: x.code, Body: []byte("null"), Release: func() {}}
	if _, sliced := c.tier.pages.(*slicePages); sliced && !c.last {
		s := c.state
		s.Page++
		s.Slice++
		p.Next = s.encode()
	}
	return p, nil
}

// errAgain says that the call takes one more request.
var errAgain = errors.New("one more request")

// once makes one request.
func (x *exchange) once() (fanout.Page, error) {
	c := x.client
	x.watch = newWatch(x.parent, c.plan.Timeouts)
	defer x.watch.stop()
	req, err := c.request(x.watch.ctx, x.call, x.held, x.to)
	switch {
	case err != nil && x.parent.Err() != nil:
		return fanout.Page{}, context.Cause(x.parent) // while jq was making the body
	case err != nil:
		return fanout.Page{}, x.fail(fanout.Broken, 0, err)
	}
	resp, err := x.send(req)
	if err != nil {
		return fanout.Page{}, err
	}
	defer resp.Body.Close()
	if x.code = resp.StatusCode; x.code < 200 || x.code > 299 {
		return fanout.Page{}, x.status(resp)
	}
	return x.answer(resp)
}

// send makes a request, and hears what the answer's headers say.
func (x *exchange) send(req *http.Request) (*http.Response, error) {
	c := x.client
	x.request, x.url = requestLine(req), req.URL
	rt := c.rt
	if !sameOrigin(req.URL, c.plan.base) {
		rt = c.away
	} else if c.spares != nil {
		c.spares.touch()
	}
	if c.recorder != nil && !x.signing {
		rt = c.recorder.over(rt)
	}
	due := punctualFor(x.parent)
	resp, err := due.roundTrip(rt, req)
	if due.tooLate() {
		return nil, fanout.ErrTooLate
	}
	if err != nil {
		return nil, x.noAnswer(0, err)
	}
	x.said = c.hear(resp.Header, time.Now())
	return resp, nil
}

func requestLine(req *http.Request) string { return req.Method + " " + clip(req.URL.String(), 4<<10) }

// renew reads the secrets again after the vendor refused those in used, or takes
// their session for spent. It tells whether there may be others now.
func (c *Client) renew(used *held) (bool, error) {
	now := c.held.Load()
	if now != used && (now.spent || !now.credentials.same(used.credentials) || used.token != nil && !now.token.same(used.token)) {
		return true, nil // another call did
	}
	fresh, err := c.plan.credentials(c.secrets)
	if err != nil {
		return false, err
	}
	if !fresh.same(used.credentials) {
		c.mu.Lock()
		c.known = append(c.known, fresh)
		c.known = c.known[max(0, len(c.known)-8):]
		c.mu.Unlock()
		_, err := c.hold(fresh, nil)
		return true, err
	}
	if used.token == nil {
		return false, nil
	}
	spent := *now
	spent.spent = true
	c.held.CompareAndSwap(now, &spent)
	return true, nil
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
	head    []byte // of the body of an answer that is no 2xx
	said    said
	url     *url.URL // of the latest request
	code    int      // its answer's status
	to      *url.URL // where a redirect points; nil: the page's own
	hops    int
	renewed bool // the credentials were, for this call
	signing bool // the request is a login itself
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
