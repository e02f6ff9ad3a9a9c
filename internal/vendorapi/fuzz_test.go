package vendorapi

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// FuzzSpec: whatever a spec's file holds, reading it ends with a spec or with errors
// that name places in it; and a spec that can be read can be asked for requests.
func FuzzSpec(f *testing.F) {
	for _, pattern := range []string{"../../vendors/*.yaml", "testdata/*.yaml", "testdata/bad/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatalf("no seeds at %s: %v", pattern, err)
		}
		for _, name := range files {
			src, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(src)
		}
	}
	for _, src := range []string{
		"", "name: *x", "a: &a [*a, *a]", "tiers: [{get: '{'}]", "limits: [{bucket: 9999999/999999h}]", "name: \x00", "? [a]\n: b",
		"name: v\nbase_url: http://h\nlimits: unknown\ntiers: [{name: a, get: '/{+window.from.date}', items: '.[]|recurse', rows: '[limit(9;repeat(.))]', table: t}]",
	} {
		f.Add([]byte(src))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		if len(src) > 64<<10 {
			return
		}
		s, err := Parse("f.yaml", src)
		var bad *SpecError
		if err != nil {
			if !errors.As(err, &bad) || !strings.HasPrefix(err.Error(), "f.yaml:") {
				t.Fatalf("an error that names no place: %v", err)
			}
			return
		}
		settings := map[string]string{}
		for _, set := range s.Settings {
			if set.Required {
				settings[set.Name] = "set"
			}
		}
		p, err := s.Bind(settings)
		if err != nil {
			return
		}
		for _, task := range p.Root("run", day) {
			c, err := p.call(task, "")
			if err != nil {
				continue
			}
			if d, err := c.draft(t.Context()); err == nil && !sameOrigin(d.full(), p.base) {
				t.Fatalf("the first request goes to %s, not to %s", d.full(), p.base)
			}
		}
	})
}

// fuzzVendor answers every call with the same.
type fuzzVendor struct {
	status int
	header http.Header
	body   []byte
	n      int
}

func (v *fuzzVendor) RoundTrip(r *http.Request) (*http.Response, error) {
	v.n++
	if r.URL.Host != "h.example" {
		return nil, errors.New("a call to " + r.URL.Host)
	}
	return &http.Response{StatusCode: v.status, Header: v.header.Clone(), Body: io.NopCloser(bytes.NewReader(v.body)), ContentLength: -1}, nil
}

// FuzzAnswer: whatever an answer holds, in whatever way its list is paged, a list
// ends within its bounds, by a page or by a *fanout.CallError that holds no secret.
func FuzzAnswer(f *testing.F) {
	plans := fuzzPlans(f)
	for i := range plans {
		for _, body := range []string{
			`{"items":[{"id":1},{"id":"a/b"}],"next":"c1","total":2,"more":true,"link":"/x?a=1"}`, `{"items":null}`, `{}`, `[]`, `null`, `{"items":[{"id":null},{"id":{}}]}`,
			`{"items":[],"next":{"a":[1],"b":"x"},"total":-5}`, `{"items":[{"id":1e400}],"next":12345678901234567890,"total":"3"}`, "\xef\xbb\xbf{\"items\":[]}", `{"items":[{"id":"\ud800"}]}`,
			`{"items":[1],"link":"//evil.example/x","next":"t0k/en \"secret\""}`, `{"items":[{"id":1}]`, `<html>`, ``,
		} {
			f.Add(uint8(i), 200, []byte(body), "X-Next", "c2", false)
		}
		f.Add(uint8(i), 429, []byte(`{}`), "Retry-After", "1e99", false)
		f.Add(uint8(i), 302, []byte(``), "Location", "http://h.example/again", false)
		f.Add(uint8(i), 200, []byte(`{"items":[{"id":1}]}`), "Link", `<http://h.example/p?x=1>; rel="next", <;;>; rel=next`, true)
	}
	f.Fuzz(func(t *testing.T, kind uint8, status int, body []byte, name, value string, zip bool) {
		if status < 200 || status > 599 || len(body) > 256<<10 {
			return
		}
		v := &fuzzVendor{status: status, header: http.Header{}, body: body}
		if headerName.MatchString(name) && headerValue(value) {
			v.header[http.CanonicalHeaderKey(name)] = []string{value}
		}
		if zip {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			z.Write(body)
			z.Close()
			v.body = b.Bytes()
			v.header.Set("Content-Encoding", "gzip")
		}
		p := plans[int(kind)%len(plans)]
		c, err := NewClient(p, tokenOnly(), Options{RoundTripper: v})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		cursor := ""
		for pages := 0; ; pages++ {
			if pages > p.Bounds.Pages {
				t.Fatalf("the list has more than %d pages", p.Bounds.Pages)
			}
			ctx, _ := permits(t)
			page, err := c.Call(ctx, root(p), cursor)
			if err != nil {
				var ce *fanout.CallError
				if !errors.As(err, &ce) {
					t.Fatalf("%T: %v", err, err)
				}
				if ce.RetryAfter < 0 || ce.RetryAfter > maxRetryAfter || len(ce.Excerpt) > p.Bounds.Excerpt+len("...") {
					t.Fatalf("retry after %v, an excerpt of %d bytes", ce.RetryAfter, len(ce.Excerpt))
				}
				if strings.Contains(ce.Error()+ce.Excerpt, token) {
					t.Fatalf("the error holds the secret: %v", ce)
				}
				return
			}
			if page.Release != nil {
				page.Release()
			}
			if strings.Contains(page.Next, "t0k/en") {
				t.Fatalf("the cursor holds the secret: %s", page.Next)
			}
			if cursor = page.Next; cursor == "" {
				return
			}
		}
	})
}

// fuzzPlans are specs that page in each way.
func fuzzPlans(t testing.TB) (plans []*Plan) {
	t.Helper()
	for _, pages := range []string{
		"none", "{offset: {param: o, size_param: n, size: 2, total: .total}}", "{offset: {param: o, more: .more}}", "{page: {param: p, first: 0, total: .total}}",
		"{cursor: {from: .next, param: c}}", "{cursor: {from: '$headers[\"x-next\"]', param: c}}", "{cursor: {from: '.next | objects'}}", "{next_query: .link}", "{next_url: .link}", "{link: true}", "{slices: {step: 6h}}",
	} {
		get := "/a"
		if strings.Contains(pages, "slices") {
			get = "/a{?slice.from.epoch}"
		}
		s, err := Parse("v.yaml", []byte("name: v\nbase_url: http://h.example/api\nauth: {bearer: \"{secret.token}\"}\nlimits: unknown\nbounds: {pages: 20, children: 500}\n"+
			"says: .error\nanswers: [{when: .error != null, means: error, says: .error}, {status: [203], means: empty}]\ntiers:\n  - {name: a, get: \""+get+"\", items: \".items[]\", key: .id, carry: {x: .x}, pages: "+pages+"}\n  - {name: b, get: \"/b/{a}{?x}\", table: t, rows: '.rows[]?'}\n"))
		if err != nil {
			t.Fatal(err)
		}
		p, err := s.Bind(nil)
		if err != nil {
			t.Fatal(err)
		}
		plans = append(plans, p)
	}
	return plans
}

// FuzzHeaders: what headers say about waiting and limits is within bounds.
func FuzzHeaders(f *testing.F) {
	for _, v := range []string{"", "0", "-1", "5", "1.5", "1e99", "NaN", "Inf", "Wed, 21 Oct 2065 07:28:00 GMT", "Wed, 21 Oct 1965 07:28:00 GMT", "99999999999999999999", "100, 100;w=60", "1,000", " 7 ", "1700000000", "1700000000000", "2065-01-01T00:00:00Z"} {
		f.Add(v, v)
		f.Add(v, "Wed, 21 Oct 2015 07:28:00 GMT")
	}
	f.Fuzz(func(t *testing.T, value, date string) {
		h := http.Header{"Retry-After": {value}, "Date": {date}}
		if d := retryAfter(h, time.Unix(1_700_000_000, 0)); d < 0 || d > maxRetryAfter {
			t.Errorf("Retry-After %q is %v", value, d)
		}
		if n, ok := firstNumber(value); ok && (n < 1 || n > mostCount) {
			t.Errorf("%q is %d", value, n)
		}
	})
}
