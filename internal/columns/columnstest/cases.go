package columnstest

import (
	"math"
	"strings"
	"time"
)

func one(rows ...string) [][]string { return [][]string{rows} }

func each(rows ...string) (files [][]string) {
	for _, row := range rows {
		files = append(files, []string{row})
	}
	return files
}

func col(name, typ string, values ...any) Column { return Column{name, typ, values} }

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		panic(err)
	}
	return t.UTC()
}

// Long is a very long string.
var Long = strings.Repeat("0123456789abcdef", 20000)

// Cases are all cases.
func Cases() []Case {
	return append(append(numbers(), texts()...), declared()...)
}

func numbers() []Case {
	return []Case{
		{Name: "integers and fractions in one column", Files: one(`{"v":1}`, `{"v":2.5}`, `{"v":-3}`),
			Want: []Column{col("v", "double", 1.0, 2.5, -3.0)}},
		{Name: "integers in one file and fractions in the next", Files: each(`{"v":1}`, `{"v":2.5}`, `{"v":null}`),
			Want: []Column{col("v", "double", 1.0, 2.5, nil)}},
		{Name: "integer, fraction, text, null and nested in one column", Files: one(`{"v":1}`, `{"v":1.50}`, `{"v":"x"}`, `{"v":null}`, `{"v":{"a":1.0}}`, `{"v":[1,2]}`),
			Want: []Column{col("v", "text", "1", "1.50", "x", nil, `{"a":1.0}`, `[1,2]`)}},
		{Name: "the same over several files", Files: each(`{"v":{"a":1.0}}`, `{"v":"x"}`, `{"v":1.50}`, `{}`, `{"v":1}`, `{"v":true}`),
			Want: []Column{col("v", "text", `{"a":1.0}`, "x", "1.50", nil, "1", "true")}},
		{Name: "integers at and beyond 2^53", Files: one(`{"v":9007199254740992}`, `{"v":9007199254740993}`, `{"v":-9007199254740993}`),
			Want: []Column{col("v", "int", int64(9007199254740992), int64(9007199254740993), int64(-9007199254740993))}},
		{Name: "the ends of int64", Files: one(`{"v":9223372036854775807}`, `{"v":-9223372036854775808}`),
			Want: []Column{col("v", "int", int64(math.MaxInt64), int64(math.MinInt64))}},
		{Name: "integers beyond int64", Files: each(`{"v":9223372036854775808}`, `{"v":-9223372036854775809}`, `{"v":18446744073709551616}`, `{"v":7}`),
			Want: []Column{col("v", "text", "9223372036854775808", "-9223372036854775809", "18446744073709551616", "7")}},
		{Name: "integers beyond 2^53 and fractions", Files: each(`{"v":9007199254740993}`, `{"v":0.5}`),
			Want: []Column{col("v", "text", "9007199254740993", "0.5")}},
		{Name: "decimals that float64 does not hold", Files: one(`{"v":0.1}`, `{"v":0.1000000000000000055511151231257827}`, `{"v":12345678901234567.89}`),
			Want: []Column{col("v", "text", "0.1", "0.1000000000000000055511151231257827", "12345678901234567.89")}},
		{Name: "seventeen digits that float64 holds", Files: one(`{"v":0.30000000000000004}`, `{"v":0.1}`, `{"v":2.2250738585072014e-308}`),
			Want: []Column{col("v", "double", 0.30000000000000004, 0.1, 2.2250738585072014e-308)}},
		{Name: "1.0 beside 1", Files: one(`{"v":1.0}`, `{"v":1}`, `{"v":1.50}`),
			Want: []Column{col("v", "double", 1.0, 1.0, 1.5)}},
		{Name: "1.0 alone is no integer", Files: one(`{"v":1.0}`),
			Want: []Column{col("v", "double", 1.0)}},
		{Name: "exponents", Files: one(`{"v":1e5}`, `{"v":1E-7}`, `{"v":-2.5e+3}`),
			Want: []Column{col("v", "double", 1e5, 1e-7, -2500.0)}},
		{Name: "negative zero", Files: one(`{"v":-0}`, `{"v":-0.0}`, `{"v":0}`),
			Want: []Column{col("v", "double", math.Copysign(0, -1), math.Copysign(0, -1), 0.0)}},
		{Name: "exponents that float64 does not reach", Files: one(`{"v":1e400}`, `{"v":1e-400}`, `{"v":2}`),
			Want: []Column{col("v", "text", "1e400", "1e-400", "2")}},
		{Name: "NaN and infinities as text, undeclared", Files: one(`{"v":"NaN"}`, `{"v":1.5}`, `{"v":"Inf"}`),
			Want: []Column{col("v", "text", "NaN", "1.5", "Inf")}},
		{Name: "nothing but null", Files: each(`{"v":null,"w":1}`, `{"w":2}`),
			Want: []Column{col("w", "int", int64(1), int64(2))}},
		{Name: "truth", Files: each(`{"v":true}`, `{"v":null}`, `{"v":false}`),
			Want: []Column{col("v", "bool", true, nil, false)}},
		{Name: "truth and text", Files: each(`{"v":true}`, `{"v":"true"}`, `{"v":false}`),
			Want: []Column{col("v", "text", "true", "true", "false")}},
		{Name: "truth and numbers", Files: one(`{"v":true}`, `{"v":1}`),
			Want: []Column{col("v", "text", "true", "1")}},
		{Name: "nested lists and objects with big numbers", Files: one(`{"v":[9007199254740993,{"a":[[0.10]],"b":1e400}]}`, `{"v":{}}`, `{"v":[]}`),
			Want: []Column{col("v", "json", `[9007199254740993,{"a":[[0.10]],"b":1e400}]`, `{}`, `[]`)}},
	}
}

func texts() []Case {
	return []Case{
		{Name: "texts that are not ASCII", Files: one(`{"v":"Zürich"}`, `{"v":"\u00fc"}`, `{"v":"日本語"}`, `{"v":"😀"}`, `{"v":"\ud83d\ude00"}`),
			Want: []Column{col("v", "text", "Zürich", "ü", "日本語", "😀", "😀")}},
		{Name: "escapes and NUL", Files: one(`{"v":"a\u0000b"}`, `{"v":"\"\\\/\b\f\n\r\t"}`, `{"v":"\u001f"}`),
			Want: []Column{col("v", "text", "a\x00b", "\"\\/\b\f\n\r\t", "\x1f")}},
		{Name: "lone surrogates", Files: one(`{"v":"\ud800"}`, `{"v":"x\udc00y"}`, `{"v":"whole"}`),
			Want:    []Column{col("v", "text", nil, nil, "whole")},
			Misfits: []any{`{"v":"\ud800"}`, `{"v":"x\udc00y"}`, nil}},
		{Name: "bytes that are not UTF-8", Files: one("{\"v\":\"caf\xe9\"}", `{"v":"café"}`),
			Want:    []Column{col("v", "text", nil, "café")},
			Misfits: []any{`{"v":"caf\udce9"}`, nil}},
		{Name: "empty texts", Files: one(`{"v":""}`, `{"v":null}`, `{}`, `{"v":" "}`),
			Want: []Column{col("v", "text", "", nil, nil, " ")}},
		{Name: "very long texts", Files: one(`{"v":"`+Long+`"}`, `{"v":"short"}`),
			Want: []Column{col("v", "text", Long, "short")}},
		{Name: "an empty name", Files: one(`{"":1}`, `{"":2}`),
			Want: []Column{col("field", "int", int64(1), int64(2))}},
		{Name: "names with dots, commas and quotes", Files: one(`{"a.b":1,"a,b":2,"a\"b":3,"ä 😀":4}`),
			Want: []Column{col(`a"b`, "int", int64(3)), col("a,b", "int", int64(2)), col("a.b", "int", int64(1)), col("ä 😀", "int", int64(4))}},
		{Name: "names that differ by case", Files: each(`{"id":1,"ID":"a"}`, `{"Id":2.5}`),
			Want: []Column{col("ID", "text", "a", nil), col("Id_2", "double", nil, 2.5), col("id_3", "int", int64(1), nil)}},
		{Name: "names of the lineage", Files: one(`{"_run":"mine","_row":7,"_rest":{"a":1}}`),
			Want: []Column{col("_rest", "json", `{"a":1}`), col("_row_2", "int", int64(7)), col("_run_2", "text", "mine")}},
		{Name: "doubled fields", Files: one(`{"v":"first","v":1}`, `{"v":2,"\u0076":3}`),
			Want: []Column{col("v", "int", int64(1), int64(3))}},
		{Name: "instants are texts until declared", Files: one(`{"v":"2026-03-01T12:00:00+02:00"}`, `{"v":"2026-03-01T12:00:00Z"}`),
			Want: []Column{col("v", "text", "2026-03-01T12:00:00+02:00", "2026-03-01T12:00:00Z")}},
	}
}

func declared() []Case {
	v := func(t string) []Declared { return []Declared{{"v", t}} }
	return []Case{
		{Name: "a declared integer", Declared: v("int"), Files: each(`{"v":12}`, `{"v":"12"}`, `{"v":12.0}`, `{"v":1.2e1}`, `{"v":12.5}`, `{"v":"12a"}`, `{"v":9223372036854775808}`),
			Want:    []Column{col("v", "int", int64(12), int64(12), int64(12), int64(12), nil, nil, nil)},
			Misfits: []any{nil, nil, nil, nil, `{"v":12.5}`, `{"v":"12a"}`, `{"v":9223372036854775808}`}},
		{Name: "a declared double", Declared: v("double"), Files: one(`{"v":1}`, `{"v":"1.5"}`, `{"v":0.1000000000000000055511151231257827}`, `{"v":9007199254740993}`, `{"v":1e400}`),
			Want:    []Column{col("v", "double", 1.0, 1.5, nil, nil, nil)},
			Misfits: []any{nil, nil, `{"v":0.1000000000000000055511151231257827}`, `{"v":9007199254740993}`, `{"v":1e400}`}},
		{Name: "NaN and infinities, declared double", Declared: v("double"), Files: one(`{"v":"NaN"}`, `{"v":"Inf"}`, `{"v":"+Inf"}`, `{"v":"-Inf"}`, `{"v":"Infinity"}`, `{"v":"-Infinity"}`, `{"v":"nan"}`),
			Want:    []Column{col("v", "double", math.NaN(), math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1), nil)},
			Misfits: []any{nil, nil, nil, nil, nil, nil, `{"v":"nan"}`}},
		{Name: "a declared truth", Declared: v("bool"), Files: one(`{"v":true}`, `{"v":"false"}`, `{"v":1}`),
			Want: []Column{col("v", "bool", true, false, nil)}, Misfits: []any{nil, nil, `{"v":1}`}},
		{Name: "a declared text", Declared: v("text"), Files: one(`{"v":1.50}`, `{"v":true}`, `{"v":{"a":[1]}}`, `{"v":null}`, `{"v":"x"}`),
			Want: []Column{col("v", "text", "1.50", "true", `{"a":[1]}`, nil, "x")}},
		{Name: "declared JSON", Declared: v("json"), Files: one(`{"v":1.50}`, `{"v":"x"}`, `{"v":{"a":1}}`),
			Want: []Column{col("v", "json", "1.50", `"x"`, `{"a":1}`)}},
		{Name: "a declared date", Declared: v("date"), Files: one(`{"v":"2024-02-29"}`, `{"v":"1969-12-31"}`, `{"v":"2026-02-29"}`, `{"v":"2026-02-01T00:00:00Z"}`, `{"v":20260201}`),
			Want:    []Column{col("v", "date", "2024-02-29", "1969-12-31", nil, nil, nil)},
			Misfits: []any{nil, nil, `{"v":"2026-02-29"}`, `{"v":"2026-02-01T00:00:00Z"}`, `{"v":20260201}`}},
		{Name: "an instant with its zone", Declared: v("timestamp"), Files: one(`{"v":"2026-03-01T12:00:00+02:00"}`, `{"v":"2026-03-01T10:00:00.123456000Z"}`, `{"v":"1969-12-31T23:59:59.5-00:30"}`, `{"v":"2026-03-01T12:00:00"}`, `{"v":"2026-03-01T10:00:00.1234567Z"}`, `{"v":1}`),
			Want:    []Column{col("v", "timestamp", at("2026-03-01T10:00:00Z"), at("2026-03-01T10:00:00.123456Z"), at("1970-01-01T00:29:59.5Z"), nil, nil, nil)},
			Misfits: []any{nil, nil, nil, `{"v":"2026-03-01T12:00:00"}`, `{"v":"2026-03-01T10:00:00.1234567Z"}`, `{"v":1}`}},
		{Name: "an instant in seconds", Declared: v("timestamp(s)"), Files: one(`{"v":1772359200}`, `{"v":1772359200.123456}`, `{"v":"1772359200.5"}`, `{"v":-1}`, `{"v":1.7723592e9}`, `{"v":1772359200.1234567}`, `{"v":"soon"}`, `{"v":99999999999999}`),
			Want:    []Column{col("v", "timestamp(s)", at("2026-03-01T10:00:00Z"), at("2026-03-01T10:00:00.123456Z"), at("2026-03-01T10:00:00.5Z"), at("1969-12-31T23:59:59Z"), at("2026-03-01T10:00:00Z"), nil, nil, nil)},
			Misfits: []any{nil, nil, nil, nil, nil, `{"v":1772359200.1234567}`, `{"v":"soon"}`, `{"v":99999999999999}`}},
		{Name: "an instant in milliseconds", Declared: v("timestamp(ms)"), Files: one(`{"v":1772359200123}`, `{"v":1772359200123.5}`, `{"v":1772359200123.00000}`, `{"v":1772359200123.0001}`),
			Want: []Column{col("v", "timestamp(ms)", at("2026-03-01T10:00:00.123Z"), at("2026-03-01T10:00:00.1235Z"), at("2026-03-01T10:00:00.123Z"), nil)}, Misfits: []any{nil, nil, nil, `{"v":1772359200123.0001}`}},
		{Name: "an instant in microseconds", Declared: v("timestamp(us)"), Files: one(`{"v":1772359200123456}`, `{"v":"1772359200123456"}`),
			Want: []Column{col("v", "timestamp(us)", at("2026-03-01T10:00:00.123456Z"), at("2026-03-01T10:00:00.123456Z"))}},
		{Name: "a declared decimal", Declared: v("decimal(10,2)"), Files: one(`{"v":12.5}`, `{"v":"12.50"}`, `{"v":12}`, `{"v":-0.01}`, `{"v":1.005}`, `{"v":99999999.99}`, `{"v":100000000}`),
			Want:    []Column{col("v", "decimal(10,2)", "12.50", "12.50", "12.00", "-0.01", nil, "99999999.99", nil)},
			Misfits: []any{nil, nil, nil, nil, `{"v":1.005}`, nil, `{"v":100000000}`}},
		{Name: "eighteen digits", Declared: v("decimal(18,9)"), Files: one(`{"v":123456789.123456789}`, `{"v":-999999999.999999999}`),
			Want: []Column{col("v", "decimal(18,9)", "123456789.123456789", "-999999999.999999999")}},
		{Name: "fields that nobody declared, in _variant", Declared: v("int"), Variant: true, Files: each(`{"v":1,"w":1.50,"a":null}`, `{"v":2}`, `{"z":"\u00e9","v":"x"}`),
			Want:    []Column{col("v", "int", int64(1), int64(2), nil)},
			Misfits: []any{`{"w":1.50}`, nil, `{"v":"x","z":"\u00e9"}`}},
	}
}
