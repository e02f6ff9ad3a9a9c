package lake_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/lake"
	"github.com/sluicehq/sluice/internal/landing"
	"github.com/sluicehq/sluice/internal/run"
)

// hooked is a store with something happening in between, one thing at a time.
type hooked struct {
	*bucket
	mu    sync.Mutex
	put   func(name string)
	putF  func(name string)
	swap  func(name string, data []byte) error
	list  func(prefix string)
	get   func(name string)
	reads func(name string) error
}

func (h *hooked) Put(ctx context.Context, name string, data []byte) error {
	err := h.bucket.Put(ctx, name, data)
	if h.put != nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.put(name)
	}
	return err
}

func (h *hooked) PutFile(ctx context.Context, name string, f *os.File) error {
	if h.putF != nil {
		h.mu.Lock()
		h.putF(name)
		h.mu.Unlock()
	}
	return h.bucket.PutFile(ctx, name, f)
}

func (h *hooked) Swap(ctx context.Context, name, old string, data []byte) (string, error) {
	if h.swap != nil {
		h.mu.Lock()
		err := h.swap(name, data)
		h.mu.Unlock()
		if err != nil {
			return "", err
		}
	}
	return h.bucket.Swap(ctx, name, old, data)
}

func (h *hooked) List(ctx context.Context, prefix string, each func(string) error) error {
	if h.list != nil {
		h.mu.Lock()
		h.list(prefix)
		h.mu.Unlock()
	}
	return h.bucket.List(ctx, prefix, each)
}

func (h *hooked) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	if h.get != nil {
		h.mu.Lock()
		h.get(name)
		h.mu.Unlock()
	}
	return h.bucket.Get(ctx, name)
}

type hookedReads struct {
	landing.ReadAtCloser
	before func() error
}

func (r hookedReads) ReadAt(p []byte, off int64) (int, error) {
	if err := r.before(); err != nil {
		return 0, err
	}
	return r.ReadAtCloser.ReadAt(p, off)
}

func (h *hooked) Open(ctx context.Context, name string) (landing.ReadAtCloser, int64, error) {
	r, n, err := h.bucket.Open(ctx, name)
	if err == nil && h.reads != nil {
		r = hookedReads{r, func() error { return h.reads(name) }}
	}
	return r, n, err
}

// A rebuild whose reading fails in the middle must leave the live files alone.
// A publication that was killed before its switch and is repeated after the
// grace, another run having been published (and swept) meanwhile.
func TestSweptBeforeSwitch(t *testing.T) {
	s := newSite(t, acme)
	s.run("acme-1", 1, []page{{device: "d1", fetch: "f", rows: `{"a":1}`}})
	s.run("acme-2", 2, []page{{device: "d1", fetch: "f", rows: `{"a":2}`}})
	s.lake.Store = &hooked{bucket: s.bucket, swap: func(name string, data []byte) error {
		if strings.Contains(string(data), `"run":"acme-1"`) {
			return errKilled
		}
		return nil
	}}
	if _, err := s.lake.Publish(t.Context(), "acme-1", time.Time{}); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	// A day later.
	s.lake.Store, s.lake.Grace = s.bucket, time.Nanosecond
	s.publish("acme-2")
	s.lake.Grace = 0
	s.publish("acme-1")
	got, err := readRows(t.Context(), s.bucket, "points")
	equal(t, "rows", fmt.Sprint(got, err), "[acme-1 d1: a=1 acme-2 d1: a=2] <nil>")
}

// The same between the switch of one publication and its sweep: another one makes
// an old generation live again, whose deletion is due.
func TestSweepBesideRevert(t *testing.T) {
	other := acme + "lake: {tables: {points: {columns: {a: text}}}}\n"
	s := newSite(t, acme)
	s.run("acme-1", 1, []page{{device: "d1", fetch: "f", rows: `{"a":1}`}})
	s.publish("acme-1")
	if _, err := s.with(other).Rebuild(t.Context(), []string{"acme-1"}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	// Over a day later: by mistake, it was; back again. Another run is published at that time.
	done := false
	s.run("acme-2", 2, []page{{device: "d1", fetch: "f", rows: `{"a":2}`}})
	sweeper := s.with(other)
	sweeper.Grace = time.Nanosecond
	sweeper.Store = &hooked{bucket: s.bucket, list: func(prefix string) {
		if !done && strings.HasPrefix(prefix, "tables/acme/table=points/date=2026-11-01/run=acme-1/") {
			done = true
			if _, err := s.with(acme).Rebuild(t.Context(), []string{"acme-1", "acme-2"}, time.Time{}); err != nil {
				t.Fatal(err)
			}
		}
	}}
	if _, err := sweeper.Publish(t.Context(), "acme-2", time.Time{}); err != nil || !done {
		t.Fatal(err, done)
	}
	got, err := readRows(t.Context(), s.bucket, "points")
	equal(t, "rows", fmt.Sprint(got, err), "[acme-1 d1: a=1 acme-2 d1: a=2] <nil>")
}

// A duplicate event converts while a publication tidies up: later the run is
// rebuilt.
// An event that comes (again) after the publication leaves staged files for ever.
func TestLateEventLeavesStaged(t *testing.T) {
	s := newSite(t, acme)
	s.run("acme-1", 1, []page{{device: "d1", fetch: "f", rows: `{"a":1}`}})
	s.publish("acme-1")
	if err := s.lake.Convert(t.Context(), s.landed[0]); err != nil {
		t.Fatal(err)
	}
	s.run("acme-2", 2, []page{{device: "d1", fetch: "f", rows: `{"a":1}`}})
	s.publish("acme-2")
	equal(t, "staged", s.bucket.below("staged/"), "[]")
}

// The spec's tier has another name when the run is closed, or rebuilt.
func TestRenamedTier(t *testing.T) {
	s := newSite(t, acme)
	s.run("acme-1", 1, []page{{device: "d1", fetch: "f", rows: `{"a":1}`}})
	s.publish("acme-1")
	other := s.with(strings.Replace(acme, "name: data", "name: series", 1))
	pubs, err := other.Rebuild(t.Context(), []string{"acme-1"}, time.Time{})
	var refused *lake.Refused
	if got := fmt.Sprint(s.rows("points")); !errors.As(err, &refused) && got != "[acme-1 d1: a=1]" {
		t.Errorf("published without a word: %v, error %v, notes %v", got, err, pubs[0].Notes)
	}
	// A run that was closed under the new spec, having been seeded under the old one.
	s.run("acme-2", 2, []page{{device: "d1", fetch: "f", rows: `{"a":2}`}})
	p, err := other.Publish(t.Context(), "acme-2", time.Time{})
	if err == nil && p.Tables[0].Rows == 0 {
		t.Errorf("run acme-2 has one row and was published with none, notes %v", p.Notes)
	}
}

func TestRebuildNamedTwice(t *testing.T) {
	s := newSite(t, acme)
	s.run("acme-1", 1, []page{{device: "d1", fetch: "f", rows: `{"a":1}`}})
	if _, err := s.lake.Rebuild(t.Context(), []string{"acme-1", "acme-1"}, time.Time{}); err == nil {
		equal(t, "rows", s.rows("points"), "[acme-1 d1: a=1]")
	}
}

func TestRebuildTwoOfOneWindow(t *testing.T) {
	s := newSite(t, acme)
	s.run("acme-1", 1, []page{{device: "d1", fetch: "f", rows: `{"a":1}`}})
	s.run("acme-2", 1, []page{{device: "d1", fetch: "f", rows: `{"a":2}`}}) // --again
	r := s.books.runs["acme-2"]
	r.Opened = r.Opened.Add(time.Hour)
	s.books.runs["acme-2"] = r
	s.publish("acme-1")
	if _, err := s.lake.Rebuild(t.Context(), []string{"acme-1", "acme-2"}, time.Time{}); err == nil {
		equal(t, "rows", s.rows("points"), "[acme-2 d1: a=2]")
	}
}

func TestRebuildNone(t *testing.T) {
	defer func() {
		if r := recover(); r != nil {
			t.Errorf("panic: %v", r)
		}
	}()
	s := newSite(t, acme)
	s.lake.Rebuild(t.Context(), nil, time.Time{})
}

// A first run without rows must not decide what columns there are.
func TestFirstRunWithoutRows(t *testing.T) {
	for _, contract := range []string{"freeze", "variant"} {
		t.Run(contract, func(t *testing.T) {
			s := newSite(t, acme+"lake: {tables: {points: {contract: "+contract+"}}}\n")
			s.run("acme-1", 1, []page{{device: "d1", fetch: "f", rows: ``}})
			s.publish("acme-1")
			s.run("acme-2", 2, []page{{device: "d1", fetch: "f", rows: `{"a":1}`}})
			_, err := s.lake.Publish(t.Context(), "acme-2", time.Time{})
			equal(t, "rows", fmt.Sprint(s.rows("points"), err), "[acme-2 d1: a=1] <nil>")
		})
	}
}

// A natural key that is declared otherwise is not mixed with the old one.
func TestKeyChanged(t *testing.T) {
	s := newSite(t, acme+"lake: {tables: {points: {key: [a], columns: {a: int, b: int}}}}\n")
	s.run("acme-1", 1, []page{{device: "d1", fetch: "f", rows: `{"a":1,"b":2}`}})
	s.publish("acme-1")
	s.lake = s.with(acme + "lake: {tables: {points: {key: [b], columns: {a: int, b: int}}}}\n")
	s.run("acme-2", 2, []page{{device: "d1", fetch: "f", rows: `{"a":3,"b":1}`}})
	_, err := s.lake.Publish(t.Context(), "acme-2", time.Time{})
	if err == nil {
		equal(t, "rows", s.rows("points"), `[acme-1 d1: _key=[2] a=1 b=2 acme-2 d1: _key=[1] a=3 b=1]`)
	}
}

// One object left out by decision does not excuse another that is gone.
func TestDiscardMasksLoss(t *testing.T) {
	s := newSite(t, acme)
	s.run("acme-1", 1,
		[]page{{device: "d1", fetch: "f", rows: `{"a":1}`}},
		[]page{{device: "d2", fetch: "f", rows: `{"a":2}`}},
		[]page{{device: "d3", fetch: "f", rows: `{"a":3}`}})
	s.raw.objects[s.landed[0]] = []byte("cut")
	_, err := s.lake.Publish(t.Context(), "acme-1", time.Time{})
	if err == nil {
		t.Fatal("published")
	}
	if err := s.lake.Discard(t.Context(), "acme-1", s.landed[0], lake.Decision{By: "me"}); err != nil {
		t.Fatal(err)
	}
	for _, l := range s.bucket.below("staged/") {
		delete(s.bucket.objects, l)
	}
	delete(s.raw.objects, s.landed[1]) // expired, or deleted by mistake
	p, err := s.lake.Publish(t.Context(), "acme-1", time.Time{})
	if err == nil {
		t.Errorf("published without %s, which nobody has left out: left %d, notes %v, rows %v", s.landed[1], len(p.Left), p.Notes, s.rows("points"))
	}
}

// The advice of a refusal must help.
func TestCommonRedeclared(t *testing.T) {
	const section = "lake: {tables: {points: {common: true, columns: {a: %s}}}}\n"
	s := newSite(t, acme+fmt.Sprintf(section, "int"))
	s.run("acme-1", 1, []page{{device: "d1", fetch: "f", rows: `{"a":1}`}})
	s.publish("acme-1")
	_, err := s.with(acme+fmt.Sprintf(section, "text")).Rebuild(t.Context(), []string{"acme-1"}, time.Time{})
	if err != nil && strings.Contains(err.Error(), "rebuild --all acme") {
		t.Errorf("a rebuild of all runs says: %v", err)
	}
}

// A vendor may be called common.
// What a publication reads must not grow with the runs that are published.
func TestManifestReads(t *testing.T) {
	s := newSite(t, acme)
	reads := 0
	s.lake.Store = &hooked{bucket: s.bucket, get: func(name string) {
		if strings.HasPrefix(name, "manifests/") {
			reads++
		}
	}}
	var counts []int
	for n := 1; n <= 12; n++ {
		id := fmt.Sprintf("acme-%d", n)
		s.run(id, n, []page{{device: "d1", fetch: "f", rows: `{"a":1}`}})
		reads = 0
		s.publish(id)
		counts = append(counts, reads)
	}
	if counts[11] > counts[1] {
		t.Errorf("manifests read by the 1st, 2nd ... publication: %v", counts)
	}
}

// Objects that an operator has left out must not cost an invocation its time.
func TestDiscardedIsReadAgain(t *testing.T) {
	s := newSite(t, acme)
	var objects [][]page
	for n := range 40 {
		objects = append(objects, []page{{device: fmt.Sprint("d", n), fetch: "f", rows: `{"a":1}`}})
	}
	s.run("acme-1", 1, objects...)
	for _, o := range s.landed[:30] {
		s.raw.objects[o] = []byte("bad")
	}
	s.lake.Publish(t.Context(), "acme-1", time.Time{})
	for _, o := range s.landed[:30] {
		if err := s.lake.Discard(t.Context(), "acme-1", o, lake.Decision{By: "me"}); err != nil {
			t.Fatal(err)
		}
	}
	raw := s.raw.count()
	begin := time.Now()
	s.lake.SetClock(func() time.Time { return begin.Add(time.Duration(s.raw.count()) * time.Minute) }) // a bomb takes its minute
	err := error(lake.ErrUnfinished)
	calls := 0
	for ; errors.Is(err, lake.ErrUnfinished) && calls < 20; calls++ {
		soft := begin.Add(time.Duration(s.raw.count()+13) * time.Minute)
		_, err = s.lake.Publish(t.Context(), "acme-1", soft)
	}
	if err != nil {
		t.Errorf("after %d invocations of 13 minutes and %d readings of objects that were left out: %v", calls, s.raw.count()-raw, err)
	}
}

// What a manifest says of its files stays true, whoever publishes beside.
func TestSameNameOtherBytes(t *testing.T) {
	s := newSite(t, acme)
	s.run("acme-1", 1, []page{{device: "d1", fetch: "f", rows: `{"a":null},{"a":1}`}})
	s.run("acme-2", 2, []page{{device: "d1", fetch: "f", rows: `{"a":2}`}})
	slow := s.with(acme)
	done := false
	ctx, cancel := context.WithCancel(t.Context())
	slow.Store = &hooked{bucket: s.bucket, putF: func(name string) {
		if !done && strings.HasPrefix(name, "tables/") {
			done = true
			s.publish("acme-1")
			s.publish("acme-2") // the other process was faster
		}
	}, put: func(name string) {
		if done && strings.HasPrefix(name, "work/") {
			s.bucket.kill = 0
		}
	}} // and this one dies behind its file
	if _, err := slow.Publish(ctx, "acme-2", time.Time{}); !errors.Is(err, errKilled) || !done {
		t.Fatal(err, done)
	}
	cancel()
	s.bucket.revive()
	if !s.publish("acme-2").Unchanged {
		t.Error("it is not published")
	}
	c, err := lake.Read(t.Context(), s.bucket, "acme")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range c.Tables[0].Lines {
		m, err := lake.Manifest(t.Context(), s.bucket, line)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range m.Tables[0].Files {
			if tagOf(s.bucket.objects[f.Name]) != f.SHA256 {
				t.Errorf("run %s: the manifest's checksum of %s is not that of the file: %d bytes, said %d", line.Run, f.Name, len(s.bucket.objects[f.Name]), f.Bytes)
			}
		}
	}
}

// A plain rebuild of one run by the same spec does not touch files that are read.
func TestRebuildInPlace(t *testing.T) {
	s := newSite(t, acme)
	s.run("acme-1", 1, []page{{device: "d1", fetch: "f", rows: `{"a":1}`}})
	s.publish("acme-1")
	s.run("acme-2", 2, []page{{device: "d1", fetch: "f", rows: `{"a":2},{"a":null}`}})
	s.publish("acme-2")
	before := maps.Clone(s.bucket.objects)
	killer := s.with(acme)
	killer.Store = &hooked{bucket: s.bucket, swap: func(string, []byte) error { return errKilled }}
	if _, err := killer.Rebuild(t.Context(), []string{"acme-1"}, time.Time{}); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	for name, data := range before {
		if strings.HasPrefix(name, "tables/") && tagOf(s.bucket.objects[name]) != tagOf(data) {
			t.Errorf("%s is live, and has other bytes before any switch", name)
		}
	}
}

// Runs that were refused and whose window another run took leave nothing behind.
func TestSupersededRemains(t *testing.T) {
	s := newSite(t, acme)
	s.run("acme-1", 1, []page{{device: "d1", fetch: "f", rows: `{"a":1}`}})
	r := s.books.runs["acme-1"]
	r.Verdict.Missing = 1
	s.books.runs["acme-1"] = r
	for _, o := range s.landed {
		if err := s.lake.Convert(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	var refused *lake.Refused
	if _, err := s.lake.Publish(t.Context(), "acme-1", time.Time{}); !errors.As(err, &refused) {
		t.Fatal(err)
	}
	s.run("acme-2", 1, []page{{device: "d1", fetch: "f", rows: `{"a":2}`}})
	r2 := s.books.runs["acme-2"]
	r2.Opened = r2.Opened.Add(time.Hour)
	s.books.runs["acme-2"] = r2
	s.publish("acme-2")
	s.run("acme-3", 2, []page{{device: "d1", fetch: "f", rows: `{"a":3}`}})
	s.publish("acme-3")
	equal(t, "staged", s.bucket.below("staged/"), "[]")
	equal(t, "refused", s.bucket.below("refused/"), "[]")
}

var _ = run.Closed
