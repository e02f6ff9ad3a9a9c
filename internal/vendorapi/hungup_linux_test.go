package vendorapi

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"
)

// That the other end is gone is seen on Linux, so it is shown there.

// What the vendor closed, or said something on unasked, is not handed out.
func TestClosedSparesAreNotUsed(t *testing.T) {
	for name, version := range map[string]uint16{"plain": 0, "TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newSlowVendor(t, 0, version, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `{"items":[]}`) })
			c, p := v.client(t, spec2(plainList), 8)
			for round := range 3 {
				c.Warm(t.Context(), 8)
				time.Sleep(20 * time.Millisecond) // TLS 1.3: tickets arrive
				c.spares.mu.Lock()
				ready := c.spares.ready
				for _, sp := range ready {
					if hungUp(sp.conn) {
						t.Errorf("round %d: a good spare counts as closed", round)
					}
				}
				c.spares.mu.Unlock()
				if len(ready) == 0 {
					t.Errorf("round %d: no spare", round)
				}
				c.rt.(*http.Transport).CloseIdleConnections() // calls shall need new ones
				v.CloseClientConnections()
				time.Sleep(20 * time.Millisecond)
				together(t, c, p, 8)
			}
		})
	}
}

func TestUnaskedWordsEndASpare(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	other, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if hungUp(conn) {
		t.Error("a silent connection counts as closed")
	}
	fmt.Fprint(other, "HTTP/1.1 408 Request Timeout\r\n\r\n")
	for start := time.Now(); !hungUp(conn); time.Sleep(time.Millisecond) {
		if time.Since(start) > 5*time.Second {
			t.Fatal("a connection with an answer to nothing counts as good")
		}
	}
}

// A vendor that closes unasked connections soon is learned from.
func TestSpareLifeIsLearned(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	base, _ := originOf("http://" + l.Addr().String())
	s := spareFor(newTransport(&Plan{}, 4), base, 5*time.Second, 4)
	defer s.close()
	s.warm(t.Context(), 1)
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	time.Sleep(20 * time.Millisecond)
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	sp := spare{s.ready[0].conn, now.Add(-10 * time.Second)}
	if !s.spent(sp, now) || s.life != 7500*time.Millisecond || now.Before(s.until) {
		t.Errorf("life %s, until %s", s.life, s.until)
	}
	sp.at = now.Add(-time.Hour) // the process was frozen
	if !s.spent(sp, now) || s.life != spareLife {
		t.Errorf("life %s", s.life)
	}
	sp.at = now.Add(-time.Second)
	if !s.spent(sp, now) || s.life != spareStay || s.until != now.Add(time.Second) {
		t.Errorf("life %s, until %s", s.life, s.until)
	}
}
