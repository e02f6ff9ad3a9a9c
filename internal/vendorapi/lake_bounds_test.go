package vendorapi

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// lakeTask is a task of a spec whose second tier has a table t of these rows, and
// perhaps one that is made from it.
func lakeTask(t *testing.T, rows, made string) (*Plan, fanout.Task) {
	t.Helper()
	section := ""
	if made != "" {
		section = "lake: {tables: {m: {from: t, row: '" + made + "'}}}\n"
	}
	p, err := mustParse(t, header+section+"tiers:\n  - {name: a, get: /a, items: '.[]', key: ., carry: {v: .}}\n  - {name: b, get: '/b/{a}', table: t, rows: '"+rows+"'}\n").Bind(nil)
	if err != nil {
		t.Fatal(err)
	}
	return p, root(p).Child("b", fanout.Node{Path: []string{"k"}, Carry: map[string]json.RawMessage{"v": []byte("1")}})
}

// All queries over an answer have one bound, and that they took longer is no error of
// the caller's, who would try again.
func TestLakeRowsTakeNoLonger(t *testing.T) {
	const slow = "[range(300000)] | length"
	body := []byte(`{"items":[` + strings.Repeat(`{"n":1},`, 10_000) + `{"n":1}]}`)
	for name, c := range map[string][2]string{
		"one query without an end":    {".items[] | {n: last(repeat(1))}", ""},
		"the answer as a whole":       {"[.items | length, last(repeat(1))] | {n: .}", ""},
		"many queries":                {".items[] | {n: (" + slow + ")}", ""},
		"a table made from another":   {".items[]", "{n: last(repeat(1))}"},
		"many rows made from another": {".items[]", "{n: (" + slow + ")}"},
	} {
		t.Run(name, func(t *testing.T) {
			p, task := lakeTask(t, c[0], c[1])
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			err := p.lakeRows(ctx, 100*time.Millisecond, task, "", body, func(string, []byte) error { return nil })
			if !errors.Is(err, errSlowQueries) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || ctx.Err() != nil {
				t.Errorf("%v (%v)", err, ctx.Err())
			}
			ended := errors.New("ended")
			ctx, end := context.WithCancelCause(t.Context())
			time.AfterFunc(20*time.Millisecond, func() { end(ended) })
			if err := p.lakeRows(ctx, time.Hour, task, "", body, func(string, []byte) error { return nil }); !errors.Is(err, context.Canceled) || errors.Is(err, errSlowQueries) {
				t.Errorf("its caller gave up: %v", err)
			}
		})
	}
}

// Who receives rows may take his time, and his errors are his own.
func TestLakeRowsWaitForTheirReceiver(t *testing.T) {
	p, task := lakeTask(t, ".items[] | {n: (.n + 1)}", "")
	body, rows := []byte(`{"items":[{"n":1},{"n":2},{"n":3}]}`), 0
	err := p.lakeRows(t.Context(), 120*time.Millisecond, task, "", body, func(string, []byte) error {
		rows++
		time.Sleep(150 * time.Millisecond)
		return nil
	})
	if err != nil || rows != 3 {
		t.Errorf("%d rows, %v", rows, err)
	}
	full := errors.New("the disk is full")
	if err := p.lakeRows(t.Context(), time.Minute, task, "", body, func(string, []byte) error { return full }); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
}

// A string that is no Unicode is what it was, whichever way rows are made, as long as
// jq only hands it on.
func TestLakeRowsKeepHalves(t *testing.T) {
	const body = `{"items":[{"a":"x\ud800y","b":["\udfff","\ud800\ud83d\ude00\udc00é\"\b\f\n\r\t\/\\"],"\udabc":{"\ud800":"\ud8001"}}]}`
	const whole = `{"a":"x\ud800y","b":["\udfff","\ud800😀\udc00é\"\b\f\n\r\t/\\"],"\udabc":{"\ud800":"\ud8001"}}`
	for rows, want := range map[string]string{
		".items[]":                                whole,
		".items[] | . + {}":                       whole,
		".items[] | {a}":                          `{"a":"x\ud800y"}`,
		".items[] | {a: (.a | select(. != 1))}":   `{"a":"x\ud800y"}`,
		".items[] | {a: ([.a] | sort | .[0])}":    `{"a":"x\ud800y"}`,
		".items[] | {(.b[0]): (.a + .b[0])}":      `{"\udfff":"x\ud800y\udfff"}`,
		".items[] | with_entries(select(true))":   whole,
		".items[] | {a: (.a | explode | length)}": "", // whatever jq takes it for
		".items[] | {a: .a[0:2]}":                 "",
		".items[] | {a: (.a | @json)}":            "",
		".items[] | {a: (.a | ascii_upcase)}":     "",
	} {
		p, task := lakeTask(t, rows, ". + {}")
		var got []string
		err := p.LakeRows(t.Context(), task, "", []byte(body), func(table string, row []byte) error {
			if !json.Valid(row) {
				t.Errorf("%s: %s is no JSON", rows, row)
			}
			if table == "m" {
				got = append(got, string(row))
			}
			return nil
		})
		if err != nil || len(got) != 1 || want != "" && !slices.Equal(got, []string{want}) {
			t.Errorf("%s: %q, %v, want %s", rows, got, err, want)
		}
	}
	// Bytes that are not text are no half of anything.
	for s, want := range map[string]string{"\xed": `"\ufffd"`, "\xed\xa0": `"\ufffd\ufffd"`, "a\xff\xed\xa0\x80": `"a\ufffd\ud800"`, "\xed\x9f\xbf\xff": "\"\ud7ff\\ufffd\""} {
		if got := string(appendQuoted(nil, s)); got != want {
			t.Errorf("%q is %s, want %s", s, got, want)
		}
	}
}
