//go:build bench

package test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/test/servers"
)

// TestWorkerMemory measures the peak memory of a worker whose vendor answers
// with pages of 1 MiB, 32 calls in flight.
func TestWorkerMemory(t *testing.T) {
	row := `{"time":1767225600,"value":12.5,"host":"a-host-of-some-name","unit":"percent"},`
	page := `{"points":[` + strings.Repeat(row, (1<<20)/len(row)) + row[:len(row)-1] + `]}`
	vendor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/lists") {
			var b strings.Builder
			for i := range 1500 {
				fmt.Fprintf(&b, `,{"id":%d}`, i)
			}
			fmt.Fprintf(w, `{"items":[%s]}`, b.String()[1:])
			return
		}
		time.Sleep(20 * time.Millisecond)
		w.Write([]byte(page))
	}))
	defer vendor.Close()
	home := t.TempDir()
	spec := filepath.Join(home, "big.yaml")
	servers.Write(t, spec, `
name: big
base_url: "`+vendor.URL+`"
limits: [{name: flight, in_flight: 32}]
tiers:
  - {name: lists, get: /lists, items: ".items[]", key: .id}
  - {name: reads, get: "/reads/{lists}", rows: ".points[]", table: points}
`)
	for _, limit := range []string{"", "45MiB"} { // 70 % of 64 MB
		env := []string{"SLUICE_HOME=" + filepath.Join(home, "home"+limit)}
		if limit != "" {
			env = append(env, "GOMEMLIMIT="+limit)
		}
		run(t, env, 0, "run", spec, "--no-progress", "--from", "2026-01-01", "--to", "2026-01-01T00:00:01Z")
		p := servers.Start(t, env, sluice, "run", spec, "--no-progress", "--again")
		peak := 0
		for done := false; !done; {
			if kb := highWater(p.Process.Pid); kb > peak {
				peak = kb
			}
			select {
			case <-p.Done:
				done = true
			case <-time.After(50 * time.Millisecond):
			}
		}
		t.Logf("peak memory of a process with 1,500 answers of 1 MiB, 32 in flight, GOMEMLIMIT %q: %.1f MB (target 64)", limit, float64(peak)/1000)
		if p.Code != 0 {
			t.Errorf("ended with %d:\n%s", p.Code, servers.Tail([]byte(p.Out.String())))
		}
	}
}

// highWater is a process's peak resident memory in KB.
func highWater(pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, _ := strconv.Atoi(strings.Fields(rest)[0])
			return n
		}
	}
	return 0
}
