package vendorapi

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// What answers mean, over a real socket.
func TestAnswers(t *testing.T) {
	t.Parallel()
	const rules = `
  - {status: [403, 420], header: {X-RateLimit-Remaining: "^0$"}, means: throttled}
  - {status: [404], when: '.code == "no-such-account"', means: refused}
  - {when: .status == 1401, means: refused, says: .errmsg}
  - {when: .status == 429, means: throttled}
  - {when: '$headers["x-busy"] == "yes"', means: unavailable}
  - {when: '.error.code == 7', means: gone}
  - {when: .fine == true, means: ok}
  - {when: .error != null, means: error, says: .error.message}
  - {when: .bad != null, means: rejected, says: .bad}
  - {status: [204], means: empty}
  - {status: [410], means: expired}
`
	p := func(url string) *Plan {
		return testPlan(t, "name: v\nbase_url: "+url+"\nlimits: unknown\nanswers:"+rules+`tiers:
  - {name: groups, get: /groups, items: ".items[]", key: .id}
  - {name: data, get: "/data/{groups}"}
`, nil)
	}
	for name, c := range map[string]struct {
		status int
		header map[string]string
		body   string
		class  fanout.Class // empty: no error
		retry  time.Duration
		says   string
	}{
		"403 with nothing left":     {403, map[string]string{"X-RateLimit-Remaining": "0", "Retry-After": "7"}, `{}`, fanout.Throttled, 7 * time.Second, "throttled"},
		"403 with something left":   {403, map[string]string{"X-RateLimit-Remaining": "10"}, `{}`, fanout.Refused, 0, ""},
		"420":                       {420, map[string]string{"X-RateLimit-Remaining": "0"}, `no JSON`, fanout.Throttled, 0, ""},
		"404 is no account":         {404, nil, `{"code":"no-such-account"}`, fanout.Refused, 0, ""},
		"404":                       {404, nil, `{"code":"other"}`, fanout.Missing, 0, ""},
		"an error under 200":        {200, nil, `{"status":1401,"errmsg":"Authentication failed"}`, fanout.Refused, 0, "Authentication failed"},
		"throttled under 200":       {200, map[string]string{"Retry-After": "3"}, `{"status":429}`, fanout.Throttled, 3 * time.Second, ""},
		"a header says busy":        {200, map[string]string{"X-Busy": "yes"}, `{"items":[]}`, fanout.Unavailable, 0, ""},
		"gone under 200":            {200, nil, `{"error":{"code":7}}`, fanout.Missing, 0, ""},
		"fine in spite of an error": {200, nil, `{"fine":true,"error":{"code":9},"items":[{"id":1}]}`, "", 0, ""},
		"an error object":           {200, nil, `{"error":{"code":9,"message":"no such method"}}`, fanout.Bad, 0, "no such method"},
		"a message that is none":    {200, nil, `{"bad":{"a":[1]}}`, fanout.Rejected, 0, `{\"a\":[1]}`},
		"nothing under 204":         {204, nil, ``, "", 0, ""},
		"nothing under 200":         {200, nil, ``, fanout.Bad, 0, "empty"},
		"an expired cursor":         {410, nil, `{}`, fanout.Expired, 0, ""},
		"HTML under 200":            {200, nil, `<html>`, fanout.Bad, 0, "HTML"},
		"a large list beside it":    {200, nil, `{"error":{"code":9,"message":"late"},"items":[` + strings.Repeat(`{"id":1},`, 20_000) + `{"id":2}]}`, fanout.Bad, 0, "late"},
		"a large list":              {200, nil, `{"items":[` + strings.Repeat(`{"id":1},`, 20_000) + `{"id":2}]}`, "", 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for k, v := range c.header {
					w.Header().Set(k, v)
				}
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.body)
			}))
			defer srv.Close()
			plan := p(srv.URL)
			client := testClient(t, plan, nil)
			page, err := client.Call(t.Context(), root(plan), "")
			if page.Release != nil {
				page.Release()
			}
			var ce *fanout.CallError
			errors.As(err, &ce)
			switch {
			case c.class == "" && err != nil, c.class != "" && ce == nil:
				t.Fatal(err)
			case ce == nil:
				return
			case ce.Class != c.class || ce.RetryAfter != c.retry || !strings.Contains(ce.Err.Error(), c.says):
				t.Errorf("%s after %v: %v", ce.Class, ce.RetryAfter, err)
			case c.body != "" && ce.Excerpt == "":
				t.Errorf("%v has no excerpt", err)
			}
		})
	}
}

// The first answer of a run must show what only good credentials get; later ones,
// and other tiers, need not.
func TestProofOfLife(t *testing.T) {
	t.Parallel()
	who := `"me"`
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/groups" {
			w.Header().Set("X-Account", "a1")
			fmt.Fprintf(w, `{"user":%s,"items":[{"id":1}]}`, who)
			return
		}
		fmt.Fprint(w, `{}`)
	}))
	defer srv.Close()
	plan := testPlan(t, "name: v\nbase_url: "+srv.URL+`
limits: unknown
proof: .user != null and $headers["x-account"] == "a1"
tiers:
  - {name: groups, get: /groups, items: ".items[]", key: .id}
  - {name: data, get: "/data/{groups}"}
`, nil)
	c := testClient(t, plan, nil)
	page, err := c.Call(t.Context(), root(plan), "")
	if err != nil {
		t.Fatal(err)
	}
	page.Release()
	if page, err = c.Call(t.Context(), root(plan).Child("data", page.Children[0]), ""); err != nil {
		t.Fatal(err)
	}
	page.Release()
	who = "null"
	_, err = c.Call(t.Context(), root(plan), "")
	if classOf(err) != fanout.Refused || !strings.Contains(err.Error(), "proof of life") {
		t.Errorf("an answer without proof: %v", err)
	}
}

// A rule without status is about 2xx only, a class about what is not throttled: what
// says slow down in the words of any error brakes all the same.
func TestRulesAreAboutTheirStatus(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rule   string
		status int
		class  fanout.Class
	}{
		"without status, 200":        {`when: .stat == "fail", means: error`, 200, fanout.Bad},
		"without status, 429":        {`when: .stat == "fail", means: error`, 429, fanout.Throttled},
		"without status, 403":        {`when: .stat == "fail", means: error`, 403, fanout.Refused},
		"without status, 503":        {`when: .stat == "fail", means: error`, 503, fanout.Unavailable},
		"a header, 200":              {`header: {X-Stat: "."}, means: gone`, 200, fanout.Missing},
		"a header, 429":              {`header: {X-Stat: "."}, means: gone`, 429, fanout.Throttled},
		"a class, 400":               {`status: 4xx, when: .stat == "fail", means: error`, 400, fanout.Bad},
		"a class, 404":               {`status: 4xx, when: .stat == "fail", means: error`, 404, fanout.Bad},
		"a class, 429":               {`status: 4xx, when: .stat == "fail", means: error`, 429, fanout.Throttled},
		"a class and the status":     {`status: [4xx, 429], when: .stat == "fail", means: error`, 429, fanout.Bad},
		"a class means throttled":    {`status: [4xx], means: throttled`, 429, fanout.Throttled},
		"classes, 502":               {`status: [4xx, 5xx], means: gone`, 502, fanout.Missing},
		"classes, 200":               {`status: [4xx, 5xx], means: gone`, 200, ""},
		"one status":                 {`status: 404, means: refused`, 404, fanout.Refused},
		"2xx and others, 200":        {`status: [2xx, 400], when: .stat == "fail", means: gone`, 200, fanout.Missing},
		"2xx and others, 400":        {`status: [2xx, 400], when: .stat == "fail", means: gone`, 400, fanout.Missing},
		"a query asks for the class": {`status: [4xx], when: $status == 418, means: gone`, 418, fanout.Missing},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, plan := vendorAt(t, header+"answers: [{"+c.rule+"}]\ntiers: [{name: a, get: /a, items: '.items[]', table: t}]\n", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X-Stat", "fail")
				w.WriteHeader(c.status)
				fmt.Fprint(w, `{"stat":"fail","items":[]}`)
			})
			page, err := client.Call(t.Context(), root(plan), "")
			if page.Release != nil {
				page.Release()
			}
			if got := classOf(err); got != c.class || c.class == "" && err != nil {
				t.Errorf("%q: %v", got, err)
			}
		})
	}
}

// The vendor's own message stands in every error that no rule has one for, masked
// and bounded.
func TestVendorSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status     int
		body, want string
		class      fanout.Class
	}{
		"rejected":            {400, `{"errors":[{"detail":"no field \"x\""}]}`, `Bad Request): the vendor says "no field \"x\""`, fanout.Rejected},
		"missing":             {404, `{"errors":[{"detail":"no such monitor"}]}`, `does not have it: the vendor says "no such monitor"`, fanout.Missing},
		"refused":             {403, `{"errors":[{"detail":"key *0*"}]}`, `(Forbidden): the vendor says "key *0*"`, fanout.Refused},
		"throttled":           {429, `{"errors":[{"detail":"30 a minute"}]}`, `slow down (Too Many Requests): the vendor says "30 a minute"`, fanout.Throttled},
		"unavailable":         {503, `{"errors":[{"detail":7.10}]}`, `the vendor says "7.10"`, fanout.Unavailable},
		"a redirect":          {300, `{"errors":[{"detail":"which?"}]}`, `the vendor says "which?"`, fanout.Rejected},
		"a rule without":      {409, `{"errors":[{"detail":"later"}]}`, `the vendor says "later"`, fanout.Unavailable},
		"null":                {400, `{"errors":[]}`, `Bad Request)`, fanout.Rejected},
		"failing":             {400, `{"errors":"x"}`, `Bad Request)`, fanout.Rejected},
		"no JSON":             {502, `<html>`, `Bad Gateway)`, fanout.Unavailable},
		"a secret":            {400, `{"errors":[{"detail":"who is t0k/en \"secret\"?"}]}`, `the vendor says "who is ***?"`, fanout.Rejected},
		"a secret at the end": {400, `{"errors":[{"detail":"` + strings.Repeat("x", mostSaying-2) + `t0k/en \"secret\""}]}`, `xx**..."`, fanout.Rejected},
		"long":                {400, `{"errors":[{"detail":"` + strings.Repeat("y", 100_000) + `"}]}`, `Bad Request)`, fanout.Rejected},
		"long, but not too":   {400, `{"errors":[{"detail":"` + strings.Repeat("z", 1000) + `"}]}`, `zzz..."`, fanout.Rejected},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, plan := vendorAt(t, header+"auth: {bearer: \"{secret.token}\"}\nsays: .errors[0].detail\nanswers: [{status: 409, means: unavailable}]\ntiers: [{name: a, get: /a, items: '.items[]', table: t}]\n", func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.body)
			})
			_, err := client.Call(t.Context(), root(plan), "")
			var ce *fanout.CallError
			if !errors.As(err, &ce) || ce.Class != c.class || !strings.Contains(ce.Err.Error(), c.want) {
				t.Fatalf("%v\nwant %s", err, c.want)
			}
			if said := strings.Contains(ce.Err.Error(), "the vendor says \""); said != strings.Contains(c.want, "\"") {
				t.Errorf("%v", ce.Err)
			}
			if len(ce.Err.Error()) > 2*mostSaying || strings.Contains(err.Error(), token[:4]) {
				t.Errorf("%d bytes: %v", len(ce.Err.Error()), ce.Err)
			}
		})
	}
}

// What is no JSON is not about a rule's when; an empty slice is not the last one; and
// an empty first answer proves nothing.
func TestEmptyAnswers(t *testing.T) {
	t.Parallel()
	var asked int
	answers := func(w http.ResponseWriter, r *http.Request) {
		switch asked++; {
		case strings.HasPrefix(r.URL.Path, "/html"):
			fmt.Fprint(w, "<html>please log in</html>")
		case asked%4 == 2:
			w.WriteHeader(http.StatusNoContent)
		default:
			fmt.Fprint(w, `[{"x":1}]`)
		}
	}
	srv := httptest.NewServer(http.HandlerFunc(answers))
	defer srv.Close()
	head := "name: v\nbase_url: " + srv.URL + "\nlimits: unknown\nanswers: [{status: [204], means: empty}, {when: .items == null, means: empty}]\n"
	p := testPlan(t, head+"tiers: [{name: a, get: /html, items: '.items[]', table: t}]\n", nil)
	if _, err := testClient(t, p, nil).Call(t.Context(), root(p), ""); classOf(err) != fanout.Bad {
		t.Errorf("HTML: %v", err)
	}
	asked = 0
	p = testPlan(t, strings.Replace(head, ", {when: .items == null, means: empty}", "", 1)+`tiers: [{name: a, get: "/a{?f}", with: {f: "{slice.from.epoch}"}, pages: {slices: {step: 6h}}, rows: '.[]', table: t}]
`, nil)
	c, cursor, rows := testClient(t, p, nil), "", 0
	for {
		page, err := c.Call(t.Context(), root(p), cursor)
		if err != nil {
			t.Fatal(err)
		}
		rows += page.Rows
		page.Release()
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if asked != 4 || rows != 3 {
		t.Errorf("%d slices were asked for, %d rows", asked, rows)
	}
	asked = 1
	p = testPlan(t, head+"proof: .[0].x == 1\ntiers: [{name: a, get: /a, rows: '.[]', table: t}]\n", nil)
	if _, err := testClient(t, p, nil).Call(t.Context(), root(p), ""); classOf(err) != fanout.Refused {
		t.Errorf("an empty first answer: %v", err)
	}
}
