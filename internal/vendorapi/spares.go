package vendorapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	fewSpares   = 4                // kept while calls are made, whatever else was seen
	spareLife   = 20 * time.Second // at most; servers close a connection that asks nothing
	spareStay   = 5 * time.Second  // a vendor that closes them sooner wants none
	spareQuiet  = 5 * time.Second  // without a call for so long, no more are opened
	spareWindow = 5 * time.Second  // what is recent: one to two of it
	maxSetback  = 30 * time.Second
)

// spares are connections to one origin that stand, handshake and all, before
// anyone needs them. The transport dials by taking one: a call goes out at its
// permit's instant, not some round trips later. See decision 0007.
//
// Whoever finds none waits for the next dial that is done, whoever began it;
// at least as many dials are under way as are waited for. So there are never
// more connections, with those in use, than most: the transport lets no more
// than that be used and waited for.
type spares struct {
	tcp      func(ctx context.Context, network, addr string) (net.Conn, error)
	origin   string      // host:port
	tls      *tls.Config // nil: plain
	timeout  time.Duration
	inFlight int
	most     int

	ctx  context.Context // of what runs behind the calls; ends with close
	stop context.CancelFunc
	wg   sync.WaitGroup
	wake chan struct{}

	mu      sync.Mutex
	ready   []spare // oldest first
	waiting []*taker
	open    int // connections: being dialled, ready, in use
	dialing int
	life    time.Duration // how old a spare may be: learned from those that the vendor closed
	keeping bool          // keep runs
	closed  bool
	called  time.Time // the last call
	calls   tally
	taken   tally
	setback time.Duration // after a dial that failed or a spare that died young
	until   time.Time     // no spare is opened before
}

type spare struct {
	conn net.Conn
	at   time.Time
}

// taker waits for a connection.
type taker struct {
	since time.Time
	got   chan dialled // of one
}

type dialled struct {
	conn net.Conn
	err  error
}

// spareFor makes t dial by spares, unless requests to base go through a proxy:
// then the connection's other end is not the vendor, and nil is returned.
func spareFor(t *http.Transport, base *url.URL, timeout time.Duration, inFlight int) *spares {
	if t.Proxy != nil {
		if proxy, err := t.Proxy(&http.Request{URL: base}); proxy != nil || err != nil {
			return nil
		}
	}
	port := base.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[base.Scheme]
	}
	s := &spares{
		tcp: (&net.Dialer{KeepAlive: 30 * time.Second}).DialContext, origin: net.JoinHostPort(base.Hostname(), port),
		timeout: timeout, inFlight: inFlight, most: t.MaxConnsPerHost, life: spareLife, wake: make(chan struct{}, 1),
	}
	if strings.ContainsFunc(s.origin, func(r rune) bool { return r > 0x7F }) {
		return nil // the transport dials it by another name
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	if base.Scheme == "https" {
		s.tls = t.TLSClientConfig
		t.DialTLSContext = s.dial
	} else {
		t.DialContext = s.dial
	}
	return s
}

// dial is the transport's.
func (s *spares) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	if addr != s.origin { // cannot be: requests go to one origin
		s.mu.Lock()
		s.open++
		s.mu.Unlock()
		return s.connect(ctx, addr)
	}
	return s.take(ctx)
}

// connect opens a connection, with its handshake. It is in s.open already.
func (s *spares) connect(ctx context.Context, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	tcp, err := s.tcp(ctx, "tcp", addr)
	if err != nil {
		s.gone()
		return nil, err
	}
	raw := &counted{Conn: tcp, gone: sync.OnceFunc(s.gone)}
	if s.tls == nil {
		return raw, nil
	}
	cfg := s.tls.Clone()
	if cfg.ServerName == "" {
		cfg.ServerName, _, _ = net.SplitHostPort(addr)
	}
	conn := tls.Client(raw, cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("no TLS connection to %s within %s", addr, s.timeout)
		}
		return nil, err
	}
	return conn, nil
}

// counted tells when a connection is closed, and holds back a request whose
// permit has ended.
type counted struct {
	net.Conn
	gone func()
	due  atomic.Pointer[punctual] // of the request that is written next
}

func (c *counted) Close() error {
	defer c.gone()
	return c.Conn.Close()
}

func (s *spares) gone() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
}

// take gives a connection that stands, the oldest good one, or the next that will.
func (s *spares) take(ctx context.Context) (net.Conn, error) {
	now := time.Now()
	s.mu.Lock()
	if s.closed {
		s.open++
		s.mu.Unlock()
		return s.connect(ctx, s.origin)
	}
	conn, dead := s.pop(now)
	w := &taker{now, make(chan dialled, 1)}
	if conn == nil {
		if s.waiting = append(s.waiting, w); len(s.waiting) > s.dialing {
			s.start(nil)
		}
	}
	s.mu.Unlock()
	s.nudge()
	closeAll(dead)
	if conn != nil {
		return conn, nil
	}
	select {
	case d := <-w.got:
		return d.conn, d.err
	case <-ctx.Done():
		s.leave(w)
		return nil, context.Cause(ctx)
	}
}

// pop takes from ready; dead ones are the caller's to close.
func (s *spares) pop(now time.Time) (conn net.Conn, dead []net.Conn) {
	for conn == nil && len(s.ready) > 0 {
		first := s.ready[0]
		s.ready = slices.Delete(s.ready, 0, 1)
		if s.spent(first, now) {
			dead = append(dead, first.conn)
			continue
		}
		conn, s.setback = first.conn, 0
		s.taken.add(now)
	}
	return conn, dead
}

// spent tells whether a spare is of no use, and learns from its end how long
// the vendor lets one be; s.mu is held.
func (s *spares) spent(sp spare, now time.Time) bool {
	age := now.Sub(sp.at)
	switch {
	case hungUp(sp.conn):
		if s.life = min(max(age*3/4, spareStay), spareLife); age < spareStay {
			s.pause(now)
		}
	case age > s.life:
		s.life = min(s.life+time.Second/2, spareLife)
	default:
		return false
	}
	return true
}

func (s *spares) leave(w *taker) {
	s.mu.Lock()
	i := slices.Index(s.waiting, w)
	if i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
	}
	s.mu.Unlock()
	if i >= 0 {
		return
	}
	if d := <-w.got; d.err == nil { // it came after all
		_ = d.conn.Close()
	}
}

// start begins a dial; s.mu is held and s is not closed. done, if any, hears of
// its end and has room for that.
func (s *spares) start(done chan<- struct{}) {
	s.dialing++
	s.open++
	began := time.Now()
	s.wg.Go(func() {
		conn, err := s.connect(s.ctx, s.origin)
		s.arrive(began, conn, err)
		if done != nil {
			done <- struct{}{}
		}
	})
}

// arrive hands a dial's end to whoever waits for it, or keeps it.
func (s *spares) arrive(began time.Time, conn net.Conn, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dialing--
	switch w := s.next(began, err); {
	case w != nil:
		if err == nil {
			s.taken.add(time.Now())
		}
		w.got <- dialled{conn, err}
	case err == nil && s.closed:
		s.wg.Go(func() { _ = conn.Close() })
	case err == nil:
		s.ready = append(s.ready, spare{conn, time.Now()})
		s.keepOn()
	}
}

// next is the taker that a dial's end is for. A dial that failed is for one
// only if no other is left for it, and it had not begun before the taker came;
// then another begins. s.mu is held.
func (s *spares) next(began time.Time, err error) *taker {
	if err != nil {
		s.pause(time.Now())
		if len(s.waiting) <= s.dialing {
			return nil
		}
		if s.waiting[0].since.After(began) && !s.closed {
			s.start(nil)
			return nil
		}
	}
	if len(s.waiting) == 0 {
		return nil
	}
	w := s.waiting[0]
	s.waiting = slices.Delete(s.waiting, 0, 1)
	return w
}

// pause keeps off a vendor that does not take or keep spares; s.mu is held.
func (s *spares) pause(now time.Time) {
	if now.Before(s.until) {
		return
	}
	s.setback = min(max(2*s.setback, time.Second), maxSetback)
	s.until = now.Add(s.setback)
}

// touch tells of a call that is about to be made.
func (s *spares) touch() {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.called = now
	s.calls.add(now)
	s.keepOn()
}

func (s *spares) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// warm opens spares until there are n, and waits for that.
func (s *spares) warm(ctx context.Context, n int) {
	done := make(chan struct{}, s.most)
	began := 0
	s.mu.Lock()
	if !s.closed {
		s.keepOn()
		n = min(n, s.inFlight) - len(s.ready) - s.dialing + len(s.waiting)
		for ; began < n && s.open < s.most; began++ {
			s.start(done)
		}
	}
	s.mu.Unlock()
	for range began {
		select {
		case <-done:
		case <-ctx.Done():
			return
		}
	}
}

// keepOn sees to it that keep runs; s.mu is held.
func (s *spares) keepOn() {
	if !s.keeping && !s.closed {
		s.keeping = true
		s.wg.Go(s.keep)
	}
}

// keep drops the spares that are of no more use and opens others, until no
// call has been made for a while and none is left.
func (s *spares) keep() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		dead, over := s.sort(time.Now())
		closeAll(dead)
		if over {
			return
		}
		s.fill(time.Now())
		select {
		case <-tick.C:
		case <-s.wake:
		case <-s.ctx.Done():
			return
		}
	}
}

func (s *spares) sort(now time.Time) (dead []net.Conn, over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready = slices.DeleteFunc(s.ready, func(sp spare) bool {
		if !s.spent(sp, now) {
			return false
		}
		dead = append(dead, sp.conn)
		return true
	})
	if over = len(s.ready)+s.dialing == 0 && now.Sub(s.called) > spareQuiet; over {
		s.keeping = false
	}
	return dead, over
}

func (s *spares) fill(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	have := s.dialing - len(s.waiting)
	for _, sp := range s.ready {
		if now.Sub(sp.at) < s.life*4/5 {
			have++
		}
	}
	for want := s.want(now); have < want && s.open < s.most; have++ {
		s.start(nil)
	}
}

// want is how many spares are wise now: a few, or as many as were taken lately;
// but no more than calls were made lately, and, but for the few that replace
// connections which end, no more than could be in use; s.mu is held.
func (s *spares) want(now time.Time) int {
	if now.Before(s.until) || now.Sub(s.called) > spareQuiet {
		return 0
	}
	few := min(fewSpares, s.inFlight)
	inUse := s.open - len(s.ready) - s.dialing + len(s.waiting)
	return min(max(few, s.taken.recent(now)), max(few, s.inFlight-inUse), s.calls.recent(now))
}

// close ends all that runs, and the spares. Connections in use are the transport's.
func (s *spares) close() {
	s.mu.Lock()
	s.closed, s.keeping = true, false
	s.stop()
	dead := make([]net.Conn, 0, len(s.ready))
	for _, sp := range s.ready {
		dead = append(dead, sp.conn)
	}
	s.ready = nil
	s.mu.Unlock()
	closeAll(dead)
	s.wg.Wait()
}

func closeAll(conns []net.Conn) {
	for _, c := range conns {
		_ = c.Close()
	}
}

// tally counts what happened lately.
type tally struct {
	start      time.Time
	last, this int
}

func (t *tally) turn(now time.Time) {
	switch age := now.Sub(t.start); {
	case age >= 2*spareWindow:
		*t = tally{start: now}
	case age >= spareWindow:
		*t = tally{start: t.start.Add(spareWindow), last: t.this}
	}
}

func (t *tally) add(now time.Time) {
	t.turn(now)
	t.this++
}

func (t *tally) recent(now time.Time) int {
	t.turn(now)
	return t.last + t.this
}
