package vendorapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// children takes a whole list and gives the tasks of the tier below.
func children(t *testing.T, c *Client, p *Plan, task fanout.Task) (out []fanout.Task) {
	t.Helper()
	for cursor := ""; ; {
		page, err := c.Call(t.Context(), task, cursor)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range page.Children {
			out = append(out, task.Child(p.Below(task.Tier), n))
		}
		page.Release()
		if cursor = page.Next; cursor == "" {
			return out
		}
	}
}

func pathsOf(tasks []fanout.Task) (out []string) {
	for _, t := range tasks {
		out = append(out, strings.Join(t.Path, " "))
	}
	return out
}

// TestFanOut: constants in the first tier, constants and slices below; each task
// asks for its own, and rows and the tiers below know which.
func TestFanOut(t *testing.T) {
	src := header + `tiers:
  - name: shops
    for: {market: [us, de, 7]}
    get: "/{market}/shops"
    items: .[]
    key: .id
  - name: sales
    for: {kind: [net, gross], slices: {step: 10h, resolution: 1s}}
    get: "/{market}/{shops}/{kind}{?from,to,end}"
    with: {from: "{slice.from.epoch}", to: "{slice.to.epoch}", end: "{slice.end.rfc3339}"}
    items: .[]
    key: .id
  - name: lines
    get: "/{market}/{shops}/{kind}/{sales}{?at}"
    with: {at: "{slice.from.rfc3339}"}
    table: t
    rows: '.[] | {m: $market, k: $kind, s: $shops, at: $slice.from.epoch, to: $slice.to.epoch}'
`
	var asked []string
	c, p := vendorAt(t, src, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.RequestURI)
		fmt.Fprint(w, `[{"id":"x/y"}]`)
	})
	roots := p.Root("run", day)
	if got := pathsOf(roots); !slices.Equal(got, []string{"us", "de", "7"}) || roots[1].ID != fanout.TaskID("run", "shops", []string{"de"}) {
		t.Fatalf("roots %q", got)
	}
	sales := children(t, c, p, roots[1])
	want := []string{"de x/y net 0s", "de x/y net 10h", "de x/y net 20h", "de x/y gross 0s", "de x/y gross 10h", "de x/y gross 20h"}
	if got := pathsOf(sales); !slices.Equal(got, want) {
		t.Fatalf("%q", got)
	}
	lines := children(t, c, p, sales[5])
	children(t, c, p, lines[0])
	if want := []string{"/de/shops", "/de/x%2Fy/gross?from=1772395200&to=1772409600&end=2026-03-01T23%3A59%3A59Z", "/de/x%2Fy/gross/x%2Fy?at=2026-03-01T20%3A00%3A00Z"}; !slices.Equal(asked, want) {
		t.Errorf("asked %q", asked)
	}
	for row, err := range p.Rows(t.Context(), lines[0], "", []byte("[{}]")) {
		if err != nil || string(row) != `{"at":1772395200,"k":"gross","m":"de","s":"x/y","to":1772409600}` {
			t.Errorf("%s %v", row, err)
		}
	}
	for _, path := range [][]string{{"de", "x", "net", "5h"}, {"de", "x", "net", "30h"}, {"de", "x", "net", "junk"}, {"de", "x", "net", "-10h"}, {"de", "x"}} {
		if _, err := c.Call(t.Context(), roots[0].Child("sales", fanout.Node{Path: path}), ""); classOf(err) != fanout.Broken {
			t.Errorf("%q: %v", path, err)
		}
	}
}

// TestFanOutSlicesCoverTheWindow: half-open, without a gap, over a window that is
// no multiple of the step and over a day of 23 hours.
func TestFanOutSlicesCoverTheWindow(t *testing.T) {
	p := testPlan(t, "zone: Europe/Berlin\n"+header+"tiers: [{name: a, get: '/a{?f}', with: {f: '{slice.from.ms}'}, for: {slices: {step: 6h}}, table: t, rows: '.[]'}]\n", nil)
	berlin, _ := time.LoadLocation("Europe/Berlin")
	for _, w := range []fanout.Window{day, {From: time.Date(2026, 3, 29, 0, 0, 0, 0, berlin), To: time.Date(2026, 3, 30, 0, 0, 0, 0, berlin)}, {From: day.From, To: day.From.Add(time.Nanosecond)}} {
		at := w.From
		for _, task := range p.Root("run", w) {
			c, err := p.call(task, "")
			if err != nil || !c.slice.From.Equal(at) || c.slice.To.After(w.To) || c.last {
				t.Fatalf("%v: %v after %v: %v", w, c.slice, at, err)
			}
			at = c.slice.To
		}
		if !at.Equal(w.To) {
			t.Errorf("%v: the slices end at %v", w, at)
		}
	}
	if n := len(p.Root("run", fanout.Window{From: day.From, To: day.From})); n != 1 {
		t.Errorf("%d tasks over an empty window", n)
	}
}

// TestUniqueAboveAFanOut: nodes of a unique tier start their path, and each has its
// tasks for all constants.
func TestUniqueAboveAFanOut(t *testing.T) {
	c, p := vendorAt(t, header+`tiers:
  - {name: g, get: /g, for: {m: [a, b]}, query: {m: "{m}"}, items: '.[]', key: .id, unique: true}
  - {name: d, get: '/d/{g}/{k}', for: {k: [x, y]}, table: t, rows: '.[]'}
`, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `[{"id":1},{"id":2}]`) })
	for _, r := range p.Root("run", day) {
		if got := pathsOf(children(t, c, p, r)); !slices.Equal(got, []string{"1 x", "1 y", "2 x", "2 y"}) {
			t.Errorf("%q", got)
		}
	}
}

// TestFanOutIsBounded: slices of a nanosecond fill no memory, and are never cut in
// silence.
func TestFanOutIsBounded(t *testing.T) {
	c, p := vendorAt(t, "bounds: {children: 500}\n"+header+`tiers:
  - {name: a, get: '/a{?f}', with: {f: '{slice.from.ms}'}, for: {m: [x, y], slices: {step: 1ns}}, items: '.[]', key: '.', unique: true, query: {m: '{m}'}}
  - {name: b, get: '/a/{a}{?f}', with: {f: '{slice.from.ms}'}, for: {slices: {step: 1ns}}, table: t, rows: '.[]'}
`, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `[1,2]`) })
	roots := p.Root("run", day)
	if len(roots) != mostRoots+1 {
		t.Errorf("%d roots", len(roots))
	}
	if _, err := c.Call(t.Context(), roots[0], ""); classOf(err) != fanout.Broken || !strings.Contains(err.Error(), "more than the bound of 500 children") {
		t.Errorf("%v", err)
	}
}

const batchSpec = header + `tiers:
  - {name: groups, get: /groups, items: '.[]', key: .id, carry: {region: .r}}
  - {name: devices, get: '/groups/{groups}', items: '.[]', key: .id, carry: {model: .m}, pages: {cursor: {from: '.[0].next', param: c}}}
  - name: values
    batch: {size: 3}
    post: "/values/{groups}/{devices}{?ids,devices}"
    with: {ids: "{devices}"}
    query: {region: "{region}"}
    json: {ids: "{devices}", text: "<{devices}>", in: ["{devices}"]}
    table: t
    rows: '.[] | {d: .id, m: $batch[.id | tostring].model, all: ($devices | length), r: $region}'
`

// TestBatches: the nodes of a page are asked about together, and rows are given
// back to them.
func TestBatches(t *testing.T) {
	var asked []sent
	c, p := vendorAt(t, batchSpec, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, readSent(r))
		switch {
		case r.URL.Path == "/groups":
			fmt.Fprint(w, `[{"id":"g","r":"eu"}]`)
		case r.URL.Query().Get("c") == "2":
			fmt.Fprint(w, `[{"id":"x%2Cy","m":"M8"}]`)
		default:
			fmt.Fprint(w, `[{"id":1,"m":"M1","next":2},{"id":"a/b","m":{"v":1.10}},{"id":1,"m":"twice"},{"id":9007199254740993,"m":null},{"id":"e"},{"id":null}]`)
		}
	})
	group := children(t, c, p, root(p))[0]
	tasks := children(t, c, p, group)
	if got, want := pathsOf(tasks), []string{"g 1,a/b,9007199254740993", "g e", "g x%252Cy"}; !slices.Equal(got, want) {
		t.Fatalf("%q", got)
	}
	carry := tasks[0].Carry
	if string(carry["region"]) != `"eu"` || carry["model"] != nil || string(carry["$batch"]) != `{"1":{"model":"M1"},"9007199254740993":{"model":null},"a/b":{"model":{"v":1.10}}}` {
		t.Errorf("carried: %s", carry)
	}
	var rows []string
	for row, err := range p.Rows(t.Context(), tasks[0], "", []byte(`[{"id":"a/b"},{"id":9007199254740993}]`)) {
		rows = append(rows, fmt.Sprint(string(row), err))
	}
	if want := []string{`{"all":3,"d":"a/b","m":{"v":1.10},"r":"eu"}<nil>`, `{"all":3,"d":9007199254740993,"m":null,"r":"eu"}<nil>`}; !slices.Equal(rows, want) {
		t.Errorf("rows %q", rows)
	}
	asked = nil
	for _, task := range tasks[:1] {
		if _, err := c.Call(t.Context(), task, ""); err != nil {
			t.Fatal(err)
		}
	}
	line := "POST /values/g/1,a%2Fb,9007199254740993?ids=1%2Ca%2Fb%2C9007199254740993&devices=1,a%2Fb,9007199254740993&region=eu"
	if body := `{"ids":["1","a/b","9007199254740993"],"in":[["1","a/b","9007199254740993"]],"text":"<1,a/b,9007199254740993>"}`; asked[0].line != line || asked[0].body != body {
		t.Errorf("asked %+v\nwant %s %s", asked[0], line, body)
	}
}

func TestBatchesWithAnotherJoin(t *testing.T) {
	for join, want := range map[string]string{"|": "/v/a,b%7Cc%2Fd?q=a%2Cb%7Cc%2Fd", ";": "/v/a%2Cb;c%2Fd?q=a%2Cb%3Bc%2Fd", ", ": "", "&": "/v/a%2Cb%26c%2Fd?q=a%2Cb%26c%2Fd"} {
		var got string
		c, p := vendorAt(t, header+`tiers:
  - {name: a, get: /a, items: '.[]', key: .}
  - {name: v, get: '/v/{a}', query: {q: "{a}"}, batch: {size: 5, join: "`+join+`"}, table: t, rows: '.[]'}
`, func(w http.ResponseWriter, r *http.Request) {
			if got = r.RequestURI; got == "/a" {
				fmt.Fprint(w, `["a,b","c/d"]`)
				return
			}
			fmt.Fprint(w, `[]`)
		})
		task := children(t, c, p, root(p))[0]
		_, err := c.Call(t.Context(), task, "")
		if join == "|" {
			want = strings.Replace(want, "a,b", "a%2Cb", 1)
		}
		if join == ", " {
			want = "/v/a%2Cb,%20c%2Fd?q=a%2Cb%2C%20c%2Fd"
		}
		if err != nil || got != want || task.Path[0] != "a%2Cb,c/d" {
			t.Errorf("join %q: %q asked %s, want %s: %v", join, task.Path, got, want, err)
		}
	}
}

// TestBatchesAreBounded: long keys and fat fields close a group early, and no key
// is lost.
func TestBatchesAreBounded(t *testing.T) {
	for _, tt := range []struct{ key, field int }{{1000, 0}, {maxKey, 0}, {10, 5000}, {10, 60000}, {3, 0}} {
		c, p := vendorAt(t, header+`tiers:
  - {name: a, get: /a, items: '.[]', key: .id, carry: {f: .f}}
  - {name: v, post: /v, json: {ids: "{a}"}, batch: {size: 100}, table: t, rows: '.[] | {x: $batch}'}
`, func(w http.ResponseWriter, r *http.Request) {
			var items []map[string]string
			for i := range 250 {
				items = append(items, map[string]string{"id": fmt.Sprintf("%03d", i) + strings.Repeat("%", max(0, tt.key-3))[:max(0, min(tt.key, 5000)-3)] + strings.Repeat("x", max(0, tt.key-5000)), "f": strings.Repeat("f", tt.field)})
			}
			if tt.key*250+tt.field*250 > 6<<20 {
				items = items[:50]
			}
			b, _ := json.Marshal(items)
			w.Write(b)
		})
		seen := map[string]bool{}
		n := 0
		for _, task := range children(t, c, p, root(p)) {
			keys := splitKeys(task.Path[0])
			if len(keys) > 1 && (len(task.Path[0]) > maxKey || nodeSize(task.Node) > maxNode+maxKey) || len(keys) > 100 {
				t.Errorf("%+v: a group of %d with a key of %d bytes, %d in all", tt, len(keys), len(task.Path[0]), nodeSize(task.Node))
			}
			for _, k := range keys {
				seen[k] = true
				n++
			}
		}
		if len(seen) != n || n != 250 && n != 50 {
			t.Errorf("%+v: %d keys, %d of them different", tt, n, len(seen))
		}
	}
}

func TestFanAndBatchSpecErrors(t *testing.T) {
	two := func(first, second string) string {
		return header + "tiers:\n  - {name: a, get: /a, items: '.[]', key: .id" + first + "}\n  - {name: b, table: t, rows: '.[]'" + second + "}\n"
	}
	for _, tt := range []struct{ name, src, want string }{
		{"for nothing", two("", ", get: '/{a}', for: {}"), "lists of constants by name, or slices"},
		{"for a list", two("", ", get: '/{a}', for: [a]"), "lists of constants by name, or slices"},
		{"no values", two("", ", get: '/{a}', for: {m: []}"), `"m" has no values`},
		{"a value twice", two("", ", get: '/{a}/{m}', for: {m: [x, y, x]}"), `"x" is in m twice`},
		{"useless", two("", ", get: '/{a}', for: {m: [x, y]}"), "nothing uses {m} in tier b or below"},
		{"useless slices", two("", ", get: '/{a}', for: {slices: {step: 1h}}"), "nothing uses {slice.from...}"},
		{"name of a tier", two("", ", get: '/{a}', for: {a: [x]}"), `the name "a" is a tier's already`},
		{"reserved", two("", ", get: '/{a}', for: {window: [x]}"), `"window" is a reserved word, and a list of constants`},
		{"slices twice", two(", for: {slices: {step: 1h}}, query: {x: '{slice.from.ms}'}", ", get: '/{a}', for: {slices: {step: 1h}}"), "a tier above is by slices already"},
		{"slices and pages", two(", for: {slices: {step: 1h}}, query: {x: '{slice.from.ms}'}", ", get: '/{a}', pages: {slices: {step: 1h}}"), "its tasks are for slices already"},
		{"slices above unique", two(", for: {slices: {step: 1h}}, query: {x: '{slice.from.ms}'}, unique: true", ", get: '/{a}/{slice.from.ms}'"), "{slice.from.ms}: this tier has no pages"},
		{"constant above unique", two(", for: {m: [x]}, query: {x: '{m}'}, unique: true", ", get: '/{a}/{m}'"), "it comes from above the unique tier a"},
		{"too many", two("", ", get: '/{a}/{m}{n}', for: {m: ["+constants(40)+"], n: ["+constants(40)+"]}"), "more than 1000 combinations"},
		{"batch in the first", two(", batch: {size: 5}", ", get: '/{a}'"), "the first tier has nothing above it"},
		{"batch of unique", two(", unique: true", ", get: '/{a}', batch: {size: 5}"), "nodes of the unique tier a belong to whoever found them first"},
		{"batch of one", two("", ", get: '/{a}', batch: {size: 1}"), "from 2 to 10000"},
		{"batch without size", two("", ", get: '/{a}', batch: {join: x}"), "from 2 to 10000"},
		{"field of one node", two(", carry: {m: .m}", ", get: '/{a}/{m}', batch: {size: 5}"), "{m}: it differs between the nodes that tier b asks about in one call: in jq $batch has it"},
		{"part of one node", header + "tiers:\n  - {name: a, get: /a, items: '.[]', key: {x: .x}}\n  - {name: b, get: '/{a.x}', batch: {size: 5}}\n", "{a.x}: it differs between the nodes"},
		{"batch elsewhere", two("", ", get: '/{a}', table: t, rows: '$batch'"), `"table" is already given`},
		{"$batch elsewhere", header + "tiers: [{name: a, get: /a, table: t, rows: '$batch'}]\n", "variable not defined: $batch"},
		{"useless carry", header + "tiers:\n  - {name: a, get: /a, items: '.[]', key: .id, carry: {m: .m}}\n  - {name: b, get: '/{a}', batch: {size: 5}}\n", `carried field "m" is of no use`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("v.yaml", []byte(tt.src))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func constants(n int) string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("c%d", i))
	}
	return strings.Join(out, ", ")
}

// A limit may count apart for each constant; the nodes of a batch have no one value.
func TestLimitsPerConstant(t *testing.T) {
	src := func(per string) string {
		return "name: v\nbase_url: http://h.example\nlimits: [{name: l, window: 5/m, per: " + per + "}]\n" + `tiers:
  - {name: a, for: {m: [x, y]}, get: '/{m}', items: '.[]', key: .id}
  - {name: b, get: '/{m}/{a}', batch: {size: 5}, table: t, rows: '.[]'}
`
	}
	p := testPlan(t, src("m"), nil)
	if got := p.Limits[0].Tiers; !slices.Equal(got, []string{"a", "b"}) || p.Value("m", fanout.CallOf(root(p))) != "x" {
		t.Errorf("bound %q, value %q", got, p.Value("m", fanout.CallOf(root(p))))
	}
	if _, err := Parse("v.yaml", []byte(src("a"))); err == nil || !strings.Contains(err.Error(), `per: "a" is no key`) {
		t.Errorf("%v", err)
	}
}

// TestBelowABatch: a batch finds nodes like any tier; what the grouped nodes carry
// ends with it.
func TestBelowABatch(t *testing.T) {
	c, p := vendorAt(t, header+`tiers:
  - {name: g, get: /g, items: '.[]', key: .id, carry: {region: .r}}
  - {name: d, get: '/g/{g}', items: '.[]', key: .id, carry: {model: .m}}
  - {name: s, get: '/s/{d}', batch: {size: 2}, items: '.[]', key: .id, carry: {of: '$batch[.d].model'}}
  - {name: v, get: '/v/{d}/{s}', table: t, rows: '.[] | {region: $region, of: $of, d: $d}'}
`, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `[{"id":"1","d":"1","m":"M","r":"eu"},{"id":"2","d":"1"}]`)
	})
	task := root(p)
	for range 3 {
		task = children(t, c, p, task)[0]
	}
	if string(task.Carry["of"]) != `"M"` || len(task.Carry) != 2 || !slices.Equal(task.Path, []string{"1", "1,2", "1"}) {
		t.Errorf("%q carries %s", task.Path, task.Carry)
	}
	for row, err := range p.Rows(t.Context(), task, "", []byte("[{}]")) {
		if err != nil || string(row) != `{"d":["1","2"],"of":"M","region":"eu"}` {
			t.Errorf("%s %v", row, err)
		}
	}
}
