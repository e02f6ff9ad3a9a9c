package vendorapi

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// TestARequestThatIsTooLateIsNotSent: neither one that is late from the start
// nor one that becomes late between the connection's choice and the first byte.
func TestARequestThatIsTooLateIsNotSent(t *testing.T) {
	for by, want := range map[time.Duration]bool{time.Hour: false, -time.Millisecond: true} {
		wire := &wire{}
		conn := &counted{Conn: wire, gone: func() {}}
		p := &punctual{by: time.Now().Add(by)}
		p.connected(httptrace.GotConnInfo{Conn: conn})
		_, err := conn.Write([]byte("GET / HTTP/1.0\r\n"))
		if p.tooLate() != want || errors.Is(err, fanout.ErrTooLate) != want || (wire.Len() == 0) != want {
			t.Errorf("by %v: too late %v, %v, %d bytes sent", by, p.tooLate(), err, wire.Len())
		}
		before := wire.Len()
		if _, err := conn.Write([]byte("\r\n")); err != nil || wire.Len() != before+2 {
			t.Errorf("what is written later is held back, too: %v", err)
		}
	}
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
	if sent != 1 {
		t.Errorf("%d requests sent, want 1", sent)
	}
}

// wire is a connection that keeps what is written to it.
type wire struct {
	net.Conn
	bytes.Buffer
}

func (w *wire) Write(b []byte) (int, error) { return w.Buffer.Write(b) }
func (w *wire) Read(b []byte) (int, error)  { return w.Buffer.Read(b) }
