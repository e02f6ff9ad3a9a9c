package fleet_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/fleet"
	"github.com/sluicehq/sluice/internal/fleet/fleettest"
	"github.com/sluicehq/sluice/internal/run"
)

const leavesSpec = `name: v
base_url: http://sim.invalid
%s
limits: [{name: r, %s}]
tiers:
  - {name: groups, get: /groups, items: ".items[]", key: .id}
  - {name: leaves, get: "/leaf/{groups}", rows: ".items[]", table: t}
`

// leavesRun walks a vendor of n leaves, in virtual time, and ends it after an hour.
func leavesRun(t *testing.T, auth, limit string, n int, answer func(w http.ResponseWriter, r *http.Request) bool) (v run.Verdict, calls int) {
	t.Helper()
	var mu sync.Mutex
	vendor := fleettest.Vendor{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		calls++
		mu.Unlock()
		time.Sleep(time.Second)
		if answer(w, r) {
			return
		}
		var items []string
		if strings.HasPrefix(r.URL.Path, "/groups") {
			for i := range n {
				items = append(items, fmt.Sprintf(`{"id":"g%d"}`, i))
			}
		}
		fmt.Fprintf(w, `{"items":[%s]}`, strings.Join(items, ","))
	})}
	f := fleettest.Of(t, fmt.Appendf(nil, leavesSpec, auth, limit), nil).Fleet(t, vendor, func(o *fleet.Options) { o.Poll, o.Idle = 500*time.Millisecond, 2*time.Second })
	day := fanout.Window{From: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)}
	r, err := f.Runs.Seed(t.Context(), day, false)
	if err != nil {
		t.Fatal(err)
	}
	w, err := f.Workers(fleettest.Secrets{}, r.Seeds[0])
	if err != nil {
		t.Fatal(err)
	}
	soft, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	if v, err = w.Run(soft, context.WithoutCancel(t.Context()), r.ID); err != nil {
		t.Error(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	return v, calls
}

// Sessions that end while all places in flight are taken: whoever waits for a login
// holds no place that it needs.
func TestLoginsBesidePlacesInFlight(t *testing.T) {
	t.Parallel()
	for _, limit := range []string{"in_flight: 2", "spacing: 1s, in_flight: 1", "bucket: 20/s, in_flight: 4"} {
		synctest.Test(t, func(t *testing.T) {
			logins := 0
			v, calls := leavesRun(t, `auth: {login: {post: /in, form: {k: "{secret.token}"}, token: .t, lasts: 36s}}`, limit, 40, func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == "/in" {
					logins++
					fmt.Fprintf(w, `{"t":"token-of-login-%d"}`, logins)
				}
				return r.URL.Path == "/in"
			})
			if !v.Complete() || calls != 41+logins || logins < 2 {
				t.Errorf("%s: %s, %d calls, %d logins", limit, v.Sum(), calls, logins)
			}
		})
	}
}

// A vendor whose every call is redirected comes back after an outage: the first
// answer to a probe shows that it is there.
func TestOutageOfAVendorThatRedirects(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		v, calls := leavesRun(t, "", "bucket: 2/s", 30, func(w http.ResponseWriter, r *http.Request) bool {
			switch at := time.Since(began); {
			case at > 10*time.Second && at < 25*time.Second:
				w.WriteHeader(http.StatusServiceUnavailable)
			case !strings.HasSuffix(r.URL.Path, "/"):
				http.Redirect(w, r, r.URL.Path+"/", http.StatusMovedPermanently)
			default:
				return false
			}
			return true
		})
		if took := time.Since(began); !v.Complete() || took > 2*time.Minute {
			t.Errorf("%s after %v and %d calls", v.Sum(), took, calls)
		}
	})
}
