package lake_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/lake"
)

// states are what a reader may see: the rows before, or the rows after.
func states(t *testing.T, s *site, before, after string, crash string) {
	t.Helper()
	switch got := strings.Join(s.rows("points"), "\n"); got {
	case before, after:
	default:
		t.Fatalf("%s: a reader sees\n%s\nwhich is neither\n%s\nnor\n%s", crash, got, before, after)
	}
}

// TestKills kills a publication before every operation that it makes, which is
// also after every one: a reader sees the old rows or the new ones, and a repeat
// ends it.
func TestKills(t *testing.T) {
	for _, c := range []struct {
		name          string
		prepare       func(*site)
		then          func(*site, func(*lake.Lake) *lake.Lake) error
		before, after string
	}{
		{"first", func(s *site) { twoObjects(s, "acme-1", 1) }, func(s *site, l func(*lake.Lake) *lake.Lake) error {
			_, err := l(s.lake).Publish(s.t.Context(), "acme-1", time.Time{})
			return err
		}, "", "acme-1 d1: a=0\nacme-1 d1: a=7\nacme-1 d1:\nacme-1 d2: a=1\nacme-1 d2: a=2\nacme-1 d3: a=5 b=x\nacme-1 d3: a=6"},

		{"a newer run of the window, whose types are wider than those of another day", func(s *site) {
			s.run("acme-0", 1, []page{{device: "d1", fetch: "f", rows: `{"a":8}`}})
			s.publish("acme-0")
			s.run("acme-1", 2, []page{{device: "d1", fetch: "f", rows: `{"a":1}`}})
			s.publish("acme-1")
			s.run("acme-2", 2, []page{{device: "d1", fetch: "f", rows: `{"a":1.5}`}}, []page{{device: "d0", fetch: "f", rows: `{"a":"x"}`}})
			r := s.books.runs["acme-2"]
			r.Opened = r.Opened.Add(time.Hour)
			s.books.runs["acme-2"] = r
		}, func(s *site, l func(*lake.Lake) *lake.Lake) error {
			_, err := l(s.lake).Publish(s.t.Context(), "acme-2", time.Time{})
			return err
		}, "acme-0 d1: a=8\nacme-1 d1: a=1", "acme-0 d1: a=8\nacme-2 d0: a=x\nacme-2 d1: a=1.5"},

		{"a rebuild of all runs by another spec", func(s *site) {
			for n := 1; n <= 2; n++ {
				id := fmt.Sprintf("acme-%d", n)
				s.run(id, n, []page{{device: "d1", fetch: "f", rows: fmt.Sprintf(`{"a":%d}`, n)}})
				s.publish(id)
			}
		}, func(s *site, l func(*lake.Lake) *lake.Lake) error {
			other := s.with(acme + "lake: {tables: {points: {columns: {a: text}}}}\n")
			other.Grace = s.lake.Grace
			_, err := l(other).Rebuild(s.t.Context(), []string{"acme-1", "acme-2"}, time.Time{})
			return err
		}, "acme-1 d1: a=1\nacme-2 d1: a=2", "acme-1 d1: a=1\nacme-2 d1: a=2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, acme)
			s.lake.Fan, s.lake.Grace = 2, time.Nanosecond
			c.prepare(s)
			start := maps.Clone(s.bucket.objects)
			plain := func(l *lake.Lake) *lake.Lake { return l }
			kills := 0
			for kill := 0; ; kill++ {
				crash := fmt.Sprintf("killed at operation %d", kill)
				s.bucket.objects = maps.Clone(start)
				s.bucket.revive()
				s.bucket.kill = kill
				err := c.then(s, plain)
				s.bucket.revive()
				states(t, s, c.before, c.after, crash)
				if err == nil {
					break
				}
				if !errors.Is(err, errKilled) {
					t.Fatalf("%s: %v", crash, err)
				}
				kills++
				if err := c.then(s, plain); err != nil {
					t.Fatalf("%s: the repeat: %v", crash, err)
				}
				if got := strings.Join(s.rows("points"), "\n"); got != c.after {
					t.Fatalf("%s: after the repeat a reader sees\n%s\nwant\n%s", crash, got, c.after)
				}
				if left := append(s.bucket.below("work/"), s.bucket.below("staged/")...); len(left) > 0 {
					t.Fatalf("%s: after the repeat there are %v", crash, left)
				}
			}
			if kills < 25 {
				t.Errorf("killed %d times only", kills)
			}
			t.Logf("killed %d times", kills)
		})
	}
}

// TestDeadlines: however little time each invocation has, the next one goes on,
// and the whole is published.
func TestDeadlines(t *testing.T) {
	s := newSite(t, acme)
	s.lake.Fan, s.lake.Target = 3, 500_000
	want := manyFiles(s)
	begin := time.Now()
	s.lake.SetClock(func() time.Time { return begin.Add(time.Duration(s.bucket.count()) * time.Second) }) // each operation takes one
	calls := 0
	for err := error(lake.ErrUnfinished); err != nil; calls++ {
		soft := begin.Add(time.Duration(s.bucket.count()+110) * time.Second)
		if _, err = s.lake.Publish(t.Context(), "acme-1", soft); err != nil && !errors.Is(err, lake.ErrUnfinished) {
			t.Fatal(err)
		}
		if got := s.rows("points"); err != nil && len(got) > 0 || calls > 100 {
			t.Fatalf("after %d calls a reader sees %d rows", calls, len(got))
		}
	}
	if calls < 4 {
		t.Errorf("published in %d calls", calls)
	}
	equal(t, "rows", strings.Join(short(s.rows("points")), "\n"), strings.Join(want, "\n"))
	t.Logf("published in %d calls", calls)
}

// TestTwoPublishers: of two that publish runs of one vendor at once neither
// loses what the other did.
func TestTwoPublishers(t *testing.T) {
	s := newSite(t, acme)
	var want []string
	for n := range 6 {
		id := fmt.Sprintf("acme-%d", n)
		rows := []string{`{"a":1}`, `{"a":1.5}`, `{"b":2}`, `{"a":true}`, `{"c":"x"}`, `{"a":2}`}[n]
		s.run(id, n+1, []page{{device: "d1", fetch: "f", rows: rows}})
		want = append(want, id+" d1: "+[]string{"a=1", "a=1.5", "b=2", "a=true", "c=x", "a=2"}[n])
	}
	errs := make(chan error)
	for n := range 6 {
		go func() {
			_, err := s.lake.Publish(t.Context(), fmt.Sprintf("acme-%d", n), time.Time{})
			errs <- err
		}()
	}
	for range 6 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	equal(t, "rows", strings.Join(s.rows("points"), "\n"), strings.Join(want, "\n"))
}
