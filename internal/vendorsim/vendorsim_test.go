package vendorsim_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/internal/vendorsim"
)

// get asks a simulated vendor in this process.
func get(t *testing.T, s http.Handler, path string) *http.Response {
	t.Helper()
	w := newRecorder()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://sim"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer t")
	s.ServeHTTP(w, r)
	return w.result()
}

type recorder struct {
	code   int
	header http.Header
	body   strings.Builder
}

func newRecorder() *recorder                    { return &recorder{code: 200, header: http.Header{}} }
func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }
func (r *recorder) WriteHeader(code int)        { r.code = code }
func (r *recorder) result() *http.Response {
	return &http.Response{StatusCode: r.code, Header: r.header, Body: io.NopCloser(strings.NewReader(r.body.String()))}
}

// TestLimits: what each kind admits, at the instants that tell them apart.
func TestLimits(t *testing.T) {
	for name, c := range map[string]struct {
		limit vendorsim.Limit
		at    []time.Duration // arrivals
		ok    string          // y or n for each
	}{
		"bucket":  {vendorsim.Limit{Kind: vendorsim.Bucket, N: 10, Per: time.Second, Burst: 3}, []time.Duration{0, 0, 0, 0, 100, 100, 1000, 1000, 1000, 1000}, "yyynynyyyn"},
		"sliding": {vendorsim.Limit{Kind: vendorsim.Sliding, N: 2, Per: time.Second}, []time.Duration{0, 900, 999, 1000, 1500, 1900, 1999}, "yynynyn"},
		"fixed":   {vendorsim.Limit{Kind: vendorsim.Fixed, N: 2, Per: time.Second}, []time.Duration{0, 900, 950, 1000, 1100, 1200, 2000}, "yynyyny"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := vendorsim.New(vendorsim.Config{Tree: vendorsim.Scaled(100), Token: "t", Limits: []vendorsim.Limit{c.limit}})
				began, got := time.Now(), ""
				for _, at := range c.at {
					time.Sleep(time.Until(began.Add(at * time.Millisecond)))
					resp := get(t, s, "/v1/groups")
					switch {
					case resp.StatusCode == 200:
						got += "y"
					case resp.StatusCode == 429 && resp.Header.Get("Retry-After") == "1":
						got += "n"
					default:
						got += "?"
					}
				}
				if got != c.ok {
					t.Errorf("admitted %s, want %s", got, c.ok)
				}
				if st := s.Stats(); st.Calls != len(c.at) || st.Refused != strings.Count(c.ok, "n") {
					t.Errorf("%+v", st)
				}
			})
		})
	}
}

func TestWorst(t *testing.T) {
	var at []time.Time
	for _, ms := range []int{0, 10, 990, 1000, 1009, 1010, 5000} {
		at = append(at, time.UnixMilli(int64(ms)))
	}
	for window, want := range map[time.Duration]int{time.Second: 4, 20 * time.Millisecond: 3, 10 * time.Second: 7, time.Millisecond: 1} {
		if got := vendorsim.Worst(at, window); got != want {
			t.Errorf("most in any %v: %d, want %d", window, got, want)
		}
	}
}

// TestTree walks the whole vendor and compares it with the truth that it tells.
func TestTree(t *testing.T) {
	tree := vendorsim.Tree{Groups: 3, Devices: 10, Datagroups: 23, Points: 4, Shared: 2}
	s := vendorsim.New(vendorsim.Config{Tree: tree, Token: "t"})
	read := func(path string, v any) {
		t.Helper()
		resp := get(t, s, path)
		if err := json.NewDecoder(resp.Body).Decode(v); resp.StatusCode != 200 || err != nil {
			t.Fatal(path, resp.StatusCode, err)
		}
	}
	var groups, devices struct {
		Items []struct{ ID json.RawMessage }
	}
	var datagroups struct{ Data []struct{ ID, Kind string } }
	read("/v1/groups", &groups)
	found, memberships := map[string]int{}, 0
	for _, g := range groups.Items {
		devices.Items = nil
		read("/v1/groups/"+strings.Trim(string(g.ID), `"`)+"/devices", &devices)
		for _, d := range devices.Items {
			memberships++
			if found[string(d.ID)]++; found[string(d.ID)] > 1 {
				continue
			}
			datagroups.Data = nil
			read("/v1/devices/"+string(d.ID)+"/datagroups", &datagroups)
			for _, dg := range datagroups.Data {
				var data struct{ Times []int64 }
				read("/v1/devices/"+string(d.ID)+"/datagroups/"+url.PathEscape(dg.ID)+"/data?from=0&to=400&kind="+dg.Kind, &data)
				found[string(d.ID)+" "+dg.ID] = len(data.Times)
			}
		}
	}
	leaves := 0
	for leaf := range tree.Leaves(0, 400) {
		leaves++
		if n := found[leaf.Device+" "+leaf.Datagroup]; n != len(leaf.Rows) || n != 4 {
			t.Errorf("leaf %s %s: %d rows by the API, %d in truth", leaf.Device, leaf.Datagroup, n, len(leaf.Rows))
		}
	}
	if leaves != 23 || memberships <= 10 || tree.Calls() != 1+3+10+23 {
		t.Errorf("%d leaves, %d memberships, %d calls", leaves, memberships, tree.Calls())
	}
}

// TestTroubles: each is had, and ends when it is to.
func TestTroubles(t *testing.T) {
	s, err := vendorsim.Serve("127.0.0.1:0", vendorsim.Config{Tree: vendorsim.Scaled(100)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	client := &http.Client{Timeout: 300 * time.Millisecond, Transport: &http.Transport{DisableKeepAlives: true}}
	ask := func() (int, string, error) {
		resp, err := client.Get(s.URL + "/v1/groups")
		if err != nil {
			return 0, "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body), err
	}
	for name, c := range map[string]struct {
		trouble vendorsim.Trouble
		seen    func(status int, body string, err error) bool
	}{
		"refused": {vendorsim.Trouble{Down: "refused", For: vendorsim.Duration(time.Minute)}, func(_ int, _ string, err error) bool {
			return err != nil && (strings.Contains(err.Error(), "refused") || strings.Contains(err.Error(), "reset"))
		}},
		"503":       {vendorsim.Trouble{Down: "503"}, func(status int, _ string, _ error) bool { return status == 503 }},
		"hanging":   {vendorsim.Trouble{Down: "hanging"}, func(_ int, _ string, err error) bool { var u *url.Error; return errors.As(err, &u) && u.Timeout() }},
		"errors":    {vendorsim.Trouble{Errors: 1}, func(status int, _ string, _ error) bool { return status == 500 }},
		"cut":       {vendorsim.Trouble{Cut: 1}, func(status int, _ string, err error) bool { return status == 200 && err != nil }},
		"malformed": {vendorsim.Trouble{Malformed: 1}, func(_ int, body string, _ error) bool { return strings.HasPrefix(body, "<oops>") }},
		"throttle":  {vendorsim.Trouble{Throttle: true, RetryAfter: 7}, func(status int, _ string, _ error) bool { return status == 429 }},
	} {
		if err := s.Misbehave(c.trouble); err != nil {
			t.Fatal(name, err)
		}
		if status, body, err := ask(); !c.seen(status, body, err) {
			t.Errorf("%s: %d %q %v", name, status, body, err)
		}
		if err := s.Misbehave(vendorsim.Trouble{}); err != nil {
			t.Fatal(name, err)
		}
		if status, _, err := ask(); status != 200 || err != nil {
			t.Errorf("after %s: %d %v", name, status, err)
		}
	}
	if err := s.Misbehave(vendorsim.Trouble{Down: "sideways"}); err == nil {
		t.Error("an unknown outage is accepted")
	}
}

// TestPages: the rows of data groups that come in several pages are the same as
// in one, and the calls are as many as the tree says.
func TestPages(t *testing.T) {
	tree := vendorsim.Tree{Groups: 1, Devices: 3, Datagroups: 10, Points: 6, Pages: 24}
	sim, err := vendorsim.Serve("127.0.0.1:0", vendorsim.Config{Tree: tree})
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	calls := 0
	for leaf := range tree.Leaves(0, 86400) {
		var got []int64
		kinds := []string{"cpu", "memory", "disk", "network", "power"}
		n := 0
		if _, err := fmt.Sscanf(leaf.Datagroup, "dg/%d", &n); err != nil {
			t.Fatal(err)
		}
		for cursor := "0"; cursor != ""; calls++ {
			resp, err := http.Get(fmt.Sprintf("%s/v1/devices/%s/datagroups/%s/data?from=0&to=86400&kind=%s&cursor=%s",
				sim.URL, leaf.Device, url.PathEscape(leaf.Datagroup), kinds[(n-1)%len(kinds)], cursor))
			if err != nil {
				t.Fatal(err)
			}
			var page struct {
				Times []int64
				Next  string
			}
			err = json.NewDecoder(resp.Body).Decode(&page)
			resp.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			got, cursor = append(got, page.Times...), page.Next
		}
		if len(got) != len(leaf.Rows) {
			t.Errorf("%s %s: %d rows, want %d", leaf.Device, leaf.Datagroup, len(got), len(leaf.Rows))
		}
	}
	if want := tree.Calls() - 1 - tree.Groups - tree.Devices; calls != want {
		t.Errorf("%d calls, want %d", calls, want)
	}
}
