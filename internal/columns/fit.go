package columns

import (
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
)

// fitter casts values to types. Its result is a Parquet value; bytes of it
// stand in scratch or in the cell.
type fitter struct{ scratch []byte }

// fitterOf is how values are cast to a type; false: it is a misfit.
func fitterOf(t Type) func(*fitter, cell) (parquet.Value, bool) {
	switch t {
	case TypeInt:
		return (*fitter).int
	case TypeDouble:
		return (*fitter).double
	case TypeBool:
		return (*fitter).truth
	case TypeJSON:
		return (*fitter).json
	case TypeDate:
		return (*fitter).date
	case TypeTimestamp:
		return (*fitter).instant
	case TypeTimestampS:
		return func(f *fitter, c cell) (parquet.Value, bool) { return f.since(c, 6) }
	case TypeTimestampMS:
		return func(f *fitter, c cell) (parquet.Value, bool) { return f.since(c, 3) }
	case TypeTimestampUS:
		return func(f *fitter, c cell) (parquet.Value, bool) { return f.since(c, 0) }
	case TypeText:
		return (*fitter).text
	}
	limit := powers[t.Precision]
	return func(f *fitter, c cell) (parquet.Value, bool) {
		n, ok := scaledCell(f.number(c), t.Scale)
		return parquet.Int64Value(n), ok && -limit < n && n < limit
	}
}

func (f *fitter) json(c cell) (v parquet.Value, ok bool) {
	f.scratch = c.token(f.scratch[:0])
	return parquet.ByteArrayValue(f.scratch), utf8.Valid(f.scratch)
}

func (f *fitter) text(c cell) (v parquet.Value, ok bool) {
	if c.isText() {
		text, ok := c.text(f.scratch[:0])
		if c.form == formRaw {
			f.scratch = text
		}
		return parquet.ByteArrayValue(text), ok
	}
	f.scratch = c.token(f.scratch[:0])
	return parquet.ByteArrayValue(f.scratch), utf8.Valid(f.scratch)
}

// number is the cell, or the number that a string holds; formNone: neither.
func (f *fitter) number(c cell) cell {
	switch {
	case c.form == formInt || c.form == formDec:
		return c
	case c.form == formRaw && (c.bytes[0] == '-' || digit(c.bytes, 0)):
		return c
	case !c.isText():
		return cell{}
	}
	text, ok := c.text(f.scratch[:0])
	if !ok || len(text) == 0 || len(text) > 1<<10 {
		return cell{}
	}
	if end, err := skipNumber(text, 0); err != nil || end != len(text) {
		return cell{}
	}
	n, _ := number(text)
	return n
}

// scaledCell is a number times 10^scale, if that is an integer.
func scaledCell(c cell, scale int) (n int64, ok bool) {
	switch c.form {
	case formInt:
		return rescale(c.num, 0, scale)
	case formDec:
		return rescale(c.num>>scaleBit, int(c.num&maxScale), scale)
	case formRaw:
		var space [64]byte
		return parse(c.bytes, space[:]).scaled(scale)
	}
	return 0, false
}

func (f *fitter) int(c cell) (v parquet.Value, ok bool) {
	n, ok := scaledCell(f.number(c), 0)
	return parquet.Int64Value(n), ok
}

// special are the numbers that JSON has no token for.
var special = map[string]float64{
	"NaN": math.NaN(), "Inf": math.Inf(1), "+Inf": math.Inf(1), "-Inf": math.Inf(-1), "Infinity": math.Inf(1), "-Infinity": math.Inf(-1),
}

func (f *fitter) double(c cell) (v parquet.Value, ok bool) {
	if c.isText() {
		if text, ok := c.text(f.scratch[:0]); ok {
			if d, ok := special[string(text)]; ok {
				return parquet.DoubleValue(d), true
			}
		}
	}
	c = f.number(c)
	if c.form == formInt && -maxExact <= c.num && c.num <= maxExact {
		return parquet.DoubleValue(float64(c.num)), true
	}
	// Digits and a power of ten that are both exact divide to the nearest float.
	if c.form == formDec {
		digits, scale := c.num>>scaleBit, int(c.num&maxScale)
		if -1e15 < digits && digits < 1e15 && scale <= 15 {
			return parquet.DoubleValue(float64(digits) / float64(powers[scale])), true
		}
	}
	if c.form == formNone {
		return v, false
	}
	var space [64]byte
	d, ok := exactFloat(c.token(space[:0]))
	return parquet.DoubleValue(d), ok
}

func (f *fitter) truth(c cell) (v parquet.Value, ok bool) {
	if c.isText() {
		switch text, _ := c.text(f.scratch[:0]); string(text) {
		case "true":
			c.form = formTrue
		case "false":
			c.form = formFalse
		}
	}
	return parquet.BooleanValue(c.form == formTrue), c.form == formTrue || c.form == formFalse
}

func (f *fitter) date(c cell) (v parquet.Value, ok bool) {
	if !c.isText() {
		return v, false
	}
	text, ok := c.text(f.scratch[:0])
	if !ok || len(text) != len(time.DateOnly) {
		return v, false
	}
	day, ok := days(text)
	return parquet.Int32Value(int32(day)), ok
}

func (f *fitter) instant(c cell) (v parquet.Value, ok bool) {
	if !c.isText() {
		return v, false
	}
	text, ok := c.text(f.scratch[:0])
	if !ok {
		return v, false
	}
	n, ok := rfc3339(text)
	return parquet.Int64Value(n), ok
}

// The years 1 to 9999, in microseconds since 1970: what every engine shows.
const (
	firstInstant = -62135596800_000000
	lastInstant  = 253402300799_999999
)

func (f *fitter) since(c cell, scale int) (v parquet.Value, ok bool) {
	n, ok := scaledCell(f.number(c), scale)
	return parquet.Int64Value(n), ok && firstInstant <= n && n <= lastInstant
}

// digits reads a number of exactly len(b) digits; -1: it is none.
func digits(b []byte) (n int) {
	for i := range b {
		if !digit(b, i) {
			return -1
		}
		n = n*10 + int(b[i]-'0')
	}
	return n
}

// days reads YYYY-MM-DD as days since 1970.
func days(b []byte) (n int64, ok bool) {
	if len(b) < 10 || b[4] != '-' || b[7] != '-' {
		return 0, false
	}
	year, month, day := digits(b[:4]), digits(b[5:7]), digits(b[8:10])
	if year < 1 || month < 1 || month > 12 || day < 1 {
		return 0, false
	}
	t := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	return t.Unix() / 86400, t.Day() == day
}

// rfc3339 reads an instant with its zone as microseconds since 1970; finer
// fractions must be zero. Seconds of 60 are no instant that counts go on from.
func rfc3339(b []byte) (micros int64, ok bool) {
	day, ok := days(b)
	if !ok || len(b) < len("2006-01-02T15:04:05Z") || b[10]|0x20 != 't' && b[10] != ' ' || b[13] != ':' || b[16] != ':' {
		return 0, false
	}
	hour, minute, second := digits(b[11:13]), digits(b[14:16]), digits(b[17:19])
	if hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59 {
		return 0, false
	}
	micros = (day*86400 + int64(hour*3600+minute*60+second)) * 1e6
	b = b[19:]
	if b[0] == '.' {
		i := 1
		for unit := int64(100000); digit(b, i); i, unit = i+1, unit/10 {
			if unit == 0 && b[i] != '0' {
				return 0, false
			}
			micros += unit * int64(b[i]-'0')
		}
		if b = b[i:]; i == 1 {
			return 0, false
		}
	}
	offset, ok := zone(b)
	micros -= offset * 1e6
	return micros, ok && firstInstant <= micros && micros <= lastInstant
}

// zone reads Z or +HH:MM as seconds east.
func zone(b []byte) (seconds int64, ok bool) {
	if len(b) == 1 && b[0]|0x20 == 'z' {
		return 0, true
	}
	if len(b) != len("+00:00") || b[0] != '+' && b[0] != '-' || b[3] != ':' {
		return 0, false
	}
	hour, minute := digits(b[1:3]), digits(b[4:6])
	if hour < 0 || hour > 23 || minute < 0 || minute > 59 {
		return 0, false
	}
	seconds = int64(hour*3600 + minute*60)
	if b[0] == '-' {
		seconds = -seconds
	}
	return seconds, true
}

// appendValue writes a value of a published file as JSON.
func appendValue(dst []byte, t Type, v *parquet.Value) []byte {
	if v.IsNull() {
		return append(dst, "null"...)
	}
	switch {
	case t == TypeBool:
		return strconv.AppendBool(dst, v.Boolean())
	case t == TypeInt:
		return strconv.AppendInt(dst, v.Int64(), 10)
	case t == TypeDouble:
		if d := v.Double(); math.IsNaN(d) || math.IsInf(d, 0) {
			return quote(dst, strconv.FormatFloat(d, 'g', -1, 64))
		}
		return appendDouble(dst, v.Double())
	case t == TypeJSON:
		return append(dst, v.ByteArray()...)
	case t == TypeDate:
		return quote(dst, appendDate(nil, v.Int32()))
	case t.IsTime():
		return quote(dst, time.UnixMicro(v.Int64()).UTC().Format(time.RFC3339Nano))
	case t.Name == "decimal":
		return appendScaled(dst, v.Int64(), t.Scale)
	}
	return quote(dst, v.ByteArray())
}

// appendDouble writes the shortest form, without an exponent where people
// would write none.
func appendDouble(dst []byte, d float64) []byte {
	if abs := math.Abs(d); abs == 0 || 1e-6 <= abs && abs < 1e21 {
		return strconv.AppendFloat(dst, d, 'f', -1, 64)
	}
	return strconv.AppendFloat(dst, d, 'e', -1, 64)
}

func appendDate(dst []byte, day int32) []byte {
	return time.Unix(int64(day)*86400, 0).UTC().AppendFormat(dst, time.DateOnly)
}

// appendScaled writes n/10^scale with all its digits.
func appendScaled(dst []byte, n int64, scale int) []byte {
	if n < 0 {
		dst, n = append(dst, '-'), -n
	}
	return appendDigits(dst, n, scale)
}
