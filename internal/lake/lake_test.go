package lake_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/lake"
	"github.com/sluicehq/sluice/internal/run"
)

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s:\n got %v\nwant %v", what, got, want)
	}
}

// twoObjects is a run with waste, a task in two chunks, and keys out of order.
func twoObjects(s *site, id string, day int) (want []string) {
	s.run(id, day,
		[]page{
			{device: "d2", fetch: "f2", rows: `{"a":1},{"a":2}`},
			{device: "d1", fetch: "crashed", rows: `{"a":"waste","w":true}`, waste: true},
			{device: "d3", fetch: "f3", rows: `{"a":5,"b":"x"}`},
		},
		[]page{
			{device: "d3", fetch: "f3b", chunk: 1, rows: `{"a":6}`},
			{device: "d1", fetch: "f1", rows: `{"a":0}`},
			{device: "d1", fetch: "f1", rows: `{"a":7},{"a":null}`},
		})
	return []string{id + " d1: a=0", id + " d1: a=7", id + " d1:", id + " d2: a=1", id + " d2: a=2", id + " d3: a=5 b=x", id + " d3: a=6"}
}

// TestPublish: a run's rows, those of fetches that the ledger names, each once,
// in the order of the keys; whatever did not count decides nothing.
func TestPublish(t *testing.T) {
	s := newSite(t, acme)
	want := twoObjects(s, "acme-1", 1)
	p := s.publish("acme-1")
	equal(t, "rows", strings.Join(s.rows("points"), "\n"), strings.Join(want, "\n"))
	equal(t, "pages and waste", []int{p.Pages, p.Waste}, []int{5, 1})
	table := p.Tables[0]
	equal(t, "columns", fmt.Sprintln(table.Columns[0].Name, table.Columns[0].Type, table.Columns[1].Name, table.Columns[1].Type, len(table.Columns)), "a int b text 2\n")
	equal(t, "what is left in the lake", s.bucket.below("staged/"), "[]")
	equal(t, "work under way", s.bucket.below("work/"), "[]")
	for _, f := range table.Files {
		if tagOf(s.bucket.objects[f.Name]) != f.SHA256 || int64(len(s.bucket.objects[f.Name])) != f.Bytes {
			t.Errorf("the manifest is not right about %s", f.Name)
		}
		if !strings.HasPrefix(f.Name, "tables/acme/table=points/date=2026-11-01/run=acme-1/") {
			t.Errorf("%s is not where the template says", f.Name)
		}
	}
	writes := len(s.bucket.writes)
	if again := s.publish("acme-1"); !again.Unchanged || len(s.bucket.writes) != writes {
		t.Errorf("publishing again wrote %v", s.bucket.writes[writes:])
	}
}

// TestAnyOrder: what comes out does not depend on when objects are converted, by
// whom and how often.
func TestAnyOrder(t *testing.T) {
	for try := range 3 {
		s := newSite(t, acme)
		want := twoObjects(s, "acme-1", 1)
		objects := s.raw.below("")
		if try == 1 {
			slices.Reverse(objects)
		}
		if try > 0 {
			for _, o := range append(objects, objects...) {
				if err := s.lake.Convert(t.Context(), o); err != nil {
					t.Fatal(err)
				}
			}
		}
		s.publish("acme-1")
		equal(t, "rows", strings.Join(s.rows("points"), "\n"), strings.Join(want, "\n"))
	}
}

// TestManyFiles: merged in several passes, cut at the target size.
func TestManyFiles(t *testing.T) {
	s := newSite(t, acme)
	s.lake.Fan, s.lake.Target = 3, 500_000
	want := manyFiles(s)
	p := s.publish("acme-1")
	equal(t, "rows", strings.Join(short(s.rows("points")), "\n"), strings.Join(want, "\n"))
	if n := len(p.Tables[0].Files); n < 2 {
		t.Errorf("%d files", n)
	}
}

// manyFiles is a run of forty objects, as its rows are to come out.
func manyFiles(s *site) (want []string) {
	var objects [][]page
	for n := range 40 {
		device := fmt.Sprintf("d%03d", (n*17)%40)
		rows := make([]string, 400)
		for i := range rows {
			pad := sha256.Sum256([]byte(fmt.Sprint(n, i)))
			rows[i] = fmt.Sprintf(`{"a":%d,"pad":"%x%x"}`, i, pad, sha256.Sum256(pad[:]))
		}
		objects = append(objects, []page{{device: device, fetch: "f", rows: strings.Join(rows, ",")}})
	}
	s.run("acme-1", 1, objects...)
	for n := range 40 {
		for i := range 400 {
			want = append(want, fmt.Sprintf("acme-1 d%03d: a=%d", n, i))
		}
	}
	return want
}

// short leaves out the padding.
func short(rows []string) []string {
	for i := range rows {
		rows[i], _, _ = strings.Cut(rows[i], " pad=")
	}
	return rows
}

// TestSupersede: a newer run of the same window takes the older one's place in
// one write, and an older one does not come back.
func TestSupersede(t *testing.T) {
	s := newSite(t, acme)
	s.lake.Grace = time.Nanosecond
	s.run("acme-1", 1, []page{{device: "d1", fetch: "f", rows: `{"a":1}`}})
	s.publish("acme-1")
	s.run("acme-2", 1, []page{{device: "d1", fetch: "f", rows: `{"a":2}`}})
	r := s.books.runs["acme-2"]
	r.Opened = r.Opened.Add(time.Hour)
	s.books.runs["acme-2"] = r
	s.publish("acme-2")
	equal(t, "rows", s.rows("points"), "[acme-2 d1: a=2]")
	_, err := s.lake.Rebuild(t.Context(), []string{"acme-1"}, time.Time{})
	if refused := (*lake.Refused)(nil); !errors.As(err, &refused) {
		t.Errorf("the older run: %v", err)
	}
	s.run("acme-3", 2, []page{{device: "d1", fetch: "f", rows: `{"a":3}`}})
	s.publish("acme-3")
	equal(t, "rows", s.rows("points"), "[acme-2 d1: a=2 acme-3 d1: a=3]")
	equal(t, "files of the replaced run", s.bucket.below("tables/acme/table=points/date=2026-11-01/run=acme-1/"), "[]")
}

// TestRefused: what is not complete is not published, and says what is missing.
func TestRefused(t *testing.T) {
	for _, c := range []struct {
		name, spec, says string
		change           func(*run.Run)
		allowed          bool
	}{
		{"open", acme, "it is open", func(r *run.Run) { r.State = run.Open }, false},
		{"no verdict", acme, "only a run that is closed with its verdict", func(r *run.Run) { r.Verdict = nil }, false},
		{"missing", acme, "2 tasks are missing (data x, data y)", func(r *run.Run) { r.Verdict.Missing, r.Verdict.MissingNames = 2, []string{"data x", "data y"} }, false},
		{"dead", acme, "1 task is dead (data x), and the spec allows 0", func(r *run.Run) { r.Verdict.Dead, r.Verdict.DeadNames = 1, []string{"data x"} }, false},
		{"dead, allowed", acme + "lake: {dead: 1}\n", "", func(r *run.Run) { r.Verdict.Dead = 1 }, true},
		{"dead, a part allowed", acme + "lake: {dead: \"40%\"}\n", "", func(r *run.Run) { r.Verdict.Known, r.Verdict.Dead = 10, 4 }, true},
		{"dead, more than a part", acme + "lake: {dead: \"40%\"}\n", "and the spec allows 4", func(r *run.Run) { r.Verdict.Known, r.Verdict.Dead = 10, 5 }, false},
		{"problems", acme, "404 for all", func(r *run.Run) { r.Verdict.Problems = []string{"404 for all"} }, false},
		{"strays", acme, "1 task is settled that no list has", func(r *run.Run) { r.Verdict.Strays = 1 }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, c.spec)
			twoObjects(s, "acme-1", 1)
			r := s.books.runs["acme-1"]
			c.change(&r)
			s.books.runs["acme-1"] = r
			_, err := s.lake.Publish(t.Context(), "acme-1", time.Time{})
			var refused *lake.Refused
			if c.allowed {
				if err != nil || len(s.rows("points")) != 7 {
					t.Errorf("%v, rows %v", err, s.rows("points"))
				}
				return
			}
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v does not say %q", err, c.says)
			}
			if got := s.rows("points"); len(got) > 0 {
				t.Errorf("it is read: %v", got)
			}
			cat, err := lake.Read(t.Context(), s.bucket, "acme")
			if err != nil || len(cat.Refusals) != 1 || !strings.Contains(fmt.Sprint(cat.Refusals[0].Reasons), c.says) {
				t.Errorf("the catalog says %v, %v", cat.Refusals, err)
			}
		})
	}
}

// TestLost: landed objects that the ledger counts and that are not there.
func TestLost(t *testing.T) {
	s := newSite(t, acme)
	twoObjects(s, "acme-1", 1)
	delete(s.raw.objects, s.raw.below("")[1])
	_, err := s.lake.Publish(t.Context(), "acme-1", time.Time{})
	if err == nil || !strings.Contains(err.Error(), "counted 5 landed pages of its tables, and the landing lacks") {
		t.Errorf("published without an object: %v", err)
	}
}

// TestParts: a ledger too large to be held at once is read in several passes,
// with the same result.
func TestParts(t *testing.T) {
	defer lake.SetPartSize(2)()
	s := newSite(t, acme)
	want := twoObjects(s, "acme-1", 1)
	s.publish("acme-1")
	equal(t, "rows", strings.Join(s.rows("points"), "\n"), strings.Join(want, "\n"))
}

// TestReopened: a run that is opened while it is read is not published as it was.
func TestReopened(t *testing.T) {
	s := newSite(t, acme)
	twoObjects(s, "acme-1", 1)
	s.lake.Runs = &opening{books: s.books}
	_, err := s.lake.Publish(t.Context(), "acme-1", time.Time{})
	if !errors.Is(err, lake.ErrUnfinished) || len(s.rows("points")) > 0 {
		t.Errorf("%v", err)
	}
}

// opening is a ledger whose run is opened after its ends have been read.
type opening struct {
	*books
}

func (o *opening) Ends(ctx context.Context, id string, each func(fanout.Settlement) error) error {
	err := o.books.Ends(ctx, id, each)
	r := o.runs[id]
	r.Rev, r.State = r.Rev+1, run.Open
	o.runs[id] = r
	return err
}
