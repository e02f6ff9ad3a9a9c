package lake_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/lake"
)

// A large run whose types are widened is made again however short invocations are.
func TestRecastGoesOn(t *testing.T) {
	s := newSite(t, acme)
	s.lake.Target = 100_000
	manyFiles(s)
	p := s.publish("acme-1")
	files := len(p.Tables[0].Files)
	s.run("acme-2", 2, []page{{device: "d1", fetch: "f", rows: `{"a":"x"}`}})
	begin, made := time.Now(), 0
	s.lake.Store = &hooked{bucket: s.bucket, putF: func(name string) {
		if strings.HasPrefix(name, "tables/") {
			made++
		}
	}}
	s.lake.SetClock(func() time.Time { return begin.Add(time.Duration(made) * time.Minute) }) // a file takes one
	err, calls := error(lake.ErrUnfinished), 0
	for ; errors.Is(err, lake.ErrUnfinished) && calls < 30; calls++ {
		_, err = s.lake.Publish(t.Context(), "acme-2", begin.Add(time.Duration(made)*time.Minute+(time.Duration(files)*time.Minute)/2))
	}
	if err != nil {
		t.Errorf("%d files to be made again, half of them in an invocation: after %d invocations and %d files: %v", files, calls, made, err)
	}
}

// Fields that are always null and whose names are IDs must not fill the index,
// which every query reads.
func TestIndexGrowsByNulls(t *testing.T) {
	s := newSite(t, acme)
	var objects [][]page
	for n := range 6 {
		var rows []string
		for i := range 400 {
			rows = append(rows, fmt.Sprintf(`{"a":1,"id-%05d-%05d-of-some-thing":null}`, n, i))
		}
		objects = append(objects, []page{{device: fmt.Sprint("d", n), fetch: "f", rows: strings.Join(rows, ",")}})
	}
	s.run("acme-1", 1, objects...)
	s.publish("acme-1")
	if n := len(s.bucket.objects["published/acme.ndjson"]); n > 20_000 {
		t.Errorf("the index of one run has %d bytes", n)
	}
}

// Two tiers whose keys' columns would be called the same.
func TestKeyColumns(t *testing.T) {
	s := newSite(t, `
name: acme
base_url: http://acme.invalid
limits: [{name: calls, bucket: 10/s}]
tiers:
  - {name: task, get: /t, items: ".t[]", key: .id}
  - {name: task_key, get: "/t/{task}", items: ".k[]", key: .id}
  - {name: data, get: "/t/{task}/{task_key}", rows: ".rows[]", table: points}
`)
	s.land("acme-1", "data", 1, fanout.Record{Task: fanout.Task{Node: fanout.Node{Path: []string{"first", "second"}}}, Body: []byte(`{"rows":[{"a":1}]}`)})
	s.publish("acme-1")
	c, err := lake.Read(t.Context(), s.bucket, "acme")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(c.Tables[0].Path); n != 2 {
		t.Errorf("two keys, and the columns %v", c.Tables[0].Path)
	}
}

// A rebuild of what landed under other tiers does not put a key under another's name.
func TestKeyUnderAnothersName(t *testing.T) {
	s := newSite(t, acme)
	s.run("acme-1", 1, []page{{device: "d1", fetch: "f", rows: `{"a":1}`}})
	s.publish("acme-1")
	other := s.with(strings.Replace(strings.Replace(acme, "tiers:\n", "tiers:\n  - {name: sites, get: /sites, items: \".sites[]\", key: .id}\n", 1), "get: /devices,", `get: "/s/{sites}",`, 1))
	if _, err := other.Rebuild(t.Context(), []string{"acme-1"}, time.Time{}); err != nil {
		t.Logf("refused: %v", err)
		return
	}
	c, _ := lake.Read(t.Context(), s.bucket, "acme")
	lake.Rows(t.Context(), s.bucket, c.Tables[0], nil, func(names []string, values []any) error {
		for i, n := range names {
			if n == "_sites" && values[i] == "d1" {
				t.Errorf("a device's key stands in _sites: %v %v", names, values)
			}
		}
		return nil
	})
}

// A decision is not lost to a conversion that fails beside it.

// A rebuild by another spec beside a publication's end does not break the run for ever.
func TestRebuildBesideTidy(t *testing.T) {
	s := newSite(t, acme)
	s.run("acme-1", 1, []page{{device: "d1", fetch: "f", rows: `{"a":1}`}})
	s.publish("acme-1")
	other := s.with(acme + "lake: {tables: {points: {columns: {a: text}}}}\n")
	done := false
	other.Store = &hooked{bucket: s.bucket, put: func(name string) {
		if !done && strings.HasSuffix(name, ".parquet") {
			done = true
			s.publish("acme-1") // close's message came twice
		}
	}}
	var err error
	for range 3 {
		if _, err = other.Rebuild(t.Context(), []string{"acme-1"}, time.Time{}); err == nil {
			break
		}
	}
	if err != nil {
		t.Errorf("after three tries: %v", err)
	}
}

// A row on which the spec's query does not end is the row's fault, as it is when it is fetched.
