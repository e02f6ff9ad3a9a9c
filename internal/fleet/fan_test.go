package fleet_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/fleet"
	"github.com/sluicehq/sluice/internal/localfleet"
	"github.com/sluicehq/sluice/internal/run"
	"github.com/sluicehq/sluice/internal/vendorapi"
)

// fanVendor has three markets of two accounts each; an account has five devices,
// and devices are asked about together. One market and one group can be made to
// fail.
type fanVendor struct {
	mu    sync.Mutex
	calls map[string]int
	fails string // a part of the requests that are answered by 404
}

const fanSpec = `name: fan
base_url: %s
limits: [{name: r, bucket: 500/s, burst: 5}]
tiers:
  - {name: accounts, for: {market: [us, de, jp]}, get: "/{market}/accounts", items: ".items[]", key: {owner: .owner, name: .name}}
  - name: devices
    get: "/{market}/accounts/{accounts.owner}/{accounts.name}/devices"
    items: .items[]
    key: .id
    carry: {model: .model}
    pages: {cursor: {from: .next, param: c}, expired: {status: [410]}}
  - name: values
    batch: {size: 2}
    for: {slices: {step: 8h}}
    post: /values
    json: {market: "{market}", ids: "{devices}", from: "{slice.from.epoch}", to: "{slice.to.epoch}"}
    rows: '.values[] | {market: $market, device: .id, model: $batch[.id].model, from: $slice.from.epoch}'
    table: values
`

func (v *fanVendor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Market   string
		Ids      []string
		From, To int64
	}
	_ = json.NewDecoder(r.Body).Decode(&q)
	name := r.URL.String()
	if q.Market != "" {
		name = fmt.Sprint(q.Market, q.Ids, q.To-q.From)
	}
	v.mu.Lock()
	v.calls[name]++
	first, fails := v.calls[name] == 1, v.fails != "" && strings.Contains(name, v.fails)
	v.mu.Unlock()
	switch parts := strings.Split(r.URL.Path, "/"); {
	case fails:
		w.WriteHeader(http.StatusNotFound) // a list that a run begins with is not gone: the spec is wrong
	case q.Market != "":
		var rows []string
		for _, id := range q.Ids {
			rows = append(rows, fmt.Sprintf(`{"id":%q}`, id))
		}
		fmt.Fprintf(w, `{"values":[%s]}`, strings.Join(rows, ","))
	case len(parts) == 3:
		fmt.Fprint(w, `{"items":[{"owner":"a/b","name":"x"},{"owner":"a","name":"y"}]}`)
	case r.URL.Query().Get("c") == "":
		fmt.Fprint(w, `{"items":[{"id":"d1","model":"M1"},{"id":"d2","model":"M2"},{"id":"d3","model":"M3"}],"next":"2"}`)
	case first: // each list's cursor runs out once
		w.WriteHeader(http.StatusGone)
	default:
		fmt.Fprint(w, `{"items":[{"id":"d4","model":"M4"},{"id":"d5","model":"M5"}],"next":null}`)
	}
}

// fanRun drives a run to its verdict.
func fanRun(t *testing.T, f *fleet.Fleet, again bool) (run.Run, run.Verdict) {
	t.Helper()
	day := fanout.Window{From: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)}
	if again { // the next day: what slices are called must not differ
		day.From, day.To = day.From.AddDate(0, 0, 1), day.To.AddDate(0, 0, 1)
	}
	r, err := f.Runs.Seed(t.Context(), day, false)
	if err != nil {
		t.Fatal(err)
	}
	w, err := f.Workers(secrets{}, r.Seeds[0])
	if err != nil {
		t.Fatal(err)
	}
	v, err := w.Run(t.Context(), context.WithoutCancel(t.Context()), r.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	return r, v
}

// TestFanOutRun: a run with several roots, batches, slices and lists whose cursors
// run out comes to its verdict, with each row once; and in the next one dead tasks
// hide as much as there was below them.
func TestFanOutRun(t *testing.T) {
	vendor := &fanVendor{calls: map[string]int{}}
	srv := httptest.NewServer(vendor)
	defer srv.Close()
	spec, err := vendorapi.Parse("fan.yaml", fmt.Appendf(nil, fanSpec, srv.URL))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := spec.Bind(nil)
	if err != nil {
		t.Fatal(err)
	}
	h, err := localfleet.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	f, err := fleet.New(plan, h, fleet.Options{
		Engine: fanout.Config{Wait: true, LongPoll: time.Second, FlushEvery: 100 * time.Millisecond},
		Log:    slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}

	r, v := fanRun(t, f, false)
	// 3 markets, 6 accounts; of each 3 groups (2 + 1, and 2) of 3 slices.
	if !v.Complete() || v.Seeds != 3 || v.Known != 3+6+6*3*3 || v.Rows != 6*5*3 {
		t.Fatalf("%s, %d rows; %v", v.Sum(), v.Rows, v.Problems)
	}
	for name, n := range vendor.calls {
		want := 1
		switch {
		case strings.Contains(name, "/devices"):
			want = 2 // once more from the start
		case !strings.HasPrefix(name, "/"):
			want = 2 * 3 // accounts and slices
		}
		if n != want {
			t.Errorf("%d calls for %s, want %d", n, name, want)
		}
	}
	rows := map[string]int{}
	if _, err := f.Runs.ReadBack(t.Context(), r.ID, "values", func(rec *fanout.Record) error {
		for row, err := range plan.Rows(t.Context(), rec.Task, rec.Cursor, rec.Body) {
			if err != nil {
				return err
			}
			rows[fmt.Sprint(rec.Task.Path[1], string(row))]++
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, market := range []string{"us", "de", "jp"} {
		for _, account := range []string{"a%2Fb/x", "a/y"} {
			for d := 1; d <= 5; d++ {
				for _, from := range []int64{1772323200, 1772352000, 1772380800} {
					row := fmt.Sprintf(`%s{"device":"d%d","from":%d,"market":"%s","model":"M%d"}`, account, d, from, market, d)
					if rows[row] != 1 {
						t.Errorf("%d times %s", rows[row], row)
					}
					delete(rows, row)
				}
			}
		}
	}
	if len(rows) > 0 {
		t.Errorf("rows that nobody has: %v", rows)
	}

	forecast, err := f.Forecast(t.Context(), fleet.Assume{})
	if err != nil {
		t.Fatal(err)
	}
	if got := forecast.Tiers; got[0].Tasks != 3 || got[1].Tasks != 6 || got[2].Tasks != 54 {
		t.Errorf("forecast of the next run: %d, %d, %d tasks", got[0].Tasks, got[1].Tasks, got[2].Tasks)
	}

	vendor.mu.Lock()
	vendor.fails = "/de/accounts"
	vendor.mu.Unlock()
	r, v = fanRun(t, f, true)
	if v.Dead != 1 || v.Done != 2+4+36 || v.Hidden != 2+18 || len(v.DeadNames) != 1 || !strings.Contains(v.DeadNames[0], "de") {
		t.Errorf("%s; hidden %d of %q", v.Sum(), v.Hidden, v.DeadNames)
	}
	if r.Previous == "" {
		t.Error("the second run knows no first")
	}
}
