//go:build prove

package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/vendorsim"
	"github.com/sluicehq/sluice/test/servers"
)

const simToken = "t0ken-of-the-sim"

// A site is a simulated vendor, a spec for it and a home.
type site struct {
	*vendorsim.Server
	home, spec string
	env        []string
}

// newSite starts a simulated vendor that counts and does not refuse, and writes
// a spec for it with the given limits.
func newSite(t *testing.T, tree vendorsim.Tree, limits string) *site {
	t.Helper()
	sim, err := vendorsim.Serve("127.0.0.1:0", vendorsim.Config{Tree: tree, Token: simToken, Latency: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sim.Close() })
	s := &site{Server: sim, home: t.TempDir()}
	s.spec = filepath.Join(s.home, "sim.yaml")
	src, err := os.ReadFile("../vendors/sim.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(src)) {
		if strings.Contains(line, "bucket: 1000/s") {
			line = "  - " + strings.ReplaceAll(limits, "\n", "\n  - ") + "\n"
		}
		lines = append(lines, line)
	}
	servers.Write(t, s.spec, strings.Join(lines, ""))
	s.env = []string{"SLUICE_SECRET_SIM_TOKEN=" + simToken, "SLUICE_HOME=" + s.home}
	return s
}

// args are a command's arguments for this site.
func (s *site) args(command ...string) []string {
	return append(command, "--set", "base="+s.URL)
}

// run starts `sluice run`; window fixes the run's window.
func (s *site) run(t *testing.T) *servers.Process {
	t.Helper()
	return servers.Start(t, s.env, sluice, s.args("run", s.spec, "--no-progress", "--from", "2026-01-01", "--to", "2026-01-02")...)
}

func (s *site) worker(t *testing.T, tier string) *servers.Process {
	t.Helper()
	return servers.Start(t, s.env, sluice, s.args("worker", s.spec, tier)...)
}

// during counts arrivals in a span of time.
func during(arrivals []time.Time, from, to time.Time) (n int) {
	for _, at := range arrivals {
		if !at.Before(from) && at.Before(to) {
			n++
		}
	}
	return n
}

// between keeps the arrivals in a span of time.
func between(arrivals []time.Time, from, to time.Time) (out []time.Time) {
	for _, at := range arrivals {
		if !at.Before(from) && at.Before(to) {
			out = append(out, at)
		}
	}
	return out
}
