package cli_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/cli"
)

func TestPreviewKeepsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, small)
	w.sluice("vendor", "preview", "sim", "--set", "base="+w.sim.URL, "--nodes", "1").want(t, 0,
		"groups  GET "+w.sim.URL+"/v1/groups?", "Authorization: Bearer ***", "4 nodes", `kind="cpu"`, `"device":"9007199254740993","percent":`, "4 calls made")
	if _, err := os.Stat(filepath.Join(w.home, "fleet.db")); err == nil {
		t.Error("preview made a home")
	}
	w.run().want(t, 0)
	before := w.sluice("status").out
	w.sluice("vendor", "preview", "sim", "--set", "base="+w.sim.URL).want(t, 0)
	if after := w.sluice("status").out; after != before {
		t.Errorf("status before:\n%s\nafter:\n%s", before, after)
	}
	w.secret("mistaken-secret")
	w.sluice("vendor", "preview", "sim", "--set", "base="+w.sim.URL).want(t, 2, "refused the secret", "SLUICE_SECRET_SIM_TOKEN")
}

func TestCheck(t *testing.T) {
	t.Parallel()
	w := newWorld(t, small)
	w.sluice("vendor", "check", "sim").want(t, 0, "Vendor sim is fine", "bucket 1,000 per second", "100.0 %",
		"GET /v1/groups/{groups}/devices", "is there", "SLUICE_SECRET_SIM_TOKEN", "http://127.0.0.1:8070")
	w.sluice("vendor", "check", "prometheus").want(t, 0, "missing", "SLUICE_SECRET_PROMETHEUS_PASSWORD")
	bad := filepath.Join(w.home, "bad.yaml")
	spec := "name: bad\nbase_url: https://example.com\nlimts:\n  - {name: a, window: 5/s}\ntiers:\n  - {name: a, get: /a}\n"
	if err := os.WriteFile(bad, []byte(spec), 0o600); err != nil {
		t.Fatal(err)
	}
	w.sluice("vendor", "check", bad).want(t, 2, bad+":3:1: ", "limits")
	w.sluice("run", bad).want(t, 2, bad+":3:1: ")
}

func TestLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, small)
	w.sluice("limits", "set", "sim", "calls", "--rate", "300/m", "--for", "2h", "--why", "release night").want(t, 0, "bucket 300 per minute")
	w.sluice("limits", "sim").want(t, 0, "release night", "300/m until")
	w.sluice("limits", "sim", "--json").want(t, 0, `"limit": "calls"`)
	w.sluice("limits", "set", "sim", "calls", "--rate", "2000/s").want(t, 2, "--over-spec").line(t)
	w.sluice("limits", "set", "sim", "calls", "--rate", "2000/s", "--over-spec").want(t, 0, "bucket 2,000 per second")
	w.sluice("limits", "set", "sim", "calls", "--as-spec").want(t, 0, "as in the spec")
	w.sluice("limits", "set", "sim", "calls", "--rate", "many").want(t, 2, "is no rate").line(t)
	w.sluice("limits", "set", "sim", "calls").want(t, 2, "what is to change?").line(t)
	w.sluice("limits", "set", "sim", "nosuch", "--rate", "1/s").want(t, 2, "its limits are calls").line(t)
}

func TestSimCommand(t *testing.T) {
	t.Parallel()
	stop := make(chan os.Signal, 1)
	var out, err buffer
	code := make(chan int, 1)
	go func() {
		code <- cli.Main(t.Context(), cli.Process{Args: []string{"vendor", "sim", "--listen", "127.0.0.1:0", "--scale", "100"}, Stdout: &out, Stderr: &err, Stop: stop})
	}()
	var url string
	for deadline := time.Now().Add(10 * time.Second); url == "" && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		_, rest, _ := strings.Cut(out.String(), "base=")
		url, _, _ = strings.Cut(rest, "\n")
	}
	at := func(args ...string) result { return execute(t, cli.Process{Args: append(args, "--at", url)}) }
	at("vendor", "sim", "trouble", `{"slow":"1ms","for":"1s"}`).want(t, 0, `now: {"slow":"1ms","for":"1s"}`)
	at("vendor", "sim", "trouble", `{"down":"sideways"}`).want(t, 2, "unknown outage").line(t)
	at("vendor", "sim", "stats").want(t, 0, "0 calls arrived")
	stop <- syscall.SIGINT
	if c := <-code; c != 0 || !strings.Contains(out.String(), "most arrivals in any window of") {
		t.Errorf("exit code %d:\n%s%s", c, out.String(), err.String())
	}
	at("vendor", "sim", "stats").want(t, 2, "start one with sluice vendor sim").line(t)
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t, small)
	file := filepath.Join(w.home, "a-file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		want string
	}{
		{"run", "sluice run needs SPEC"},
		{"run a b", `"b" is too much`},
		{"rnu", `unknown command "rnu"`},
		{"vendor nosuch", `unknown command "nosuch"`},
		{"run sim --nosuch", "unknown flag: --nosuch"},
		{"run nosuch", `there is no spec "nosuch": the shipped ones are `},
		{"run ./nosuch.yaml", "there is no spec at ./nosuch.yaml: no such file or directory"},
		{"run sim --set base", `--set "base" is no NAME=VALUE`},
		{"run sim --set nosuch=1", `unknown setting "nosuch"`},
		{"run sim --set base=a --set base=b", "given twice"},
		{"run sim --from 2026-01-02", "--from and --to go together"},
		{"run sim --from 2026-01-03 --to 2026-01-02", "--from 2026-01-03 is not before --to 2026-01-02"},
		{"run sim --from 3.1.2026 --to 2026-01-04", `--from "3.1.2026" is no time`},
		{"run sim --home " + file, "not a directory (choose another with --home)"},
		{"run sim --home " + w.home + "/empty", "SLUICE_SECRET_SIM_TOKEN"},
		{"status --home " + w.home + "/none", "nothing has been run there"},
		{"worker sim nosuch", "its tiers are groups, devices, datagroups and data"},
		{"worker sim", "sluice worker needs SPEC and TIER"},
		{"repair nosuch", `there is no run "nosuch"`},
		{"dead nosuch", "there is no spec"},
		{"pause nosuch", "there is no spec"},
		{"demo --scale 0", "--scale is 1 or more"},
	} {
		args := strings.Fields(c.args)
		r := result{}
		if strings.HasPrefix(c.args, "repair") || strings.HasPrefix(c.args, "dead") {
			w.sluice("limits", "set", "sim", "calls", "--rate", "9/s").want(t, 0) // makes the home
			r = w.sluice(args...)
		} else if strings.Contains(c.args, "--home") {
			r = execute(t, cli.Process{Args: args})
		} else {
			r = w.sluice(args...)
		}
		r.want(t, 2, c.want).line(t)
	}
}

func TestWindowForms(t *testing.T) {
	t.Parallel()
	w := newWorld(t, small)
	args := []string{"run", "sim", "--set", "base=" + w.sim.URL, "--from", "2026-01-02T08:00", "--to", "2026-01-02T10:30:00+02:00"}
	w.sluice(args...).want(t, 0, "2026-01-02 08:00 UTC to 2026-01-02 08:30 UTC")
}

func TestAnotherVersionsHome(t *testing.T) {
	t.Parallel()
	w := newWorld(t, small)
	w.sluice("limits", "set", "sim", "calls", "--rate", "9/s").want(t, 0) // makes the home
	db, err := sql.Open("sqlite", filepath.Join(w.home, "fleet.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	w.run().want(t, 2, "was written by another version of Sluice").line(t)
}

func TestUnreachableHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, small)
	w.sim.Close()
	w.stoppedAt("next probe", w.runArgs()...).want(t, 3, "the vendor is down since", "connection refused", "next probe", "Resume with: sluice run sim")
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	w := newWorld(t, small)
	id := w.run().want(t, 0).runID()
	// The flag comes first: what follows __complete is what has been typed.
	complete := func(args ...string) result {
		return execute(t, cli.Process{Args: append([]string{"__complete"}, args...), Getenv: func(name string) string {
			return map[string]string{"SLUICE_HOME": w.home}[name]
		}})
	}
	complete("run", "").want(t, 0, "prometheus\n", "sim\n")
	complete("worker", "sim", "").want(t, 0, "groups\n", "data\n")
	complete("limits", "set", "sim", "").want(t, 0, "calls\n")
	complete("repair", "").want(t, 0, id)
	complete("read", id, "").want(t, 0, "datagroups\n")
	complete("dead", "sim", "--run", "").want(t, 0, id)
	complete("vendor", "").want(t, 0, "preview\t")
}

func TestHelpReadsLikeAManual(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{}, {"--help"}} {
		execute(t, cli.Process{Args: args}).want(t, 0, "Exit codes:", "SLUICE_HOME", "sluice demo", "Reading:")
	}
	for _, name := range []string{"run", "worker", "repair", "replay", "demo", "status", "dead", "read", "limits", "pause", "resume",
		"vendor new", "vendor schema", "vendor check", "vendor preview", "vendor record", "vendor test", "vendor sim", "vendor sim trouble", "limits set"} {
		execute(t, cli.Process{Args: append(strings.Fields(name), "--help")}).want(t, 0, "Usage:\n  sluice "+name, "Examples:\n  sluice ")
	}
}
