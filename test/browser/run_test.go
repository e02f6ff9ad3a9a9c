//go:build prove

// Package browser looks at a run's report as its readers do: in a browser.
package browser

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/fleet"
	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/governor/governortest"
	"github.com/sluicehq/sluice/internal/localfleet"
	"github.com/sluicehq/sluice/internal/report"
	"github.com/sluicehq/sluice/internal/run"
	"github.com/sluicehq/sluice/internal/vendorapi"
	"github.com/sluicehq/sluice/internal/vendorsim"
	"github.com/sluicehq/sluice/vendors"
)

const limitsLine = "  - {name: calls, bucket: 1000/s, burst: 50, in_flight: 64}\n"

// virtual is a home whose governor keeps virtual time: the real one's clock is
// the file system's.
type virtual struct {
	*localfleet.Home
	model *governortest.Model
}

func (v virtual) Governor() governor.Store { return v.model }

type secrets map[string]string

func (s secrets) Secret(_, name string) (string, error) { return s[name], nil }

// vendor is a simulated one without a network: some calls take long, and some
// devices are refused with an answer that would be a script if a page let it.
type vendor struct {
	sim    http.Handler
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
	w := httptest.NewRecorder()
	v.sim.ServeHTTP(w, r)
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

// A stage is a home in virtual time.
type stage struct {
	home  *localfleet.Home
	model *governortest.Model
	plan  *vendorapi.Plan
}

func newStage(t *testing.T) stage {
	t.Helper()
	src, err := vendors.Specs.ReadFile("sim.yaml")
	if err != nil {
		t.Fatal(err)
	}
	spec, err := vendorapi.Parse("sim.yaml", []byte(strings.Replace(string(src), limitsLine, "  - {name: calls, bucket: 8/s, burst: 4, in_flight: 24}\n", 1)))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := spec.Bind(map[string]string{"base": "http://sim.invalid"})
	if err != nil {
		t.Fatal(err)
	}
	home, err := localfleet.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { home.Close() })
	return stage{home, governortest.NewModel(), plan}
}

// walk reads a day to its verdict, while meanwhile goes on beside it.
func (s stage) walk(t *testing.T, day int, v vendor, meanwhile func(*fleet.Fleet)) run.Run {
	t.Helper()
	f, err := fleet.New(s.plan, virtual{s.home, s.model}, fleet.Options{Engine: fanout.Config{Wait: true, LongPoll: time.Second}, Transport: v})
	if err != nil {
		t.Fatal(err)
	}
	from := time.Date(1999, 12, day, 0, 0, 0, 0, time.UTC)
	r, err := f.Seed(t.Context(), fanout.Window{From: from, To: from.AddDate(0, 0, 1)}, false, nil, "test")
	if err != nil {
		t.Fatal(err)
	}
	w, err := f.Workers(secrets{"token": "s3cret"}, r.Seeds[0])
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
	if err := s.home.Runs().DeadTasks(t.Context(), r.ID, func(d run.DeadTask) error { causes.Add(d); return nil }); err != nil {
		t.Fatal(err)
	}
	rep, err := governor.Status(t.Context(), s.model, r.Vendor, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := report.Gather(t.Context(), report.Facts{
		Run: r, Window: r.Window.From.Format(time.DateOnly), Made: time.Now(), Last: last, Causes: causes.List(), Log: rep.Log,
		Unique: []string{"devices"}, Again: "sluice repair " + r.ID,
	}, s.home.Series())
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
		last := s.walk(t, 1, vendor{sim: vendorsim.New(vendorsim.Config{Tree: smaller, Token: "s3cret"})}, nil)
		tree := vendorsim.Scaled(10)
		tree.Shared = 3
		sim := vendorsim.New(vendorsim.Config{Tree: tree, Token: "s3cret"})
		refuse := func(path string) bool {
			return strings.HasSuffix(path, "/datagroups") && (strings.Contains(path, "0993/") || strings.Contains(path, "1051/") || strings.Contains(path, "1201/"))
		}
		r := s.walk(t, 2, vendor{sim, refuse}, func(f *fleet.Fleet) {
			limit, _ := f.Limits()
			must := func(err error) {
				if err != nil {
					t.Error(err)
				}
			}
			by := governor.Note{By: "kim", Why: "their release night"}
			time.Sleep(95 * time.Second)
			must(governor.SetLimit(t.Context(), s.model, "sim", governor.Change{Limit: "calls", Count: 4, Per: time.Second, Burst: 2}, limit[0], by))
			time.Sleep(70 * time.Second)
			must(sim.Misbehave(vendorsim.Trouble{Throttle: true, RetryAfter: 25, For: vendorsim.Duration(20 * time.Second)}))
			time.Sleep(80 * time.Second)
			must(governor.SetLimit(t.Context(), s.model, "sim", governor.Change{Limit: "calls"}, limit[0], governor.Note{By: "kim", Why: "over"}))
			time.Sleep(60 * time.Second)
			must(sim.Misbehave(vendorsim.Trouble{Down: "503", For: vendorsim.Duration(40 * time.Second)}))
			time.Sleep(90 * time.Second)
			must(governor.Pause(t.Context(), s.model, "sim", governor.Note{By: "kim", Why: "a call from the vendor"}))
			time.Sleep(25 * time.Second)
			must(governor.Resume(t.Context(), s.model, "sim", governor.Note{By: "kim", Why: "they are fine"}))
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
		r := s.walk(t, 1, vendor{sim: vendorsim.New(vendorsim.Config{Tree: vendorsim.Scaled(40), Token: "s3cret"})}, nil)
		page, doc = s.page(t, r, nil)
	})
	return page, doc
}
