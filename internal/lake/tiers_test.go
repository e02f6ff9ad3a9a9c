package lake_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/lake"
	"github.com/sluicehq/sluice/internal/run"
)

// TestKilledRebuild: a rebuild of a run with waste, or with dead tasks whose staged
// files stay, killed anywhere: readers see the rows all the time, and one repeat
// ends it.
func TestKilledRebuild(t *testing.T) {
	for _, dead := range []int{0, 1} {
		s := newSite(t, acme+"lake: {dead: 1}\n")
		s.lake.Fan, s.lake.Grace = 2, time.Nanosecond
		want := strings.Join(twoObjects(s, "acme-1", 1), "\n")
		s.books.runs["acme-1"].Verdict.Dead = dead
		s.publish("acme-1")
		start := maps.Clone(s.bucket.objects)
		kills := 0
		for ; ; kills++ {
			s.bucket.objects = maps.Clone(start)
			s.bucket.revive()
			s.bucket.kill = kills
			_, err := s.lake.Rebuild(t.Context(), []string{"acme-1"}, time.Time{})
			s.bucket.revive()
			if err == nil {
				break
			}
			equal(t, fmt.Sprint("rows when killed at ", kills), strings.Join(s.rows("points"), "\n"), want)
			if _, err = s.lake.Rebuild(t.Context(), []string{"acme-1"}, time.Time{}); err != nil {
				t.Errorf("killed at %d: the repeat: %v", kills, err)
			}
			equal(t, fmt.Sprint("rows after the repeat of ", kills), strings.Join(s.rows("points"), "\n"), want)
		}
		if kills < 25 {
			t.Errorf("killed %d times only", kills)
		}
	}
}

// A table that is no longer in the spec: its rows of a run that is published
// again are not dropped without a word.
func TestTableLeftTheSpec(t *testing.T) {
	two := acme + "lake: {tables: {ids: {from: points, row: '{id: .a}'}}}\n"
	s := newSite(t, two)
	s.run("acme-1", 1, []page{{device: "d1", fetch: "f", rows: `{"a":1}`}})
	s.publish("acme-1")
	r := s.books.runs["acme-1"]
	r.Rev = 2 // opened and closed again
	s.books.runs["acme-1"] = r
	s.lake = s.with(acme)
	p := s.publish("acme-1")
	c, err := lake.Read(t.Context(), s.bucket, "acme")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Find("ids"); err != nil && len(p.Notes) == 0 {
		t.Errorf("table ids is gone, and nobody says so: notes %v", p.Notes)
	}
}

// Two publications of one vendor that both widen: each row stays, each once.
func TestTwoWiden(t *testing.T) {
	for at := range 40 {
		s := newSite(t, acme)
		s.run("acme-0", 1, []page{{device: "d1", fetch: "f", rows: `{"a":1,"b":true}`}})
		s.publish("acme-0")
		s.run("acme-1", 2, []page{{device: "d1", fetch: "f", rows: `{"a":1.5,"b":2}`}})
		s.run("acme-2", 3, []page{{device: "d1", fetch: "f", rows: `{"a":"x","b":"y"}`}})
		other := s.with(acme)
		n, done := 0, false
		step := func() {
			if n++; n-1 == at && !done {
				done = true
				s.publish("acme-2")
			}
		}
		other.Store = &hooked{bucket: s.bucket, put: func(string) { step() }, putF: func(string) { step() }, swap: func(string, []byte) error { step(); return nil }, get: func(string) { step() }}
		if _, err := other.Publish(t.Context(), "acme-1", time.Time{}); err != nil {
			t.Fatal(at, err)
		}
		if !done {
			break
		}
		got, err := readRows(t.Context(), s.bucket, "points")
		equal(t, fmt.Sprint("rows at ", at), fmt.Sprint(got, err), "[acme-0 d1: a=1 b=true acme-1 d1: a=1.5 b=2 acme-2 d1: a=x b=y] <nil>")
		c, _ := lake.Read(t.Context(), s.bucket, "acme")
		for _, line := range c.Tables[0].Lines {
			m, err := lake.Manifest(t.Context(), s.bucket, line)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range m.Tables[0].Files {
				if tagOf(s.bucket.objects[f.Name]) != f.SHA256 {
					t.Errorf("at %d: run %s: checksum of %s", at, line.Run, f.Name)
				}
			}
		}
	}
}

// Two processes publish one run: at whatever point the other comes, rows are there once.
func TestTwoOfOneRun(t *testing.T) {
	errs := map[string]int{}
	for at := range 60 {
		s := newSite(t, acme)
		want := twoObjects(s, "acme-1", 1)
		other := s.with(acme)
		n, done := 0, false
		step := func() {
			if n++; n-1 == at && !done {
				done = true
				s.publish("acme-1")
			}
		}
		other.Store = &hooked{bucket: s.bucket, put: func(string) { step() }, putF: func(string) { step() }, swap: func(string, []byte) error { step(); return nil }, get: func(string) { step() }, list: func(string) { step() }}
		var err error
		for range 3 {
			if _, err = other.Publish(t.Context(), "acme-1", time.Time{}); err == nil {
				break
			}
			errs[err.Error()]++
		}
		if err != nil {
			t.Errorf("at %d: %v", at, err)
		}
		if !done {
			break
		}
		got, err := readRows(t.Context(), s.bucket, "points")
		if err != nil || strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("at %d: %v %v", at, got, err)
		}
	}
	t.Log(len(errs), "errors that a repeat mended")
}

// A chunked list in a tier whose task died: its recorded parts.
func TestDeadChunks(t *testing.T) {
	s := newSite(t, acme+"lake: {dead: 1}\n")
	s.run("acme-1", 1, []page{{device: "d1", fetch: "f", rows: `{"a":1}`}, {device: "d1", fetch: "f2", chunk: 1, rows: `{"a":2}`}})
	e := &s.books.ends["acme-1"][0]
	e.Outcome, e.Pages, e.Rows = fanout.Dead, 0, 0
	r := s.books.runs["acme-1"]
	r.Verdict.Dead = 1
	s.books.runs["acme-1"] = r
	p := s.publish("acme-1")
	equal(t, "rows", s.rows("points"), "[acme-1 d1: a=1]")
	equal(t, "pages", p.Pages, 1)
}

// A landed object of a published run is damaged later, and the run rebuilt: what
// is live stays.
func TestRebuildOfLostLanding(t *testing.T) {
	s := newSite(t, acme)
	want := twoObjects(s, "acme-1", 1)
	s.publish("acme-1")
	delete(s.raw.objects, s.landed[0])
	var refused *lake.Refused
	if _, err := s.lake.Rebuild(t.Context(), []string{"acme-1"}, time.Time{}); !errors.As(err, &refused) {
		t.Fatal(err)
	}
	equal(t, "rows", strings.Join(s.rows("points"), "\n"), strings.Join(want, "\n"))
}

var _ = run.Closed
