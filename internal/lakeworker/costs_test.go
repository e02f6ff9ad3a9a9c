package lakeworker_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/lake"
	"github.com/sluicehq/sluice/internal/vendorapi"
)

// TestCosts: what converting a landed object asks of AWS, to the request, and what
// a message that comes twice does.
func TestCosts(t *testing.T) {
	s := newSite(t)
	ctx := t.Context()
	spec, err := vendorapi.Parse("v.yaml", []byte(strings.Join([]string{
		"name: v", "base_url: https://v.example.com", "limits: unknown", "tiers:",
		"  - name: a", "    get: /a", "    rows: .items[]", "    table: metrics",
	}, "\n")))
	ok(t, err)
	plan, err := spec.Bind(nil)
	ok(t, err)
	vendor := s.servers.Open(t, "costs").Use(s.Vendor.Stack())
	s.Lake = &lake.Lake{Plan: plan, Store: vendor.Lake(), Landing: vendor.Landing("v"), Runs: vendor.Runs(), Temp: t.TempDir()}
	batch := s.Vendor.Landing("v").Begin("r1", "a")
	for range 200 {
		ok(t, batch.Add(fanout.Record{
			Kind: "page", Task: fanout.Task{ID: "t", Run: "r1", Tier: "a", Life: 1}, Fetch: "f", Rows: 2, At: time.Now(), Body: []byte(`{"items":[{"x":1},{"x":2.5}]}`),
		}))
	}
	ok(t, batch.Commit(ctx))
	for _, want := range []map[string]int{
		// Its marker, the object, and, as the run is closed here, the index; the table's
		// file, the marker; the run.
		{"s3 GetObject": 3, "s3 PutObject": 2, "dynamodb GetItem": 1},
		{"s3 GetObject": 1}, // the marker
	} {
		s.servers.ResetRecord()
		if again := s.handle(ctx, t, s.landed("landing/"+batch.Object())); len(again) > 0 {
			t.Fatal(again, s.log.String())
		}
		got := map[string]int{}
		for _, r := range s.servers.Record() {
			got[r.Service+" "+r.Action]++
		}
		t.Logf("target: converting a landed object asks for %v", got)
		if !maps.Equal(got, want) {
			t.Errorf("converting asks for %v, want %v", got, want)
		}
	}
}
