package vendorapi

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/internal/fanout"
)

// A last tier with branches makes each of its requests for each node, and each has
// its own table.
func TestBranches(t *testing.T) {
	t.Parallel()
	const src = `name: v
base_url: http://h.example
limits: unknown
tiers:
  - {name: products, get: /products, items: ".items[]", key: .id, carry: {market: .m}}
  - name: reports
    for: {kind: [day, week]}
    branches:
      - {name: sales, get: "/products/{products}/sales{?kind}", rows: ".rows[] | {p: $products, b: $branch, v: .}", table: sales}
      - {name: ranks, post: "/{market}/ranks/{products}", json: {kind: "{kind}"}, items: ".list[]", pages: {cursor: {from: .next, param: c, in: json}}, table: ranks}
`
	p := testPlan(t, src, nil)
	if got := p.Tiers[1]; !slices.Equal(got.Tables, []string{"sales", "ranks"}) || !slices.Equal(got.Path, []string{"products", "kind", "branch"}) ||
		got.Request != "sales: GET /products/{products}/sales{?kind} | ranks: POST /{market}/ranks/{products}" {
		t.Errorf("%+v", got)
	}
	var asked []string
	c := testClient(t, p, roundTrip(func(r *http.Request) (*http.Response, error) {
		asked = append(asked, r.Method+" "+r.URL.RequestURI())
		switch {
		case r.URL.Path == "/products":
			return answer(200, `{"items":[{"id":1,"m":"ios"}]}`), nil
		case strings.HasSuffix(r.URL.Path, "sales"):
			return answer(200, `{"rows":[10,20]}`), nil
		}
		return answer(200, `{"list":[{"rank":7}]}`), nil
	}))
	page, err := c.Call(t.Context(), root(p), "")
	if err != nil || len(page.Children) != 4 {
		t.Fatalf("%+v, %v", page.Children, err)
	}
	rows := map[string]int{}
	for _, n := range page.Children {
		task := root(p).Child("reports", n)
		got, err := c.Call(t.Context(), task, "")
		if err != nil || got.Next != "" {
			t.Fatal(err)
		}
		for row, err := range p.Rows(t.Context(), task, "", got.Body) {
			if err != nil {
				t.Fatal(err)
			}
			rows[p.TablesOf(task)[0]+" "+string(row)]++
		}
	}
	want := map[string]int{`sales {"b":"sales","p":"1","v":10}`: 2, `sales {"b":"sales","p":"1","v":20}`: 2, `ranks {"rank":7}`: 2}
	for row, n := range want {
		if rows[row] != n {
			t.Errorf("%d of %s, not %d: %v", rows[row], row, n, rows)
		}
	}
	wantAsked := []string{"GET /products", "GET /products/1/sales?kind=day", "POST /ios/ranks/1", "GET /products/1/sales?kind=week", "POST /ios/ranks/1"}
	if !slices.Equal(asked, wantAsked) {
		t.Errorf("asked %q", asked)
	}
	gone := root(p).Child("reports", fanout.Node{Path: []string{"1", "day", "reviews"}, Carry: page.Children[0].Carry})
	if _, err := c.Call(t.Context(), gone, ""); classOf(err) != fanout.Broken || !strings.Contains(err.Error(), `no branch "reviews"`) {
		t.Errorf("a branch of another spec: %v", err)
	}
	for broken, want := range map[string]string{
		strings.Replace(src, "name: ranks", "name: sales", 1):                         "has a branch \"sales\" already",
		strings.Replace(src, "for: {kind", "get: /x\n    for: {kind", 1):              "has no request of its own",
		src + "  - {name: more, get: /x}\n":                                           "branches are for the last tier",
		strings.Replace(src, "{name: sales, ", "{name: sales, for: {a: [b, c]}, ", 1): "a branch has no branches",
	} {
		if _, err := Parse("v.yaml", []byte(broken)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %s", err, want)
		}
	}
}

// TestPreviewOfBranches: every branch of each chosen node, of the first constants;
// nodes are counted, not their tasks.
func TestPreviewOfBranches(t *testing.T) {
	t.Parallel()
	p := testPlan(t, header+`tiers:
  - {name: shops, for: {market: [us, de, fr]}, get: "/{market}", items: ".[]", key: .id}
  - name: reports
    for: {kind: [day, week], slices: {step: 6h}}
    branches:
      - {name: sales, get: "/{shops}/sales{?kind,from}", with: {from: "{slice.from.epoch}"}, rows: ".[]", table: sales}
      - {name: ranks, post: "/{shops}/ranks", rows: ".[]", table: ranks}
`, nil)
	c := testClient(t, p, roundTrip(func(r *http.Request) (*http.Response, error) {
		return answer(200, `[{"id":7},{"id":8},{"id":9}]`), nil
	}))
	var got []string
	err := c.Preview(t.Context(), day, PreviewOptions{NodesPerTier: 2, Permit: freely}, func(s PreviewStep) {
		got = append(got, s.Tier+" ("+s.Part+") "+strings.Replace(s.Request, "http://h.example", "", 1))
		if s.Tier == "shops" && (s.Found != 3 || len(s.Children) != 3 || len(s.Children[0].Path) != 2) {
			t.Errorf("%d nodes, shown %v", s.Found, s.Children)
		}
	})
	want := []string{
		"shops (market us) GET /us", "shops (market de) GET /de",
		"reports (kind day, slice 0s, branch sales) GET /7/sales?kind=day&from=1772323200", "reports (kind day, slice 0s, branch ranks) POST /7/ranks",
		"reports (kind day, slice 0s, branch sales) GET /8/sales?kind=day&from=1772323200", "reports (kind day, slice 0s, branch ranks) POST /8/ranks",
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, got\n%s", err, strings.Join(got, "\n"))
	}
}
