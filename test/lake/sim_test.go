package lake_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/vendorsim"
	"github.com/sluicehq/sluice/test/servers"
)

const simLimits = "  - {name: calls, bucket: 1000/s, burst: 50, in_flight: 64}"

// A site is a simulated vendor and a home with a spec for it.
type site struct {
	*vendorsim.Server
	*home
	tree vendorsim.Tree
	file string // the spec
}

// newSite starts a simulated vendor. change edits its spec.
func newSite(t *testing.T, tree vendorsim.Tree, change ...string) *site {
	t.Helper()
	const token = "t0ken-of-the-sim"
	sim, err := vendorsim.Serve("127.0.0.1:0", vendorsim.Config{Tree: tree, Token: token, Latency: 2 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sim.Close() })
	s := &site{Server: sim, home: newHome(t, "SLUICE_SECRET_SIM_TOKEN="+token), tree: tree}
	// Places in flight of a process that was killed would be waited for.
	text := shipped(t, "sim", simLimits, "  - {name: calls, bucket: 2000/s, burst: 100}")
	s.file = s.spec(t, "sim", strings.NewReplacer(change...).Replace(text))
	return s
}

func (s *site) args(more ...string) []string {
	return append([]string{"run", s.file, "--set", "base=" + s.URL, "--from", day, "--to", nextDay, "--no-progress"}, more...)
}

// truth are the rows that the tree has, without those of devices left out.
func (s *site) truth(without ...string) (out []string) {
	for leaf := range s.tree.Leaves(dayAt, dayAt+86400) {
		if len(without) > 0 && leaf.Device == without[0] {
			continue
		}
		for _, r := range leaf.Rows {
			percent, _ := strconv.ParseFloat(r.Percent, 64) // the vendor's digits are a number
			out = append(out, strings.Join([]string{leaf.Device, leaf.Datagroup, fmt.Sprint(r.Time * 1e6), text(percent), r.Bytes}, " | "))
		}
	}
	return out
}

const simRows = `SELECT device, datagroup, epoch_us("time"), percent, bytes FROM sim.metrics`

// TestSim: a run whose processes are killed while they walk, convert and publish is
// in its table exactly as the vendor's tree has it.
func TestSim(t *testing.T) {
	t.Parallel()
	s := newSite(t, vendorsim.Tree{Groups: 10, Devices: 150, Datagroups: 2600, Points: 4, Shared: 3})
	if err := s.Misbehave(vendorsim.Trouble{Errors: 0.01, Cut: 0.01}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	random := rand.New(rand.NewPCG(1, 2))
	for range 5 {
		p := servers.Start(t, s.env, sluice, s.args()...)
		time.Sleep(time.Duration(300+random.IntN(400)) * time.Millisecond)
		p.Process.Kill()
		<-p.Done
	}
	out, _ := s.run(t, 0, s.args()...)
	id := idIn(t, out)
	if !strings.Contains(out, "Tables    metrics: "+thousands(len(s.truth()))+" rows in 1 file") {
		t.Errorf("the run says:\n%s", out)
	}
	db := s.duck(t, "sim")
	same(t, "rows", rows(t, db, simRows), s.truth())
	same(t, "types", types(t, db, "sim.metrics"), []string{
		"_datagroups | VARCHAR", "_devices | VARCHAR", "_fetched_at | TIMESTAMP WITH TIME ZONE", "_run | VARCHAR", "_source | VARCHAR",
		"_upload | VARCHAR", "_variant | VARCHAR", "bytes | BIGINT", "datagroup | VARCHAR", "date | DATE", "device | VARCHAR",
		"percent | DOUBLE", "run | VARCHAR", "time | TIMESTAMP WITH TIME ZONE",
	})
	same(t, "lineage", rows(t, db, `SELECT DISTINCT _run, _source, run, "date"::VARCHAR, _devices = device AND _datagroups = datagroup,
		epoch_us(_fetched_at) BETWEEN ? AND ?, _variant IS NULL FROM sim.metrics`, began.UnixMicro(), time.Now().UnixMicro()),
		[]string{strings.Join([]string{id, "sim", id, day, "true", "true", "true"}, " | ")})
	for _, upload := range rows(t, db, "SELECT DISTINCT _upload FROM sim.metrics") {
		if _, err := os.Stat(filepath.Join(s.dir, "landing/sim/run="+id+"/tier=data", upload+".ndjson.zst")); err != nil {
			t.Errorf("rows of a landed object that is not there: %v", err)
		}
	}
	s.unchanged(t, id)
	s.replaced(t, id, len(s.truth()))
}

func thousands(n int) string {
	s := strconv.Itoa(n)
	if len(s) > 3 {
		s = s[:len(s)-3] + "," + s[len(s)-3:]
	}
	return s
}

// index is what counts of the vendor.
func (s *site) index(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "lake/published/sim.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// unchanged makes sure that a run was switched once, and stays as it is.
func (s *site) unchanged(t *testing.T, id string) {
	t.Helper()
	manifests, err := filepath.Glob(filepath.Join(s.dir, "lake/manifests/sim/run="+id+"/*.json"))
	if err != nil || len(manifests) != 1 {
		t.Errorf("%v: a run that was switched once has the manifests %v", err, manifests)
	}
	before := s.index(t)
	s.run(t, 0, s.args()...)
	if out, _ := s.run(t, 0, "lake", "publish", id); !strings.Contains(out, "nothing has changed") {
		t.Errorf("publishing again says:\n%s", out)
	}
	if s.index(t) != before {
		t.Error("publishing again has changed the index")
	}
}

// replaced reads the window again, and kills the publication ever later: a reader
// sees the old rows or the new ones, and at last the new ones.
func (s *site) replaced(t *testing.T, old string, n int) {
	t.Helper()
	out, _ := s.run(t, 0, s.args("--again", "--no-lake")...)
	id := idIn(t, out)
	db := s.duck(t, "sim")
	kills := 0
	for pause := 20 * time.Millisecond; ; pause += 12 * time.Millisecond {
		p := servers.Start(t, s.env, sluice, "lake", "publish", id)
		select {
		case <-p.Done:
		case <-time.After(pause):
			p.Process.Kill()
			<-p.Done
			kills++
		}
		counts := rows(t, db, "SELECT _run, count(*), count(DISTINCT (device, datagroup, \"time\")) FROM sim.metrics GROUP BY 1")
		one := fmt.Sprintf(" | %d | %[1]d", n)
		if p.Code == 0 {
			same(t, "the new rows", counts, []string{id + one})
			break
		}
		if len(counts) != 1 || counts[0] != old+one && counts[0] != id+one {
			t.Fatalf("a publication that was killed after %v has left %q", pause, counts)
		}
	}
	if t.Logf("%d publications were killed", kills); kills < 3 {
		t.Errorf("only %d publications were killed", kills)
	}
	same(t, "rows of the window read again", rows(t, s.duck(t, "sim"), simRows), s.truth())
}

// TestReplayed: a spec that allows a dead task has its run published without what
// lies below; after a replay it is published with it.
func TestReplayed(t *testing.T) {
	t.Parallel()
	s := newSite(t, vendorsim.Tree{Groups: 2, Devices: 12, Datagroups: 60, Points: 3}, "lake: {", "lake: {dead: 1, ")
	const device = "9007199254740995"
	if err := s.Misbehave(vendorsim.Trouble{Poison: "/devices/" + device + "/datagroups"}); err != nil {
		t.Fatal(err)
	}
	out, _ := s.run(t, 1, s.args()...)
	db := s.duck(t, "sim")
	same(t, "rows without those of a dead device", rows(t, db, simRows), s.truth(device))
	if err := s.Misbehave(vendorsim.Trouble{}); err != nil {
		t.Fatal(err)
	}
	s.run(t, 0, "replay", s.file, "--wait")
	same(t, "rows after the replay", rows(t, db, simRows), s.truth())
	same(t, "runs", rows(t, db, "SELECT DISTINCT _run FROM sim.metrics"), []string{idIn(t, out)})
}
