package vendorapi

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// With join: repeat the keys of a batch are parameters of their own, each as it is: a
// comma in one separates nothing.
func TestBatchRepeatsParameters(t *testing.T) {
	for _, tt := range []struct{ request, line, body string }{
		{`get: /v, query: {"ids[]": "{a}", x: "1"}`, "GET /v?ids%5B%5D=A%2C1&ids%5B%5D=B%26c&ids%5B%5D=%25&x=1", ""},
		{`get: /v, query: {ids: ["first", "{a}"]}`, "GET /v?ids=first&ids=A%2C1&ids=B%26c&ids=%25", ""},
		{`post: /v, form: {id: "{a}", q: all}`, "POST /v", "id=A%2C1&id=B%26c&id=%25&q=all"},
		{`post: /v, json: {ids: "{a}"}`, "POST /v", `{"ids":["A,1","B&c","%"]}`},
	} {
		var got sent
		c, p := vendorAt(t, header+`tiers:
  - {name: a, get: /a, items: ".[]", key: .}
  - {name: b, batch: {size: 5, join: repeat}, `+tt.request+`, table: t, rows: ".[] | {all: $a}"}
`, func(w http.ResponseWriter, r *http.Request) {
			if got = readSent(r); r.URL.Path == "/a" {
				fmt.Fprint(w, `["A,1","B&c","%"]`)
				return
			}
			fmt.Fprint(w, "[{}]")
		})
		page, err := c.Call(t.Context(), root(p), "")
		if err != nil || len(page.Children) != 1 {
			t.Fatal(page.Children, err)
		}
		task := root(p).Child("b", page.Children[0])
		if _, err := c.Call(t.Context(), task, ""); err != nil {
			t.Fatal(err)
		}
		if got.line != tt.line || got.body != tt.body {
			t.Errorf("sent %+v\nwant %s %s", got, tt.line, tt.body)
		}
		for row, err := range p.Rows(t.Context(), task, "", []byte("[{}]")) {
			if err != nil || string(row) != `{"all":["A,1","B&c","%"]}` {
				t.Errorf("%s %v", row, err)
			}
		}
	}
}

// A query that goes through what is null says what in it may be meant, and what helps.
func TestNullForAListIsExplained(t *testing.T) {
	for rows, want := range map[string]string{
		".points[] | .values[] | {v: .}":           "rows: cannot iterate over: null: .values[] finds no list here; (.values // [])[] takes that for an empty one, as optional: true",
		". as $a | .x.y[] | {v: .}":                "rows: cannot iterate over: null: .x.y[] finds no list here; (.x.y // [])[]",
		"(.points // [])[] | (.values // [])[]":    "",
		"[.points[].n] | .[0] | .names[] | {n: .}": "rows: expected an object but got: number (1)",
		".points[] | .n[] | {v: .}":                "rows: cannot iterate over: number (1): what it goes through is .n[]",
		".other[] | {v: .}":                        "if the vendor leaves empty lists out, say optional: true",
	} {
		c, p := vendorAt(t, header+"tiers: [{name: a, get: /a, table: t, rows: '"+rows+"'}]\n", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"points":[{"n":1,"values":null}]}`)
		})
		_, err := c.Call(t.Context(), root(p), "")
		if want == "" && err == nil {
			continue
		}
		if classOf(err) != fanout.Broken || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\nwant %s", rows, err, want)
		}
	}
}

// Where rows begin with a list's path, what pages count need not be said again.
func TestItemsAreTheHeadOfRows(t *testing.T) {
	calls := 0
	c, p := vendorAt(t, header+`tiers:
  - {name: a, get: /a, table: t, rows: '.data.logs[] | .v[] | {v: .}', pages: {offset: {param: from}}}
`, func(w http.ResponseWriter, r *http.Request) {
		calls++
		if r.FormValue("from") == "2" {
			fmt.Fprint(w, `{"data":{"logs":[]}}`)
			return
		}
		fmt.Fprint(w, `{"data":{"logs":[{"v":[1,2,3]},{"v":[4]}]}}`)
	})
	page, err := c.Call(t.Context(), root(p), "")
	if err != nil || page.Rows != 4 || page.Next == "" {
		t.Fatalf("%+v %v", page, err)
	}
	if page, err = c.Call(t.Context(), root(p), page.Next); err != nil || page.Next != "" || calls != 2 {
		t.Errorf("%+v %v after %d calls", page, err, calls)
	}
}

// A day is 24 hours wherever a spec says how long.
func TestDaysInDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"7d": 7 * 24 * time.Hour, "1d12h": 36 * time.Hour, "0d5m": 5 * time.Minute, "90m": 90 * time.Minute,
		"d": 0, "1.5d": 0, "1d2d": 0, "1d-2h": 0, "99999d999999h": 0, "7 d": 0, "1h2d": 0, "0d": 0,
	} {
		got, err := parseDuration(text)
		if got != want && err == nil && got > 0 {
			t.Errorf("%s is %v, not %v", text, got, want)
		}
		s, err := Parse("v.yaml", []byte(header+"timeouts: {total: '"+text+"'}\ntiers: [{name: a, get: /a}]\n"))
		if (err == nil) != (want > 0) || err == nil && s.timeouts.Total != want {
			t.Errorf("%s in a spec: %v, want %v", text, err, want)
		}
	}
}
