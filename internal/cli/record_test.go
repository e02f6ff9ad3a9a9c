package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/internal/cli"
)

// A spec is tested by what was recorded once: without vendor, secrets and home.
func TestRecordAndTest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, small)
	dir := filepath.Join(t.TempDir(), "sim.recorded")
	w.sluice("vendor", "record", "sim", "--set", "base="+w.sim.URL).want(t, 2, "--out DIR").line(t)
	w.sluice("vendor", "record", "sim", "--set", "base="+w.sim.URL, "--out", dir, "--calls", "0").want(t, 2, "1 or more").line(t)
	w.sluice("vendor", "record", "sim", "--set", "base="+w.sim.URL, "--out", dir, "--calls", "12").want(t, 0, "12 calls of vendor sim recorded in "+dir, "expected.txt")
	if n := w.sim.Stats().Calls; n != 12 {
		t.Errorf("%d calls arrived, want 12", n)
	}
	if _, err := os.Stat(filepath.Join(w.home, "fleet.db")); err == nil {
		t.Error("record made a home")
	}
	w.sluice("vendor", "record", "sim", "--set", "base="+w.sim.URL, "--out", dir).want(t, 2, "is not empty").line(t)
	w.sim.Close()
	alone := func(args ...string) result { return execute(t, cli.Process{Args: args}) }
	alone("vendor", "test", "sim", dir).want(t, 0, "Vendor sim: 12 calls replayed, all as expected")
	alone("vendor", "test", "sim", dir, "--json").want(t, 0, `"as_expected": true`, `"calls": 12`)

	src, err := os.ReadFile("../../vendors/sim.yaml")
	if err != nil {
		t.Fatal(err)
	}
	changed := filepath.Join(w.home, "sim.yaml")
	if err := os.WriteFile(changed, []byte(strings.Replace(string(src), "kind: .kind", `kind: '"k-" + .kind'`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	alone("vendor", "test", changed, dir).want(t, 2, "the recording has no answer to GET "+w.sim.URL).line(t)
	if err := os.WriteFile(changed, []byte(strings.Replace(string(src), "time: $times[$i]", "at: $times[$i]", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	alone("vendor", "test", changed, dir).want(t, 1, `- row {"bytes":`, `+ row {"at":`, "not as expected")
	alone("vendor", "test", changed, dir, "--json").want(t, 1, `"as_expected": false`)
	alone("vendor", "test", changed, dir, "--update").want(t, 0, "expected.txt is written anew")
	alone("vendor", "test", changed, dir).want(t, 0, "all as expected")
	alone("vendor", "test", "sim", w.home).want(t, 2, "there is no recording in").line(t)
	alone("vendor", "test", "prometheus", dir).want(t, 2, "is a recording of vendor sim").line(t)
}

func TestRecordRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, small)
	w.secret("mistaken-secret")
	dir := filepath.Join(t.TempDir(), "recorded")
	w.sluice("vendor", "record", "sim", "--set", "base="+w.sim.URL, "--out", dir).want(t, 2, "refused the secret", "SLUICE_SECRET_SIM_TOKEN").line(t)
	if _, err := os.Stat(dir); err == nil {
		t.Error("something was recorded")
	}
}
