package vendorapi

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/metrics"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// hostile is a vendor that answers each connection's requests by its own rules.
func hostile(t *testing.T, serve func(w io.Writer) error) (url string, sent *atomic.Int64) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	sent = &atomic.Int64{}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				r := bufio.NewReader(conn)
				for {
					req, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					_ = req.Body.Close()
					if serve(counting{conn, sent}) != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return "http://" + ln.Addr().String(), sent
}

type counting struct {
	w io.Writer
	n *atomic.Int64
}

func (c counting) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n.Add(int64(n))
	return n, err
}

// heap watches how much memory is live while f runs.
func heap(f func()) (most uint64) {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	read := func() uint64 { metrics.Read(sample); return sample[0].Value.Uint64() }
	before := read()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
				most = max(most, read())
			}
		}
	}()
	f()
	close(stop)
	<-done
	return most - min(before, most)
}

// TestHostileAnswers: whatever a vendor sends, a call ends with a clear error, in
// bounded memory, having read no more than its bounds allow. The figures are
// logged; docs/nasty-vendors.md names them.
func TestHostileAnswers(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
	zeros := &bytes.Buffer{}
	z, _ := gzip.NewWriterLevel(zeros, gzip.BestCompression)
	z.Write(make([]byte, 1<<20))
	z.Close()
	bomb := func(head string) func(io.Writer) error {
		return func(w io.Writer) error {
			fmt.Fprint(w, head+"Content-Encoding: gzip\r\n\r\n")
			for range 10 << 10 {
				if _, err := w.Write(zeros.Bytes()); err != nil {
					return err
				}
			}
			return io.EOF
		}
	}
	for _, c := range []struct {
		name  string
		serve func(w io.Writer) error
		class fanout.Class
		says  string
		most  int64 // bytes that the vendor gets rid of
	}{
		{"a gzip bomb of 10 GiB", bomb(head), fanout.Broken, "more than the bound of 8388608 bytes", 11 << 20},
		{"a gzip bomb in an error", bomb(strings.Replace(head, "200 OK", "500 Oops", 1)), fanout.Unavailable, "trouble", 11 << 20},
		{"a text of 200 MB", func(w io.Writer) error {
			fmt.Fprint(w, head+"\r\n"+`{"items":[{"id":"`)
			chunk := []byte(strings.Repeat("x", 1<<20))
			for range 200 {
				if _, err := w.Write(chunk); err != nil {
					return err
				}
			}
			_, _ = fmt.Fprint(w, `"}]}`)
			return io.EOF
		}, fanout.Broken, "more than the bound", 32 << 20},
		{"a length of 10 GB", func(w io.Writer) error {
			fmt.Fprint(w, head+"Content-Length: 10000000000\r\n\r\n{")
			time.Sleep(20 * time.Millisecond)
			return io.EOF
		}, fanout.Broken, "more than the bound", 1 << 10},
		{"nesting 100,000 deep", func(w io.Writer) error {
			fmt.Fprint(w, head+"\r\n"+strings.Repeat(`{"a":[`, 50_000)+strings.Repeat(`]}`, 50_000))
			return io.EOF
		}, fanout.Broken, "nested deeper than 500", 1 << 20},
		{"headers without end", func(w io.Writer) error {
			fmt.Fprint(w, "HTTP/1.1 200 OK\r\n")
			for i := 0; ; i++ {
				if _, err := fmt.Fprintf(w, "X-%d: %s\r\n", i, strings.Repeat("y", 1000)); err != nil {
					return err
				}
			}
		}, fanout.Broken, "headers exceeded", 32 << 20},
		{"one header of 10 MB", func(w io.Writer) error {
			fmt.Fprint(w, "HTTP/1.1 200 OK\r\nX: ")
			for range 10 {
				if _, err := w.Write(bytes.Repeat([]byte("y"), 1<<20)); err != nil {
					return err
				}
			}
			return io.EOF
		}, fanout.Broken, "headers exceeded", 32 << 20},
		{"early answers without end", func(w io.Writer) error {
			for {
				if _, err := fmt.Fprint(w, "HTTP/1.1 103 Early Hints\r\n\r\n"); err != nil {
					return err
				}
			}
		}, fanout.Broken, "headers exceeded", 32 << 20},
		{"a byte at a time", func(w io.Writer) error {
			fmt.Fprint(w, head+"\r\n{")
			for {
				if _, err := fmt.Fprint(w, " "); err != nil {
					return err
				}
				time.Sleep(50 * time.Millisecond)
			}
		}, fanout.Unavailable, "no complete answer within 1s", 1 << 10},
		{"an answer that stands still", func(w io.Writer) error {
			fmt.Fprint(w, head+"\r\n{")
			time.Sleep(700 * time.Millisecond)
			return io.EOF
		}, fanout.Unavailable, "stood still for 500ms", 1 << 10},
		{"no answer", func(io.Writer) error { time.Sleep(700 * time.Millisecond); return io.EOF }, fanout.Unavailable, "no answer within 500ms", 1 << 10},
		{"a cut body", func(w io.Writer) error {
			fmt.Fprint(w, head+"Content-Length: 100\r\n\r\n{")
			return io.EOF
		}, fanout.Bad, "cut", 1 << 10},
		{"a cut chunk", func(w io.Writer) error {
			fmt.Fprint(w, head+"Transfer-Encoding: chunked\r\n\r\nff\r\n{")
			return io.EOF
		}, fanout.Bad, "cut", 1 << 10},
		{"no gzip, though it says so", func(w io.Writer) error {
			fmt.Fprint(w, head+"Content-Encoding: gzip\r\n\r\n{\"items\":[]}")
			return io.EOF
		}, fanout.Bad, "", 1 << 10},
		{"another encoding", func(w io.Writer) error {
			fmt.Fprint(w, head+"Content-Encoding: br\r\n\r\nxx")
			return io.EOF
		}, fanout.Bad, `encoded as "br"`, 1 << 10},
		{"not UTF-8", func(w io.Writer) error {
			fmt.Fprint(w, head+"\r\n{\"items\":[{\"id\":\"\xff\xfe\"}]}")
			return io.EOF
		}, fanout.Bad, "UTF-8", 1 << 10},
		{"two answers in one", func(w io.Writer) error {
			fmt.Fprint(w, head+"\r\n{\"items\":[]}{\"items\":[]}")
			return io.EOF
		}, fanout.Bad, "follow the JSON text", 1 << 10},
		{"numbers of a million digits", func(w io.Writer) error {
			fmt.Fprint(w, head+"\r\n{\"items\":[{\"id\":"+strings.Repeat("9", 1_000_000)+"}]}")
			return io.EOF
		}, fanout.Broken, "can be a key", 2 << 20},
		{"more items than the bound", func(w io.Writer) error {
			fmt.Fprint(w, head+"\r\n{\"items\":["+strings.Repeat("{\"id\":1},", 1001)+"{\"id\":1}]}")
			return io.EOF
		}, fanout.Broken, "more than the bound of 1000 children", 1 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			url, sent := hostile(t, c.serve)
			timeouts := "{first_byte: 30s, idle: 30s, total: 1m}" // a loaded machine may take its time
			if strings.Contains(c.says, "500ms") || strings.Contains(c.says, "1s") {
				timeouts = "{first_byte: 500ms, idle: 500ms, total: 1s}"
			}
			p := testPlan(t, "name: v\nbase_url: "+url+`
limits: unknown
timeouts: `+timeouts+`
bounds: {children: 1000}
tiers:
  - {name: groups, get: /groups, items: ".items[]", key: .id}
  - {name: data, get: "/data/{groups}"}
`, nil)
			client := testClient(t, p, nil)
			var err error
			began := time.Now()
			most := heap(func() { _, err = client.Call(t.Context(), root(p), "") })
			took := time.Since(began)
			var ce *fanout.CallError
			if !errors.As(err, &ce) || ce.Class != c.class || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("%v", err)
			}
			if most > 48<<20 {
				t.Errorf("%d MiB of memory", most>>20)
			}
			if sent.Load() > c.most {
				t.Errorf("the vendor got rid of %d bytes, more than %d", sent.Load(), c.most)
			}
			if len(ce.Excerpt) > p.Bounds.Excerpt+len("...") {
				t.Errorf("an excerpt of %d bytes", len(ce.Excerpt))
			}
			t.Logf("%v, %.1f MiB of memory, %d KiB sent: %s", took.Round(time.Millisecond), float64(most)/(1<<20), sent.Load()>>10, clip(ce.Err.Error(), 90))
		})
	}
}
