package vendorapi

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// One answer has rows for several tables; they are counted together, and each can be
// read by itself.
func TestTablesOfOneAnswer(t *testing.T) {
	const answer = `{"logs":[{"id":1,"times":[{"ms":10},{"ms":12.50}]},{"id":2,"times":[]}],"total":2}`
	for name, body := range map[string]string{
		"small": answer,
		"large": strings.Replace(answer, "{", `{"pad":"`+strings.Repeat("x", 2*smallBody)+`",`, 1),
	} {
		c, p := vendorAt(t, header+`tiers:
  - {name: a, get: /a, items: ".[]", key: ., carry: {site: '"s" + .'}}
  - name: b
    get: "/b/{a}"
    pages: {offset: {param: o, total: .total}}
    tables:
      logs: ".logs[] | {a: $a, $site, id}"
      response_times: ".logs[] | .id as $id | .times[] | {log: $id, ms}"
`, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/a" {
				fmt.Fprint(w, `["x"]`)
				return
			}
			fmt.Fprint(w, body)
		})
		page, err := c.Call(t.Context(), root(p), "")
		if err != nil {
			t.Fatal(err)
		}
		task := root(p).Child("b", page.Children[0])
		if page, err = c.Call(t.Context(), task, ""); err != nil || page.Rows != 4 || page.Next != "" {
			t.Fatalf("%s: %d rows, next %q, %v", name, page.Rows, page.Next, err)
		}
		page.Release()
		rows := func(tables ...string) (out []string) {
			for row, err := range p.Rows(t.Context(), task, "", []byte(body), tables...) {
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, string(row))
			}
			return out
		}
		logs := []string{`{"a":"x","id":1,"site":"sx"}`, `{"a":"x","id":2,"site":"sx"}`}
		times := []string{`{"log":1,"ms":10}`, `{"log":1,"ms":12.50}`}
		if got := rows("logs"); !slices.Equal(got, logs) {
			t.Errorf("%s: logs %v", name, got)
		}
		if got := rows("response_times"); !slices.Equal(got, times) {
			t.Errorf("%s: times %v", name, got)
		}
		if got := rows(); !slices.Equal(got, slices.Concat(logs, times)) || len(rows("other")) != 0 {
			t.Errorf("%s: all %v", name, got)
		}
		if got := p.TablesOf(task); !slices.Equal(got, []string{"logs", "response_times"}) || !slices.Equal(got, p.Tiers[1].Tables) || p.TablesOf(root(p)) != nil {
			t.Errorf("tables %v", got)
		}
	}
}

// What the tables want of an answer that is wrong is said by the table's name.
func TestTablesNameTheirErrors(t *testing.T) {
	c, p := vendorAt(t, header+`tiers: [{name: a, get: /a, tables: {logs: '.logs[]', times: '.times[]'}}]
`, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"logs":[{"id":1}],"times":[7]}`) })
	if _, err := c.Call(t.Context(), root(p), ""); err == nil || !strings.Contains(err.Error(), "tables times: a row must be an object, not 7") {
		t.Errorf("%v", err)
	}
}
