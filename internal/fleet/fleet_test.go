package fleet_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/fleet"
	"github.com/sluicehq/sluice/internal/localfleet"
	"github.com/sluicehq/sluice/internal/run"
	"github.com/sluicehq/sluice/internal/vendorapi"
	"github.com/sluicehq/sluice/internal/vendorsim"
	"github.com/sluicehq/sluice/vendors"
)

type secrets map[string]string

func (s secrets) Secret(vendor, name string) (string, error) { return s[name], nil }

// simFleet is a fleet on a fresh home for a simulated vendor.
func simFleet(t *testing.T, sim *vendorsim.Server, home string, change ...func(*fleet.Options)) *fleet.Fleet {
	t.Helper()
	src, err := vendors.Specs.ReadFile("sim.yaml")
	if err != nil {
		t.Fatal(err)
	}
	spec, err := vendorapi.Parse("sim.yaml", src)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := spec.Bind(map[string]string{"base": sim.URL})
	if err != nil {
		t.Fatal(err)
	}
	h, err := localfleet.Open(t.Context(), home)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	opt := fleet.Options{
		Engine: fanout.Config{Wait: true, LongPoll: time.Second},
		Log:    slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	for _, c := range change {
		c(&opt)
	}
	f, err := fleet.New(plan, h, opt)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestRunToItsVerdict(t *testing.T) {
	tree := vendorsim.Scaled(10)
	tree.Shared = 3
	sim, err := vendorsim.Serve("127.0.0.1:0", vendorsim.Config{
		Tree: tree, Token: "s3cret", Latency: 2 * time.Millisecond,
		Limits: []vendorsim.Limit{{Kind: vendorsim.Bucket, N: 1000, Per: time.Second, Burst: 1000}}, // not a test of punctuality: that counts in virtual time
	})
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	f := simFleet(t, sim, t.TempDir())
	window := run.Yesterday(time.Now(), time.UTC)
	r, err := f.Runs.Seed(t.Context(), window, false)
	if err != nil {
		t.Fatal(err)
	}
	w, err := f.Workers(secrets{"token": "s3cret"}, r.Seeds[0])
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
	st, g := sim.Stats(), w.Governor().Stats()
	t.Logf("%s; %+v; %v; %+v; %+v", v.Sum(), v, st.Last.Sub(st.First), st, g)
	t.Logf("%+v", w.Report())
	if !v.Complete() || v.Known != tree.Calls() {
		t.Errorf("verdict %+v, want %d tasks", v, tree.Calls())
	}
	if st.Calls != tree.Calls() || st.Refused != 0 {
		t.Errorf("%d calls, %d refused; want %d, none", st.Calls, st.Refused, tree.Calls())
	}
	checkRows(t, f, r, tree)
}

// checkRows reads the run back and compares it with the vendor's truth.
func checkRows(t *testing.T, f *fleet.Fleet, r run.Run, tree vendorsim.Tree) {
	t.Helper()
	got := map[string]int{}
	waste, err := f.Runs.ReadBack(t.Context(), r.ID, "data", func(rec *fanout.Record) error {
		for row, err := range f.Plan.Rows(t.Context(), rec.Task, rec.Cursor, rec.Body) {
			if err != nil {
				return err
			}
			var x struct {
				Device, Datagroup string
				Time              int64
				Percent, Bytes    json.RawMessage
			}
			if err := json.Unmarshal(row, &x); err != nil {
				return err
			}
			got[fmt.Sprintf("%s|%s|%d|%s|%s", x.Device, x.Datagroup, x.Time, x.Percent, x.Bytes)]++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := 0
	for leaf := range tree.Leaves(r.Window.From.Unix(), r.Window.To.Unix()) {
		for _, row := range leaf.Rows {
			want++
			k := fmt.Sprintf("%s|%s|%d|%s|%s", leaf.Device, leaf.Datagroup, row.Time, row.Percent, row.Bytes)
			if got[k] != 1 {
				t.Fatalf("row %s is read back %d times", k, got[k])
			}
		}
	}
	if len(got) != want || waste != 0 {
		t.Errorf("%d rows read back, want %d; %d pages do not count", len(got), want, waste)
	}
}
