package vendorapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/sluicehq/sluice/internal/fanout"
)

// answers gives the answer to the n-th request (1, 2, ...) of a list.
type answers func(n int, r *http.Request, body string) (status int, header http.Header, answer string)

// walk takes a tier's list over a real socket and tells what was asked.
func walk(t *testing.T, tier string, a answers) (keys, asked []string, err error) {
	t.Helper()
	var mu sync.Mutex
	c, p := vendorAt(t, "bounds: {pages: 40, children: 10000}\n"+spec2(tier), func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		got := readSent(r)
		asked = append(asked, strings.TrimSpace(strings.TrimPrefix(got.line, "GET ")+" "+got.body))
		status, h, body := a(len(asked), r, got.body)
		for name, v := range h {
			w.Header()[name] = v
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	})
	keys, _, err = fetchAll(t, c, root(p))
	return keys, asked, err
}

// ids is a page's body with the items from..to-1.
func ids(from, to int, extra string) string {
	var out []string
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprintf(`{"id":%d}`, i))
	}
	return `{"items":[` + strings.Join(out, ",") + `]` + extra + `}`
}

// TestCountedPagesEnd: n items in pages of at most most, by number or by offset.
// Every item must come, whatever the vendor says of its list, in so many calls.
func TestCountedPagesEnd(t *testing.T) {
	for _, tt := range []struct {
		name, pages string
		n, most     int
		extra       func(n, page int) string
		calls       int
	}{
		{"number, no hint", "page: {param: p}", 25, 10, nil, 4},
		{"number from 0", "page: {param: p, first: 0}", 25, 10, nil, 4},
		{"number, short ends", "page: {param: p, size_param: s, size: 10, short_ends: true}", 25, 10, nil, 3},
		{"number, pages", "page: {param: p, pages: .x}", 25, 10, say("3"), 3},
		{"number, pages too low at full pages", "page: {param: p, size_param: s, size: 10, pages: .x}", 25, 10, say("1"), 3},
		{"number, total", "page: {param: p, total: .x}", 25, 10, say("25"), 3},
		{"number, more", "page: {param: p, more: .x}", 25, 10, func(_, page int) string { return fmt.Sprint(page < 3) }, 3},
		{"number, more after short pages", "page: {param: p, size_param: s, size: 100, more: .x}", 25, 10, func(_, page int) string { return fmt.Sprint(page < 5) }, 5},
		{"number, more and a total that is too low", "page: {param: p, more: .x, total: '1'}", 25, 10, func(_, page int) string { return fmt.Sprint(page < 3) }, 3},
		{"number, more is null at the end", "page: {param: p, more: .x}", 30, 10, func(_, page int) string { return []string{"true", "true", "null"}[page-1] }, 3},
		{"offset, negative total", "offset: {param: p, total: .x}", 25, 10, say("-26"), 4},
		{"offset, null total", "offset: {param: p, total: .x}", 25, 10, say("null"), 4},
		{"offset, zero total", "offset: {param: p, total: .x}", 25, 10, say("0"), 4},
		{"offset, growing total", "offset: {param: p, total: .x}", 25, 10, func(_, page int) string { return strconv.Itoa(10 * (page + 1)) }, 4},
		{"offset, negative until it is known", "offset: {param: p, total: .x}", 25, 10, func(_, page int) string { return []string{"-11", "-21", "25", "25"}[page-1] }, 3},
		{"offset, lower bound", "offset: {param: p, size_param: s, size: 10, total: .x}", 25, 10, say("10"), 3},
		{"offset, lower bound and capped size", "offset: {param: p, size_param: s, size: 1000, total: .x}", 35, 10, say("20"), 4},
		{"offset, exact total of full pages", "offset: {param: p, size_param: s, size: 10, total: .x}", 30, 10, say("30"), 4},
		{"offset, total that shrinks", "offset: {param: p, total: .x}", 25, 10, func(_, page int) string { return strconv.Itoa(30 - 5*page) }, 4},
		{"offset, more", "offset: {param: p, more: .x}", 25, 10, func(n, _ int) string { return fmt.Sprint(n < 25) }, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			first := 1
			if strings.Contains(tt.pages, "first: 0") {
				first = 0
			}
			keys, asked, err := walk(t, "{name: a, get: /a, items: '.items[]', key: .id, pages: {"+tt.pages+"}}", func(n int, r *http.Request, _ string) (int, http.Header, string) {
				at, err := strconv.Atoi(r.URL.Query().Get("p"))
				if err != nil {
					t.Errorf("asked %s", r.RequestURI)
				}
				if strings.HasPrefix(tt.pages, "page") {
					at = (at - first) * tt.most
				}
				to, extra := min(at+tt.most, tt.n), ""
				if tt.extra != nil {
					extra = `,"x":` + tt.extra(to, n)
				}
				return 200, nil, ids(at, to, extra)
			})
			slices.Sort(keys)
			if keys = slices.Compact(keys); err != nil || len(keys) != tt.n || len(asked) != tt.calls {
				t.Errorf("%d items in %d calls, want %d in %d: %v\n%s", len(keys), len(asked), tt.n, tt.calls, err, asked)
			}
		})
	}
}

func say(what string) func(int, int) string { return func(int, int) string { return what } }

// TestCursors: where a cursor comes from, what it is, and where it goes.
func TestCursors(t *testing.T) {
	for _, tt := range []struct {
		name, tier string
		next       []string // what the pages say, but the last
		header     string
		asked      []string // after the first
	}{
		{"text", "get: '/a?k=1', pages: {cursor: {from: .next, param: c}}", []string{`"a b&c"`, `"é"`}, "", []string{"/a?k=1&c=a%20b%26c", "/a?k=1&c=%C3%A9"}},
		{"of several keys", "get: '/a?k=1', pages: {cursor: {from: .next}}", []string{`{"id":9007199254740993,"at":"x y","k":2,"none":null}`}, "", []string{"/a?at=x%20y&id=9007199254740993&k=2"}},
		{"in a header of the answer", "get: /a, pages: {cursor: {from: '$headers[\"x-next\"] | select(. != \"\")', param: c}}", []string{`n1`, `n2`}, "X-Next", []string{"/a?c=n1", "/a?c=n2"}},
		{"in the body", "post: /a, json: {q: 1, page: {size: 5}}, pages: {cursor: {from: .next, param: page.cursor, in: json}}", []string{`"n"`, `7`}, "",
			[]string{`POST /a {"page":{"cursor":"n","size":5},"q":1}`, `POST /a {"page":{"cursor":7,"size":5},"q":1}`}},
		{"list in the body", "post: /a, json: '{sort: [\"at\", \"id\"]}', pages: {cursor: {from: .next, param: search_after, in: json}}", []string{`[1.50,"x"]`, `[]`}, "",
			[]string{`POST /a {"search_after":[1.50,"x"],"sort":["at","id"]}`}},
		{"object in the body", "post: /a, pages: {cursor: {from: .next, in: json}}", []string{`{"a":[1],"b":"x"}`}, "", []string{`POST /a {"a":[1],"b":"x"}`}},
		{"in a form", "post: /a, form: {q: '1', c: '0'}, pages: {cursor: {from: .next, param: c, in: form}}", []string{`"n&m"`}, "", []string{"POST /a q=1&c=n%26m"}},
		{"in a header of the request", "get: /a, pages: {cursor: {from: .next, param: X-Cursor, in: header}}", []string{`"n1"`}, "", []string{"/a"}},
		{"page in the body", "post: /a, json: {q: 1}, pages: {page: {param: page.no, size_param: page.size, size: 2, in: json, more: .next}}", []string{"true", "true"}, "",
			[]string{`POST /a {"page":{"no":2,"size":2},"q":1}`, `POST /a {"page":{"no":3,"size":2},"q":1}`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			keys, asked, err := walk(t, "{name: a, "+tt.tier+", items: '.items[]', key: .id}", func(n int, r *http.Request, _ string) (int, http.Header, string) {
				next := "null"
				if n <= len(tt.next) {
					next = tt.next[n-1]
				}
				if strings.Contains(tt.tier, "in: header") && n > 1 && r.Header.Get("X-Cursor") != "n1" {
					t.Errorf("headers %v", r.Header)
				}
				h := http.Header{}
				if tt.header != "" && n <= len(tt.next) {
					h.Set(tt.header, next)
				}
				if tt.header != "" {
					next = "null"
				}
				if n == 2 { // an empty page goes on
					return 200, h, `{"items":[],"next":` + next + `}`
				}
				return 200, h, ids(n, n+1, `,"next":`+next)
			})
			if err != nil || len(keys) == 0 || !slices.Equal(asked[1:], tt.asked) {
				t.Errorf("%v, asked %q\nwant %q: %v", keys, asked[1:], tt.asked, err)
			}
		})
	}
}

// TestNextURLs: relative and absolute, in the body and in the Link header.
func TestNextURLs(t *testing.T) {
	body := func(next string) string { b, _ := json.Marshal(next); return string(b) }
	for _, tt := range []struct {
		name string
		next string // ORIGIN stands for the vendor's
		want string // what is asked next, or the error
	}{
		{"absolute", "ORIGIN/other/path?x=1&y=a%20b", "/other/path?x=1&y=a%20b"},
		{"relative path", "b?x=1", "/v/b?x=1"}, {"rooted", "/b", "/b"}, {"query", "?p=2", "/v/a?p=2"}, {"dots", "../../b/./c?x", "/b/c?x"},
		{"fragment", "/b?x=1#frag", "/b?x=1"}, {"raw space and quote", "/b?q=a b\"é", "/b?q=a%20b%22%C3%A9"}, {"scheme in capitals", "HTTP://HOST/b", "/b"},
		{"other host", "http://evil.example/b", "not its own origin"}, {"other port", "http://127.0.0.1:1/b", "not its own origin"},
		{"other scheme", "httpsORIGIN", "not its own origin"}, {"no host", "//evil.example/b", "not its own origin"}, {"user", "http://u:p@HOST/b", "with a user in it"},
		{"file", "file:///etc/passwd", "not its own origin"}, {"rubbish", "http://[::1", "next URL"}, {"long", "/b?" + strings.Repeat("x", 9000), "at most 8192"},
		{"bad escape", "/b?%zz=1", "next URL"}, {"newline", "/b?a=1\n", "/b?a=1"}, {"header of its own", "/b\r\nX: y", "next URL"},
	} {
		for _, kind := range []string{"next_url: .next", "link: true"} {
			if kind == "link: true" && strings.ContainsAny(tt.next, "\r\n\"é") {
				continue // cannot be in a header
			}
			t.Run(tt.name+", "+kind, func(t *testing.T) {
				_, asked, err := walk(t, "{name: a, get: '/v/a?first=1', items: '.items[]', key: .id, pages: {"+kind+"}}", func(n int, r *http.Request, _ string) (int, http.Header, string) {
					if n > 1 {
						return 200, nil, ids(2, 3, "")
					}
					next := strings.NewReplacer("httpsORIGIN", "https://"+r.Host, "ORIGIN", "http://"+r.Host, "HOST", r.Host).Replace(tt.next)
					return 200, http.Header{"Link": {"<" + next + `>; rel="next"`}}, ids(1, 1, `,"next":`+body(next))
				})
				if strings.HasPrefix(tt.want, "/") {
					if err != nil || len(asked) != 2 || asked[1] != tt.want {
						t.Errorf("asked %q, want %s: %v", asked, tt.want, err)
					}
				} else if classOf(err) != fanout.Broken || !strings.Contains(err.Error(), tt.want) || len(asked) != 1 {
					t.Errorf("asked %q, want an error that says %s: %v", asked, tt.want, err)
				}
			})
		}
	}
}

func TestNextLink(t *testing.T) {
	for _, tt := range []struct {
		want    string
		headers []string
	}{
		{"", nil}, {"", []string{""}}, {"", []string{"<a>"}}, {"a", []string{"<a>;rel=next"}}, {"a", []string{`<a> ; REL = "next"`}},
		{"b", []string{`<a>; rel="prev", <b>; rel="next", <c>; rel="last"`}}, {"b", []string{`<a>; rel=prev`, `<b>; title="x"; rel="last NEXT"`}},
		{"b,;c", []string{`<a,b>; title="quoted, \"; rel=next, <x>; rel=next"; rel="prev", <b,;c>; rel=next`}},
		{"", []string{`<a>; rel="nextish"`}}, {"", []string{`<a>; rel="prev"; rel="next"`}}, {"b", []string{`<a>; rel=next; anchor="/other", <b>; rel=next`}},
		{"", []string{`<a; rel=next`}}, {"", []string{`a; rel=next`}}, {"", []string{`<a>; title="never closed; rel=next`}}, {"a", []string{`,, <a>; x; y=; rel=next;`}},
		{"", []string{`<a>; rev=next`}}, {"b", []string{"<a>;rel", "<b>;rel=next"}},
	} {
		if got := nextLink(tt.headers); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.headers, got, tt.want)
		}
	}
}

func FuzzNextLink(f *testing.F) {
	f.Add(`<a>; rel="next"; title="\"x", <b>;rel=prev`)
	f.Add(`<a>;;,=<">;rel="`)
	f.Fuzz(func(t *testing.T, h string) {
		if got := nextLink([]string{h}); got != "" && !strings.Contains(h, got) {
			t.Errorf("%q: %q", h, got)
		}
		base, _ := url.Parse("http://h.example/a/b?c")
		if u, err := resolve(base, nextLink([]string{h})); err == nil {
			if _, err := http.NewRequest("GET", u.String(), nil); err != nil {
				t.Errorf("%q: %v", h, err)
			}
		}
	})
}

// TestLoopsAreNamed: the vendor goes in circles. The error names the pages, and
// few calls are made.
func TestLoopsAreNamed(t *testing.T) {
	circle := func(period, start int) answers { // pages start, ..., start+period-1 for ever
		return func(n int, r *http.Request, _ string) (int, http.Header, string) {
			at := n
			if n > start {
				at = start + (n-start)%period
			}
			next := fmt.Sprintf("/a?c=%d", at)
			return 200, http.Header{"Link": {"<" + next + ">; rel=next"}}, ids(at, at+1, fmt.Sprintf(`,"next":"c%d","q":"c=%d","url":%q`, at, at, next))
		}
	}
	for _, tt := range []struct {
		name, pages string
		a           answers
		want        string
		calls       int
	}{
		{"cursor", "cursor: {from: .next, param: c}", circle(1, 1), "page 2 points to itself", 2},
		{"cursor of three", "cursor: {from: .next, param: c}", circle(3, 1), "a loop of 3 pages: the vendor's page 4 points to page 2 again, as page 1 did", 4},
		{"cursor of sixteen", "cursor: {from: .next, param: c}", circle(16, 4), "a loop of 16 pages: the vendor's page 20 points to page 5 again", 20},
		{"cursor of many", "cursor: {from: .next, param: c}", circle(20, 1), "more than the bound of 40 pages: page 40 points to one more", 40},
		{"object", "cursor: {from: '{c: .next, d: 1}'}", circle(2, 2), "page 4 points to page 3 again", 4},
		{"query", "next_query: .q", circle(2, 1), "page 3 points to page 2 again", 3},
		{"url", "next_url: .url", circle(2, 1), "page 3 points to page 2 again", 3},
		{"link", "link: true", circle(1, 3), "page 4 points to itself", 4},
		{"number ignored", "page: {param: p}", func(int, *http.Request, string) (int, http.Header, string) { return 200, nil, ids(1, 5, "") }, "pages 1 and 2 are the same", 2},
		{"number wraps around", "page: {param: p}", circle(3, 1), "a loop of 3 pages: the vendor's page 4 is its page 1 again", 4},
		{"offset ignored", "offset: {param: p}", func(int, *http.Request, string) (int, http.Header, string) { return 200, nil, ids(1, 5, "") }, `seems to ignore "p"`, 2},
		{"empty pages with more", "page: {param: p, more: 'true'}", func(int, *http.Request, string) (int, http.Header, string) { return 200, nil, ids(1, 1, "") }, "bound of 40 pages", 40},
		{"empty offset with more", "offset: {param: p, more: 'true'}", func(int, *http.Request, string) (int, http.Header, string) { return 200, nil, ids(1, 1, "") }, "would be the same, 0", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, asked, err := walk(t, "{name: a, get: /a, items: '.items[]', key: .id, pages: {"+tt.pages+"}}", tt.a)
			if classOf(err) != fanout.Broken || !strings.Contains(err.Error(), tt.want) || len(asked) != tt.calls {
				t.Errorf("after %d calls, want %d and %q: %v", len(asked), tt.calls, tt.want, err)
			}
		})
	}
	_, asked, err := walk(t, "{name: a, get: /a, items: '.items[]', key: .id, max_pages: 7, pages: {cursor: {from: .next, param: c}}}", circle(100, 1))
	if classOf(err) != fanout.Broken || !strings.Contains(err.Error(), "bound of 7 pages") || len(asked) != 7 {
		t.Errorf("max_pages: after %d calls: %v", len(asked), err)
	}
}

// TestStateHoldsNoSecret: a vendor that puts our token into what points to the
// next page must not have it landed; the next request has it again by auth only.
func TestStateHoldsNoSecret(t *testing.T) {
	in := url.QueryEscape(token)
	for name, pages := range map[string]string{
		"url": `pages: {next_url: .url}`, "link": "pages: {link: true}", "query": "pages: {next_query: .q}", "cursor": "pages: {cursor: {from: .c, param: c}}",
		"object": "pages: {cursor: {from: '{c: .c}'}}",
	} {
		t.Run(name, func(t *testing.T) {
			var asked []string
			c, p := vendorAt(t, spec2("{name: a, get: /a, items: '.items[]', key: .id, "+pages+"}"), func(w http.ResponseWriter, r *http.Request) {
				asked = append(asked, r.RequestURI)
				if len(asked) > 1 {
					fmt.Fprint(w, ids(2, 3, ""))
					return
				}
				tok, _ := json.Marshal(token)
				w.Header().Set("Link", "</a?p=2&key="+in+"&z=1>; rel=next")
				fmt.Fprint(w, ids(1, 2, fmt.Sprintf(`,"url":"/a?key=%s&p=2&z=1","q":"p=2&key=%s&z=1","c":%s`, in, in, tok)))
			})
			page, err := c.Call(t.Context(), root(p), "")
			if strings.Contains(pages, "cursor") {
				if classOf(err) != fanout.Broken || !strings.Contains(err.Error(), "a secret of ours") {
					t.Errorf("%v", err)
				}
				noSecret(t, err.Error())
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			noSecret(t, page.Next)
			if _, err := c.Call(t.Context(), root(p), page.Next); err != nil || asked[1] != "/a?p=2&z=1" {
				t.Errorf("asked %q: %v", asked, err)
			}
		})
	}
}

// TestExpired: an answer that says that a cursor has run out is of that class, by
// status or by what it says; on a first page it never is.
func TestExpired(t *testing.T) {
	for _, tt := range []struct {
		name, expired string
		status        int
		body          string
		want          fanout.Class
	}{
		{"status", "{status: [410]}", 410, "gone", fanout.Expired},
		{"another status", "{status: [410]}", 404, "{}", fanout.Missing},
		{"bad request that says so", "{status: [400], when: '.error == \"cursor\"'}", 400, `{"error":"cursor"}`, fanout.Expired},
		{"another bad request", "{status: [400], when: '.error == \"cursor\"'}", 400, `{"error":"other"}`, fanout.Rejected},
		{"no JSON", "{status: [400], when: '.error == \"cursor\"'}", 400, `cursor`, fanout.Rejected},
		{"under 200", "{when: .error.expired}", 200, `{"error":{"expired":true}}`, fanout.Expired},
		{"under 200 with a list", "{when: '.error != null'}", 200, `{"error":1,"items":[]}`, fanout.Expired},
		{"by a header", "{when: '$headers[\"x-e\"] == \"1\" and $status == 409'}", 409, `{}`, fanout.Expired},
		{"server error", "{status: [500]}", 500, ``, fanout.Expired},
		{"throttled all the same", "{status: [429, 410]}", 429, ``, fanout.Throttled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, kind := range []string{"cursor: {from: .c, param: c}", "next_url: .u", "next_query: .c", "link: true"} {
				c, p := vendorAt(t, spec2("{name: a, get: /a, items: '.items[]', key: .id, pages: {"+kind+", expired: "+tt.expired+"}}"), func(w http.ResponseWriter, r *http.Request) {
					if r.URL.RawQuery == "" {
						w.Header().Set("Link", `</a?c=1>; rel=next`)
						fmt.Fprint(w, ids(1, 2, `,"c":"c=1","u":"/a?c=1"`))
						return
					}
					w.Header().Set("X-E", "1")
					w.WriteHeader(tt.status)
					fmt.Fprint(w, tt.body)
				})
				page, err := c.Call(t.Context(), root(p), "")
				if err != nil {
					t.Fatal(err)
				}
				if _, err := c.Call(t.Context(), root(p), page.Next); classOf(err) != tt.want {
					t.Errorf("%s: %v", kind, err)
				}
			}
		})
	}
	c, p := vendorAt(t, spec2("{name: a, get: /a, items: '.items[]', key: .id, pages: {link: true, expired: {status: [410]}}}"), func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(410) })
	if _, err := c.Call(t.Context(), root(p), ""); classOf(err) != fanout.Missing {
		t.Errorf("first page: %v", err)
	}
}

// TestListsThatAreNotThere: null is an empty list; one that is missing is an error
// that says what there is instead, unless the spec allows it.
func TestListsThatAreNotThere(t *testing.T) {
	const none, broken = "none", "broken"
	for body, both := range map[string]struct{ plain, optional string }{
		`{"data":{"items":null},"more":1}`: {none, none}, `{"data":{"items":[]}}`: {none, none},
		`{"data":{}}`: {broken, none}, `{"data":null}`: {broken, none}, `{"error":"no","code":1007}`: {broken, none}, `{}`: {broken, none},
		`{"data":{"items":3}}`: {broken, broken}, `{"data":[]}`: {broken, broken}, `[]`: {broken, broken}, `7`: {broken, broken},
	} {
		for _, form := range []string{".data.items[]", ".data.items[] | select(.id != 0)"} {
			for _, optional := range []bool{false, true} {
				want, first := both.plain, "{name: a, get: /a, items: '"+form+"', key: .id"
				if optional {
					want, first = both.optional, first+", optional: true"
				}
				c, p := vendorAt(t, header+"tiers:\n  - "+first+"}\n  - {name: leaf, get: '/leaf/{a}', table: t, rows: '"+form+" | {id}', optional: "+fmt.Sprint(optional)+"}\n",
					func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, body) })
				for _, task := range []fanout.Task{root(p), root(p).Child("leaf", fanout.Node{Path: []string{"k"}})} {
					page, err := c.Call(t.Context(), task, "")
					switch {
					case want == none && (err != nil || len(page.Children)+page.Rows != 0):
						t.Errorf("%s: %s of %s, optional %t: %v", body, form, task.Tier, optional, err)
					case want == broken && classOf(err) != fanout.Broken:
						t.Errorf("%s: %s of %s, optional %t is accepted: %v", body, form, task.Tier, optional, err)
					}
				}
			}
		}
	}
	c, p := vendorAt(t, spec2("{name: a, get: /a, items: '.data.items[]', key: .id}"), func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `{"error":"no","code":1007}`) })
	if _, err := c.Call(t.Context(), root(p), ""); err == nil || !strings.Contains(err.Error(), "the answer has no .data.items: the answer has code, error") {
		t.Errorf("%v", err)
	}
}

// A secret as short as a word may be in a cursor by chance, and a pointer of any
// length cannot be kept.
func TestPointersAreBounded(t *testing.T) {
	for _, tt := range []struct{ secret, next, want string }{
		{"adm", `"page-adm-2"`, ""}, {"long-secret", `"page-long-secret-2"`, "a secret of ours"}, {"adm", `"` + strings.Repeat("c", 17000) + `"`, "at most 16384 are kept"},
	} {
		p := testPlan(t, spec2("{name: a, get: /a, items: '.items[]', key: .id, pages: {cursor: {from: .next, param: c}}}"), nil)
		c, err := NewClient(p, &secretMap{m: map[string]string{"token": tt.secret}}, Options{RoundTripper: roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.URL.Query().Get("c") != "" {
				return answer(200, ids(2, 3, "")), nil
			}
			return answer(200, ids(1, 2, `,"next":`+tt.next)), nil
		})})
		if err != nil {
			t.Fatal(err)
		}
		keys, _, err := fetchAll(t, c, root(p))
		if tt.want == "" && (err != nil || len(keys) != 2) || tt.want != "" && (classOf(err) != fanout.Broken || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v %v", tt.secret, keys, err)
		}
		c.Close()
	}
}

// TestNextURLOnAnAllowedOrigin: it is followed there without credentials; but what
// has a body stays at home.
func TestNextURLOnAnAllowedOrigin(t *testing.T) {
	var elsewhere []string
	cdn := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		elsewhere = append(elsewhere, r.Method+" "+r.RequestURI+" "+r.Header.Get("Authorization")+r.Header.Get("X-Key"))
		fmt.Fprint(w, ids(2, 3, ""))
	}))
	defer cdn.Close()
	for _, method := range []string{"get", "post"} {
		elsewhere = nil
		c, p := vendorAt(t, "origins: ["+cdn.URL+"]\n"+spec2("{name: a, "+method+": /a, headers: {X-Key: '{secret.token}'}, items: '.items[]', key: .id, pages: {link: true}}"), func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "<"+cdn.URL+"/b?c=1>; rel=next")
			fmt.Fprint(w, ids(1, 2, ""))
		})
		keys, _, err := fetchAll(t, c, root(p))
		if method == "get" && (err != nil || len(keys) != 2 || !slices.Equal(elsewhere, []string{"GET /b?c=1 "})) {
			t.Errorf("%v, asked elsewhere %q: %v", keys, elsewhere, err)
		}
		if method == "post" && (classOf(err) != fanout.Broken || !strings.Contains(err.Error(), "a request with a body is not sent there") || len(elsewhere) > 0) {
			t.Errorf("%v, asked elsewhere %q: %v", keys, elsewhere, err)
		}
	}
}

// A page beyond the last, asked for to be sure of a total, may be a 404; one in the
// middle may not. And the same page twice is a loop in a last tier, too.
func TestBeyondTheLastPage(t *testing.T) {
	last := 2
	c, p := vendorAt(t, spec2("{name: a, get: /a, items: '.items[]', key: .id, pages: {page: {param: p, total: .total, size_param: s, size: 2}}}"), func(w http.ResponseWriter, r *http.Request) {
		n := 0
		fmt.Sscan(r.URL.Query().Get("p"), &n)
		if n > last {
			w.WriteHeader(404)
			return
		}
		fmt.Fprint(w, ids(2*n-1, 2*n+1, `,"total":4`))
	})
	keys, pages, err := fetchAll(t, c, root(p))
	if err != nil || len(keys) != 4 || pages != 3 {
		t.Errorf("%q in %d pages: %v", keys, pages, err)
	}
	last = 1
	if _, _, err = fetchAll(t, c, root(p)); classOf(err) != fanout.Missing {
		t.Errorf("a page in the middle that is not there: %v", err)
	}
	c, p = vendorAt(t, header+"tiers: [{name: a, get: /a, items: '.items[]', table: t, pages: {page: {param: p, more: 'true'}}}]\n", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, ids(1, 4, "")) })
	page, err := c.Call(t.Context(), root(p), "")
	if err != nil {
		t.Fatal(err)
	}
	page.Release()
	if _, err := c.Call(t.Context(), root(p), page.Next); classOf(err) != fanout.Broken || !strings.Contains(err.Error(), "are the same") {
		t.Errorf("the same page of a last tier: %v", err)
	}
}

// A vendor that names the headers of its cursor cannot name ours.
func TestCursorInHeadersOfOurOwn(t *testing.T) {
	for name, ok := range map[string]bool{"X-Next": true, "Idempotency-Key": false, "Host": false, "authorization": false, "Cookie": false, "a b": false} {
		c, p := vendorAt(t, spec2("{name: a, get: /a, items: '.items[]', key: .id, pages: {cursor: {from: .next, in: header}}}"), func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Next") != "" {
				fmt.Fprint(w, ids(2, 3, ""))
				return
			}
			fmt.Fprint(w, ids(1, 2, fmt.Sprintf(`,"next":{%q:"v"}`, name)))
		})
		if _, _, err := fetchAll(t, c, root(p)); (err == nil) != ok || !ok && classOf(err) != fanout.Broken {
			t.Errorf("%s: %v", name, err)
		}
	}
}
