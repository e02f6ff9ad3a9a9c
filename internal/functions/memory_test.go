//go:build bench

package functions_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/awsfleet/awstest"
)

// TestMemory measures the peak memory of a tier's function whose vendor answers
// with pages of 1 MiB, 32 calls in flight.
func TestMemory(t *testing.T) {
	row := `{"time":1767225600,"value":12.5,"host":"a-host-of-some-name","unit":"percent"},`
	page := `{"points":[` + strings.Repeat(row, (1<<20)/len(row)) + row[:len(row)-1] + `]}`
	vendor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/lists") {
			var b strings.Builder
			for i := range 400 {
				fmt.Fprintf(&b, `,{"id":%d}`, i)
			}
			fmt.Fprintf(w, `{"items":[%s]}`, b.String()[1:])
			return
		}
		time.Sleep(20 * time.Millisecond)
		_, _ = w.Write([]byte(page))
	}))
	defer vendor.Close()
	spec := "name: big\nbase_url: \"" + vendor.URL + "\"\nlimits: [{name: flight, in_flight: 32}]\ntiers:\n" +
		"  - {name: lists, get: /lists, items: \".items[]\", key: .id}\n  - {name: reads, get: \"/reads/{lists}\", rows: \".points[]\", table: points}\n"
	servers := awstest.StandIn(t)
	stack, err := servers.MakeStack(t.Context(), "big", nil, "lists", "reads")
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(stack)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for i, limit := range []string{"90MiB", "45MiB"} { // 70 % of 128 and of 64 MB
		for _, program := range []string{"seed", "tier"} {
			build(t, dir, program, "")
			if err := os.WriteFile(filepath.Join(dir, program, "vendor.yaml"), []byte(spec), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		env := slices.Concat(servers.Env("fleet"), []string{"SLUICE_STACK=" + string(text), "SLUICE_TIER=reads", "GOMEMLIMIT=" + limit, "SLUICE_WHEN_OPEN=queue"})
		seeder, tier := function(t, dir, "seed", env...), function(t, dir, "tier", env...)
		seeder.Timeout, tier.Timeout = 10*time.Second, 3*time.Minute
		window := map[string]any{"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z", "again": i > 0}
		for range 2 {
			invoke(t, seeder, window)
			window["again"] = false
		}
		invoke(t, tier, struct{}{})
		t.Logf("target: peak memory of a tier's function with 400 answers of 1 MiB, 32 in flight, GOMEMLIMIT %s: %.1f MB (at most 64)", limit, float64(tier.Stats().PeakKB)/1000)
	}
}
