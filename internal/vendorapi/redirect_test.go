package vendorapi

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/internal/fanout"
)

// Redirects at the vendor's own origin are followed with credentials and a permit
// each; to another origin only where the spec allows it, and without a secret.
func TestRedirects(t *testing.T) {
	t.Parallel()
	var shown []string
	cdn := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, v := range r.Header {
			shown = append(shown, name+": "+strings.Join(v, ","))
		}
		fmt.Fprint(w, `{"items":[{"id":"far"}]}`)
	}))
	defer cdn.Close()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+token {
			http.Error(w, "who?", http.StatusUnauthorized)
			return
		}
		var n int
		fmt.Sscanf(r.URL.Query().Get("n"), "%d", &n)
		switch r.URL.Query().Get("to") {
		case "here":
			if n > 0 {
				http.Redirect(w, r, fmt.Sprintf("/api/groups?to=here&n=%d", n-1), http.StatusFound)
				return
			}
			fmt.Fprint(w, `{"items":[{"id":"near"}]}`)
		case "there":
			http.Redirect(w, r, cdn.URL+"/x?y=1", http.StatusTemporaryRedirect)
		case "nowhere":
			w.WriteHeader(http.StatusFound)
		}
	}))
	defer srv.Close()
	plan := func(query string, more string) *Plan {
		return testPlan(t, "name: v\nbase_url: "+srv.URL+`/api
auth: {bearer: "{secret.token}"}
headers: {X-Plain: p, X-Secret: "{secret.token}"}
limits: unknown
`+more+`
tiers:
  - {name: groups, get: "/groups?`+query+`", items: ".items[]", key: .id, headers: {X-Tier: "{secret.token}"}}
  - {name: data, get: "/data/{groups}"}
`, nil)
	}
	call := func(p *Plan) (fanout.Page, int, error) {
		c := testClient(t, p, nil)
		ctx, taken := permits(t)
		page, err := c.Call(ctx, root(p), "")
		return page, taken(), err
	}
	if page, n, err := call(plan("to=here&n=3", "")); err != nil || n != 4 || page.Children[0].Path[0] != "near" {
		t.Errorf("3 hops: %d permits, %v", n, err)
	}
	if _, n, err := call(plan("to=here&n=4", "")); classOf(err) != fanout.Rejected || n != 4 || !strings.Contains(err.Error(), "more than 3 times") {
		t.Errorf("4 hops: %d permits, %v", n, err)
	}
	if _, n, err := call(plan("to=here&n=4", "bounds: {redirects: 4}")); err != nil || n != 5 {
		t.Errorf("4 hops that are allowed: %d permits, %v", n, err)
	}
	if _, n, err := call(plan("to=there", "")); classOf(err) != fanout.Rejected || n != 1 || !strings.Contains(err.Error(), "add it to origins") {
		t.Errorf("another origin: %d permits, %v", n, err)
	}
	if _, _, err := call(plan("to=nowhere", "")); classOf(err) != fanout.Rejected {
		t.Errorf("nowhere: %v", err)
	}
	page, n, err := call(plan("to=there", "origins: ["+cdn.URL+"]"))
	if err != nil || n != 2 || page.Children[0].Path[0] != "far" {
		t.Errorf("an origin that is allowed: %d permits, %v", n, err)
	}
	sent := strings.Join(shown, "\n")
	if noSecret(t, sent); !strings.Contains(sent, "X-Plain: p") || strings.Contains(sent, "Authorization") || strings.Contains(sent, "X-Secret") || strings.Contains(sent, "X-Tier") {
		t.Errorf("another origin was sent:\n%s", sent)
	}
	if _, err := testClient(t, plan("to=here&n=1", ""), nil).Call(t.Context(), root(plan("to=here&n=1", "")), ""); err == nil {
		t.Error("a redirect was followed without a permit")
	}
}

// What an answer points to must not lead inside, unless the vendor is there.
func TestInsideIsRefused(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"127.0.0.1": "loopback", "::1": "loopback", "169.254.169.254": "link-local", "fe80::1": "link-local", "10.1.2.3": "private",
		"192.168.0.1": "private", "172.16.0.1": "private", "fd00:ec2::254": "private", "100.64.0.1": "private", "::ffff:10.0.0.1": "private",
		"0.0.0.0": "reserved", "240.0.0.1": "reserved", "224.0.0.1": "link-local", "8.8.8.8": "", "2001:4860:4860::8888": "", "172.32.0.1": "",
	} {
		got := inside(netip.MustParseAddr(addr))
		if addr == "224.0.0.1" && got != "" {
			continue // refused, by whatever name
		}
		if got != want {
			t.Errorf("%s is %q, not %q", addr, got, want)
		}
	}
	public, local := &guard{host: "192.0.2.1"}, &guard{host: "127.0.0.1"}
	for _, c := range []struct {
		g    *guard
		addr string
		ok   bool
	}{
		{public, "169.254.169.254:80", false}, {public, "10.0.0.1:443", false}, {public, "[::1]:80", false}, {public, "198.51.100.7:443", true},
		{local, "127.0.0.2:80", true}, {local, "169.254.169.254:80", false}, {local, "10.0.0.1:80", false},
	} {
		if err := c.g.control(context.Background(), "tcp", c.addr, nil); (err == nil) != c.ok {
			t.Errorf("from %s to %s: %v", c.g.host, c.addr, err)
		}
	}
	// The transport asks: a vendor with a public address points to this machine.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	p := testPlan(t, "name: v\nbase_url: https://192.0.2.1\norigins: [http://"+ln.Addr().String()+"]\nlimits: unknown\ntiers:\n  - {name: data, get: /x}\n", nil)
	u, _ := url.Parse("http://" + ln.Addr().String())
	_, err = newAway(p, 1).RoundTrip(&http.Request{Method: "GET", URL: u, Header: http.Header{}})
	if err == nil || !strings.Contains(err.Error(), "loopback address: that is refused") {
		t.Errorf("a call to the inside: %v", err)
	}
}

// A key in the query does not travel with a redirect, and another origin that lets
// nobody in says nothing of the credentials.
func TestRedirectsCarryNoKey(t *testing.T) {
	t.Parallel()
	asked, status := "", http.StatusOK
	cdn := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.RequestURI
		w.WriteHeader(status)
		fmt.Fprint(w, `{"items":[]}`)
	}))
	defer cdn.Close()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, cdn.URL+r.URL.RequestURI(), http.StatusTemporaryRedirect)
	}))
	defer srv.Close()
	p := testPlan(t, "name: v\nbase_url: "+srv.URL+"\norigins: ["+cdn.URL+`]
auth: {api_key: {value: "{secret.token}", query: key}}
limits: unknown
tiers: [{name: a, get: "/a?x=1", items: ".items[]", key: .id}, {name: b, get: "/b/{a}"}]
`, nil)
	ctx, _ := permits(t)
	if _, err := testClient(t, p, nil).Call(ctx, root(p), ""); err != nil || asked != "/a?x=1" {
		t.Errorf("the other origin was asked %q: %v", asked, err)
	}
	status = http.StatusForbidden
	ctx, _ = permits(t)
	if _, err := testClient(t, p, nil).Call(ctx, root(p), ""); classOf(err) != fanout.Bad {
		t.Errorf("another origin's 403: %v", err)
	}
}
