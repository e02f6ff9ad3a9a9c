//go:build prove

// Package browser looks at a run's report as its readers do: in a browser.
package browser

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/fleet"
	"github.com/sluicehq/sluice/internal/fleet/fleettest"
	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/report"
	"github.com/sluicehq/sluice/internal/run"
	"github.com/sluicehq/sluice/internal/vendorsim"
)

// vendor is a simulated one without a network: some calls take long, and some
// devices are refused with an answer that would be a script if a page let it.
type vendor struct {
	fleettest.Vendor
	refuse func(path string) bool
}

const hostile = `{"error":"<script>alert(1)</script><img src=x onerror=alert(2)> retired, see https://vendor.invalid/x"}`

func (v vendor) RoundTrip(r *http.Request) (*http.Response, error) {
	time.Sleep(time.Duration(40+rand.ExpFloat64()*60) * time.Millisecond)
	if v.refuse != nil && v.refuse(r.URL.Path) {
		return &http.Response{
			StatusCode: http.StatusBadRequest, Header: http.Header{"Content-Type": {"application/json"}}, Request: r,
			Body: io.NopCloser(strings.NewReader(hostile)),
		}, nil
	}
	return v.Vendor.RoundTrip(r)
}

// simOf is a simulated vendor of a tree.
func simOf(tree vendorsim.Tree) *vendorsim.Sim {
	return vendorsim.New(vendorsim.Config{Tree: tree, Token: fleettest.Token})
}

// A stage is a home in virtual time.
type stage struct{ fleettest.Stage }

func newStage(t *testing.T) stage {
	t.Helper()
	return stage{fleettest.New(t, "  - {name: calls, bucket: 8/s, burst: 4, in_flight: 24}\n")}
}

// walk reads a day to its verdict, while meanwhile goes on beside it.
func (s stage) walk(t *testing.T, day int, v vendor, meanwhile func(*fleet.Fleet)) run.Run {
	t.Helper()
	f := s.Fleet(t, v)
	from := time.Date(1999, 12, day, 0, 0, 0, 0, time.UTC)
	r, err := f.Seed(t.Context(), fanout.Window{From: from, To: from.AddDate(0, 0, 1)}, false, nil, "test")
	if err != nil {
		t.Fatal(err)
	}
	w, err := f.Workers(fleettest.Secrets{}, r.Seeds[0])
	if err != nil {
		t.Fatal(err)
	}
	if meanwhile != nil {
		go meanwhile(f)
	}
	if _, err := w.Run(t.Context(), context.WithoutCancel(t.Context()), r.ID); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if r, err = f.Runs.Store.Get(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	return r
}

// page is a run's report.
func (s stage) page(t *testing.T, r run.Run, last *run.Run) ([]byte, *report.Doc) {
	t.Helper()
	var causes run.Causes
	if err := s.Runs().DeadTasks(t.Context(), r.ID, func(d run.DeadTask) error { causes.Add(d); return nil }); err != nil {
		t.Fatal(err)
	}
	rep, err := governor.Status(t.Context(), s.Model, r.Vendor, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := report.Gather(t.Context(), report.Facts{
		Run: r, Window: r.Window.From.Format(time.DateOnly), Made: time.Now(), Last: last, Causes: causes.List(), Log: rep.Log,
		Unique: []string{"devices"}, Again: "sluice repair " + r.ID,
	}, s.Series())
	if err != nil {
		t.Fatal(err)
	}
	var page bytes.Buffer
	if err := report.Write(&page, doc); err != nil {
		t.Fatal(err)
	}
	return page.Bytes(), doc
}

// rough is a run in which everything happens that a report shows: a brake, an
// outage, a pause, changed limits, dead letters.
func rough(t *testing.T) (page []byte, doc *report.Doc) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		smaller := vendorsim.Scaled(12)
		last := s.walk(t, 1, vendor{Vendor: fleettest.Vendor{Handler: simOf(smaller)}}, nil)
		tree := vendorsim.Scaled(10)
		tree.Shared = 3
		sim := simOf(tree)
		refuse := func(path string) bool {
			return strings.HasSuffix(path, "/datagroups") && (strings.Contains(path, "0993/") || strings.Contains(path, "1051/") || strings.Contains(path, "1201/"))
		}
		r := s.walk(t, 2, vendor{fleettest.Vendor{Handler: sim}, refuse}, func(f *fleet.Fleet) {
			limit, _ := f.Limits()
			must := func(err error) {
				if err != nil {
					t.Error(err)
				}
			}
			by := governor.Note{By: "kim", Why: "their release night"}
			time.Sleep(95 * time.Second)
			must(governor.SetLimit(t.Context(), s.Model, "sim", governor.Change{Limit: "calls", Count: 4, Per: time.Second, Burst: 2}, limit[0], by))
			time.Sleep(70 * time.Second)
			must(sim.Misbehave(vendorsim.Trouble{Throttle: true, RetryAfter: 25, For: vendorsim.Duration(20 * time.Second)}))
			time.Sleep(80 * time.Second)
			must(governor.SetLimit(t.Context(), s.Model, "sim", governor.Change{Limit: "calls"}, limit[0], governor.Note{By: "kim", Why: "over"}))
			time.Sleep(60 * time.Second)
			must(sim.Misbehave(vendorsim.Trouble{Down: "503", For: vendorsim.Duration(40 * time.Second)}))
			time.Sleep(90 * time.Second)
			must(governor.Pause(t.Context(), s.Model, "sim", governor.Note{By: "kim", Why: "a call from the vendor"}))
			time.Sleep(25 * time.Second)
			must(governor.Resume(t.Context(), s.Model, "sim", governor.Note{By: "kim", Why: "they are fine"}))
		})
		page, doc = s.page(t, r, &last)
	})
	return page, doc
}

// smooth is a run in which nothing happens.
func smooth(t *testing.T) (page []byte, doc *report.Doc) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		r := s.walk(t, 1, vendor{Vendor: fleettest.Vendor{Handler: simOf(vendorsim.Scaled(40))}}, nil)
		page, doc = s.page(t, r, nil)
	})
	return page, doc
}
