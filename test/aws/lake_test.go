package aws

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/columns"
	"github.com/sluicehq/sluice/internal/vendorsim"
)

// A line is what the lake's index says of one table of a run.
type line struct {
	Run, Generation, Prefix string
	Table                   string `json:"table_name"`
	Rows                    int    `json:"row_count"`
}

// index is what the lake's index says of a run's metrics; an empty one: nothing.
func (s *site) index(t *testing.T, id string) line {
	t.Helper()
	doc, err := s.account.Read(t.Context(), "lake/published/sim.ndjson")
	if err != nil {
		return line{} // nothing is published
	}
	for text := range bytes.Lines(doc) {
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			t.Fatalf("the index: %v: %s", err, text)
		}
		if l.Run == id && l.Table == "metrics" {
			return l
		}
	}
	return line{}
}

// published checks that a run's table has the truth, each row once, as whoever
// joins its files with the index reads it.
func (s *site) published(t *testing.T, id string, tree vendorsim.Tree) {
	t.Helper()
	s.eventually(t, "run "+id+" is published", 2*time.Minute, func() bool { return s.index(t, id).Run == id })
	l := s.index(t, id)
	i := slices.IndexFunc(s.runs(t), func(r runStatus) bool { return r.Run == id })
	r, truth, rows := s.runs(t)[i], map[string]int{}, 0
	for leaf := range tree.Leaves(r.From.Unix(), r.To.Unix()) {
		for _, row := range leaf.Rows {
			truth[fmt.Sprint(leaf.Device, " ", leaf.Datagroup, " ", row.Time, " ", row.Bytes)]++
			rows++
		}
	}
	if l.Rows != rows {
		t.Errorf("run %s: the index says %d rows, want %d", id, l.Rows, rows)
	}
	keys, err := s.account.Keys(t.Context(), "lake/"+l.Prefix)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		if !strings.HasPrefix(path.Base(key), l.Generation) {
			continue // of a generation that does not count any more
		}
		file, err := s.account.Read(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		err = columns.Each(t.Context(), bytes.NewReader(file), int64(len(file)), func(names []string, values []any) error {
			of := func(name string) any { return values[slices.Index(names, name)] }
			if of("_run") != id || of("_source") != "sim" || of("_generation") != l.Generation || of("_devices") != of("device") {
				t.Errorf("%s: lineage %v of %v", key, values, names)
			}
			truth[fmt.Sprint(of("device"), " ", of("datagroup"), " ", of("time").(time.Time).Unix(), " ", of("bytes"))]--
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for row, n := range truth {
		if n != 0 {
			t.Errorf("run %s: row %s in the lake: %+d", id, row, -n)
			break
		}
	}
	s.operated(t, id, rows)
}

// operated reads a published run as an operator does.
func (s *site) operated(t *testing.T, id string, rows int) {
	t.Helper()
	for _, c := range []struct{ command, want string }{
		{"tables sim", "sim.metrics: "}, {"show " + id, "s3://"}, {"sql athena sim", "sluice_sim"}, {"sql snowflake sim", "s3://"},
		{"publish " + id, "nothing has changed"}, {"dead " + id, "No landed object of run"},
	} {
		if out := s.sluice(t, 0, append([]string{"lake"}, strings.Fields(c.command)...)...); !strings.Contains(out, c.want) {
			t.Errorf("sluice lake %s has no %q:\n%s", c.command, c.want, out)
		}
	}
	if out := s.sluice(t, 0, "lake", "export", "sim", "metrics", "--run", id, "--format", "ndjson"); strings.Count(out, "\n") != rows {
		t.Errorf("%d rows of run %s are exported, want %d", strings.Count(out, "\n"), id, rows)
	}
}

// buried checks that what cannot be converted is among the dead letters, with its
// reason, and logs what the lake's function has asked for.
func (s *site) buried(t *testing.T) {
	t.Helper()
	stack, err := s.servers.Open(t, "AKIAMAKER").Stack(t.Context(), "sim")
	if err != nil {
		t.Fatal(err)
	}
	dead, err := s.servers.Messages(t.Context(), stack.Lake.Dead)
	if err != nil || len(dead) == 0 {
		t.Fatalf("%d dead letters of the lake, %v", len(dead), err)
	}
	for _, m := range dead {
		if a := m.Attributes; a["run"] != "nobody's" || a["object"] != "run=nobody's/tier=data/x.ndjson.zst" || !strings.Contains(a["reason"], "no such run") {
			t.Errorf("a dead letter of the lake: %q", m)
		}
	}
	asked, objects := map[string]int{}, 0
	for _, r := range s.servers.Record() {
		switch {
		case r.Key == "sluice-sim-lake":
			asked[r.Service+"."+r.Action]++
		case r.Action == "PutObject" && strings.Contains(r.Resource, "/landing/"):
			objects++
		}
	}
	t.Logf("target: %d landed objects and two runs, through kills: the lake's function has asked for %v", objects, asked)
}
