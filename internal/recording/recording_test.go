package recording_test

import (
	"compress/gzip"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/recording"
	"github.com/sluicehq/sluice/internal/vendorapi"
)

const (
	user     = "s3cret-user"
	password = "s3cret/pass+word"
	session  = "s3cret session ü"
)

const spec = `
name: acme
base_url: "{base}/api"
settings: {base: {about: where, required: true}}
auth:
  login:
    post: /login
    json: {user: "{secret.user}", password: "{secret.password}"}
    token: .token
    send: {header: X-Session, value: "{token}"}
limits: unknown
tiers:
  - {name: groups, post: /groups, json: {owner: "{window.from.date}"}, pages: {next_url: .next}, items: ".groups[]", key: .id}
  - {name: devices, get: "/groups/{groups}/devices", items: ".devices[]", key: .id, carry: {model: .model}, unique: true}
  - {name: data, get: "/devices/{devices}/data{?from}", with: {from: "{window.from.epoch}"}, rows: ".points[] | {device: $devices, value: .v}", table: points}
`

// vendor echoes what is secret, zips, has two pages of groups, an empty group, one
// that is gone, a device in two groups, and one name that is the user's.
func vendor(t *testing.T, calls *int) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	say := func(path, body string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			*calls++
			if r.URL.Path != "/api/login" && r.Header.Get("X-Session") != session {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			w.Header().Set("Content-Encoding", "gzip")
			w.Header().Set("Set-Cookie", "other=s3cret-cookie")
			w.Header().Set("X-Echo", session)
			z := gzip.NewWriter(w)
			defer z.Close()
			fmt.Fprint(z, strings.ReplaceAll(body, "HOST", "http://"+r.Host))
		})
	}
	say("POST /api/login", `{"token":"`+session+`","other":"s3cret-of-the-login"}`)
	say("POST /api/groups", `{"groups":[{"id":"g1"},{"id":"empty"}],"next":"HOST/api/groups2?token=abc"}`)
	say("POST /api/groups2", `{"groups":[{"id":"gone"},{"id":9007199254740993},{"id":null},{"id":"`+user+`"}],"next":null,"echo":"`+password+`"}`)
	say("/api/groups/g1/devices", `{"devices":[{"id":"d1","model":{"a":1.10}},{"id":"d/2","model":null}]}`)
	say("/api/groups/empty/devices", `{"devices":[]}`)
	say("/api/groups/9007199254740993/devices", `{"devices":[{"id":"d1","model":{"a":1.10}}]}`)
	say("/api/groups/"+user+"/devices", `{"devices":[{"id":"d<3>"}]}`)
	say("/api/devices/d1/data", `{"points":[{"v":1.50},{"v":12345678901234567890}]}`)
	say("/api/devices/d%2F2/data", `not JSON: `+user)
	say("/api/devices/d%3C3%3E/data", `{"points":null}`)
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

type secrets map[string]string

func (s secrets) Secret(_, name string) (string, error) { return s[name], nil }

func parse(t *testing.T, src string) *vendorapi.Spec {
	t.Helper()
	s, err := vendorapi.Parse("acme.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// record makes a recording of the vendor.
func record(t *testing.T, b recording.Bounds) (dir string, server *httptest.Server, live string, calls *int) {
	t.Helper()
	calls = new(int)
	server = vendor(t, calls)
	values := map[string]string{"base": server.URL}
	plan, err := parse(t, spec).Bind(values)
	if err != nil {
		t.Fatal(err)
	}
	client, err := vendorapi.NewClient(plan, secrets{"user": user, "password": password}, vendorapi.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	recorder := client.Record()
	day := fanout.Window{From: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)}
	var tiers []string
	live, _, err = recording.Walk(t.Context(), plan, day, b, func(ctx context.Context, task fanout.Task, cursor string) (fanout.Page, error) {
		free := func(context.Context, fanout.Call) (fanout.Permit, error) {
			return fanout.Permit{Release: func() {}}, nil
		}
		p, _ := free(ctx, fanout.CallOf(task))
		ctx, ps := fanout.WithPermits(ctx, p, fanout.CallOf(task), free)
		defer ps.Release()
		page, err := client.Call(ctx, task, cursor)
		tiers = append(tiers, task.Tier)
		return page, err
	})
	if err != nil {
		t.Fatal(err)
	}
	var told []recording.Told
	for i, e := range recorder.Exchanges() {
		told = append(told, recording.Told{Tier: tiers[i], Exchange: e})
	}
	dir = filepath.Join(t.TempDir(), "recorded")
	if _, err := recording.Write(dir, recording.Head{Vendor: "acme", Settings: values, From: day.From, To: day.To, Bounds: b}, told); err != nil {
		t.Fatal(err)
	}
	return dir, server, recorder.Mask(live), calls
}

func read(t *testing.T, dir string) *recording.Recording {
	t.Helper()
	r, err := recording.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var wide = recording.Bounds{Calls: 50, Nodes: 10, Pages: 5}

const expected = `groups page 1
  status 200, nodes 2, rejects 0, rows 0, more pages follow
  node "g1"
  node "empty"
groups page 2
  status 200, nodes 3, rejects 1, rows 0, the last page
  node "gone"
  node "9007199254740993"
  node "***"
devices "g1" page 1
  status 200, nodes 2, rejects 0, rows 0, the last page
  node "d1" model={"a":1.10}
  node "d/2" model=null
devices "empty" page 1
  status 200, nodes 0, rejects 0, rows 0, the last page
devices "gone" page 1
  status 404, missing: the vendor does not have it
devices "9007199254740993" page 1
  status 200, nodes 1, rejects 0, rows 0, the last page
  node "d1" model={"a":1.10}
devices "***" page 1
  status 200, nodes 1, rejects 0, rows 0, the last page
  node "d<3>" model=null
data "d1" page 1
  status 200, nodes 0, rejects 0, rows 2, the last page
  row {"device":"d1","value":1.50}
  row {"device":"d1","value":12345678901234567890}
data "d/2" page 1
  status 200, bad-answer: malformed JSON: invalid character 'o' in literal null (expecting 'u')
data "d<3>" page 1
  status 200, nodes 0, rejects 0, rows 0, the last page
`

// What was recorded is replayed without the vendor and without secrets, and
// nothing in the files is secret.
func TestReplay(t *testing.T) {
	dir, server, live, calls := record(t, wide)
	server.Close()
	asked := *calls
	if live != expected {
		t.Errorf("live:\n%s", live)
	}
	own := parse(t, spec)
	if _, err := read(t, dir).Test(t.Context(), own); err == nil || !strings.Contains(err.Error(), "--update") {
		t.Errorf("a recording without expectations: %v", err)
	}
	if _, err := read(t, dir).Update(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "expected.txt"))
	if err != nil || string(got) != expected {
		t.Errorf("%v\n%s", err, got)
	}
	for range 2 {
		res, err := read(t, dir).Test(t.Context(), own)
		if err != nil || !res.AsExpected || res.Calls != 10 {
			t.Errorf("%v, %+v", err, res)
		}
	}
	if *calls != asked || asked != 1+9 {
		t.Errorf("%d calls when recording, %d in all, want a login and 9 once", asked, *calls)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 12 {
		t.Errorf("%v: %q", err, files)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil || strings.Contains(string(b), "s3cret") {
			t.Errorf("%v: %s holds a secret:\n%s", err, f, b)
		}
	}
}

// A change of the spec shows in what it makes of the answers.
func TestDifferences(t *testing.T) {
	dir, _, _, _ := record(t, wide)
	if _, err := read(t, dir).Update(t.Context(), parse(t, spec)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, old, new, want string }{
		{"rows", "value: .v}", "val: .v}", `{data "d1" page 1 [row {"device":"d1","value":1.50}`},
		{"a carried field", "carry: {model: .model}", "carry: {model: .model.a}", `[node "d1" model={"a":1.10}] [node "d1" model=1.10]`},
		{"fewer nodes", "items: \".devices[]\"", `items: '.devices[] | select(.id != "d/2")'`, `node "d/2" model=null] [status 200, nodes 1,`},
		{"another request", "data{?from}", "values{?from}", "ERROR tier data: the recording has no answer to GET http"},
		{"another request's body", "owner: ", "holder: ", `{"holder":"2026-03-01"} (it has one to POST`},
		{"another vendor", "name: acme", "name: other", "is a recording of vendor acme, not of other"},
		{"a field", "next_url: .next}", "next_url: .nowhere}", "[002-groups.json 005-"},
	} {
		changed := strings.Replace(spec, c.old, c.new, 1)
		if changed == spec {
			t.Fatalf("%s: nothing to change", c.name)
		}
		res, err := read(t, dir).Test(t.Context(), parse(t, changed))
		got := fmt.Sprint("ERROR ", err)
		if err == nil {
			got = fmt.Sprint(res.Differences, res.Unused)
		}
		if err == nil && res.AsExpected || !strings.Contains(got, c.want) {
			t.Errorf("%s: %s", c.name, got)
		}
	}
}

// A walk keeps to its bounds and takes the same part each time.
func TestBounds(t *testing.T) {
	for _, b := range []recording.Bounds{{1, 5, 5}, {4, 1, 1}, {6, 2, 1}, {50, 1, 9}} {
		dir, _, live, calls := record(t, b)
		if n := *calls - 1; n > b.Calls {
			t.Errorf("%+v: %d calls", b, n)
		}
		own := parse(t, spec)
		if _, err := read(t, dir).Update(t.Context(), own); err != nil {
			t.Fatal(err)
		}
		res, err := read(t, dir).Test(t.Context(), own)
		if err != nil || !res.AsExpected {
			t.Errorf("%+v: %v, %+v", b, err, res)
		}
		if got, _ := os.ReadFile(filepath.Join(dir, "expected.txt")); string(got) != live {
			t.Errorf("%+v: live\n%s\nreplayed\n%s", b, live, got)
		}
		if b.Calls >= 4 && !strings.Contains(live, "data ") {
			t.Errorf("%+v: the last tier is not reached:\n%s", b, live)
		}
	}
}

// What is no recording says so.
func TestNoRecording(t *testing.T) {
	dir := t.TempDir()
	if _, err := recording.Read(dir); err == nil || !strings.Contains(err.Error(), "sluice vendor record") {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "recording.json"), []byte(`{"vendor":"acme"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := recording.Read(dir); err == nil || !strings.Contains(err.Error(), "no answers") {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "001-groups.json"), []byte(`{"request":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := recording.Read(dir); err == nil || !strings.Contains(err.Error(), "001-groups.json is no file of a recording") {
		t.Errorf("%v", err)
	}
	if _, err := recording.Write(dir, recording.Head{}, nil); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("%v", err)
	}
}
