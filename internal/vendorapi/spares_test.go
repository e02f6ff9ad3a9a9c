package vendorapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// slowVendor is a vendor far away: nothing on a new connection is read before
// delay has passed. It knows which connections stand, and how many.
type slowVendor struct {
	*httptest.Server
	delay time.Duration

	mu     sync.Mutex
	hello  map[string]bool // by the client's address: connections whose handshake came that far
	opened int
	open   int
	peak   int
}

type slowListener struct {
	net.Listener
	v *slowVendor
}

type slowConn struct {
	net.Conn
	v      *slowVendor
	until  time.Time
	closed sync.Once
}

func (l slowListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.v.mu.Lock()
	defer l.v.mu.Unlock()
	l.v.opened++
	l.v.open++
	l.v.peak = max(l.v.peak, l.v.open)
	return &slowConn{Conn: c, v: l.v, until: time.Now().Add(l.v.delay)}, nil
}

func (c *slowConn) Read(p []byte) (int, error) {
	time.Sleep(time.Until(c.until))
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.v.mu.Lock()
		c.v.hello[c.RemoteAddr().String()] = true
		c.v.mu.Unlock()
	}
	return n, err
}

func (c *slowConn) Close() error {
	c.closed.Do(func() {
		c.v.mu.Lock()
		defer c.v.mu.Unlock()
		c.v.open--
	})
	return c.Conn.Close()
}

func (v *slowVendor) counts() (opened, open, peak int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.opened, v.open, v.peak
}

// newSlowVendor starts one; version 0 is without TLS.
func newSlowVendor(t *testing.T, delay time.Duration, version uint16, h http.HandlerFunc) *slowVendor {
	t.Helper()
	v := &slowVendor{Server: httptest.NewUnstartedServer(h), delay: delay, hello: make(map[string]bool)}
	v.Listener = slowListener{v.Listener, v}
	v.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that nobody waits for any more
	if version == 0 {
		v.Start()
	} else {
		v.TLS = &tls.Config{MinVersion: version, MaxVersion: version}
		v.StartTLS()
	}
	t.Cleanup(v.Close)
	return v
}

// client is one of v's, with a transport of its own.
func (v *slowVendor) client(t *testing.T, spec string, inFlight int) (*Client, *Plan) {
	t.Helper()
	p := testPlan(t, spec, nil)
	p.base, _ = originOf(v.URL)
	c, err := NewClient(p, tokenOnly(), Options{InFlight: inFlight})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if cert := v.Certificate(); cert != nil {
		c.rt.(*http.Transport).TLSClientConfig.RootCAs = v.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	}
	return c, p
}

// together makes n calls at once.
func together(t *testing.T, c *Client, p *Plan, n int) {
	t.Helper()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			page, err := c.Call(t.Context(), root(p), "")
			if err != nil {
				t.Error(err)
				return
			}
			page.Release()
		})
	}
	wg.Wait()
}

// Calls after Warm go out on connections whose handshake was over before them.
func TestWarmCallsWaitForNoHandshake(t *testing.T) {
	const n = 16
	var mu sync.Mutex
	var all sync.WaitGroup
	all.Add(n)
	arrived := make(map[string]time.Time)
	v := newSlowVendor(t, 150*time.Millisecond, tls.VersionTLS13, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		arrived[r.RemoteAddr] = time.Now()
		mu.Unlock()
		all.Done()
		all.Wait() // so that each needs its own connection
		fmt.Fprint(w, `{"items":[]}`)
	})
	c, p := v.client(t, spec2(plainList), n)
	warming := time.Now()
	c.Warm(t.Context(), 2*n)
	took := time.Since(warming)
	v.mu.Lock()
	stood := len(v.hello)
	before := make(map[string]bool)
	for addr := range v.hello {
		before[addr] = true
	}
	v.mu.Unlock()
	if stood != n || took < 150*time.Millisecond || took > 2*time.Second {
		t.Errorf("Warm gave %d connections in %s", stood, took)
	}
	start := time.Now()
	together(t, c, p, n)
	var worst time.Duration
	for addr, at := range arrived {
		worst = max(worst, at.Sub(start))
		if !before[addr] {
			t.Errorf("a call waited for a handshake: %s", addr)
		}
	}
	if t.Logf("%d calls arrived within %s", len(arrived), worst); len(arrived) != n || worst > 150*time.Millisecond {
		t.Errorf("%d connections, the last call arrived after %s", len(arrived), worst)
	}
}

// However calls come and connections end, there are never more than twice the
// calls in flight, and Close leaves none.
func TestConnectionsAreBounded(t *testing.T) {
	const inFlight = 4
	var served atomic.Int32
	v := newSlowVendor(t, 5*time.Millisecond, tls.VersionTLS13, func(w http.ResponseWriter, r *http.Request) {
		if served.Add(1)%5 == 0 {
			w.Header().Set("Connection", "close")
		}
		fmt.Fprint(w, `{"items":[]}`)
	})
	before := runtime.NumGoroutine()
	c, p := v.client(t, spec2(plainList), inFlight)
	c.Warm(t.Context(), 100)
	if _, open, _ := v.counts(); open != inFlight {
		t.Errorf("Warm left %d connections", open)
	}
	for range 60 {
		together(t, c, p, inFlight)
	}
	// The vendor may see a connection's end after the next one's beginning.
	opened, open, peak := v.counts()
	if t.Logf("%d connections opened, %d at once, for %d calls", opened, peak, served.Load()); peak > 2*inFlight+2 {
		t.Errorf("%d connections at once, %d now", peak, open)
	}
	c.Close()
	c.Close()
	for start := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		c.spares.mu.Lock()
		ours := c.spares.open
		c.spares.mu.Unlock()
		_, open, _ := v.counts()
		if ours+open == 0 && runtime.NumGoroutine() <= before {
			break
		}
		if time.Since(start) > 5*time.Second {
			buf := make([]byte, 64<<10)
			t.Fatalf("after Close: %d connections here, %d there, %d goroutines, %d before\n%s", ours, open, runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
	}
	if together(t, c, p, 1); c.spares.keeping { // as it always was
		t.Error("a call after Close starts to keep spares")
	}
}

// A vendor whose handshake never ends.
func TestHandshakeThatHangs(t *testing.T) {
	v := newSlowVendor(t, time.Minute, tls.VersionTLS13, nil)
	v.delay = 0
	l, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	v.URL = "https://" + l.Addr().String()
	c, p := v.client(t, "timeouts: {connect: 100ms}\n"+spec2(plainList), 4)
	start := time.Now()
	c.Warm(t.Context(), 4)
	_, err = c.Call(t.Context(), root(p), "")
	if classOf(err) != fanout.Unavailable || !strings.Contains(err.Error(), "no TLS connection to "+l.Addr().String()+" within 100ms") || time.Since(start) > 3*time.Second {
		t.Errorf("after %s: %v", time.Since(start), err)
	}
	c, _ = v.client(t, "timeouts: {connect: 1m}\n"+spec2(plainList), 4)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start = time.Now()
	c.Warm(ctx, 4)
	c.Close()
	if time.Since(start) > 5*time.Second {
		t.Errorf("Warm and Close took %s", time.Since(start))
	}
}

// pipes makes spares whose connections are pipes, in virtual time.
func pipes(inFlight int) (s *spares, dials *atomic.Int32, fail *error) {
	dials, fail = new(atomic.Int32), new(error)
	base, _ := originOf("http://h.example")
	s = spareFor(newTransport(&Plan{}, inFlight), base, 5*time.Second, inFlight)
	s.tcp = func(ctx context.Context, _, _ string) (net.Conn, error) {
		dials.Add(1)
		time.Sleep(100 * time.Millisecond)
		if *fail != nil {
			return nil, *fail
		}
		here, _ := net.Pipe()
		return here, nil
	}
	return s, dials, fail
}

func (s *spares) state() (ready, open int, keeping bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ready), s.open, s.keeping
}

func TestSparesComeAndGo(t *testing.T) {
	t.Run("unused", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, dials, _ := pipes(16)
			s.warm(t.Context(), 3)
			if ready, open, keeping := s.state(); ready != 3 || open != 3 || !keeping {
				t.Errorf("after warm: %d ready, %d open, keeping %t", ready, open, keeping)
			}
			time.Sleep(spareLife + 2*time.Second)
			if ready, open, keeping := s.state(); ready+open != 0 || keeping || dials.Load() != 3 {
				t.Errorf("later: %d ready, %d open, keeping %t, %d dials", ready, open, keeping, dials.Load())
			}
			s.close()
		})
	})
	t.Run("a call each second on one connection", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, dials, _ := pipes(16)
			defer s.close()
			for i := range 120 {
				if s.touch(); i == 0 {
					if _, err := s.take(t.Context()); err != nil {
						t.Error(err)
					}
				}
				time.Sleep(time.Second)
			}
			if ready, open, _ := s.state(); ready < 4 || open > 9 || dials.Load() > 1+4*120/15 {
				t.Errorf("%d ready, %d open, %d dials", ready, open, dials.Load())
			}
			was := dials.Load()
			time.Sleep(time.Minute)
			if ready, open, keeping := s.state(); ready != 0 || open != 1 || keeping || dials.Load() > was+4 {
				t.Errorf("quiet: %d ready, %d open, keeping %t, %d dials more", ready, open, keeping, dials.Load()-was)
			}
		})
	})
	t.Run("a call in ten seconds", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, dials, _ := pipes(16)
			defer s.close()
			for range 60 {
				s.touch()
				time.Sleep(10 * time.Second)
			}
			if dials.Load() > 60 {
				t.Errorf("%d dials for 60 calls", dials.Load())
			}
		})
	})
	t.Run("growth", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, _, _ := pipes(64)
			defer s.close()
			s.warm(t.Context(), 4)
			for i := range 64 { // eight more connections in use each second
				s.touch()
				before := time.Now()
				if _, err := s.take(t.Context()); err != nil {
					t.Error(err)
				}
				if waited := time.Since(before); i > 16 && waited > 0 {
					t.Errorf("call %d waited %s", i, waited)
				}
				time.Sleep(time.Second / 8)
			}
			time.Sleep(5 * time.Second)
			if _, open, _ := s.state(); open > 64+2*fewSpares {
				t.Errorf("%d connections for 64 in use", open)
			}
		})
	})
	t.Run("nobody there", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, dials, fail := pipes(16)
			defer s.close()
			*fail = errors.New("nobody there")
			for range 60 {
				s.touch()
				if _, err := s.take(t.Context()); err != *fail {
					t.Error(err)
				}
				time.Sleep(time.Second)
			}
			if dials.Load() > 60+6*4 {
				t.Errorf("%d dials for 60 calls", dials.Load())
			}
		})
	})
	t.Run("whoever is there first", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, dials, fail := pipes(16)
			s.tcp = func(ctx context.Context, _, _ string) (net.Conn, error) {
				if dials.Add(1) == 1 {
					<-ctx.Done() // the vendor lost it
					return nil, context.Cause(ctx)
				}
				here, _ := net.Pipe()
				return here, *fail
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			s.warm(ctx, 1)
			gone, leave := context.WithCancel(t.Context())
			leave()
			if _, err := s.take(gone); !errors.Is(err, context.Canceled) { // waits for the lost dial, and leaves
				t.Error(err)
			}
			start := time.Now()
			if _, err := s.take(t.Context()); err != nil || time.Since(start) > 4*time.Second { // a late dial's failure is not its
				t.Errorf("after %s: %v", time.Since(start), err)
			}
			s.close()
			if len(s.waiting) != 0 || s.dialing != 0 {
				t.Errorf("%d waiting, %d dialing", len(s.waiting), s.dialing)
			}
		})
	})
}

func TestNoSparesBehindAProxy(t *testing.T) {
	base, _ := originOf("https://h.example")
	tr := newTransport(&Plan{}, 4)
	tr.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy.example:3128"})
	if s := spareFor(tr, base, time.Second, 4); s != nil || tr.DialTLSContext != nil {
		t.Error("there are spares to the proxy")
	}
	odd, _ := originOf("https://bücher.example")
	if s := spareFor(newTransport(&Plan{}, 4), odd, time.Second, 4); s != nil {
		t.Error("there are spares to a host that the transport calls by another name")
	}
	p := testPlan(t, spec2(plainList), nil)
	c := testClient(t, p, roundTrip(func(*http.Request) (*http.Response, error) { return answer(200, `{"items":[]}`), nil }))
	c.Warm(t.Context(), 4)
	if c.spares != nil {
		t.Error("there are spares beside the caller's own RoundTripper")
	}
}
