package lake_test

import (
	"encoding/json"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/lake"
	"github.com/sluicehq/sluice/internal/landing"
	"github.com/sluicehq/sluice/internal/run"
)

// land puts one object with these records into a closed run.
func (s *site) land(id, tier string, day int, recs ...fanout.Record) {
	s.t.Helper()
	from := time.Date(2026, 11, day, 0, 0, 0, 0, time.UTC)
	r := run.Run{ID: id, Vendor: "acme", Window: fanout.Window{From: from, To: from.AddDate(0, 0, 1)}, Opened: from.Add(26 * time.Hour), State: run.Closed}
	b := landing.New(s.raw).Begin(id, tier)
	for i, rec := range recs {
		rec.Kind, rec.Fetch, rec.At, rec.Status = "page", fmt.Sprint("f", i), from, 200
		rec.Task = fanout.Task{Run: id, Window: r.Window}.Child(tier, fanout.Node{Path: rec.Task.Path})
		if err := b.Add(rec); err != nil {
			s.t.Fatal(err)
		}
		s.books.ends[id] = append(s.books.ends[id], fanout.Settlement{Task: rec.Task, Outcome: fanout.Done, Fetch: rec.Fetch, Pages: 1, Rows: 1})
	}
	if err := b.Commit(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	s.landed = append(s.landed, b.Object())
	r.Verdict = &run.Verdict{Known: len(recs), Done: len(recs), Tiers: []run.TierSum{{Tier: tier, Known: len(recs), Done: len(recs)}}}
	s.books.runs[id] = r
}

// Rows of two branches in one table are told apart by their task's keys.
func TestBranchKey(t *testing.T) {
	s := newSite(t, `
name: acme
base_url: http://acme.invalid
limits: [{name: calls, bucket: 10/s}]
tiers:
  - {name: devices, get: /devices, items: ".devices[]", key: .id}
  - name: data
    branches:
      - {name: in, get: "/devices/{devices}/in", rows: ".rows[]", table: points}
      - {name: out, get: "/devices/{devices}/out", rows: ".rows[]", table: points}
`)
	s.land("acme-1", "data", 1,
		fanout.Record{Task: fanout.Task{Node: fanout.Node{Path: []string{"d1", "in"}}}, Body: []byte(`{"rows":[{"a":1}]}`)},
		fanout.Record{Task: fanout.Task{Node: fanout.Node{Path: []string{"d1", "out"}}}, Body: []byte(`{"rows":[{"a":1}]}`)})
	s.publish("acme-1")
	c, err := lake.Read(t.Context(), s.bucket, "acme")
	if err != nil {
		t.Fatal(err)
	}
	tab := c.Tables[0]
	found := map[string]bool{}
	lake.Rows(t.Context(), s.bucket, tab, nil, func(names []string, values []any) error {
		found[fmt.Sprint(values)] = true
		for _, v := range values {
			found[fmt.Sprint(v)] = true
		}
		return nil
	})
	if !found["in"] || !found["out"] {
		t.Errorf("no column of %v has the branch", tab.Path)
	}
}

// A constant of for, and a group of batch.
func TestForKey(t *testing.T) {
	s := newSite(t, `
name: acme
base_url: http://acme.invalid
limits: [{name: calls, bucket: 10/s}]
tiers:
  - {name: devices, get: /devices, items: ".devices[]", key: .id}
  - {name: data, for: {kind: [in, out]}, get: "/devices/{devices}/{kind}", rows: ".rows[]", table: points}
`)
	s.land("acme-1", "data", 1,
		fanout.Record{Task: fanout.Task{Node: fanout.Node{Path: []string{"d1", "in"}}}, Body: []byte(`{"rows":[{"a":1}]}`)},
		fanout.Record{Task: fanout.Task{Node: fanout.Node{Path: []string{"d1", "out"}}}, Body: []byte(`{"rows":[{"a":1}]}`)})
	s.publish("acme-1")
	c, _ := lake.Read(t.Context(), s.bucket, "acme")
	found := map[string]bool{}
	lake.Rows(t.Context(), s.bucket, c.Tables[0], nil, func(names []string, values []any) error {
		for _, v := range values {
			found[fmt.Sprint(v)] = true
		}
		return nil
	})
	if !found["in"] || !found["out"] {
		t.Errorf("no column of %v has the constant", c.Tables[0].Path)
	}
}

// Texts that are no Unicode are altered by no way of making rows.
// Which type a field gets does not depend on how rows were packed into objects.
// A column must not be called as a directory of the template that came later.
func TestTemplateChanged(t *testing.T) {
	s := newSite(t, acme)
	s.run("acme-1", 1, []page{{device: "d1", fetch: "f", rows: `{"month":"x"}`}})
	s.publish("acme-1")
	s.lake = s.with(acme + "lake: {path: 'table={table}/month={month}/run={run}'}\n")
	s.run("acme-2", 2, []page{{device: "d1", fetch: "f", rows: `{"month":"y"}`}})
	p, err := s.lake.Publish(t.Context(), "acme-2", time.Time{})
	if err != nil {
		t.Log(err)
		return
	}
	for _, c := range p.Tables[0].Columns {
		if c.Name == "month" {
			t.Errorf("column month stands in files below %s", p.Tables[0].Files[0].Name)
		}
	}
}

// A table that is to be shared from now on keeps its rows.
func TestTurnedCommon(t *testing.T) {
	const declared = "lake: {tables: {points: {columns: {a: int}%s}}}\n"
	s := newSite(t, acme+fmt.Sprintf(declared, ""))
	s.run("acme-1", 1, []page{{device: "d1", fetch: "f", rows: `{"a":1}`}})
	s.publish("acme-1")
	s.lake = s.with(acme + fmt.Sprintf(declared, ", common: true"))
	s.run("acme-2", 2, []page{{device: "d1", fetch: "f", rows: `{"a":2}`}})
	if _, err := s.lake.Publish(t.Context(), "acme-2", time.Time{}); err != nil {
		t.Log(err)
		return
	}
	if got, err := readRows(t.Context(), s.bucket, "points"); err != nil {
		t.Errorf("%v, %v", got, err)
	}
}

// A rebuild that is refused says nothing false of a run that is published.
func TestRefusedRebuildOfPublished(t *testing.T) {
	s := newSite(t, acme)
	for n := 1; n <= 2; n++ {
		id := fmt.Sprint("acme-", n)
		s.run(id, n, []page{{device: "d1", fetch: "f", rows: `{"a":1}`}})
		s.publish(id)
	}
	if _, err := s.with(acme+"lake: {tables: {points: {columns: {a: text}}}}\n").Rebuild(t.Context(), []string{"acme-1"}, time.Time{}); err == nil {
		t.Fatal("rebuilt")
	}
	c, err := lake.Read(t.Context(), s.bucket, "acme")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range c.Refusals {
		if _, published := c.Published(r.Run); published {
			t.Errorf("run %s is published, and the catalog says why it is not: %v", r.Run, r.Reasons)
		}
	}
}

// A task that died is replayed: opened again, closed, published.
func TestReplayed(t *testing.T) {
	s := newSite(t, acme+"lake: {dead: 1}\n")
	s.run("acme-1", 1, []page{{device: "d1", fetch: "f", rows: `{"a":1}`}, {device: "d2", fetch: "f1", rows: `{"a":"waste"}`, waste: true}})
	r := s.books.runs["acme-1"]
	r.Verdict.Dead, r.Verdict.Known = 1, 2
	s.books.runs["acme-1"] = r
	s.publish("acme-1")
	equal(t, "rows", s.rows("points"), "[acme-1 d1: a=1]")
	ends := s.books.ends["acme-1"]
	s.run("acme-1", 1, []page{{device: "d2", fetch: "f2", rows: `{"a":2}`}})
	s.books.ends["acme-1"] = append(s.books.ends["acme-1"], ends...)
	r = s.books.runs["acme-1"]
	r.Rev = 2
	s.books.runs["acme-1"] = r
	s.publish("acme-1")
	equal(t, "rows", s.rows("points"), "[acme-1 d1: a=1 acme-1 d2: a=2]")
}

// What is held of a run's objects does not grow with their fields.
// Rows of 4 MB, which the default bound of a body allows.
var _ = io.EOF
var _ = json.Marshal
