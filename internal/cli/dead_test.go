package cli_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/vendors"
)

const (
	deadDevice = "9007199254740995"
	deadName   = "datagroups " + deadDevice
)

// deadWorld is a home with one dead task, which hides three.
func deadWorld(t *testing.T) (w *world, fails *failing, id string) {
	t.Helper()
	w = newWorld(t, small)
	fails = new(failing)
	w.via = fails
	fails.fail("/devices/" + deadDevice + "/datagroups")
	return w, fails, w.run().want(t, 1, "1 dead task:").runID()
}

var causeShown = regexp.MustCompile(`(?m)^([0-9a-v]{6})  `)

func TestDeadFilters(t *testing.T) {
	t.Parallel()
	w, _, id := deadWorld(t)
	cause := causeShown.FindStringSubmatch(w.sluice("dead", "sim").want(t, 0).out)
	if cause == nil {
		t.Fatal("no cause is named")
	}
	for _, c := range []struct {
		args string
		n    int
	}{
		{"", 1}, {"datagroups", 1}, {"data", 0}, {"--cause " + cause[1], 1}, {"--cause 000000", 0}, {"--cause 000000," + cause[1], 1},
		{"--status 400", 1}, {"--status 4xx", 1}, {"--status 5xx --status 400", 1}, {"--status 5xx", 0}, {"--status 500", 0},
		{"--since 1h", 1}, {"--since 2020-01-02T03:04:05Z", 1}, {"--since 2126-01-02", 0}, {"--task datagroups*", 1}, {"--task devices*", 0}, {"--task [", 0},
		{"--run " + id, 1}, {"datagroups --status 4xx --since 1h --run " + id, 1},
	} {
		args := append([]string{"dead", "export", "sim"}, strings.Fields(c.args)...)
		if got := strings.Count(w.sluice(args...).want(t, 0).out, "\n"); got != c.n {
			t.Errorf("%s: %d dead tasks, want %d", c.args, got, c.n)
		}
		says := "No dead task of sim matches"
		if c.n > 0 {
			says = "1 dead task of tier datagroups in run " + id
		}
		w.sluice(append([]string{"dead", "sim"}, strings.Fields(c.args)...)...).want(t, 0, says)
		says = "nothing to replay"
		if c.n > 0 {
			says = "Would replay 1 task:"
		}
		w.sluice(append([]string{"replay", "sim", "--dry-run"}, strings.Fields(c.args)...)...).want(t, 0, says)
	}
	for _, wrong := range []struct{ args, says string }{
		{"--cause nosuch!", "is no cause"}, {"--status 50", "is no status"}, {"--status dead", "is no status"}, {"--since yesterday", "neither how long ago nor a time"},
		{"nosuch", "its tiers are"}, {"--run sim-20200101-aaaaaa", "the last ones are"},
	} {
		for _, verb := range []string{"dead", "replay", "discard"} {
			args := append([]string{verb, "sim"}, strings.Fields(wrong.args)...)
			if verb == "discard" {
				args = append(args, "--why", "x")
			}
			w.sluice(args...).want(t, 2, wrong.says).line(t)
		}
	}
	w.sluice("replay", "sim", "--limit", "-1").want(t, 2, "--limit").line(t)
	w.sluice("dead", "nosuch").want(t, 2, "there is no spec").line(t)
	w.sluice("dead", "prometheus").want(t, 0, "No task of prometheus is dead.")
	w.sluice("replay", "prometheus").want(t, 0, "nothing to replay")
}

func TestDeadShow(t *testing.T) {
	t.Parallel()
	w, fails, id := deadWorld(t)
	r := w.sluice("dead", "show", "sim", deadName).want(t, 0, deadName+": dead", "rejected, status 400", "/devices/"+deadDevice+"/datagroups",
		"this device is not for you", "life      1, 2 failed attempts in it", "history")
	var shown struct {
		Task, Run, Name, Outcome, Cause string
		Life, Attempts                  int
		History                         []struct{ What string }
	}
	show := func(name string) {
		t.Helper()
		out := w.sluice("dead", "show", "sim", name, "--json").want(t, 0).out
		if err := json.Unmarshal([]byte(out), &shown); err != nil {
			t.Fatal(err)
		}
	}
	show(deadName)
	if shown.Run != id || shown.Outcome != "dead" || shown.Life != 1 || shown.Attempts != 2 || len(shown.History) != 2 || !strings.Contains(r.out, shown.Task) {
		t.Errorf("%+v", shown)
	}
	task := shown.Task
	if show(task); shown.Name != deadName {
		t.Errorf("by its ID it is %+v", shown)
	}
	w.sluice("dead", "show", "sim", "datagroups 1").want(t, 2, "no task").line(t)
	w.sluice("dead", "show", "sim", "groups (root)").want(t, 2, "no task").line(t) // it is done
	w.sluice("replay", "sim", "--why", "not yet").want(t, 0, "1 task")
	if show(task); shown.Name != deadName || shown.Outcome != "" || shown.Life != 2 {
		t.Errorf("by its ID, while it is open again: %+v", shown)
	}
	w.run().want(t, 1, "1 dead task:")
	w.sluice("replay", "sim", "--why", "perhaps now", "--wait").want(t, 1, "1 task of run "+id, "1 dead task:")
	w.sluice("dead", "show", "sim", deadName).want(t, 0, "life      3, 2 failed attempts in it, begun by r-", "replayed by", "perhaps now")
	fails.fail("")
	w.sluice("replay", "sim", "--wait").want(t, 0, "85 done + 0 gone + 0 dead")
	if show(deadName); shown.Outcome != "done" || shown.Life != 4 || shown.Attempts != 0 {
		t.Errorf("after it was done: %+v", shown)
	}
	if show(task); shown.Name != deadName || shown.Outcome != "done" {
		t.Errorf("by its ID, after it was done: %+v", shown)
	}
}

func TestReplayToTheVerdict(t *testing.T) {
	t.Parallel()
	w, fails, id := deadWorld(t)
	fails.fail("")
	out := w.sluice("replay", "sim", "--status", "4xx", "--why", "mended", "--json").want(t, 0).out
	var done struct {
		Tag, Vendor string
		Tasks       int
		Runs        []struct {
			Run   string
			Tasks int
		}
	}
	if err := json.Unmarshal([]byte(out), &done); err != nil || done.Vendor != "sim" || done.Tasks != 1 || len(done.Runs) != 1 || done.Runs[0].Run != id || !strings.HasPrefix(done.Tag, "r-") {
		t.Fatalf("%s\n%+v, %v", out, done, err)
	}
	w.sluice("limits", "sim").want(t, 0, "replay "+done.Tag, "1 task", "--status 4xx", "mended")
	// As after a replay that was killed: nothing is dead, and the run is open.
	w.sluice("replay", "sim", "--wait").want(t, 0, "nothing to replay", "85 done + 0 gone + 0 dead")
	w.sluice("replay", "sim", "--wait").want(t, 0, "nothing to replay")
	if s := w.sim.Stats(); s.Repeated != 0 || s.Calls != w.tree.Calls() {
		t.Errorf("%+v", s)
	}
}

// TestReplayWithoutASpec: to wait for the verdict needs what the run was seeded
// with.
func TestReplayWithoutASpec(t *testing.T) {
	t.Parallel()
	w := newWorld(t, small)
	fails := &failing{path: "/devices/" + deadDevice + "/datagroups"}
	w.via = fails
	src, err := vendors.Specs.ReadFile("sim.yaml")
	if err != nil {
		t.Fatal(err)
	}
	spec := filepath.Join(t.TempDir(), "sim.yaml")
	if err := os.WriteFile(spec, src, 0o644); err != nil {
		t.Fatal(err)
	}
	args := w.runArgs()
	args[1] = spec
	id := w.sluice(args...).want(t, 1).runID()
	if err := os.Remove(spec); err != nil {
		t.Fatal(err)
	}
	r := w.sluice("replay", "sim", "--wait").want(t, 2, "run "+id+" was seeded with the spec", spec)
	r.line(t)
}

func TestReplayLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, small)
	w.via = roundTrip(func(r *http.Request) (*http.Response, error) {
		if strings.HasSuffix(r.URL.Path, "/datagroups") {
			time.Sleep(time.Millisecond)
			f := &failing{path: "/datagroups"}
			return f.RoundTrip(r)
		}
		return http.DefaultTransport.RoundTrip(r)
	})
	w.run().want(t, 1, "20 dead tasks:")
	var oldest []string
	type line struct {
		Name string
		At   time.Time
	}
	var all []line
	for text := range strings.Lines(w.sluice("dead", "export", "sim").want(t, 0).out) {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
	w.sluice("dead", "sim").want(t, 0, "20 dead tasks of tier datagroups") // one cause
	if len(all) != 20 {
		t.Fatalf("%d dead tasks, want 20", len(all))
	}
	for _, l := range all {
		older := 0
		for _, o := range all {
			if o.At.Before(l.At) {
				older++
			}
		}
		if older < 3 {
			oldest = append(oldest, l.Name)
		}
	}
	w.sluice("replay", "sim", "--limit", "0").want(t, 2, "not less than 1").line(t)
	w.sluice("discard", "sim", "--limit", "0", "--why", "x").want(t, 2, "not less than 1").line(t)
	r := w.sluice("replay", "sim", "--limit", "3", "--dry-run").want(t, 0, "Would replay 3 tasks:")
	named := 0
	for _, name := range oldest {
		if strings.Contains(r.out, name+"\n") {
			named++
		}
	}
	if named != 3 {
		t.Errorf("%s\nwant three of those that died first: %q", r.out, oldest)
	}
	w.sluice("replay", "sim", "--limit", "3").want(t, 0, "3 tasks of run")
	w.sluice("dead", "sim").want(t, 0, "17 dead tasks")
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestDiscard(t *testing.T) {
	t.Parallel()
	w, fails, id := deadWorld(t)
	w.sluice("discard", "sim").want(t, 2, "needs --why").line(t)
	w.sluice("discard", "sim", "--why", "not ours", "--dry-run").want(t, 0, "Would discard 1 task:", deadName)
	w.sluice("dead", "sim").want(t, 0, "1 dead task")
	w.sluice("discard", "sim", "--status", "400", "--why", "not ours").want(t, 0, "1 task of run "+id+" discarded: ",
		"done + 0 gone + 0 dead + 1 discarded = 1 seed(s)")
	w.sluice("discard", "sim", "--why", "not ours").want(t, 0, "nothing to discard")
	w.sluice("dead", "sim").want(t, 0, "No task of sim is dead.")
	fails.fail("")
	w.sluice("replay", "sim", "--task", deadName).want(t, 0, "nothing to replay") // it is final
	w.sluice("dead", "show", "sim", deadName).want(t, 0, ": discarded", "this device is not for you", "discarded by", "not ours")
	w.run().want(t, 0, "complete", "discarded", deadName)
	w.sluice("limits", "sim").want(t, 0, "discard dead letters", "not ours")
}
