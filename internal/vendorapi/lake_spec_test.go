package vendorapi

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

const lakeSpec = header + `lake:
  dead: 1.5%
  path: table={table}/source={source}/y={year}/m={month}/d={day}/run={run}
  tables:
    metrics:
      contract: freeze
      columns: {device: text, time: timestamp(s), value: double, "näme \"x\"": "decimal(18,0)"}
    assets: {from: devices, row: '{id: .uuid, of: $a}', key: [id, of], common: true, columns: {id: text, of: text}}
    others: {from: metrics, row: ., contract: variant, key: id}
tiers:
  - {name: a, get: /a, items: '.[]', key: ., table: zeros}
  - {name: b, get: '/b/{a}', tables: {devices: '.d[]', metrics: '.m[]'}}
`

func TestLakeSpec(t *testing.T) {
	p, err := mustParse(t, lakeSpec).Bind(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Lake{
		DeadPercent: 1.5, Path: "table={table}/source={source}/y={year}/m={month}/d={day}/run={run}",
		Tables: []LakeTable{
			{Name: "assets", From: "devices", Common: true, Contract: "evolve", Key: []string{"id", "of"}, Columns: []LakeColumn{{"id", "text"}, {"of", "text"}}},
			{Name: "devices", Contract: "evolve"},
			{Name: "metrics", Contract: "freeze", Columns: []LakeColumn{{"device", "text"}, {"time", "timestamp(s)"}, {"value", "double"}, {`näme "x"`, "decimal(18,0)"}}},
			{Name: "others", From: "metrics", Contract: "variant", Key: []string{"id"}},
			{Name: "zeros", Contract: "evolve"},
		},
	}
	if !reflect.DeepEqual(p.Lake, want) {
		t.Errorf("got  %+v\nwant %+v", p.Lake, want)
	}
	if m, ok := p.Lake.Table("metrics"); !ok || m.Contract != "freeze" {
		t.Errorf("metrics is %+v, %t", m, ok)
	}
	if _, ok := p.Lake.Table("nosuch"); ok {
		t.Error("there is a table nosuch")
	}
	if got := p.Tiers[1].Tables; !slices.Equal(got, []string{"devices", "metrics"}) {
		t.Errorf("the tier's tables are %v", got)
	}
	other, err := mustParse(t, strings.Replace(lakeSpec, "value: double", "value: text", 1)).Bind(nil)
	if err != nil || other.Hash == p.Hash {
		t.Errorf("a type is not in the hash (%v)", err)
	}
}

// Without a section, every table is there as it is by itself.
func TestLakeDefaults(t *testing.T) {
	for _, section := range []string{"", "lake: {}\n", "lake: {dead: 0, tables: {u: {contract: evolve}}}\n"} {
		p, err := mustParse(t, header+section+"tiers: [{name: a, get: /a, tables: {u: '.u[]', t: '.t[]'}}]\n").Bind(nil)
		if err != nil {
			t.Fatal(err)
		}
		want := Lake{Path: "table={table}/date={date}/run={run}", Tables: []LakeTable{{Name: "t", Contract: "evolve"}, {Name: "u", Contract: "evolve"}}}
		if !reflect.DeepEqual(p.Lake, want) {
			t.Errorf("%q: %+v", section, p.Lake)
		}
		if got, common := p.Lake.PathOf(LakeTable{}), p.Lake.PathOf(LakeTable{Common: true}); got != want.Path || common != "table={table}/source={source}/date={date}/run={run}" {
			t.Errorf("paths %s and %s", got, common)
		}
	}
	for dead, want := range map[string]Lake{"5": {Dead: 5}, `"7"`: {Dead: 7}, "1%": {DeadPercent: 1}, "0.25 %": {DeadPercent: 0.25}, `"100%"`: {DeadPercent: 100}} {
		s := mustParse(t, header+"lake: {dead: "+dead+"}\ntiers: [{name: a, get: /a}]\n")
		if s.lake.Dead != want.Dead || s.lake.DeadPercent != want.DeadPercent || s.lake.Tables != nil {
			t.Errorf("dead: %s is %+v", dead, s.lake)
		}
	}
}

// Two tiers may have the same table; what is made from it sees what both see.
func TestLakeOfATableOfTwoTiers(t *testing.T) {
	const tiers = "tiers:\n  - {name: a, get: /a, items: '.[]', key: ., table: t}\n  - {name: b, get: '/b/{a}', rows: '.[]', table: t}\n"
	if s := mustParse(t, header+"lake: {tables: {m: {from: t, row: '{x}'}}}\n"+tiers); len(s.lake.Tables) != 2 {
		t.Errorf("%+v", s.lake)
	}
	if _, err := Parse("v.yaml", []byte(header+"lake: {tables: {m: {from: t, row: '{x: $a}'}}}\n"+tiers)); err == nil || !strings.Contains(err.Error(), "v.yaml:4:35: row of m: jq: variable not defined: $a") {
		t.Errorf("%v", err)
	}
}

// Each mistake in the section is told with its place and what to do about it.
func TestLakeSpecErrors(t *testing.T) {
	table := func(s string) string { return "lake: {tables: {" + s + "}}" }
	for section, want := range map[string]string{
		"lake: 5":                                            "4:7: fields are expected (dead, path, tables), not \"5\"",
		"lake: {ded: 5}":                                     `4:8: unknown field "ded": did you mean "dead"?`,
		"lake: {dead: few}":                                  `4:14: a number of tasks from 0, such as 5, or a percentage above 0 and up to 100, such as "1%", is expected, not "few"`,
		"lake: {dead: -1}":                                   "4:14: a number of tasks from 0",
		"lake: {dead: 1.5}":                                  "4:14: a number of tasks from 0",
		"lake: {dead: 0%}":                                   "4:14: a number of tasks from 0",
		"lake: {dead: 101%}":                                 "4:14: a number of tasks from 0",
		"lake: {dead: [1]}":                                  "4:14: a number of tasks from 0",
		"lake: {path: [x]}":                                  "4:14: a text is expected, not a list",
		"lake: {path: 'table={table}'}":                      "4:14: path: without {table} and {run} the files of several tables or runs would be one: write table={table}/date={date}/run={run}",
		"lake: {path: 'run={run}/x'}":                        "4:14: path: without {table} and {run}",
		"lake: {path: 'run={run}/{table}'}":                  "4:14: path must begin with table={table}/",
		"lake: {path: 'table={table}/run={rum}'}":            `4:14: path: unknown placeholder {rum}: did you mean "run"?`,
		"lake: {path: 'table={table}/run={run}/'}":           `4:14: path: "" is no part of a path`,
		"lake: {path: '/table={table}/run={run}'}":           `4:14: path: "" is no part of a path`,
		"lake: {path: 'table={table}/../run={run}'}":         `4:14: path: ".." is no part of a path`,
		"lake: {path: 'table={table}/a b/run={run}'}":        `4:14: path: "a b" is no part of a path: write letters`,
		"lake: {path: 'table={table}/run={run}/{'}":          `4:14: path: "{" is no part of a path`,
		"lake: {path: 'table={table}/run={run}/run={date}'}": `4:14: path: "run={date}": a partition is a name of its own`,
		"lake: {path: 'table={table}/={run}'}":               `4:14: path: "={run}": a partition is a name of its own`,
		"lake: {path: 'table={table}/run={run}', tables: {t: {common: true, columns: {x: text}}}}": "4:14: path: there is a common table, which several vendors feed: it needs {source}, as in table={table}/source={source}/date={date}/run={run}",
		table("x: {}"):                                                  `4:17: lake: no tier has a table "x": did you mean "t"?; or say from and row`,
		table("t: {colums: {}}"):                                        `4:21: unknown field "colums": did you mean "columns"?`,
		table("t: {contract: free}"):                                    `4:31: contract is evolve, freeze or variant, not "free"`,
		table("t: {columns: [x]}"):                                      "4:30: names with their values are expected, not a list",
		table("t: {columns: {x: txt}}"):                                 `4:34: column x: unknown type "txt": did you mean "text"?`,
		table("t: {columns: {x: timestamp(ns)}}"):                       `4:34: column x: unknown type "timestamp(ns)": did you mean`,
		table("t: {columns: {x: decimal(10,2)}}"):                       `4:34: a type is expected, and YAML takes decimal(10,2) for two fields: quote it: "decimal(10,2)"`,
		table("t: {columns: {x: 'decimal(19,2)'}}"):                     `4:34: column x: "decimal(19,2)": a decimal is like "decimal(12,2)", in quotes: of 18 digits at most, and no more behind the point than in all`,
		table("t: {columns: {x: 'decimal(2,3)'}}"):                      "4:34: column x: \"decimal(2,3)\"",
		table("t: {columns: {x: 'decimal(9,10)'}}"):                     "4:34: column x: \"decimal(9,10)\"",
		table("t: {columns: {x: }}"):                                    "a text is expected, not nothing",
		table("t: {columns: {'': text}}"):                               "4:31: table t: a column without a name",
		table(`t: {columns: {"a\tb": text}}`):                           `4:31: table t: a column's name has no control characters: "a\tb"`,
		table("t: {columns: {" + strings.Repeat("x", 256) + ": text}}"): "4:31: table t: a column's name has 255 bytes at most",
		table("t: {columns: {x: text, x: int}}"):                        `field "x" is already given`,
		table("t: {common: true}"):                                      "4:29: table t is common: other vendors must know its columns: declare them by columns",
		table("t: {common: yes please}"):                                "4:29: true or false is expected",
		table("t: {columns: {x: text}, key: [x, y]}"):                   `4:50: table t: key: column "y" is not declared`,
		table("t: {columns: {x: text}, key: [x, x]}"):                   `4:50: table t: key names "x" twice`,
		table("t: {key: []}"):                                           "table t: key names no column: name one or more, or leave it out",
		table("t: {from: u, row: .}"):                                   `4:27: lake: a tier has a table "t": what is made from another needs a name of its own`,
		table("t: {row: .}"):                                            "4:26: table t: row goes with from",
		table("x: {from: t}"):                                           "4:17: table x: from without row: say by row what is made of each row of t",
		table("x: {from: x, row: .}"):                                   `4:27: from: table "x" is itself made from another: from names a table of a tier`,
		table("x: {from: uu, row: .}"):                                  `4:27: from: no tier has a table "uu": did you mean "u"?`,
		table("x: {from: t, row: .}, y: {from: x, row: .}"):             `4:49: from: table "x" is itself made from another`,
		table("X: {from: t, row: .}"):                                   `4:17: a table's name must be like metrics`,
		table("x: {from: t, row: '.['}"):                                "4:35: row of x: jq:",
		table("x: {from: t, row: '$nope'}"):                             "4:35: row of x: jq: variable not defined: $nope",
	} {
		_, err := Parse("v.yaml", []byte(header+section+"\ntiers: [{name: a, get: /a, tables: {t: '.t[]', u: '.u[]'}}]\n"))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "v.yaml:4:") {
			t.Errorf("%s\ngot  %v\nwant %s", section, err, want)
		}
	}
}
