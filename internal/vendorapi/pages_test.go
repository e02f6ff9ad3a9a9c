package vendorapi

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// serve serves n items under offset and size, never more than most at once.
func serve(n, most int, extra string) roundTrip {
	return func(r *http.Request) (*http.Response, error) {
		q := r.URL.Query()
		off, _ := strconv.Atoi(q.Get("offset"))
		size, _ := strconv.Atoi(q.Get("size"))
		var ids []string
		for i := off; i < n && len(ids) < min(size, most); i++ {
			ids = append(ids, fmt.Sprintf(`{"id":%d}`, i))
		}
		return answer(200, `{"items":[`+strings.Join(ids, ",")+`]`+extra+`}`), nil
	}
}

func TestOffsetPages(t *testing.T) {
	for _, tt := range []struct {
		name, opts string
		vendor     roundTrip
		keys, page int
	}{
		{"silently capped", "", serve(250, 100, ""), 250, 4},
		{"exact", "", serve(200, 100, ""), 200, 3},
		{"empty", "", serve(0, 100, ""), 0, 1},
		{"short ends", ", short_ends: true", serve(1500, 1000, ""), 1500, 2},
		{"total", ", total: .total", serve(250, 100, `,"total":250`), 250, 3},
		{"total unknown", ", total: .total", serve(250, 100, `,"total":-1`), 250, 4},
		{"total null", ", total: .total", serve(250, 100, `,"total":null`), 250, 4},
		{"total too high", ", total: .total", serve(250, 100, `,"total":999`), 250, 4},
		{"short but capped, says the total", ", total: .total, short_ends: true", serve(250, 100, `,"total":250`), 250, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := testPlan(t, spec2("{name: a, get: /a, items: '.items[]', key: .id, pages: {offset: {param: offset, size_param: size, size: 1000"+tt.opts+"}}}"), nil)
			keys, pages, err := fetchAll(t, testClient(t, p, tt.vendor), root(p))
			slices.Sort(keys)
			if err != nil || len(slices.Compact(keys)) != tt.keys || pages != tt.page {
				t.Errorf("%d keys in %d pages, want %d in %d: %v", len(keys), pages, tt.keys, tt.page, err)
			}
		})
	}
}

func TestPageLoopsAreBroken(t *testing.T) {
	offset := "{name: a, get: /a, items: '.items[]', key: .id, pages: {offset: {param: offset}}}"
	cursor := "{name: a, get: /a, items: '.items[]', key: .id, pages: {cursor: {from: .next, param: c}}}"
	next := "{name: a, get: /a, items: '.items[]', key: .id, pages: {next_query: .next}}"
	n := 0
	for _, tt := range []struct {
		name, tier string
		body       func() string
		want       string
	}{
		{"offset ignored", offset, func() string { return `{"items":[{"id":1}]}` }, "ignore"},
		{"same cursor", cursor, func() string { return `{"items":[{"id":1}],"next":"x"}` }, "loop"},
		{"cursors for ever", cursor, func() string { n++; return fmt.Sprintf(`{"items":[],"next":%d}`, n) }, "bound of 20 pages"},
		{"same query", next, func() string { return `{"items":[],"next":"p=2"}` }, "loop"},
		{"link", next, func() string { return `{"items":[],"next":"https://evil.example/a?p=2"}` }, "not the link"},
		{"too many children", cursor, func() string { n++; return fmt.Sprintf(`{"items":[{"id":1},{"id":2},{"id":3}],"next":%d}`, n) }, "bound of 10 children"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := testPlan(t, "bounds: {pages: 20, children: 10}\n"+spec2(tt.tier), nil)
			c := testClient(t, p, roundTrip(func(*http.Request) (*http.Response, error) { return answer(200, tt.body()), nil }))
			_, pages, err := fetchAll(t, c, root(p))
			if classOf(err) != fanout.Broken || !strings.Contains(err.Error(), tt.want) || pages > 20 {
				t.Errorf("after %d pages: %v", pages, err)
			}
			var ce *fanout.CallError
			if errors.As(err, &ce) && ce.Page != pages+1 {
				t.Errorf("error names page %d, is %d", ce.Page, pages+1)
			}
		})
	}
}

func TestCursorGoesOnAfterAnEmptyPage(t *testing.T) {
	bodies := map[string]string{
		"":                 `{"items":[{"id":1}],"next":"a b&c=d"}`,
		"a b&c=d":          `{"items":[],"next":9007199254740993}`,
		"9007199254740993": `{"items":[{"id":2}],"next":""}`,
	}
	p := testPlan(t, spec2("{name: a, get: '/a?keep=1&c=0', items: '.items[]', key: .id, pages: {cursor: {from: .next, param: cur}}}"), nil)
	c := testClient(t, p, roundTrip(func(r *http.Request) (*http.Response, error) {
		if q := r.URL.Query(); q.Get("keep") != "1" || q.Get("c") != "0" {
			t.Errorf("query %s", r.URL.RawQuery)
		}
		return answer(200, bodies[r.URL.Query().Get("cur")]), nil
	}))
	keys, pages, err := fetchAll(t, c, root(p))
	if err != nil || pages != 3 || !slices.Equal(keys, []string{"1", "2"}) {
		t.Errorf("%v in %d pages: %v", keys, pages, err)
	}
	if _, err := c.Call(t.Context(), root(p), "junk"); classOf(err) != fanout.Broken {
		t.Errorf("junk cursor: %v", err)
	}
}

func TestNextQueryReplacesParameters(t *testing.T) {
	p := testPlan(t, spec2(`{name: a, get: "/a?start=1&keep=x%2By", items: '.items[]', key: .id, pages: {next_query: .next}}`), nil)
	var asked []string
	c := testClient(t, p, roundTrip(func(r *http.Request) (*http.Response, error) {
		asked = append(asked, r.URL.RawQuery)
		if len(asked) == 1 {
			return answer(200, `{"items":[],"next":"?start=2&more=a%20b"}`), nil
		}
		return answer(200, `{"items":[]}`), nil
	}))
	if _, _, err := fetchAll(t, c, root(p)); err != nil {
		t.Fatal(err)
	}
	if want := []string{"start=1&keep=x%2By", "keep=x%2By&start=2&more=a%20b"}; !slices.Equal(asked, want) {
		t.Errorf("asked %q", asked)
	}
}

func TestSlicesAreHalfOpen(t *testing.T) {
	p := testPlan(t, "zone: Europe/Berlin\n"+header+`tiers:
  - name: a
    get: /a
    query: {f: "{slice.from.epoch}", t: "{slice.to.ms}", e: "{slice.end.rfc3339}", d: "{slice.from.date}"}
    pages: {slices: {step: 10h, resolution: 1ms}}
    rows: '.[] | select(.t >= $slice.from.epoch and .t < $slice.to.epoch) | {t, to: $slice.end.epoch}'
    table: t
`, nil)
	var asked []string
	edge := day.From.Add(10 * time.Hour).Unix()
	c := testClient(t, p, roundTrip(func(r *http.Request) (*http.Response, error) {
		q := r.URL.Query()
		asked = append(asked, strings.Join([]string{q.Get("f"), q.Get("t"), q.Get("e"), q.Get("d")}, " "))
		return answer(200, fmt.Sprintf(`[{"t":%d}]`, edge)), nil
	}))
	rows := 0
	for cursor := ""; ; {
		page, err := c.Call(t.Context(), root(p), cursor)
		if err != nil {
			t.Fatal(err)
		}
		for row, err := range p.Rows(t.Context(), root(p), cursor, page.Body) {
			if err != nil || page.Rows != 1 || string(row) != fmt.Sprintf(`{"t":%d,"to":1772395199.999}`, edge) {
				t.Errorf("%s %v", row, err)
			}
			rows++
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	want := []string{"1772323200 1772359200000 2026-03-01T09:59:59.999Z 2026-03-01", "1772359200 1772395200000 2026-03-01T19:59:59.999Z 2026-03-01",
		"1772395200 1772409600000 2026-03-01T23:59:59.999Z 2026-03-01"}
	if !slices.Equal(asked, want) || rows != 1 {
		t.Errorf("%d rows, asked\n%s", rows, strings.Join(asked, "\n"))
	}
}
