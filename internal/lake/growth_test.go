package lake_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/lake"
)

// Numbers keep their digits through every way of making rows.
func TestDigitsThroughJQ(t *testing.T) {
	for _, rows := range []string{`.rows[]`, `.rows[] | {a: .a}`, `.rows[] | . + {}`, `.rows | map(.) | .[]`, `.rows[] | with_entries(.)`, `.rows | sort_by(.a) | .[]`, `.rows[] | to_entries | from_entries`, `.rows | unique | .[]`, `.rows[] | {a: (.a // 0)}`, `.rows[] | walk(.)`, `.rows[] | tojson | fromjson`} {
		for _, n := range []string{"1e1000", "12345678901234567890123", "1.10", "-0", "9007199254740993", "0.1000000000000000055511151231257827", "1E5", "-0.0"} {
			s := newSite(t, strings.Replace(acme, `rows: ".rows[]"`, `rows: "`+rows+`"`, 1))
			s.land("acme-1", "data", 1, fanout.Record{Task: fanout.Task{Node: fanout.Node{Path: []string{"d1"}}}, Body: []byte(`{"rows":[{"a":"x"},{"a":` + n + `}]}`)})
			if _, err := s.lake.Publish(t.Context(), "acme-1", time.Time{}); err != nil {
				t.Errorf("%s: %v", rows, err)
				continue
			}
			if got := fmt.Sprint(s.rows("points")); !strings.Contains(got, "a="+n) {
				t.Errorf("%s: %s became %s", rows, n, got)
			}
		}
	}
}

// Hostile rows: each is there, each once, to the letter.
func TestHostileRows(t *testing.T) {
	deep := strings.Repeat("[", 9000) + strings.Repeat("]", 9000)
	many := func() string {
		var b strings.Builder
		b.WriteString("{")
		for i := range 100_000 {
			fmt.Fprintf(&b, `"f%d":%d,`, i, i)
		}
		return strings.TrimSuffix(b.String(), ",") + "}"
	}()
	s := newSite(t, acme)
	s.land("acme-1", "data", 1,
		fanout.Record{Task: fanout.Task{Node: fanout.Node{Path: []string{"a/b=c/../d\x00\u2028"}}}, Body: []byte(`{"rows":[{"":1,"a":"\u0000","_run":"x","_variant":{"q":1},"A":2,"\ud800":3,"x":` + deep + `}]}`)},
		fanout.Record{Task: fanout.Task{Node: fanout.Node{Path: []string{strings.Repeat("k", 100_000)}}}, Body: []byte(`{"rows":[{"a":"` + strings.Repeat("z", 3<<20) + `","` + strings.Repeat("n", 100_000) + `":1}]}`)},
		fanout.Record{Task: fanout.Task{Node: fanout.Node{Path: []string{"many"}}}, Body: []byte(`{"rows":[` + many + `]}`)})
	p := s.publish("acme-1")
	equal(t, "rows", p.Tables[0].Rows, 3)
	n := 0
	c, err := lake.Read(t.Context(), s.bucket, "acme")
	if err != nil {
		t.Fatal(err)
	}
	err = lake.Rows(t.Context(), s.bucket, c.Tables[0], nil, func(names []string, values []any) error {
		if fmt.Sprint(values[4]) != "many" {
			return nil
		}
		for i, name := range names {
			if strings.HasPrefix(name, "f") && values[i] != nil {
				n++
			}
			if name == "_variant" && values[i] != nil {
				n += strings.Count(values[i].(string), `"f`)
			}
		}
		return nil
	})
	if err != nil || n != 100_000 {
		t.Errorf("%d fields of 100,000, %v", n, err)
	}
	t.Logf("%d misfits, index %d bytes, manifest %d bytes", len(p.Tables[0].Misfits), len(s.bucket.objects["published/acme.ndjson"]), len(s.bucket.objects[c.Tables[0].Lines[0].Manifest]))
}

// The files and manifests of the past do not grow for ever.
func TestManifestsStay(t *testing.T) {
	s := newSite(t, acme)
	s.lake.Grace = time.Nanosecond
	s.run("acme-1", 1, []page{{device: "d1", fetch: "f", rows: `{"a":1}`}})
	for rev := range 6 {
		s.run("acme-1", 1, []page{{device: "d1", fetch: "f", rows: fmt.Sprintf(`{"a":%d}`, rev)}})
		for o := range s.raw.objects {
			if o != s.landed[len(s.landed)-1] {
				delete(s.raw.objects, o)
			}
		}
		r := s.books.runs["acme-1"]
		r.Rev = rev
		s.books.runs["acme-1"] = r
		s.publish("acme-1")
	}
	if n := len(s.bucket.below("manifests/")); n > 2 {
		t.Errorf("%d manifests, one of which is named by the index", n)
	}
	if n := len(s.bucket.below("tables/")); n > 2 {
		t.Errorf("%d files", n)
	}
}

// A run that was killed while it tidied up, and is opened and closed again.
func TestReopenedAfterKilledTidy(t *testing.T) {
	s := newSite(t, acme+"lake: {dead: 1}\n")
	s.lake.Fan = 2
	want := strings.Join(twoObjects(s, "acme-1", 1), "\n")
	r := s.books.runs["acme-1"]
	r.Verdict.Dead = 1
	ends1, lists := s.books.ends["acme-1"], s.books.lists["acme-1"]
	s.run("acme-1", 1, []page{{device: "d9", fetch: "f9", rows: `{"a":9}`}}) // what the replay will land
	ends2 := append(ends1[:len(ends1):len(ends1)], s.books.ends["acme-1"]...)
	s.books.lists["acme-1"] = lists
	replayed := s.raw.objects[s.landed[2]]
	want += "\nacme-1 d9: a=9"
	start := map[string][]byte{}
	for k, v := range s.bucket.objects {
		start[k] = bytes.Clone(v)
	}
	stuck := map[string]int{}
	for kill := 0; kill < 300; kill++ {
		s.bucket.objects = map[string][]byte{}
		for k, v := range start {
			s.bucket.objects[k] = v
		}
		r.Rev = 1
		s.books.ends["acme-1"] = ends1
		delete(s.raw.objects, s.landed[2])
		s.books.runs["acme-1"] = r
		s.bucket.revive()
		s.bucket.kill = kill
		_, err := s.lake.Publish(t.Context(), "acme-1", time.Time{})
		s.bucket.revive()
		if err == nil {
			break
		}
		r.Rev = 2 // replayed
		s.books.ends["acme-1"] = ends2
		s.raw.objects[s.landed[2]] = replayed
		s.books.runs["acme-1"] = r
		for range 3 {
			if _, err = s.lake.Publish(t.Context(), "acme-1", time.Time{}); err == nil {
				break
			}
		}
		if err != nil {
			stuck[err.Error()]++
			continue
		}
		if got := strings.Join(s.rows("points"), "\n"); got != want {
			t.Errorf("%s", got)
		}
	}
	for why, n := range stuck {
		t.Errorf("%d kills after which the run cannot be published any more: %s", n, why)
	}
}
