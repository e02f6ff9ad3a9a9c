package vendorapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/internal/fanout"
)

// sameRows holds the lake's rows of an answer against those of Rows.
func sameRows(t *testing.T, c *call, body []byte) (rows int) {
	t.Helper()
	var want, got []string
	var wantErr, gotErr error
	note := func(table string, row []byte) string {
		v, err := parseJSON(row)
		if _, isObject := v.(map[string]any); err != nil || !isObject {
			t.Errorf("%s of %s: %s is no object: %v", table, body, row, err)
		}
		var b bytes.Buffer
		if json.Compact(&b, row) != nil || b.Len() != len(row) {
			t.Errorf("%s of %s: %s is not compact", table, body, row)
		}
		return table + " " + exactJSON(v)
	}
	for _, table := range c.tier.tables {
		for row, err := range c.plan.Rows(t.Context(), c.task, "", body, table) {
			if wantErr = err; err == nil {
				want = append(want, note(table, row))
			}
		}
		if wantErr != nil {
			break
		}
	}
	own := len(c.tier.tables)
	gotErr = c.plan.LakeRows(t.Context(), c.task, "", body, func(table string, row []byte) error {
		if slices.Contains(c.tier.tables[:own], table) {
			got = append(got, note(table, row))
		}
		return nil
	})
	if strings.Contains(fmt.Sprint(wantErr), "\ufffd") && gotErr != nil {
		gotErr = wantErr // half of a pair is said otherwise
	}
	if !slices.Equal(got, want) || fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
		t.Errorf("%s: %s\nthe lake has %q, %v\nRows         %q, %v", c.tier.request, body, got, gotErr, want, wantErr)
	}
	return len(got)
}

// rowsMade are rows put together in every way, of tiers whose task has $a and $v.
var rowsMade = []string{
	".items[]", ".data.items[]", ".[]", ".items[] | {id, v}", ".items[] | {v: .id, id: .v, a: $a, $v}", `.items[] | {id, x: .v.x, y: .v.x.y, n: null, "t": "q\"ü"}`,
	".items[] | {it: .items, id} | select(.id)", ".items[] | {id: (.id // 0)}", ".items[] | {\"a b\": .v, \"id\"}", ".items[] | {id, id: .v}", ".items[] | {(.id | tostring): .v}",
	".items[] | {a: .more[0].id}", ".items[] | {a: .more}", ".items[] | .more[] | {id, $a}", "., .items[]?", "{items, total}", ".items[] | {id} | {x: .id}", ".items[] | {$a, w: $window.from.date}",
	`.items[] | {"$a": .id, "b\(.id)": 1}`, ".items[] | {id: .id?}", ".items[] | {id: -1, k: 1.50, t: true}", ".items[] | {id: ., x: .v}", ".items[] | {e: .\"\"}", ".data.items[] | .more[] | {id, deep: .v.x}",
}

func rowsCalls(t testing.TB) (calls []*call) {
	t.Helper()
	calls = slices.DeleteFunc(listCalls(t), func(c *call) bool { return len(c.tier.tables) == 0 })
	for _, rows := range rowsMade {
		b, err := json.Marshal(rows)
		if err != nil {
			t.Fatal(err)
		}
		for _, optional := range []string{"", ", optional: true"} {
			if optional != "" && !strings.HasPrefix(rows, ".items[]") {
				continue
			}
			s, err := Parse("v.yaml", fmt.Appendf(nil, "%stiers:\n  - {name: a, get: /a, items: '.[]', key: .id, carry: {v: .v}}\n  - {name: leaf, get: '/leaf/{a}/{v}'%s, tables: {t: %s, u: '.items[]'}}\n", header, optional, b))
			if err != nil {
				t.Fatal(err)
			}
			p, err := s.Bind(nil)
			if err != nil {
				t.Fatal(err)
			}
			c, err := p.call(root(p).Child("leaf", fanout.Node{Path: []string{"k\"ü"}, Carry: map[string]json.RawMessage{"v": []byte(`{"deep":[1.50,"x"]}`)}}), "")
			if err != nil {
				t.Fatal(err)
			}
			calls = append(calls, c)
		}
	}
	return calls
}

var rowBodies = append(slices.Clone(listBodies),
	`{"items":[{"id":1,"v":{"x":{"y":2}}},{"id":2,"v":{"x":null}},{"id":3,"v":{}},{"id":4}]}`, `{"items":[{"id":1,"v":{"x":7}}]}`, `{"items":[{"id":1,"v":3}]}`,
	`{"items":[{"id":1,"id":2,"v":{"x":1,"x":{"y":5}}}]}`, `{"items":[{"i\u0064":1,"v":{"\u0078":2}}]}`, `{"items":[{"id":1,"v":{"z":{"x":1}}}]}`,
	`{"items":[{"id":1.000,"v":[ 1 , {"a" : "b c\t"} ]},{ "id" : "a b" }],"more":[{}]}`, `{"items":[null,{"id":1}]}`, `{"items":[{"id":"\ud800\u0000","v":"\/é\u00e9😀"}]}`,
	`{"items":[{"":1,"id":-0,"v":1E+5}, {"id":0.10}]}`, "{\"items\":[{\"id\":\"\xff\"}]}", `{"items":[{"more":[{"id":12345678901234567890123}]}]}`, `{"items":[{"id":true,"v":false},"x"]}`,
)

// The rows of the lake are those that Rows gives, whichever way they are made.
func TestLakeRowsAreRows(t *testing.T) {
	rows := 0
	for _, c := range rowsCalls(t) {
		for _, body := range rowBodies {
			rows += sameRows(t, c, []byte(body))
			var tight bytes.Buffer
			if json.Compact(&tight, []byte(body)) == nil {
				sameRows(t, c, tight.Bytes())
			}
		}
	}
	if rows < 1000 {
		t.Errorf("%d rows were compared", rows)
	}
}

func FuzzLakeRows(f *testing.F) {
	calls := rowsCalls(f)
	for _, body := range rowBodies {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, err := judge(body, 500); err != nil {
			return
		}
		want, err := parseJSON(body)
		if err == nil && strings.Count(exactJSON(want), "\ufffd") > 1 {
			return // the lake tells names apart that are one to others
		}
		for _, c := range calls {
			sameRows(t, c, body)
		}
		if json.Valid(body) && !strings.Contains(exactJSON(want), "\ufffd") {
			if got := treeOf(body); err != nil || !reflect.DeepEqual(got, want) || string(appendJSON(nil, got)) != exactJSON(want) {
				t.Errorf("%s is %v, want %v (%v)", body, got, want, err)
			}
		}
	})
}

// What is cut from the text is as the vendor wrote it.
func TestLakeRowsKeepTheText(t *testing.T) {
	const element = `{"b":1.50,"a":"\u00e9\/","b":-0.0,"n":[1e400,{"x":12345678901234567890}]}`
	for rows, want := range map[string]string{
		".items[]":                       element,
		".items[] | {a, n, last: .b}":    `{"a":"\u00e9\/","last":-0.0,"n":[1e400,{"x":12345678901234567890}]}`,
		".items[] | {n: .n, $v, x: .no}": `{"n":[1e400,{"x":12345678901234567890}],"v":1.50,"x":null}`,
	} {
		s := mustParse(t, header+"tiers:\n  - {name: a, get: /a, items: '.[]', key: ., carry: {v: .}}\n  - {name: b, get: '/b/{a}', table: t, rows: '"+rows+"'}\n")
		p, err := s.Bind(nil)
		if err != nil {
			t.Fatal(err)
		}
		task := root(p).Child("b", fanout.Node{Path: []string{"k"}, Carry: map[string]json.RawMessage{"v": []byte("1.50")}})
		var got []string
		if err := p.LakeRows(t.Context(), task, "", []byte(`{"items":[`+element+`],"next":1}`), func(_ string, row []byte) error {
			got = append(got, string(row))
			return nil
		}); err != nil || !slices.Equal(got, []string{want}) {
			t.Errorf("%s: %q, %v, want %s", rows, got, err, want)
		}
	}
}

// Tables that are made from others come after the row that they are made from.
func TestLakeRowsMakeOthers(t *testing.T) {
	s := mustParse(t, header+`lake:
  tables:
    parts: {from: t, row: '.parts[]? | {id, of: $a}', key: [id], columns: {id: text, of: text}, common: true}
    sums: {from: u, row: 'select(.n > 1) | {n}'}
tiers:
  - {name: a, get: /a, items: '.[]', key: .}
  - {name: b, get: '/b/{a}', tables: {t: '.items[]', u: '.items[] | {n: (.parts | length)}'}}
`)
	p, err := s.Bind(nil)
	if err != nil {
		t.Fatal(err)
	}
	task := root(p).Child("b", fanout.Node{Path: []string{"k"}})
	body := []byte(`{"items":[{"id":1,"parts":[{"id":1.0},{"id":9007199254740993}]},{"id":2,"parts":[{"id":7}]}]}`)
	var got []string
	each := func(table string, row []byte) error {
		got = append(got, table+string(row))
		if len(got) == 20 {
			return errors.New("enough")
		}
		return nil
	}
	want := []string{
		`t{"id":1,"parts":[{"id":1.0},{"id":9007199254740993}]}`, `parts{"id":1.0,"of":"k"}`, `parts{"id":9007199254740993,"of":"k"}`,
		`t{"id":2,"parts":[{"id":7}]}`, `parts{"id":7,"of":"k"}`, `u{"n":2}`, `sums{"n":2}`, `u{"n":1}`,
	}
	if err := p.LakeRows(t.Context(), task, "", body, each); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	// An error of the receiver, and one of what is made, end it.
	if err := p.LakeRows(t.Context(), task, "", bytes.Repeat([]byte(" "), 3), each); err == nil {
		t.Error("nothing is an answer")
	}
	if err := p.LakeRows(t.Context(), task, "", []byte(`{"items":[`+strings.Repeat(`{},`, 40)+`{}]}`), each); err == nil || err.Error() != "enough" || len(got) != 20 {
		t.Errorf("%v after %d", err, len(got))
	}
	got = nil
	if err := p.LakeRows(t.Context(), task, "", []byte(`{"items":[{"parts":[7]}]}`), each); err == nil || !strings.Contains(err.Error(), "row of parts: expected an object but got: number (7)") {
		t.Errorf("%v", err)
	}
	// The tier's own tables stay what they are: they are what the ledger counts.
	if tables := p.TablesOf(task); !slices.Equal(tables, []string{"t", "u"}) {
		t.Errorf("tables %v", tables)
	}
}

// BenchmarkLakeRows is 1,000 records of 12 fields: as they are, put together from their
// fields, by the interpreter, and in columns as the simulated vendor sends them.
func BenchmarkLakeRows(b *testing.B) {
	const n = 1000
	var items, times, values bytes.Buffer
	for i := range n {
		fmt.Fprintf(&items, `,{"id":%d,"name":"device-%d.example.net","kind":"cpu","state":"up","load":%d.125,"idle":0.%d,"in":%d,"out":%d,"errors":0,"time":%d,"up":true,"seen":"2026-03-01T00:%02d:00Z"}`,
			100000+i, i, i%7, i, i*977, i*31, 1772323200+i, i%60)
		fmt.Fprintf(&times, ",%d", 1772323200+i)
		fmt.Fprintf(&values, ",[%d.5,%d]", i%100, i*4096)
	}
	list := `{"items":[` + items.String()[1:] + `]}`
	fields := "id, name, kind, state, load, idle, in, out, errors, time, up"
	for _, bb := range []struct{ name, rows, body string }{
		{"list", ".items[]", list},
		{"object", ".items[] | {" + fields + ", device: $a}", list},
		{"computed", ".items[] | {" + fields + ", device: ($a | ascii_upcase)}", list},
		{"columns", `.points as $names | .times as $times | .values as $values | range($times | length) as $i
			| {device: $a, time: $times[$i]} + ([$names, $values[$i]] | transpose | map({(.[0]): .[1]}) | add)`,
			`{"points":["percent","bytes"],"times":[` + times.String()[1:] + `],"values":[` + values.String()[1:] + `]}`},
	} {
		src, err := json.Marshal(bb.rows)
		if err != nil {
			b.Fatal(err)
		}
		s, err := Parse("v.yaml", fmt.Appendf(nil, "%stiers:\n  - {name: a, get: /a, items: '.[]', key: .}\n  - {name: b, get: '/b/{a}', table: t, rows: %s}\n", header, src))
		if err != nil {
			b.Fatal(err)
		}
		p, err := s.Bind(nil)
		if err != nil {
			b.Fatal(err)
		}
		task, body := root(p).Child("b", fanout.Node{Path: []string{"k"}}), []byte(bb.body)
		for _, way := range []string{"lake", "rows"} {
			b.Run(bb.name+"/"+way, func(b *testing.B) {
				b.SetBytes(int64(len(bb.body)))
				b.ReportAllocs()
				rows := 0
				for b.Loop() {
					if way == "rows" {
						for _, err := range p.Rows(b.Context(), task, "", body) {
							if err != nil {
								b.Fatal(err)
							}
							rows++
						}
						continue
					}
					if err := p.LakeRows(b.Context(), task, "", body, func(string, []byte) error { rows++; return nil }); err != nil {
						b.Fatal(err)
					}
				}
				if rows != b.N*n {
					b.Fatalf("%d rows", rows)
				}
				b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
			})
		}
	}
}
