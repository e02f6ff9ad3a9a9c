package lake_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/lake"
)

// TestContracts: what becomes of new fields, other types and values that do not
// fit, over two runs.
func TestContracts(t *testing.T) {
	for _, c := range []struct {
		name, spec    string
		first, second string // rows
		want, says    string // rows of both, or why the second is refused
		change        string // of the second
	}{
		{"evolve: a new field", "", `{"a":1}`, `{"a":2,"b":"x"}`, "a=1|a=2 b=x", "", "new [b]"},
		{"evolve: a field that vanishes", "", `{"a":1,"b":2}`, `{"a":2}`, "a=1 b=2|a=2", "", "vanished [b]"},
		{"evolve: int to double", "", `{"a":1}`, `{"a":2.5}`, "a=1|a=2.5", "", "widened [a: int -> double]"},
		{"evolve: beyond 2^53 and a fraction", "", `{"a":9007199254740993}`, `{"a":2.5}`, "a=9007199254740993|a=2.5", "", "widened [a: int -> text]"},
		{"evolve: int to text", "", `{"a":1}`, `{"a":"x"}`, "a=1|a=x", "", "widened [a: int -> text]"},
		{"evolve: bool to text", "", `{"a":true}`, `{"a":0}`, "a=true|a=0", "", "widened [a: bool -> text]"},
		{"evolve: nested to text", "", `{"a":{"x":[1.10]}}`, `{"a":"y"}`, `a={"x":[1.10]}|a=y`, "", "widened [a: json -> text]"},
		{"evolve: text stays when numbers come", "", `{"a":"x"}`, `{"a":1.50}`, "a=x|a=1.50", "", ""},
		{"evolve: double stays when ints come", "", `{"a":1.5}`, `{"a":1}`, "a=1.5|a=1", "", ""},
		{"evolve: null at first", "", `{"a":1,"b":null}`, `{"a":2,"b":3}`, "a=1|a=2 b=3", "", "new [b]"},
		{"evolve: names that differ by case", "", `{"Id":1,"id":2}`, `{"ID":3}`, "Id=1 id_=2|ID__=3", "", "new [ID__] vanished [Id id_]"},
		{"evolve: a name that is a directory's", "", `{"date":"x","_run":1}`, `{"date":"y"}`, "_run_=1 date_=x|date_=y", "", "vanished [_run_]"},
		{"evolve, declared: a misfit", "lake: {tables: {points: {columns: {a: int}}}}", `{"a":1}`, `{"a":"x","b":2}`, `a=1|b=2 _variant={"a":"x"}`, "", "new [b]"},
		{"variant: new fields and other types", "lake: {tables: {points: {contract: variant}}}", `{"a":1}`, `{"a":2.5,"b":{"c":1.0}}`, `a=1|_variant={"a":2.5,"b":{"c":1.0}}`, "", "left [b]"},
		{"variant, declared", "lake: {tables: {points: {contract: variant, columns: {a: int}}}}", `{"a":1,"z":2}`, `{"a":1e2}`, `a=1 _variant={"z":2}|a=100`, "", ""},
		{"freeze: the same", "lake: {tables: {points: {contract: freeze}}}", `{"a":1}`, `{"a":2}`, "a=1|a=2", "", ""},
		{"freeze: a new field", "lake: {tables: {points: {contract: freeze}}}", `{"a":1}`, `{"a":2,"b":"x"}`, "", `table points: field "b" is new (text, such as "x"), and the contract is freeze`, ""},
		{"freeze: another type", "lake: {tables: {points: {contract: freeze}}}", `{"a":1}`, `{"a":2.5}`, "", "column a is int, and now there are other values (float, such as 2.5)", ""},
		{"freeze, declared: a misfit", "lake: {tables: {points: {contract: freeze, columns: {a: int}}}}", `{"a":1}`, `{"a":"x"}`, "", `1 values of column a are no int, such as "x"`, ""},
		{"times", "lake: {tables: {points: {columns: {a: timestamp(s), b: timestamp, c: timestamp(ms)}}}}", `{"a":1767225600,"b":"2026-01-01T02:00:00.5+02:00","c":1}`, `{"a":"1767225600.25","b":"yesterday","c":-1}`,
			`a=2026-01-01 00:00:00 +0000 UTC b=2026-01-01 00:00:00.5 +0000 UTC c=1970-01-01 00:00:00.001 +0000 UTC|a=2026-01-01 00:00:00.25 +0000 UTC c=1969-12-31 23:59:59.999 +0000 UTC _variant={"b":"yesterday"}`, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, acme+c.spec+"\n")
			s.run("acme-1", 1, []page{{device: "d1", fetch: "f", rows: c.first}})
			s.publish("acme-1")
			s.run("acme-2", 2, []page{{device: "d1", fetch: "f", rows: c.second}})
			p, err := s.lake.Publish(t.Context(), "acme-2", time.Time{})
			if c.says != "" {
				var refused *lake.Refused
				if !errors.As(err, &refused) || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%v does not say %q", err, c.says)
				}
				equal(t, "rows", len(s.rows("points")), 1)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for i, row := range s.rows("points") {
				got = append(got, strings.TrimPrefix(row, fmt.Sprintf("acme-%d d1: ", i+1)))
			}
			equal(t, "rows", strings.Join(got, "|"), c.want)
			ch := p.Tables[0].Change
			said := ""
			for i, names := range [][]string{ch.New, ch.Vanished, ch.Widened, ch.Left} {
				if len(names) > 0 {
					said = strings.TrimSpace(said + fmt.Sprintf(" %s %v", []string{"new", "vanished", "widened", "left"}[i], names))
				}
			}
			equal(t, "change", said, c.change)
		})
	}
}

// TestRedeclared: a published column is not declared otherwise for some of the
// runs; all of them are made anew at once.
func TestRedeclared(t *testing.T) {
	s := newSite(t, acme)
	for n := 1; n <= 2; n++ {
		id := fmt.Sprintf("acme-%d", n)
		s.run(id, n, []page{{device: "d1", fetch: "f", rows: `{"a":1767225600}`}})
		s.publish(id)
	}
	other := s.with(acme + "lake: {tables: {points: {columns: {a: timestamp(s)}}}}\n")
	_, err := other.Rebuild(t.Context(), []string{"acme-1"}, time.Time{})
	if err == nil || !strings.Contains(err.Error(), "column a is published as int, and declared as timestamp(s)") || !strings.Contains(err.Error(), "sluice lake rebuild --all acme") {
		t.Errorf("one of two: %v", err)
	}
	if _, err := other.Rebuild(t.Context(), []string{"acme-2", "acme-1"}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	equal(t, "rows", s.rows("points"), "[acme-1 d1: a=2026-01-01 00:00:00 +0000 UTC acme-2 d1: a=2026-01-01 00:00:00 +0000 UTC]")
	if calls := s.raw.writes; len(calls) != 2 {
		t.Errorf("the landing was written: %v", calls)
	}
}

// TestCommon: differently shaped vendors feed one table, each row with its
// source and key, and neither touches the other's rows.
func TestCommon(t *testing.T) {
	const common = `
lake:
  tables:
    assets: {from: points, row: '%s', key: [id], common: true, contract: variant, columns: {id: text, label: text}}
`
	s := newSite(t, acme+fmt.Sprintf(common, `{id: .uuid, label: .name}`))
	s.run("acme-1", 1, []page{{device: "d1", fetch: "f", rows: `{"uuid":"u1","name":"one"}`}})
	s.publish("acme-1")
	other := &site{t: t, raw: newBucket(), bucket: s.bucket, books: &books{s.books.runs, s.books.ends, s.books.lists}}
	other.lake = other.with(strings.Replace(acme, "name: acme", "name: other", 1) + fmt.Sprintf(common, `.[] | {id: .no, label: .title, more: 1}`))
	other.run("other-1", 1, []page{{device: "x", fetch: "f", rows: `{"k":{"no":7,"title":"seven"},"l":{"no":8,"title":"eight"}}`}})
	other.publish("other-1")
	equal(t, "rows", strings.Join(s.rows("common.assets"), "|"), `acme-1 _key=["u1"] id=u1 label=one|other-1 _key=["7"] id=7 label=seven _variant={"more":1}|other-1 _key=["8"] id=8 label=eight _variant={"more":1}`)
	if got := s.bucket.below("tables/common/table=assets/source=other/date=2026-11-01/run=other-1/"); len(got) != 1 {
		t.Errorf("files: %v", s.bucket.below("tables/"))
	}
	clash := other.with(strings.Replace(acme, "name: acme", "name: third", 1) + strings.Replace(fmt.Sprintf(common, "{}"), "label: text}", "label: int}", 1))
	other.run("third-1", 1, []page{{device: "x", fetch: "f", rows: `{"a":1}`}})
	if _, err := clash.Publish(t.Context(), "third-1", time.Time{}); err == nil || !strings.Contains(err.Error(), "column label is published as text, and declared as int") {
		t.Errorf("another type: %v", err)
	}
}
