package lake_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/sluicehq/sluice/internal/vendorsim"
)

// TestCorrupt: landed objects that are damaged or hostile are set aside with the
// reason, the others are converted; the run is published when somebody has dealt
// with all of them.
func TestCorrupt(t *testing.T) {
	t.Parallel()
	s := newSite(t, vendorsim.Tree{Groups: 4, Devices: 100, Datagroups: 1500, Points: 2})
	_, others := s.unpublished(t)
	id, objects := s.unpublished(t, "--again")
	cut, flipped := read(t, objects[0]), read(t, objects[1])
	flipped[len(flipped)/2] ^= 0x10
	damages := []damage{
		{objects[0], cut[:len(cut)-7], "unexpected EOF"}, {objects[1], flipped, "damaged"},
		{objects[2], bomb(t), "longer than"}, {objects[3], read(t, others[3]), "it is of run"},
	}
	var restore []func()
	for _, d := range damages {
		whole := read(t, d.object)
		write(t, d.object, d.text)
		restore = append(restore, func() { write(t, d.object, whole) })
	}
	s.refused(t, id, damages)
	markers, err := filepath.Glob(filepath.Join(s.dir, "lake/staged/sim/*/run="+id+"/tier=data/*.json"))
	if err != nil || len(markers) != len(objects)-len(damages) {
		t.Errorf("%v: %d objects are converted, of %d that are whole", err, len(markers), len(objects)-len(damages))
	}

	for _, whole := range restore[:3] { // the last is lost
		whole()
	}
	if out, _ := s.run(t, 1, "lake", "retry", id); !strings.Contains(out, "3 landed objects converted, 1 landed object dead still") {
		t.Errorf("it says:\n%s", out)
	}
	s.run(t, 1, "lake", "publish", id)
	s.run(t, 0, "lake", "discard", id, filepath.Base(objects[3]), "--why", "lost with the disk")
	s.run(t, 0, "lake", "publish", id)
	db := s.duck(t, "sim")
	lost := s.some(t, rows(t, db, simRows))
	const ofObject = "SELECT count(*) FROM sim.metrics WHERE _upload = ?"
	lostID := strings.TrimSuffix(filepath.Base(objects[3]), ".ndjson.zst")
	same(t, "rows of the lost object", rows(t, db, ofObject, lostID), []string{"0"})

	restore[3]() // found again
	s.run(t, 0, "lake", "rebuild", "--run", id)
	same(t, "all rows", rows(t, db, simRows), s.truth())
	same(t, "rows of the object that was found", rows(t, db, ofObject, lostID), []string{fmt.Sprint(lost)})
}

// A damage is what stands in the place of a landed object, and what is said of it.
type damage struct {
	object string
	text   []byte
	reason string
}

// unpublished is a run of which no tables were made, with its landed objects.
func (s *site) unpublished(t *testing.T, more ...string) (id string, objects []string) {
	t.Helper()
	out, _ := s.run(t, 0, s.args(append(more, "--no-lake")...)...)
	id = idIn(t, out)
	objects, err := filepath.Glob(filepath.Join(s.dir, "landing/sim/run="+id+"/tier=data/*.zst"))
	if err != nil || len(objects) < 5 {
		t.Fatalf("%v: %d landed objects", err, len(objects))
	}
	return id, objects
}

// refused makes sure that a run is not published, and why is said of each object.
func (s *site) refused(t *testing.T, id string, damages []damage) {
	t.Helper()
	if _, said := s.run(t, 1, "lake", "publish", id); !strings.Contains(said, "4 landed objects cannot be converted") {
		t.Errorf("it says:\n%s", said)
	}
	dead, _ := s.run(t, 0, "lake", "dead", id)
	parts := strings.Split(dead, "run="+id+"/tier=data/")
	for _, d := range damages {
		listed := slices.ContainsFunc(parts, func(part string) bool {
			return strings.HasPrefix(part, filepath.Base(d.object)) && strings.Contains(part, d.reason)
		})
		if !listed {
			t.Errorf("%s is not listed with %q:\n%s", filepath.Base(d.object), d.reason, dead)
		}
	}
	if out, _ := s.run(t, 0, "lake", "tables"); !strings.Contains(out, "No table is published.") || !strings.Contains(out, id+": 4 landed objects cannot be converted") {
		t.Errorf("the tables:\n%s", out)
	}
}

// some makes sure that all of these rows are the tree's, each once, and tells how
// many are missing.
func (s *site) some(t *testing.T, got []string) (missing int) {
	t.Helper()
	truth := map[string]bool{}
	for _, row := range s.truth() {
		truth[row] = true
	}
	for _, row := range got {
		if !truth[row] {
			t.Fatalf("too many: %s", row)
		}
		delete(truth, row)
	}
	return len(truth)
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func write(t *testing.T, name string, text []byte) {
	t.Helper()
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// bomb is a small object that unpacks to one endless line.
func bomb(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(w, `{"kind":"page","body":"`)
	for range 200 {
		w.Write(bytes.Repeat([]byte(" "), 1<<20))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
