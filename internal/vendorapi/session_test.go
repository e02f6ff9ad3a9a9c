package vendorapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// permits is a context for one call that may make more requests, and how many
// permits that took.
func permits(t *testing.T) (context.Context, func() int) {
	t.Helper()
	n := 1
	unused := func() { n-- }
	ctx, _ := fanout.WithPermits(t.Context(), fanout.Permit{Unused: unused}, fanout.Call{Tier: "groups"}, func(context.Context, fanout.Call) (fanout.Permit, error) {
		n++
		return fanout.Permit{Unused: unused}, nil
	})
	return ctx, func() int { return n }
}

// door is a vendor that lets those in who show what it gave out last.
type door struct {
	mu     sync.Mutex
	logins []*http.Request
	bodies []string
	good   string // what is let in; empty: nobody
	cookie bool
	lasts  int
	calls  atomic.Int64
	shut   int // logins that are answered with 401
}

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls.Add(1)
	if strings.HasPrefix(r.URL.Path, "/in") {
		_ = r.ParseForm()
		body := r.PostForm.Encode()
		if b, err := io.ReadAll(r.Body); err == nil && len(b) > 0 {
			body = string(b)
		}
		d.logins, d.bodies = append(d.logins, r), append(d.bodies, body)
		if d.shut > 0 {
			d.shut--
			http.Error(w, `{"error":"invalid_client"}`, http.StatusUnauthorized)
			return
		}
		d.good = fmt.Sprintf("session-token-%d", len(d.logins))
		if d.cookie {
			http.SetCookie(w, &http.Cookie{Name: "sid", Value: d.good})
			http.SetCookie(w, &http.Cookie{Name: "lang", Value: "en"})
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{"access_token": d.good, "token_type": "Bearer", "expires_in": d.lasts, "refresh_token": "refresh-" + d.good})
		return
	}
	shown := r.Header.Get("Authorization") + r.Header.Get("X-Token")
	if k, err := r.Cookie("sid"); err == nil {
		shown += "cookie " + k.Value
	}
	if d.good == "" || !strings.HasSuffix(shown, " "+d.good) && shown != d.good {
		http.Error(w, "who are you, "+shown, http.StatusUnauthorized)
		return
	}
	fmt.Fprintf(w, `{"items":[{"id":%q}]}`, "n")
}

func doorSpec(url, auth string) string {
	return "name: v\nbase_url: " + url + "\nauth: " + auth + `
limits: unknown
tiers:
  - {name: groups, get: /groups, items: ".items[]", key: .id}
  - {name: data, get: "/data/{groups}"}
`
}

func doorClient(t *testing.T, d *door, auth string, sessions Sessions) (*Client, *Plan) {
	t.Helper()
	srv := httptest.NewServer(d)
	t.Cleanup(srv.Close)
	return doorClientAt(t, srv.URL, auth, sessions)
}

func doorClientAt(t *testing.T, url, auth string, sessions Sessions) (*Client, *Plan) {
	t.Helper()
	p := testPlan(t, doorSpec(url, auth), nil)
	c, err := NewClient(p, &secretMap{m: map[string]string{"id": "the-client", "key": "the-secret-key", "refresh": "first-refresh"}}, Options{Sessions: sessions})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, p
}

// Each way of logging in takes one permit for the login, one for the call, and
// none for a login while the session is good.
func TestLogins(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		auth  string
		door  *door
		check func(*http.Request, string) bool
	}{
		"client credentials": {`{oauth2: {token_url: /in, client_id: "{secret.id}", client_secret: "{secret.key}", scopes: [a, b], params: {audience: x}}}`, &door{lasts: 3600}, func(r *http.Request, form string) bool {
			id, key, ok := r.BasicAuth()
			return ok && id == "the-client" && key == "the-secret-key" && form == "audience=x&grant_type=client_credentials&scope=a+b"
		}},
		"in params": {`{oauth2: {token_url: /in, client_id: "{secret.id}", client_secret: "{secret.key}", style: params}}`, &door{lasts: 3600}, func(_ *http.Request, form string) bool {
			return form == "client_id=the-client&client_secret=the-secret-key&grant_type=client_credentials"
		}},
		"refresh token": {`{oauth2: {token_url: /in, client_id: "{secret.id}", refresh_token: "{secret.refresh}", style: params}}`, &door{lasts: 3600}, func(_ *http.Request, form string) bool {
			return form == "client_id=the-client&grant_type=refresh_token&refresh_token=first-refresh"
		}},
		"form, token in a header": {`{login: {post: /in, form: {user: "{secret.id}", pass: "{secret.key}"}, token: .access_token, expires: .expires_in, send: {header: X-Token, value: "Token {token}"}}}`, &door{lasts: 3600}, func(_ *http.Request, form string) bool {
			return form == "pass=the-secret-key&user=the-client"
		}},
		"JSON": {`{login: {post: /in, json: {method: in, params: {user: "{secret.id}", pass: ["{secret.key}", 7]}}, token: .access_token, lasts: 1h}}`, &door{}, func(_ *http.Request, body string) bool {
			return body == `{"method":"in","params":{"pass":["the-secret-key",7],"user":"the-client"}}`
		}},
		"cookies": {`{login: {get: "/in?silent=1", headers: {X-Key: "{secret.key}"}, cookies: true, lasts: 1h}}`, &door{cookie: true}, func(r *http.Request, _ string) bool {
			return r.Method == "GET" && r.Header.Get("X-Key") == "the-secret-key"
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := c.door
			client, p := doorClient(t, d, c.auth, nil)
			for i := range 3 {
				ctx, taken := permits(t)
				page, err := client.Call(ctx, root(p), "")
				if err != nil || len(page.Children) != 1 {
					t.Fatalf("call %d: %+v, %v", i, page, err)
				}
				if want := map[bool]int{true: 2, false: 1}[i == 0]; taken() != want {
					t.Errorf("call %d took %d permits, not %d", i, taken(), want)
				}
			}
			if len(d.logins) != 1 || !c.check(d.logins[0], d.bodies[0]) {
				t.Errorf("%d logins: %s %q", len(d.logins), d.logins[0].URL, d.bodies)
			}
			if d.calls.Load() != 4 {
				t.Errorf("%d calls", d.calls.Load())
			}
		})
	}
}

// A session that the vendor no longer takes is renewed once, however many calls
// find out at the same time, and for all processes of the home; no call fails.
func TestSessionIsRenewedOnceForAll(t *testing.T) {
	t.Parallel()
	d := &door{lasts: 3600}
	srv := httptest.NewServer(d)
	t.Cleanup(srv.Close)
	home := HomeSecrets{Home: t.TempDir()}
	const auth = `{oauth2: {token_url: /in, client_id: "{secret.id}", client_secret: "{secret.key}"}}`
	var clients []*Client
	var plan *Plan
	for range 3 {
		c, p := doorClientAt(t, srv.URL, auth, home)
		clients, plan = append(clients, c), p
	}
	all := func() {
		var wg sync.WaitGroup
		for _, c := range clients {
			for range 8 {
				ctx, _ := permits(t)
				wg.Go(func() {
					if _, err := c.Call(ctx, root(plan), ""); err != nil {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
	}
	all()
	if len(d.logins) != 1 {
		t.Errorf("%d logins of three processes", len(d.logins))
	}
	d.mu.Lock()
	d.good = "somebody-logged-out"
	d.mu.Unlock()
	all()
	if len(d.logins) != 2 {
		t.Errorf("%d logins after the session had ended", len(d.logins))
	}
	path := home.Home + "/secrets/v.session"
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the session's file: %v, %v", info, err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if readSession(path) != nil {
		t.Error("a file that others can read is trusted")
	}
}

// Sessions that end are renewed before; those of other credentials are not used.
func TestSessionEnds(t *testing.T) {
	t.Parallel()
	d := &door{lasts: int(sessionSpare/time.Second) - 1}
	c, p := doorClient(t, d, `{login: {post: /in, form: {a: "{secret.key}"}, token: .access_token, expires: .expires_in}}`, nil)
	for range 3 {
		ctx, _ := permits(t)
		if _, err := c.Call(ctx, root(p), ""); err != nil {
			t.Fatal(err)
		}
	}
	if len(d.logins) != 3 {
		t.Errorf("%d logins for 3 calls with sessions that end at once", len(d.logins))
	}
	s := &Session{Access: "x", For: "a", Expires: time.Now().Add(time.Hour)}
	if !s.good("a", time.Now()) || s.good("b", time.Now()) || s.good("a", time.Now().Add(time.Hour-sessionSpare)) {
		t.Error("which session is good")
	}
}

// What a login says when it is not let in stops the vendor, and shows no secret.
func TestLoginIsRefused(t *testing.T) {
	t.Parallel()
	for _, auth := range []string{
		`{oauth2: {token_url: /in, client_id: "{secret.id}", client_secret: "{secret.key}"}}`,
		`{login: {post: /in, form: {user: "{secret.id}", pass: "{secret.key}"}, token: .access_token}}`,
	} {
		d := &door{shut: 1}
		c, p := doorClient(t, d, auth, nil)
		ctx, taken := permits(t)
		_, err := c.Call(ctx, root(p), "")
		var ce *fanout.CallError
		if !errors.As(err, &ce) || ce.Class != fanout.Refused || !strings.Contains(err.Error(), "logging in") || taken() != 1 {
			t.Errorf("%d permits, %v", taken(), err)
			continue
		}
		if text := err.Error() + ce.Excerpt; strings.Contains(text, "the-secret-key") {
			t.Errorf("the error holds the secret: %s", text)
		}
	}
}

// A token that the vendor echoes is masked like a secret.
func TestTokensAreMasked(t *testing.T) {
	t.Parallel()
	d := &door{lasts: 3600}
	c, p := doorClient(t, d, `{login: {post: /in, form: {a: "{secret.key}"}, token: .access_token, send: {header: X-Token}}}`, nil)
	ctx, _ := permits(t)
	if _, err := c.Call(ctx, root(p), ""); err != nil {
		t.Fatal(err)
	}
	d.mu.Lock()
	d.good, d.shut = "other", 9
	d.mu.Unlock()
	ctx, _ = permits(t)
	_, err := c.Call(ctx, root(p), "")
	var ce *fanout.CallError
	if !errors.As(err, &ce) || ce.Class != fanout.Refused {
		t.Fatal(err)
	}
	if text := err.Error() + ce.Excerpt; strings.Contains(text, "session-token-1") {
		t.Errorf("the error holds the token: %s", text)
	}
}

// A setting says which of several kinds of auth is used; only its secrets are asked
// for.
func TestAuthBySetting(t *testing.T) {
	t.Parallel()
	src := `name: v
base_url: http://h.example
settings: {auth: {default: bearer}}
auth: {by: auth, bearer: "{secret.token}", lmv1: {access_id: "{secret.id}", access_key: "{secret.key}"}}
headers: {X-Also: "{secret.id}"}
limits: unknown
tiers: [{name: data, get: /a/b}]
`
	for kind, want := range map[string][]string{"": {"id", "token"}, "bearer": {"id", "token"}, "lmv1": {"id", "key"}} {
		settings := map[string]string{"auth": kind}
		if kind == "" {
			settings = nil
		}
		p := testPlan(t, src, settings)
		if !slices.Equal(p.Secrets, want) {
			t.Errorf("%q: the secrets %v, not %v", kind, p.Secrets, want)
		}
		var sent string
		c, err := NewClient(p, &secretMap{m: map[string]string{"token": "t1", "id": "i1", "key": "k1"}}, Options{RoundTripper: roundTrip(func(r *http.Request) (*http.Response, error) {
			sent = r.Header.Get("Authorization")
			return answer(200, "{}"), nil
		})})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Call(t.Context(), root(p), ""); err != nil {
			t.Fatal(err)
		}
		if lm := kind == "lmv1"; strings.HasPrefix(sent, "LMv1 i1:") != lm || (sent == "Bearer t1") == lm {
			t.Errorf("%q: sent %q", kind, sent)
		}
	}
	if _, err := mustParse(t, src).Bind(map[string]string{"auth": "other"}); err == nil || !strings.Contains(err.Error(), "one of bearer, lmv1") {
		t.Errorf("another kind: %v", err)
	}
}

// A session that is kept and no longer good is renewed once, though calls that begin
// together each take it up by themselves.
func TestStaleSessionThatWasKept(t *testing.T) {
	t.Parallel()
	var logins, stale atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/in":
			logins.Add(1)
			fmt.Fprint(w, `{"access_token":"fresh-token"}`)
		case r.Header.Get("Authorization") == "Bearer fresh-token":
			fmt.Fprint(w, `{"items":[]}`)
		default: // one answer after another
			time.Sleep(time.Duration(stale.Add(1)) * 10 * time.Millisecond)
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer srv.Close()
	own := &ownSessions{}
	c, p := doorClientAt(t, srv.URL, `{login: {post: /in, form: {a: "{secret.key}"}, token: .access_token}}`, own)
	own.kept, _ = json.Marshal(Session{Access: "stale-token", For: c.held.Load().mark})
	var wg sync.WaitGroup
	for range 8 {
		ctx, _ := permits(t)
		wg.Go(func() {
			if _, err := c.Call(ctx, root(p), ""); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if logins.Load() != 1 {
		t.Errorf("%d logins", logins.Load())
	}
}

// Whatever a login answers, no task is to blame: the vendor is stopped, or down.
func TestLoginsThatFail(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		body   string
		rule   string
		want   fanout.Class
	}{
		"404":             {404, "", "", fanout.Refused},
		"400":             {400, "{}", "", fanout.Refused},
		"503":             {503, "", "", fanout.Unavailable},
		"429":             {429, "", "", fanout.Throttled},
		"HTML":            {200, "<html>", "", fanout.Unavailable},
		"no token":        {200, "{}", "", fanout.Refused},
		"a huge token":    {200, `{"access_token":"` + strings.Repeat("x", mostToken+1) + `"}`, "", fanout.Refused},
		"a line break":    {200, `{"access_token":"a\nb"}`, "", fanout.Refused},
		"a rule of empty": {200, `{"access_token":"token-long-enough"}`, "{when: .items == null, means: empty}", fanout.Refused},
		"a rule of gone":  {200, `{"access_token":"token-long-enough"}`, "{when: .items == null, means: gone}", fanout.Refused},
		"a rule of ok":    {200, `{"access_token":"token-long-enough","items":[]}`, "{when: .access_token != null, means: ok}", ""},
	} {
		for _, auth := range []string{
			`{login: {post: /in, form: {a: "{secret.key}"}, token: .access_token}}`,
			`{oauth2: {token_url: /in, client_id: "{secret.id}", client_secret: "{secret.key}"}}`,
		} {
			if strings.HasPrefix(auth, "{oauth2") && (c.rule != "" || name == "HTML") {
				continue // the library judges those
			}
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.body)
			}))
			src := doorSpec(srv.URL, auth)
			if c.rule != "" {
				src = strings.Replace(src, "limits:", "answers: ["+c.rule+"]\nlimits:", 1)
			}
			p := testPlan(t, src, nil)
			client, err := NewClient(p, &secretMap{m: map[string]string{"id": "the-client", "key": "the-secret-key"}}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			ctx, _ := permits(t)
			if _, err = client.Call(ctx, root(p), ""); classOf(err) != c.want {
				t.Errorf("%s, %.7s: class %q, not %q: %v", name, auth, classOf(err), c.want, err)
			}
			client.Close()
			srv.Close()
		}
	}
}
