package vendorapi

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/internal/fanout"
)

// With every kind of auth, what is recorded holds no secret, and the requests of a
// replay, which knows none, are those that were recorded.
func TestRecordAndReplay(t *testing.T) {
	const secret = `s3cret/"of+it`
	for name, auth := range map[string]string{
		"none":           "",
		"bearer":         `bearer: "{secret.token}"`,
		"basic":          `basic: {user: "{secret.token}", password: "{secret.token}x"}`,
		"key in a query": `api_key: {query: key, value: "{secret.token}"}`,
		"key, header":    `api_key: {header: X-Key, value: "Key {secret.token}"}`,
		"key, cookie":    `api_key: {cookie: key, value: "{secret.token}"}`,
		"key in a body":  `api_key: {body: key, value: "{secret.token}"}`,
		"lmv1":           `lmv1: {access_id: me, access_key: "{secret.token}"}`,
		"oauth2":         `oauth2: {token_url: /token, client_id: me, client_secret: "{secret.token}"}`,
		"login":          `login: {post: /token, json: {password: "{secret.token}"}, token: .access_token, send: {query: session, value: "{token}"}}`,
		"cookies":        `login: {post: /token, form: {password: "{secret.token}"}, cookies: true}`,
	} {
		t.Run(name, func(t *testing.T) {
			requests := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				requests++
				body, _ := io.ReadAll(r.Body)
				w.Header().Set("Content-Type", "application/json")
				if r.URL.Path == "/token" {
					http.SetCookie(w, &http.Cookie{Name: "sid", Value: "s3cret-cookie"})
					fmt.Fprint(w, `{"access_token":"s3cret-token","token_type":"bearer","expires_in":3600,"refresh_token":"s3cret-refresh"}`)
					return
				}
				fmt.Fprintf(w, `{"items":[{"id":1}],"echo":%q}`, r.Header.Get("Authorization")+r.URL.RawQuery+string(body)+r.Header.Get("Cookie")+r.Header.Get("X-Key"))
			}))
			defer server.Close()
			if auth != "" {
				auth = "auth: {" + auth + "}"
			}
			src := "name: acme\nbase_url: " + server.URL + "\n" + auth + `
limits: unknown
tiers:
  - {name: things, post: "/things?a=b", json: {from: "{window.from.date}"}, items: ".items[]", table: things}
`
			p := testPlan(t, src, nil)
			c, err := NewClient(p, &secretMap{m: map[string]string{"token": secret}}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			rec := c.Record()
			live, err := callFree(t, c, root(p))
			if err != nil {
				t.Fatal(err)
			}
			ex := rec.Exchanges()
			if len(ex) != 1 || rec.Len() != 1 {
				t.Fatalf("%d exchanges of %d requests", len(ex), requests)
			}
			e := ex[0]
			if text := fmt.Sprint(e.Asked, e.Answer.Headers, string(e.Answer.Body)); strings.Contains(text, "s3cret") || strings.Contains(text, "%22of") {
				t.Errorf("a secret is recorded: %s", text)
			}
			asked := requests
			replay, err := Replay(p, func(a Asked) (Answered, error) {
				if !reflect.DeepEqual(a, e.Asked) {
					t.Errorf("recorded %+v\nreplayed %+v", e.Asked, a)
				}
				return e.Answer, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			defer replay.Close()
			again, err := callFree(t, replay, root(p))
			if err != nil || again.Rows != 1 || again.Rows != live.Rows || requests != asked {
				t.Errorf("%v: %d rows, live %d; %d requests more", err, again.Rows, live.Rows, requests-asked)
			}
		})
	}
}

// callFree makes a call for which permits cost nothing.
func callFree(t *testing.T, c *Client, task fanout.Task) (fanout.Page, error) {
	t.Helper()
	free := func(context.Context, fanout.Call) (fanout.Permit, error) {
		return fanout.Permit{Release: func() {}}, nil
	}
	permit, _ := free(t.Context(), fanout.CallOf(task))
	ctx, permits := fanout.WithPermits(t.Context(), permit, fanout.CallOf(task), free)
	defer permits.Release()
	page, err := c.Call(ctx, task, "")
	if page.Release != nil {
		page.Release()
	}
	return page, err
}

// A secret is masked in all the forms that JSON writers give it.
func TestMaskInJSON(t *testing.T) {
	const secret = `a/<b>&"c\d`
	m := newMasker([]*credentials{{values: map[string]string{"token": secret}}}, nil)
	for _, form := range []string{`a/<b>&\"c\\d`, `a\/<b>&\"c\\d`, `a/\u003cb\u003e\u0026\"c\\d`, `a/<b>&\\\"c\\\\d`, secret} {
		if got := m.text(`{"echo":"` + form + `"}`); got != `{"echo":"***"}` {
			t.Errorf("%s becomes %s", form, got)
		}
	}
}
