package vendorapi

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// TestARequestThatIsTooLateIsNotSent: neither one that is late from the start
// nor one that becomes late between the connection's choice and the first byte.
func TestARequestThatIsTooLateIsNotSent(t *testing.T) {
	var arrived atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		arrived.Add(1)
		w.Write([]byte("{}"))
	}))
	defer server.Close()
	for stall, want := range map[time.Duration]bool{0: false, 50 * time.Millisecond: true} {
		tcp, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn := &counted{Conn: tcp, gone: func() {}}
		p := &punctual{by: time.Now().Add(30 * time.Millisecond)}
		p.connected(httptrace.GotConnInfo{Conn: conn})
		time.Sleep(stall)
		_, err = conn.Write([]byte("GET / HTTP/1.0\r\n\r\n"))
		if p.tooLate() != want || errors.Is(err, fanout.ErrTooLate) != want {
			t.Errorf("stalled for %v: too late %v, %v", stall, p.tooLate(), err)
		}
		if _, err := conn.Write([]byte("\r\n")); err != nil {
			t.Errorf("what is written later is held back, too: %v", err)
		}
		conn.Close()
	}
	before := arrived.Load()
	s, err := Parse("v.yaml", []byte(spec2(plainList)))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := s.Bind(nil)
	if err != nil {
		t.Fatal(err)
	}
	sent := 0
	c, err := NewClient(plan, tokenOnly(), Options{RoundTripper: roundTrip(func(*http.Request) (*http.Response, error) {
		sent++
		return answer(200, `{"items":[]}`), nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	for by, want := range map[time.Duration]error{-time.Millisecond: fanout.ErrTooLate, time.Minute: nil} {
		page, err := c.Call(fanout.WithSendBy(t.Context(), time.Now().Add(by)), root(plan), "")
		if !errors.Is(err, want) {
			t.Errorf("by %v: %v, want %v", by, err, want)
		}
		if page.Release != nil {
			page.Release()
		}
	}
	if sent != 1 || arrived.Load() != before {
		t.Errorf("%d requests sent, want 1", sent)
	}
}
