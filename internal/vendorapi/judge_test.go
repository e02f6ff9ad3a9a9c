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
