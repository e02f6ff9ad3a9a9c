package vendorapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// vendorAt is a vendor over a real socket, and a client for it by a spec.
func vendorAt(t *testing.T, src string, h http.HandlerFunc) (*Client, *Plan) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	p := testPlan(t, src, nil)
	p.base, _ = originOf(srv.URL)
	p.BaseURL = srv.URL
	return testClient(t, p, nil), p
}

// sent is what a vendor read of a request.
type sent struct{ line, kind, body string }

func readSent(r *http.Request) sent {
	b, _ := io.ReadAll(r.Body)
	return sent{r.Method + " " + r.RequestURI, r.Header.Get("Content-Type"), string(b)}
}

func TestPostSendsTypedBodies(t *testing.T) {
	carry := map[string]json.RawMessage{
		"n": []byte("9007199254740993"), "d": []byte("1.10"), "list": []byte(`["a",2,{"x":null}]`), "flag": []byte("true"), "s": []byte(`"q\"{n}"`), "none": []byte("null"),
	}
	for _, tt := range []struct{ name, body, kind, want string }{
		{"fields", `json: {a: "{a}", n: "{n}", d: "{d}", list: "{list}", flag: "{flag}", s: "{s}", text: "n={n} {{n}}", from: "{window.from.epoch}", to: "{window.to.ms}", day: "{window.from.date}", set: "{set}", fixed: [1, -2.50, 1e3, true, null, "", "x"], in: {deep: ["{n}"]}}`,
			"application/json", `{"a":"k/1","d":1.10,"day":"2026-03-01","fixed":[1,-2.50,1e3,true,null,"","x"],"flag":true,"from":1772323200,"in":{"deep":[9007199254740993]},"list":["a",2,{"x":null}],"n":9007199254740993,"s":"q\"{n}","set":"5","text":"n=9007199254740993 {n}","to":1772409600000}`},
		{"list", `json: ["{n}", {b: "{a}"}]`, "application/json", `[9007199254740993,{"b":"k/1"}]`},
		{"jq", `json: '{jsonrpc: "2.0", id: 1, method: "x.get", params: {ids: ($set | tonumber), n: $n, key: $a, from: $window.from.epoch, list: $list}}'`,
			"application/json", `{"id":1,"jsonrpc":"2.0","method":"x.get","params":{"from":1772323200,"ids":5,"key":"k/1","list":["a",2,{"x":null}],"n":9007199254740993}}`},
		{"form", `form: {a: "{a}", n: ["{n}", "b c&d"], set: "{set}"}`, "application/x-www-form-urlencoded", `a=k%2F1&n=9007199254740993&n=b%20c%26d&set=5`},
		{"own kind", "json: {a: 1}\n    headers: {Content-Type: application/vnd.x+json}", "application/vnd.x+json", `{"a":1}`},
		{"empty", `query: {x: "1"}`, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got sent
			var length int64
			c, p := vendorAt(t, "settings: {set: {default: '5'}}\n"+header+`tiers:
  - {name: a, get: '/a/{set}', items: '.[]', key: .id, carry: {n: .n, d: .n, list: .n, flag: .n, s: .s, none: .n}}
  - name: leaf
    post: "/q/{a}"
    `+tt.body+`
    table: t
    rows: '.[] | {n: $n, d: $d, list: $list, flag: $flag, s: $s, none: $none}'
`, func(w http.ResponseWriter, r *http.Request) {
				got, length = readSent(r), r.ContentLength
				fmt.Fprint(w, "[]")
			})
			task := root(p).Child("leaf", fanout.Node{Path: []string{"k/1"}, Carry: carry})
			if _, err := c.Call(t.Context(), task, ""); err != nil {
				t.Fatal(err)
			}
			if got.body != tt.want || got.kind != tt.kind || !strings.HasPrefix(got.line, "POST /q/k%2F1") || length != int64(len(tt.want)) {
				t.Errorf("sent %d bytes, %+v\nwant %s %s", length, got, tt.kind, tt.want)
			}
			if p.Tiers[1].Request != "POST /q/{a}" {
				t.Errorf("request %q", p.Tiers[1].Request)
			}
		})
	}
}

// A preview shows what a POST sends, without secrets.
func TestPreviewShowsBodies(t *testing.T) {
	c, _ := vendorAt(t, header+"auth: {bearer: '{secret.token}'}\ntiers: [{name: a, post: /a, json: {from: '{window.from.epoch}', list: [1]}, table: t, rows: '.[]'}]\n",
		func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "[]") })
	var steps []PreviewStep
	if err := c.Preview(t.Context(), day, PreviewOptions{Permit: freely}, func(s PreviewStep) { steps = append(steps, s) }); err != nil {
		t.Fatal(err)
	}
	if len(steps) != 1 || steps[0].Sent != `{"from":1772323200,"list":[1]}` || !strings.HasPrefix(steps[0].Request, "POST http://") {
		t.Errorf("%+v", steps)
	}
}

// A vendor of JSON-RPC, as Zabbix is: everything is a POST to one path, and pages
// are asked for in the body.
func TestJSONRPC(t *testing.T) {
	src := `name: z
base_url: http://h
limits: unknown
auth: {bearer: '{secret.token}'}
tiers:
  - name: hosts
    post: /api_jsonrpc.php
    json: {jsonrpc: "2.0", method: host.get, id: 1, params: {output: [hostid], sortfield: hostid}}
    pages: {offset: {param: params.offset, size_param: params.limit, size: 2, in: json}}
    items: .result[]
    key: .hostid
  - name: items
    post: /api_jsonrpc.php
    json: '{jsonrpc: "2.0", method: "item.get", id: 1, params: {hostids: [$hosts | tonumber]}}'
    table: items
    rows: '.result[] | {host: $hosts, key}'
`
	var mu sync.Mutex
	var asked []string
	c, p := vendorAt(t, src, func(w http.ResponseWriter, r *http.Request) {
		got := readSent(r)
		mu.Lock()
		asked = append(asked, got.body)
		mu.Unlock()
		var q struct {
			Method string
			Params struct{ Offset, Limit int }
		}
		if json.Unmarshal([]byte(got.body), &q) != nil || got.line != "POST /api_jsonrpc.php" {
			t.Errorf("asked %+v", got)
		}
		if q.Method == "item.get" {
			fmt.Fprint(w, `{"jsonrpc":"2.0","result":[{"key":"cpu"}],"id":1}`)
			return
		}
		ids := []string{`{"hostid":"10084"}`, `{"hostid":"10085"}`, `{"hostid":"10086"}`}
		fmt.Fprintf(w, `{"jsonrpc":"2.0","result":[%s],"id":1}`, strings.Join(ids[min(q.Params.Offset, 3):min(q.Params.Offset+q.Params.Limit, 3)], ","))
	})
	keys, pages, err := fetchAll(t, c, root(p))
	if err != nil || pages != 3 || !slices.Equal(keys, []string{"10084", "10085", "10086"}) {
		t.Fatalf("%v in %d pages: %v", keys, pages, err)
	}
	if _, err := c.Call(t.Context(), root(p).Child("items", fanout.Node{Path: keys[:1]}), ""); err != nil {
		t.Fatal(err)
	}
	if want := `{"id":1,"jsonrpc":"2.0","method":"item.get","params":{"hostids":[10084]}}`; asked[3] != want {
		t.Errorf("asked %s", asked[3])
	}
	if want := `{"id":1,"jsonrpc":"2.0","method":"host.get","params":{"limit":2,"offset":2,"output":["hostid"],"sortfield":"hostid"}}`; asked[1] != want {
		t.Errorf("asked %s", asked[1])
	}
}

// A kept connection that dies under a POST, with a body or without, must not make
// the transport send it a second time.
func TestNoHiddenRetryOfPosts(t *testing.T) {
	for name, body := range map[string]string{"json": `json: {x: "secret of the body"}`, "form": `form: {x: "secret of the body"}`, "empty": "about: none"} {
		t.Run(name, func(t *testing.T) {
			var arrived atomic.Int32
			c, p := vendorAt(t, header+"tiers:\n  - {name: a, post: /a, "+body+", items: '.items[]', key: .id}\n  - {name: b, get: /b}\n", func(w http.ResponseWriter, r *http.Request) {
				if n, _ := io.Copy(io.Discard, r.Body); n != r.ContentLength || r.Method != "POST" || (n == 0) != (name == "empty") {
					t.Errorf("%s with %d bytes, said to be %d", r.Method, n, r.ContentLength)
				}
				if arrived.Add(1) == 1 {
					fmt.Fprint(w, `{"items":[]}`)
					return
				}
				if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
					_ = conn.Close() // after the request was read, before an answer
				}
			})
			if _, err := c.Call(t.Context(), root(p), ""); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond) // the connection goes back to the pool
			_, err := c.Call(t.Context(), root(p), "")
			var ce *fanout.CallError
			if !errors.As(err, &ce) || ce.Class != fanout.Unavailable || arrived.Load() != 2 {
				t.Errorf("%d requests arrived for 2 calls: %v", arrived.Load(), err)
			} else if !strings.HasPrefix(ce.Request, "POST http://") || !strings.HasSuffix(ce.Request, "/a") || strings.Contains(ce.Error(), "of the body") {
				t.Errorf("%v", ce)
			}
		})
	}
}

func TestKeysOfSeveralParts(t *testing.T) {
	src := header + `tiers:
  - {name: repos, get: /repos, items: '.[]', key: {owner: .owner.login, name: .name}}
  - {name: files, get: '/r/{repos.owner}/{repos.name}{?repos}', query: {o: "<{repos.owner}>"}, table: t, rows: '.[] | {repo: $repos}'}
`
	items := `[{"owner":{"login":"a/b"},"name":"c%2F"},{"owner":{"login":"a"},"name":"b/c%2F"},{"owner":{"login":9007199254740993},"name":"."},
		{"owner":{"login":null},"name":"x"},{"owner":{"login":"x"},"name":""},{"owner":{},"name":"x"}]`
	var got *http.Request
	c, p := vendorAt(t, src, func(w http.ResponseWriter, r *http.Request) {
		got = r
		if r.URL.Path == "/repos" {
			fmt.Fprint(w, items)
			return
		}
		fmt.Fprint(w, "[{}]")
	})
	page, err := c.Call(t.Context(), root(p), "")
	if err != nil || page.Rejects != 3 || len(page.Children) != 3 {
		t.Fatalf("%+v %v", page.Children, err)
	}
	var keys []string
	for _, n := range page.Children {
		keys = append(keys, n.Path[0])
	}
	if want := []string{"a%2Fb/c%252F", "a/b%2Fc%252F", "9007199254740993/."}; !slices.Equal(keys, want) {
		t.Errorf("keys %q", keys)
	}
	task := root(p).Child("files", page.Children[0])
	if _, err := c.Call(t.Context(), task, ""); err != nil {
		t.Fatal(err)
	}
	if q := got.URL.Query(); got.URL.Path != "/r/a/b/c%2F" || got.URL.EscapedPath() != "/r/a%2Fb/c%252F" || q.Get("repos") != keys[0] || q.Get("o") != "<a/b>" {
		t.Errorf("asked %s", got.RequestURI)
	}
	for row, err := range p.Rows(t.Context(), task, "", []byte("[{}]")) {
		if err != nil || string(row) != `{"repo":"a%2Fb/c%252F"}` {
			t.Errorf("%s %v", row, err)
		}
	}
	if _, err := c.Call(t.Context(), root(p).Child("files", page.Children[2]), ""); classOf(err) != fanout.Broken {
		t.Errorf("a part that is a dot: %v", err)
	}
	if _, err := c.Call(t.Context(), root(p).Child("files", fanout.Node{Path: []string{"one"}}), ""); classOf(err) != fanout.Broken || !strings.Contains(err.Error(), "was the spec changed?") {
		t.Errorf("a key of one part: %v", err)
	}
}

// With {+key} the slash of a joined key stands; dots must not mean another path,
// however they are written.
func TestJoinedKeysInPathsAreSafe(t *testing.T) {
	var path string
	c, p := vendorAt(t, header+`tiers:
  - {name: repos, get: /repos, items: '.[]', key: {owner: .o, name: .n}}
  - {name: files, get: '/r/{+repos}', table: t, items: '.[]'}
`, func(w http.ResponseWriter, r *http.Request) {
		path = r.URL.EscapedPath()
		fmt.Fprint(w, "[]")
	})
	for key, want := range map[string]string{"a/b": "/r/a/b", "a%2Fb/c": "/r/a%252Fb/c", "a/..": "", "./b": "", "%2e%2E/b": "/r/%252e%252E/b"} {
		path = ""
		_, err := c.Call(t.Context(), root(p).Child("files", fanout.Node{Path: []string{key}}), "")
		if (err == nil) != (want != "") || path != want {
			t.Errorf("%s: asked %q: %v", key, path, err)
		}
	}
}

// freely permits every call.
func freely(context.Context, fanout.Call) (fanout.Permit, error) {
	return fanout.Permit{Release: func() {}}, nil
}

// What a page adds to a body must not stay in the next list's: jq gives the same
// object each time.
func TestBodiesAreMadeAnew(t *testing.T) {
	var bodies []string
	c, p := vendorAt(t, header+`tiers:
  - {name: a, post: /a, json: '{page: {size: 1}}', items: '.items[]', key: .id, pages: {cursor: {from: .next, param: page.cursor, in: json}}}
  - {name: b, get: '/{a}'}
`, func(w http.ResponseWriter, r *http.Request) {
		if bodies = append(bodies, readSent(r).body); len(bodies)%2 == 1 {
			fmt.Fprint(w, ids(1, 2, `,"next":"n"`))
			return
		}
		fmt.Fprint(w, ids(2, 3, ""))
	})
	for range 2 {
		if _, _, err := fetchAll(t, c, root(p)); err != nil {
			t.Fatal(err)
		}
	}
	first, next := `{"page":{"size":1}}`, `{"page":{"cursor":"n","size":1}}`
	if want := []string{first, next, first, next}; !slices.Equal(bodies, want) {
		t.Errorf("sent %q", bodies)
	}
}
