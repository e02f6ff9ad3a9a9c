package vendorapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// secretMap is a Secrets for tests.
type secretMap struct {
	mu sync.Mutex
	m  map[string]string
}

func (s *secretMap) Secret(_, name string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m[name], nil
}

func (s *secretMap) set(name, v string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.m[name] = v
}

const token = `t0k/en "secret"`

func tokenOnly() *secretMap { return &secretMap{m: map[string]string{"token": token}} }

// roundTrip is an in-memory vendor.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(status int, body string, header ...string) *http.Response {
	h := make(http.Header)
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
}

func testPlan(t *testing.T, src string, settings map[string]string) *Plan {
	t.Helper()
	p, err := mustParse(t, src).Bind(settings)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// overSocket has an in-memory vendor answer over a real socket, whatever host it is
// called by.
func overSocket(t *testing.T, vendor roundTrip) http.RoundTripper {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Scheme, r.URL.Host = "http", r.Host
		resp, err := vendor(r)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer resp.Body.Close()
		for name, values := range resp.Header {
			w.Header()[name] = values
		}
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
	}))
	t.Cleanup(srv.Close)
	return &http.Transport{DisableCompression: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", srv.Listener.Addr().String())
	}}
}

func testClient(t *testing.T, p *Plan, rt http.RoundTripper) *Client {
	t.Helper()
	if vendor, ok := rt.(roundTrip); ok {
		rt = overSocket(t, vendor)
	}
	c, err := NewClient(p, tokenOnly(), Options{RoundTripper: rt})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

var day = fanout.Window{From: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)}

func root(p *Plan) fanout.Task { return p.Root("run", day)[0] }

// fetchAll takes a list to its end and gives its children's keys.
func fetchAll(t *testing.T, c *Client, task fanout.Task) (keys []string, pages int, err error) {
	t.Helper()
	for cursor := ""; ; {
		page, err := c.Call(t.Context(), task, cursor)
		if err != nil {
			return keys, pages, err
		}
		pages++
		for _, n := range page.Children {
			keys = append(keys, n.Path[len(n.Path)-1])
		}
		page.Release()
		if cursor = page.Next; cursor == "" {
			return keys, pages, nil
		}
	}
}

// spec2 is a two-tier spec whose first tier is written by the test.
func spec2(first string) string {
	return header + "auth: {bearer: '{secret.token}'}\ntiers:\n  - " + first + "\n  - {name: leaf, get: '/leaf/{a}', table: t, items: '.[]'}\n"
}

const plainList = "{name: a, get: /a, items: '.items[]', key: .id}"

func TestKeysAreEscapedExactly(t *testing.T) {
	keys := []string{"a/b", "q?x=1", "#frag", "100%", "%2F", "a+b", "sp ace", "ü€😀", "a&b=c;d", "dg/1 ü", "..x", "\uFFFD", "a\nb", "[1]:@!$'()*,"}
	p := testPlan(t, header+`tiers:
  - {name: a, get: /a, items: '.[]', key: .id, carry: {c: .id}}
  - {name: leaf, get: "/leaf/{a}/x{?q}", with: {q: "{a}"}, query: {plain: "<{c}>", many: ["1{a}", two]}}
`, nil)
	var got *http.Request
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		fmt.Fprint(w, "{}")
	}))
	defer srv.Close()
	p.base, _ = originOf(srv.URL)
	c := testClient(t, p, nil)
	for _, k := range keys {
		carry, _ := json.Marshal(k)
		task := root(p).Child("leaf", fanout.Node{Path: []string{k}, Carry: map[string]json.RawMessage{"c": carry}})
		if _, err := c.Call(t.Context(), task, ""); err != nil {
			t.Errorf("%q: %v", k, err)
			continue
		}
		if want := "/leaf/" + k + "/x"; got.URL.Path != want {
			t.Errorf("%q: the vendor read the path %q", k, got.URL.Path)
		}
		if n := strings.Count(got.URL.EscapedPath(), "/"); n != 3 {
			t.Errorf("%q: %d slashes in %s", k, n, got.RequestURI)
		}
		q := got.URL.Query()
		if q.Get("q") != k || q.Get("plain") != "<"+k+">" || !slices.Equal(q["many"], []string{"1" + k, "two"}) {
			t.Errorf("%q: the vendor read the query %q", k, got.URL.RawQuery)
		}
	}
	for _, k := range []string{".", "..", "a\x00b", ""} {
		_, err := c.Call(t.Context(), root(p).Child("leaf", fanout.Node{Path: []string{k}, Carry: map[string]json.RawMessage{"c": []byte("1")}}), "")
		if classOf(err) != fanout.Broken {
			t.Errorf("key %q: %v", k, err)
		}
	}
}

func classOf(err error) fanout.Class {
	var ce *fanout.CallError
	if errors.As(err, &ce) {
		return ce.Class
	}
	return ""
}

func TestKeysKeepTheirDigits(t *testing.T) {
	p := testPlan(t, header+`tiers:
  - {name: a, get: /a, items: '.items[]', key: .id, carry: {c: .v, s: "{x: .id}"}}
  - {name: leaf, get: "/leaf/{a}", table: t, items: '.[]'}
`, nil)
	body := `{"items":[{"id":9007199254740993,"v":1.10},{"id":"x","v":1e400},{"id":123456789012345678901234567890,"v":-0.0},
		{"id":null},{"id":""},{},{"id":1.50,"v":[1.0,2.00]}]}`
	c := testClient(t, p, roundTrip(func(*http.Request) (*http.Response, error) { return answer(200, body), nil }))
	page, err := c.Call(t.Context(), root(p), "")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range page.Children {
		got = append(got, n.Path[0]+" "+string(n.Carry["c"])+" "+string(n.Carry["s"]))
	}
	want := []string{`9007199254740993 1.10 {"x":9007199254740993}`, `x 1e400 {"x":"x"}`,
		`123456789012345678901234567890 -0.0 {"x":123456789012345678901234567890}`, `1.50 [1.0,2.00] {"x":1.50}`}
	if !slices.Equal(got, want) || page.Rejects != 3 {
		t.Errorf("%d rejects, %s", page.Rejects, strings.Join(got, "\n"))
	}
	rowsBody := []byte(`[{"b":1.10,"a":9007199254740993,"c":1e400}]`)
	for row, err := range p.Rows(t.Context(), root(p).Child("leaf", page.Children[0]), "", rowsBody) {
		if err != nil || string(row) != `{"a":9007199254740993,"b":1.10,"c":1e400}` {
			t.Errorf("%s %v", row, err)
		}
	}
	for _, bad := range []string{`{"items":[{"id":[1]}]}`, `{"items":[{"id":true}]}`, `{"items":[{"id":{}}]}`, `{"items":3}`, `{}`, `[1]`} {
		body = bad
		if _, err := c.Call(t.Context(), root(p), ""); classOf(err) != fanout.Broken {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestUniqueNodesStartTheirPath(t *testing.T) {
	p := testPlan(t, header+`tiers:
  - {name: a, get: /a, items: '.[]', key: .id, carry: {up: .up}}
  - {name: b, get: '/a/{a}/{up}', items: '.[]', key: .id, unique: true, carry: {kind: .kind}}
  - {name: c, get: '/b/{b}', items: '.[]', key: .id, carry: {own: .own}}
  - {name: d, get: '/b/{b}/{c}/{own}', table: t, items: '.[]', headers: {X-Kind: '{kind}'}}
`, nil)
	body := `[{"id":1,"up":"u","kind":"k","own":"o"}]`
	c := testClient(t, p, roundTrip(func(*http.Request) (*http.Response, error) { return answer(200, body), nil }))
	task := root(p)
	var got []string
	for task.Tier != "d" {
		page, err := c.Call(t.Context(), task, "")
		if err != nil {
			t.Fatal(err)
		}
		n := page.Children[0]
		b, _ := json.Marshal(n)
		got = append(got, string(b))
		task = task.Child(p.Below(task.Tier), n)
	}
	want := []string{`{"path":["1"],"carry":{"up":"u"}}`, `{"path":["1"],"carry":{"kind":"k"}}`, `{"path":["1","1"],"carry":{"kind":"k","own":"o"}}`}
	if !slices.Equal(got, want) {
		t.Errorf("%s", strings.Join(got, "\n"))
	}
	if want := []string{"b", "c"}; !slices.Equal(p.Tiers[3].Path, want) {
		t.Errorf("path of d: %v", p.Tiers[3].Path)
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	var reached atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer other.Close()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+"/steal?t="+r.Header.Get("Authorization"), http.StatusFound)
	}))
	defer srv.Close()
	p := testPlan(t, spec2(plainList), nil)
	p.base, _ = originOf(srv.URL)
	_, err := testClient(t, p, nil).Call(t.Context(), root(p), "")
	if classOf(err) != fanout.Rejected || !strings.Contains(err.Error(), strings.TrimPrefix(other.URL, "http://")) || reached.Load() != 0 {
		t.Errorf("%v, other host asked %d times", err, reached.Load())
	}
	noSecret(t, fmt.Sprintf("%+v", err))
}

func noSecret(t *testing.T, s string) {
	t.Helper()
	for _, form := range []string{token, "t0k/en", "t0k%2Fen"} {
		if strings.Contains(s, form) {
			t.Errorf("a secret shows in %s", s)
		}
	}
}

// A kept connection that dies under a request must not make the transport send
// it a second time: the vendor may have counted the first.
func TestNoHiddenRetry(t *testing.T) {
	var arrived atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n, _ := io.Copy(io.Discard, r.Body); n != 0 || r.ContentLength != 0 || len(r.TransferEncoding) > 0 {
			t.Errorf("the GET has a body: %d %v", r.ContentLength, r.TransferEncoding)
		}
		if arrived.Add(1) == 1 {
			fmt.Fprint(w, `{"items":[]}`)
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_ = conn.Close() // after the request was read, before an answer
		}
	}))
	defer srv.Close()
	p := testPlan(t, spec2(plainList), nil)
	p.base, _ = originOf(srv.URL)
	c := testClient(t, p, nil)
	if _, err := c.Call(t.Context(), root(p), ""); err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * time.Millisecond) // the connection goes back to the pool
	if _, err := c.Call(t.Context(), root(p), ""); classOf(err) != fanout.Unavailable || arrived.Load() != 2 {
		t.Errorf("%d requests arrived for 2 calls: %v", arrived.Load(), err)
	}
}

func TestNetworkFailures(t *testing.T) {
	hang := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("how") {
		case "hang":
			<-hang
		case "drip":
			for range 50 {
				_, _ = w.Write([]byte(" "))
				_ = http.NewResponseController(w).Flush()
				select {
				case <-r.Context().Done():
					return
				case <-time.After(20 * time.Millisecond):
				}
			}
		case "stall":
			_, _ = w.Write([]byte(`{"items":`))
			_ = http.NewResponseController(w).Flush()
			<-hang
		case "cut":
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte(`{"items":[`))
		case "headers":
			w.Header().Set("X", strings.Repeat("x", 100<<10))
		}
	}))
	t.Cleanup(srv.Close)
	t.Cleanup(func() { close(hang) })
	for how, want := range map[string]fanout.Class{
		"hang": fanout.Unavailable, "drip": fanout.Unavailable, "stall": fanout.Unavailable, "cut": fanout.Bad, "headers": fanout.Broken, "nobody": fanout.Unavailable,
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			base := srv.URL
			if how == "nobody" {
				base = "http://127.0.0.1:1"
			}
			p := testPlan(t, "timeouts: {first_byte: 150ms, idle: 100ms, total: 300ms}\n"+
				spec2("{name: a, get: '/a?how="+how+"', items: '.items[]', key: .id}"), nil)
			p.base, _ = originOf(base)
			start := time.Now()
			_, err := testClient(t, p, nil).Call(context.Background(), root(p), "")
			if classOf(err) != want || time.Since(start) > 5*time.Second {
				t.Errorf("after %s: %v, want %s", time.Since(start), err, want)
			}
		})
	}
}

func TestTimeoutsInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testPlan(t, spec2(plainList), nil)
		c := testClient(t, p, struct{ roundTrip }{func(r *http.Request) (*http.Response, error) { // no socket in a bubble
			<-r.Context().Done()
			return nil, r.Context().Err()
		}})
		start := time.Now()
		if _, err := c.Call(t.Context(), root(p), ""); classOf(err) != fanout.Unavailable || time.Since(start) != 15*time.Second {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		why := errors.New("told to stop")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(why) })
		if _, err := c.Call(ctx, root(p), ""); err != why {
			t.Errorf("the caller's end came back as %v", err)
		}
	})
}

// Bodies of all sizes at once, more than the budget holds, released late.
func TestBudgetDoesNotDeadlock(t *testing.T) {
	sizes := []int{7 << 20, 3 << 20, 900 << 10, 200 << 10, 60 << 10, 100, 100 << 10, 70 << 10, 10, 1 << 10, 64 << 10, 65 << 10, 2000, 30 << 10, 80 << 10, 5}
	p := testPlan(t, header+"tiers: [{name: a, get: '/a', query: {n: '{window.from.ms}'}, table: t, rows: empty}]\n", nil)
	var now, peak atomic.Int64
	c, err := NewClient(p, nil, Options{RoundTripper: roundTrip(func(r *http.Request) (*http.Response, error) {
		n, _ := strconv.Atoi(r.URL.Query().Get("n"))
		body := `"` + strings.Repeat("a", sizes[n%len(sizes)]) + `"`
		resp := answer(200, body)
		if n/16%2 == 0 {
			resp.ContentLength = -1
		}
		return resp, nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	free := freeBytes(c)
	if free > DefaultBudget {
		t.Errorf("the pools hold %d bytes", free)
	}
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			task := p.Root("r", fanout.Window{From: time.UnixMilli(int64(i)), To: day.To})[0]
			page, err := c.Call(t.Context(), task, "")
			if err != nil {
				t.Errorf("%d: %v", i, err)
				return
			}
			n := now.Add(int64(len(page.Body)))
			for old := peak.Load(); n > old && !peak.CompareAndSwap(old, n); old = peak.Load() {
			}
			time.Sleep(time.Millisecond)
			now.Add(-int64(len(page.Body)))
			page.Release()
		})
	}
	wg.Wait()
	if peak.Load() > DefaultBudget || freeBytes(c) != free {
		t.Errorf("peak %d of %d bytes; %d free before, %d after", peak.Load(), DefaultBudget, free, freeBytes(c))
	}
}

func TestJQSeesNothingButItsInput(t *testing.T) {
	t.Setenv("SLUICE_SECRET_V_TOKEN", token)
	q, err := compileJQ("x", "[$ENV, env]", func(string) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	v, err := q.one(t.Context(), nil, nil)
	if err != nil || !reflect.DeepEqual(v, []any{map[string]any{}, map[string]any{}}) {
		t.Errorf("%v %v", v, err)
	}
	endless, err := compileJQ("x", "[repeat(1)]", func(string) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := endless.one(ctx, nil, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an endless query: %v", err)
	}
}

func TestPreview(t *testing.T) {
	p := testPlan(t, spec2("{name: a, get: /a, headers: {X-Key: 'k {secret.token}'}, items: '.items[]', key: .id}"), nil)
	c := testClient(t, p, roundTrip(func(r *http.Request) (*http.Response, error) {
		if r.URL.Path == "/a" {
			return answer(200, `{"items":[{"id":1},{"id":2},{"id":3},{"id":4}]}`), nil
		}
		return answer(200, `[{"echo":`+strconv.Quote(r.Header.Get("Authorization"))+`}]`), nil
	}))
	permits := 0
	var steps []PreviewStep
	err := c.Preview(t.Context(), day, PreviewOptions{NodesPerTier: 2, MaxCalls: 9, Permit: func(context.Context, fanout.Call) (fanout.Permit, error) {
		permits++
		return fanout.Permit{Release: func() { permits += 100 }}, nil
	}}, func(s PreviewStep) { steps = append(steps, s) })
	if err != nil || len(steps) != 3 || permits != 303 {
		t.Fatalf("%d steps, %d permits: %v", len(steps), permits, err)
	}
	b, _ := json.Marshal(steps)
	noSecret(t, string(b))
	if s := steps[0]; s.Found != 4 || len(s.Children) != 3 || s.Request != "GET http://h.example/a" || s.Status != 200 {
		t.Errorf("%+v", s)
	}
	if s := steps[2]; s.Request != "GET http://h.example/leaf/2" || s.Took != 1 || !slices.Contains(s.Headers, "Authorization: Bearer ***") {
		t.Errorf("%+v", s)
	}
}

// TestFatNode: what a node carries down goes into a message and a row for each
// of its tasks, which hold little. Too much is an answer that breaks the spec.
func TestFatNode(t *testing.T) {
	for _, c := range []struct {
		size int
		want fanout.Class
	}{{60 << 10, ""}, {70 << 10, fanout.Broken}} {
		p := testPlan(t, `
name: fat
base_url: http://fat.example
limits: [{name: one, bucket: 10/s}]
tiers:
  - {name: lists, get: /lists, items: ".items[]", key: .id, carry: {all: .}}
  - {name: reads, get: "/reads/{lists}{?all}"}
`, nil)
		client := testClient(t, p, roundTrip(func(*http.Request) (*http.Response, error) {
			return answer(200, `{"items":[{"id":1,"text":"`+strings.Repeat("x", c.size)+`"}]}`), nil
		}))
		_, err := client.Call(t.Context(), p.Root("r", fanout.Window{})[0], "")
		if classOf(err) != c.want {
			t.Errorf("%d bytes carried: %v, want class %q", c.size, err, c.want)
		}
		if err != nil && !strings.Contains(err.Error(), "carried down") {
			t.Errorf("the error does not say what is wrong: %v", err)
		}
	}
}
