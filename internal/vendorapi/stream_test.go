package vendorapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/itchyny/gojq"
	"github.com/sluicehq/sluice/internal/fanout"
)

// lists are tiers whose list can be taken from the text; the last tier's task
// has x and c.
var lists = []string{
	"{name: a, get: /a, items: '.items[]', key: .id, carry: {v: .v}}",
	"{name: a, get: /a, items: '.items[]', key: .id, table: t, carry: {v: .v}}",
	"{name: a, get: /a, items: ' .data.items[ ] ', key: '.id // .v', carry: {v: .v}, pages: {cursor: {from: '.data.next // .next', param: c}}}",
	"{name: a, get: /a, items: '.[]', key: .id, carry: {v: .}}",
	"{name: a, get: /a, items: '.items[] | select(.id != 2) | ., {id: .v}', key: .id, carry: {v: .v}, pages: {offset: {param: o, total: .total}}}",
	"{name: a, get: /a, items: '.data.items[]', optional: true, key: .id, carry: {v: .v}, pages: {page: {param: p, total: .total, pages: .next, more: .more}}}",
	"{name: a, get: /a, items: '.items[]', key: {x: .id, y: .v}, carry: {v: .v}, pages: {next_url: .next, expired: {when: .total}}}",
	"{name: a, get: /a, items: '.items[] | .more[]', key: .id, carry: {v: .v}, pages: {next_query: '.next | select(. != null) | \"q=\" + tostring'}}",
}

var leaves = []string{
	"{name: leaf, get: '/leaf/{a}/{v}', table: t, items: '.items[]'}",
	"{name: leaf, get: '/leaf/{a}/{v}', table: t, rows: '.items[] | {a: $a, v: $v, id, sum: (.v + 1)}'}",
	"{name: leaf, get: '/leaf/{a}/{v}', table: t, items: '.items[]', rows: '.items[] | {id}', pages: {offset: {param: o}}}",
	"{name: leaf, get: '/leaf/{a}/{v}', table: t, rows: '.items[] | if .id == 3 then error(\"three\") else . end'}",
	"{name: leaf, get: '/leaf/{a}/{v}', table: t, rows: '.data.items[] | .more[] | {id}', pages: {cursor: {from: .next, param: c}}}",
}

var listBodies = []string{
	`{"items":[{"id":9007199254740993,"v":1.10},{"id":"x","v":1e400},{"v":-0.0,"id":"a\"]}\\"}],"next":"n","total":7}`,
	` { "a" : [1,{"items":[9]}] , "items" : [ { "id" : 1 , "v":2 } , { "id":2} ] , "next" : null , "total" : 2.0 } `,
	`{"items":[],"next":5}`, `{"items":[ ]}`, `{"items":null}`, `{}`, `[]`, `null`, `7`, `"items"`, `[1]`, `{"items":3}`, `{"items":{"a":{"id":1},"b":{"id":2}}}`,
	`{"items":[1,2]}`, `{"items":[null,{"id":null},{"id":""},{"id":"k","v":[1.0,2.00]},{}]}`, `{"items":[{"id":[1]}]}`, `{"items":[{"id":1},{"id":{}},{"id":true}]}`,
	`{"items":[{"id":1}],"items":[{"id":2}]}`, `{"items":[{"id":1}],"it\u0065ms":[{"id":2}]}`, `{"it\u0065ms":[{"id":2,"v":3}]}`,
	`{"data":{"items":[{"id":1,"more":[{"id":4},{"id":5}]},{"v":7,"more":[]}],"next":"in"},"next":"out"}`, `{"data":{"items":[{"id":1}]},"data":{"x":1}}`,
	`{"data":[{"items":[]}]}`, `{"data":null}`, `{"data":{"next":"c"}}`, `{"data":{"items":[{"id":1,"more":3}]},"next":{}}`,
	`{"items":[{"id":1,"more":[{"id":4},{"id":5,"v":{"x":[[]]}}]},{"more":null}],"next":12}`,
	`{"items":[{"id":1,"v":1},{"id":3,"v":2},{"id":4,"v":3}],"total":"7"}`, `{"items":[{"id":1}],"total":-1}`,
	`[{"id":1},{"id":"2","v":false}]`, `[[{"id":1}]]`, `{"items":[{"id":1}]`, `{"items":[{"id":1},]}`, `{"items":[{"id":1}]} x`, `{"items":[{"id":01}]}`, `{"items":[{"id":1}{"id":2}]}`,
	`{"items":[{"id":1,"v":"\ud800"},{"id":"\ud83d\ude00","v":"ü"}],"nex":"\"items\":["}`, `{"":{"items":[1]},"items":[true,false]}`, `{"items":[{"id":1}],"next":"a b"}`, ``,
}

// sameBothWays compares what both ways find in a body.
func sameBothWays(t *testing.T, c *call, body []byte) (cut bool) {
	t.Helper()
	p, cut := c.tier.cut(body)
	tree, err := parseJSON(body)
	if !cut {
		return false
	}
	if err != nil {
		t.Errorf("%s: %s is cut, but %v", c.tier.name, body, err)
		return true
	}
	text := func(p parsed) string {
		got, err := c.take(t.Context(), p, "print")
		if err != nil { // what comes with an error is not used
			got = taken{}
		}
		children, _ := json.Marshal(got.children)
		var rows []string
		if len(c.tier.tables) > 0 {
			for row, err := range c.rows(t.Context(), p, 0) {
				rows = append(rows, fmt.Sprint(exactJSON(row), err))
			}
		}
		return fmt.Sprintf("%s, %d items, %d rejects, %d rows, next %+v, more %t, error %v\n%s", children, got.items, got.rejects, got.rows, got.next, got.more, err, rows)
	}
	if one, whole := text(p), text(parsed{tree: tree}); one != whole {
		t.Errorf("%s\none by one: %s\nwhole tree: %s", body, one, whole)
	}
	return true
}

func listCalls(t testing.TB) (calls []*call) {
	t.Helper()
	for i := range max(len(lists), len(leaves)) {
		s, err := Parse("v.yaml", []byte("bounds: {children: 4}\n"+header+"tiers:\n  - "+lists[i%len(lists)]+"\n  - "+leaves[i%len(leaves)]+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		p, err := s.Bind(nil)
		if err != nil {
			t.Fatal(err)
		}
		first := root(p)
		leaf := first.Child("leaf", fanout.Node{Path: []string{"k"}, Carry: map[string]json.RawMessage{"v": []byte("1.50")}})
		for _, task := range []fanout.Task{first, leaf} {
			for _, cursor := range []string{"", `{"page":2,"received":1}`} {
				c, err := p.call(task, cursor)
				if err != nil {
					t.Fatal(err)
				}
				calls = append(calls, c)
			}
		}
	}
	return calls
}

func TestOneByOneIsAsTheWholeTree(t *testing.T) {
	for _, c := range listCalls(t) {
		cut := 0
		for _, body := range listBodies {
			if sameBothWays(t, c, []byte(body)) {
				cut++
			}
		}
		if cut < 2 {
			t.Errorf("%s: %d bodies were taken one by one", c.tier.request, cut)
		}
	}
}

func FuzzOneByOne(f *testing.F) {
	calls := listCalls(f)
	for _, body := range listBodies {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, err := judge(body, 500); err != nil {
			return
		}
		for _, c := range calls {
			sameBothWays(t, c, body)
		}
	})
}

// Queries that want more of an answer than one list's elements get the tree.
func TestWhenTheWholeTreeIsNeeded(t *testing.T) {
	for src, want := range map[string]bool{
		".a[]": true, ".[]": true, ".a.b[]": true, ".a[] | .x | {y: .}": true, ".a[] | .b[]": true,
		".a": false, ".a[]?": false, ".a[].b": false, ".a[0][]": false, "..": false, ".a[] as $x | $x": false, ".a[], .b[]": false,
		". as $all | .a[] | {x: ., t: $all.t}": false, "def f: .; .a[]": false, ".a | .[]": false, "[.a[]][]": false, `."a"[]`: false, "$a[]": false, ".a[1:][]": false,
	} {
		q, err := compileJQ("x", src, func(n string) bool { return n == "a" })
		if err != nil {
			t.Fatal(err)
		}
		if got := q.each != nil; got != want {
			t.Errorf("%s: one by one is %t", src, got)
		}
	}
	for src, want := range map[string]bool{
		".next": true, ".data.next": true, ".data.next // .next // null": true, ".next | split(\"?\") | .[1]": true, ".data.item": true,
		".": false, ".data": false, ".data.items": false, ".data.items.x": false, ".data.items[0].id": false, ".data.items | length": false,
		".next // (.data.items | last)": false, "..": false, ".data | .next": false, "if .x then .next else null end": false, "[.next, .x]": false,
	} {
		q, err := gojq.Parse(src)
		if err != nil {
			t.Fatal(err)
		}
		if got := apartFrom(q, []string{"data", "items"}); got != want {
			t.Errorf("%s: apart is %t", src, got)
		}
	}
}

// largePage is a list's page of about n bytes.
func largePage(n int) string {
	var b strings.Builder
	b.WriteString(`{"total":1,"items":[`)
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, `{"id":%d,"name":"a device of some name","kind":"cpu","up":true,"load":0.125},`, 1000000+i)
	}
	b.WriteString(`{"id":1}],"next":null}`)
	return b.String()
}

// BenchmarkLargePage is a page of 1 MiB, by 32 calls at once; once taken one by
// one, once as the whole tree (its cursor is looked for in a way that may see
// the list).
func BenchmarkLargePage(b *testing.B) {
	body := largePage(1<<20 + 1000)
	for name, from := range map[string]string{"list": ".next", "tree": "[.next][0]"} {
		b.Run(name, func(b *testing.B) {
			s, err := Parse("v.yaml", []byte(header+"tiers: [{name: a, get: /a, items: '.items[]', table: t, pages: {cursor: {from: '"+from+"', param: c}}}]\n"))
			if err != nil {
				b.Fatal(err)
			}
			p, err := s.Bind(nil)
			if err != nil {
				b.Fatal(err)
			}
			c, err := NewClient(p, nil, Options{RoundTripper: roundTrip(func(*http.Request) (*http.Response, error) { return answer(200, body), nil })})
			if err != nil {
				b.Fatal(err)
			}
			task := root(p)
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			before := m.HeapAlloc
			var peak atomic.Uint64
			stop := make(chan struct{})
			var watch sync.WaitGroup
			watch.Go(func() {
				var m runtime.MemStats
				for {
					select {
					case <-stop:
						return
					case <-time.After(2 * time.Millisecond):
						runtime.ReadMemStats(&m)
						peak.Store(max(peak.Load(), m.HeapAlloc))
					}
				}
			})
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			b.ResetTimer()
			for range 32 {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						page, err := c.Call(b.Context(), task, "")
						if err != nil {
							b.Error(err)
							return
						}
						page.Release()
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			close(stop)
			watch.Wait()
			b.ReportMetric(float64(peak.Load()-before)/(1<<20), "peak-MiB")
		})
	}
}
