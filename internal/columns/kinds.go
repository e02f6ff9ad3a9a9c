package columns

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// Kinds are what was seen in a column: a set. Union is its only operation, so
// neither order nor batching can matter.
type Kinds uint16

// The kinds of values, by what holds them without loss.
const (
	Null   Kinds = 1 << iota
	Bool         // true or false
	Int          // an integer of at most 2^53 either way: any engine's number holds it
	Bigint       // another integer within int64
	Float        // a fraction, an exponent or -0, which a float64 gives back digit for digit
	Wide         // a number that neither int64 nor float64 holds
	Text         // a string
	Nested       // an array or an object
)

var kindNames = []string{"null", "bool", "int", "bigint", "float", "wide", "text", "nested"}

// Union is what both have seen.
func (k Kinds) Union(o Kinds) Kinds { return k | o }

// Has says whether all of o are in k.
func (k Kinds) Has(o Kinds) bool { return k&o == o }

// String lists the kinds: "null|int".
func (k Kinds) String() string {
	var names []string
	for i, name := range kindNames {
		if k&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, "|")
}

// MarshalText writes the kinds by their names.
func (k Kinds) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (k *Kinds) UnmarshalText(text []byte) error {
	*k = 0
next:
	for name := range strings.SplitSeq(string(text), "|") {
		for i, known := range kindNames {
			if name == known {
				*k |= 1 << i
				continue next
			}
		}
		if name != "" {
			return fmt.Errorf("%q is no kind of value", name)
		}
	}
	return nil
}

// Type is the type that holds all kinds seen, exactly: none while there was no
// value, and text (strings as they are, anything else its JSON text) where no
// narrower type does.
func (k Kinds) Type() Type {
	switch k &^= Null; {
	case k == 0:
		return Type{}
	case k == Bool:
		return TypeBool
	case k&^(Int|Bigint) == 0:
		return TypeInt
	case k&^(Int|Float) == 0:
		return TypeDouble
	case k == Nested:
		return TypeJSON
	}
	return TypeText
}

// kindIndex is the position of one kind in kindNames.
func kindIndex(k Kinds) int { return bits.TrailingZeros16(uint16(k)) }

// A Type is how a column of a published file is written. The zero Type is none:
// there has been no value yet. Types are comparable.
type Type struct {
	Name             string // text, int, double, bool, json, date, timestamp, timestamp(s), timestamp(ms), timestamp(us), decimal
	Precision, Scale int    // of a decimal
}

// The types without parameters.
var (
	TypeText        = Type{Name: "text"}
	TypeInt         = Type{Name: "int"}
	TypeDouble      = Type{Name: "double"}
	TypeBool        = Type{Name: "bool"}
	TypeJSON        = Type{Name: "json"}
	TypeDate        = Type{Name: "date"}
	TypeTimestamp   = Type{Name: "timestamp"}     // RFC 3339 with its zone
	TypeTimestampS  = Type{Name: "timestamp(s)"}  // seconds since 1970
	TypeTimestampMS = Type{Name: "timestamp(ms)"} // milliseconds
	TypeTimestampUS = Type{Name: "timestamp(us)"} // microseconds
)

var plainTypes = []Type{TypeText, TypeInt, TypeDouble, TypeBool, TypeJSON, TypeDate, TypeTimestamp, TypeTimestampS, TypeTimestampMS, TypeTimestampUS}

// maxPrecision is how many digits an int64 holds, whatever they are.
const maxPrecision = 18

// ParseType reads a declared type.
func ParseType(s string) (Type, error) {
	for _, t := range plainTypes {
		if s == t.Name {
			return t, nil
		}
	}
	if args, ok := strings.CutPrefix(s, "decimal("); ok {
		p, sc, _ := strings.Cut(strings.TrimSuffix(args, ")"), ",")
		precision, err := strconv.Atoi(strings.TrimSpace(p))
		scale, err2 := strconv.Atoi(strings.TrimSpace(sc))
		if err == nil && err2 == nil && strings.HasSuffix(args, ")") && 0 <= scale && scale <= precision && 1 <= precision && precision <= maxPrecision {
			return Type{"decimal", precision, scale}, nil
		}
		return Type{}, fmt.Errorf("%q: a decimal is decimal(p,s), p from 1 to %d digits and s of them after the point", s, maxPrecision)
	}
	return Type{}, fmt.Errorf("%q is no type: it is one of text, int, double, bool, json, date, timestamp, timestamp(s), timestamp(ms), timestamp(us), decimal(p,s)", s)
}

// String is the type as it is declared; none is "".
func (t Type) String() string {
	if t.Name == "decimal" {
		return fmt.Sprintf("decimal(%d,%d)", t.Precision, t.Scale)
	}
	return t.Name
}

// IsTime says whether the type is an instant, however it was declared.
func (t Type) IsTime() bool { return strings.HasPrefix(t.Name, "timestamp") }

// MarshalText writes a type as it is declared.
func (t Type) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (t *Type) UnmarshalText(text []byte) (err error) {
	if *t = (Type{}); len(text) > 0 {
		*t, err = ParseType(string(text))
	}
	return err
}
