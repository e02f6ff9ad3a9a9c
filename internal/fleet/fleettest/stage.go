// Package fleettest puts a fleet on one machine into virtual time: its governor's
// clock is not the file system's, and its vendor needs no network.
package fleettest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/fleet"
	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/governor/governortest"
	"github.com/sluicehq/sluice/internal/localfleet"
	"github.com/sluicehq/sluice/internal/vendorapi"
	"github.com/sluicehq/sluice/vendors"
)

// Token is the secret that a simulated vendor is to want.
const Token = "s3cret"

// Secrets are those of the simulated vendor.
type Secrets struct{}

// Secret implements vendorapi.Secrets.
func (Secrets) Secret(_, _ string) (string, error) { return Token, nil }

// A Stage is a fresh home in virtual time, and the simulated vendor's spec with
// other limits. Make it within a bubble of synctest.
type Stage struct {
	*localfleet.Home
	Model *governortest.Model
	Plan  *vendorapi.Plan
}

// Governor implements fleet.Backend.
func (s Stage) Governor() governor.Store { return s.Model }

// calls is the limit that the spec ships with.
const calls = "  - {name: calls, bucket: 1000/s, burst: 50, in_flight: 64}\n"

// New makes a stage. limits are lines of the spec in the place of its own, and
// whatever is to follow them.
func New(t *testing.T, limits string) Stage {
	t.Helper()
	src, err := vendors.Specs.ReadFile("sim.yaml")
	if err != nil {
		t.Fatal(err)
	}
	before, after, found := strings.Cut(string(src), calls)
	if !found {
		t.Fatalf("sim.yaml has no line %q", calls)
	}
	return Of(t, []byte(before+limits+after), map[string]string{"base": "http://sim.invalid"})
}

// Of makes a stage for another vendor.
func Of(t *testing.T, source []byte, settings map[string]string) Stage {
	t.Helper()
	spec, err := vendorapi.Parse("vendor.yaml", source)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := spec.Bind(settings)
	if err != nil {
		t.Fatal(err)
	}
	home, err := localfleet.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { home.Close() })
	return Stage{home, governortest.NewModel(), plan}
}

// Fleet is a fleet of the stage whose calls go to a vendor.
func (s Stage) Fleet(t *testing.T, vendor http.RoundTripper, change ...func(*fleet.Options)) *fleet.Fleet {
	t.Helper()
	opt := fleet.Options{Engine: fanout.Config{Wait: true, LongPoll: time.Second}, Transport: vendor}
	for _, c := range change {
		c(&opt)
	}
	f, err := fleet.New(s.Plan, s, opt)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// A Vendor is one without a network.
type Vendor struct{ http.Handler }

// RoundTrip implements http.RoundTripper.
func (v Vendor) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	v.ServeHTTP(w, r)
	resp := w.Result()
	resp.Request = r
	return resp, nil
}
