package columns

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
)

// TestUnion: the union of kinds is a set's, whatever order kinds come in.
func TestUnion(t *testing.T) {
	const all = 1 << 8
	for a := range Kinds(all) {
		if a.Union(a) != a {
			t.Errorf("%s twice is %s", a, a.Union(a))
		}
		for b := range Kinds(all) {
			if a.Union(b) != b.Union(a) || !a.Union(b).Has(a) {
				t.Errorf("%s and %s: %s and %s", a, b, a.Union(b), b.Union(a))
			}
			for _, c := range []Kinds{Null, Int, Int | Float, Wide | Text} {
				if a.Union(b).Union(c) != a.Union(b.Union(c)) {
					t.Errorf("%s, %s, %s", a, b, c)
				}
			}
		}
	}
}

// TestWidening: with every kind more, a type stays or becomes a wider one.
func TestWidening(t *testing.T) {
	for a := range Kinds(1 << 8) {
		for kind := range 8 {
			was, is := a.Type(), (a | 1<<kind).Type()
			if was != (Type{}) && !widens(was, is) {
				t.Errorf("%s is %s, with %s it is %s", a, was, Kinds(1<<kind), is)
			}
		}
	}
}

func TestTypes(t *testing.T) {
	for _, c := range []struct {
		kinds Kinds
		want  string
	}{
		{0, ""}, {Null, ""}, {Null | Bool, "bool"}, {Int, "int"}, {Bigint, "int"}, {Null | Int | Bigint, "int"}, {Float, "double"}, {Int | Float, "double"},
		{Nested | Null, "json"}, {Text, "text"}, {Bigint | Float, "text"}, {Wide, "text"}, {Wide | Int, "text"}, {Bool | Int, "text"}, {Text | Nested, "text"}, {Nested | Int, "text"},
	} {
		if got := c.kinds.Type().String(); got != c.want {
			t.Errorf("%s is %q, want %q", c.kinds, got, c.want)
		}
		var back Kinds
		if text, _ := c.kinds.MarshalText(); back.UnmarshalText(text) != nil || back != c.kinds {
			t.Errorf("%s comes back as %s", text, back)
		}
	}
	for _, s := range []string{"text", "int", "double", "bool", "json", "date", "timestamp", "timestamp(s)", "timestamp(ms)", "timestamp(us)", "decimal(18,18)", "decimal(1,0)"} {
		typ, err := ParseType(s)
		if err != nil || typ.String() != s {
			t.Errorf("%q: %v, %v", s, typ, err)
		}
		column := Column{Name: "n", Field: "f", Type: typ, Kinds: Int | Null}
		text, _ := json.Marshal(column)
		var back Column
		if err := json.Unmarshal(text, &back); err != nil || back != column {
			t.Errorf("%s comes back as %v, %v", text, back, err)
		}
	}
	for _, s := range []string{"", "string", "decimal", "decimal(19,2)", "decimal(2,3)", "decimal(0,0)", "decimal(5,-1)", "decimal(5)", "decimal(5,2", "timestamp(ns)"} {
		if typ, err := ParseType(s); err == nil {
			t.Errorf("%q is %v", s, typ)
		}
	}
	if new(Kinds).UnmarshalText([]byte("int|odd")) == nil {
		t.Error("odd is a kind")
	}
}

// TestNumbers: a number's kind, and its token given back.
func TestNumbers(t *testing.T) {
	for _, c := range []struct {
		token string
		want  Kinds
	}{
		{"0", Int}, {"-1", Int}, {"9007199254740992", Int}, {"-9007199254740992", Int}, {"9007199254740993", Bigint}, {"-9223372036854775808", Bigint},
		{"9223372036854775808", Wide}, {"18446744073709551615", Wide}, {"18446744073709551616", Wide}, {"36893488147419103232", Wide}, {"-9223372036854775809", Wide},
		{"100000000000000000000000", Wide}, {"-0", Float}, {"-0.0", Float}, {"0.0", Float}, {"1.0", Float}, {"0.1", Float}, {"1e5", Float}, {"1E+5", Float}, {"1e22", Float}, {"1e400", Wide},
		{"-1e400", Wide}, {"1e-400", Wide}, {"0e400", Float}, {"5e-324", Float}, {"4.9e-324", Wide}, {"1.7976931348623157e308", Float}, {"123456789012345.6", Float}, {"0.30000000000000004", Float}, {"0.3000000000000000444", Wide},
		{"9007199254740993.0", Wide}, {"9007199254740992.0", Float}, {"288230376151711743.5", Wide}, {"0.00000000000000000000000000000001", Float}, {"0.000000000000000000000000000000001", Float},
		{"1." + strings.Repeat("0", 400), Float}, {strings.Repeat("9", 400), Wide}, {"1e99999999999999999999", Wide}, {"1e-99999999999999999999", Wide},
		{"0e99999999999999999999", Float}, {"1" + strings.Repeat("0", 2000) + "e-2000", Float}, {"0." + strings.Repeat("0", 2000) + "1e2001", Float},
	} {
		end, cell, kind, err := scanNumber([]byte(c.token), 0)
		if err != nil || end != len(c.token) || kind != c.want {
			t.Errorf("%s is %s (%v), want %s", c.token, kind, err, c.want)
		}
		if back := string(cell.token(nil)); back != c.token {
			t.Errorf("%s comes back as %s", c.token, back)
		}
		if again := cell.kind(); again != kind {
			t.Errorf("%s is %s and later %s", c.token, kind, again)
		}
		var f fitter
		if v, ok := f.double(cell); ok {
			if d := v.Double(); c.want == Wide && d != 1e23 || c.want == Bigint {
				t.Errorf("%s (%s) is the double %v", c.token, c.want, d)
			}
		} else if c.want == Int || c.want == Float {
			t.Errorf("%s (%s) is no double", c.token, c.want)
		}
	}
	for _, bad := range []string{"-", "01", "1.", ".5", "1e", "1e+", "+1", "0x1", "1_0", "--1"} {
		if end, err := skipNumber([]byte(bad), 0); err == nil && end == len(bad) {
			t.Errorf("%s is a number", bad)
		}
	}
	if n, ok := rescale(math.MaxInt64/10+1, 0, 1); ok {
		t.Errorf("an overflow is %d", n)
	}
}
