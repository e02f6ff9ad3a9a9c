package columns

import (
	"bytes"
	"math"
	"strconv"
	"unsafe"
)

const (
	maxExact = 1 << 53 // integers to here are exact in a float64
	scaleBit = 5       // a decimal's number is its digits, shifted, and its scale
	maxScale = 1<<scaleBit - 1
	maxDigit = 1 << (63 - scaleBit) // digits of a decimal are below that
)

var powers = func() (p [19]int64) {
	p[0] = 1
	for i := 1; i < len(p); i++ {
		p[i] = p[i-1] * 10
	}
	return p
}()

func digit(b []byte, i int) bool { return i < len(b) && b[i]-'0' < 10 }

// skipNumber finds the end of the number at b[i].
func skipNumber(b []byte, i int) (end int, err error) {
	if i < len(b) && b[i] == '-' {
		i++
	}
	switch {
	case i < len(b) && b[i] == '0':
		i++
	case digit(b, i):
		for digit(b, i) {
			i++
		}
	default:
		return i, unexpected(b, i)
	}
	if i < len(b) && b[i] == '.' {
		if i++; !digit(b, i) {
			return i, unexpected(b, i)
		}
		for digit(b, i) {
			i++
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		if i++; i < len(b) && (b[i] == '-' || b[i] == '+') {
			i++
		}
		if !digit(b, i) {
			return i, unexpected(b, i)
		}
		for digit(b, i) {
			i++
		}
	}
	return i, nil
}

// scanNumber reads the number at b[i]: as an integer or a short decimal where
// those give its token back, else as that token.
func scanNumber(b []byte, i int) (end int, c cell, k Kinds, err error) {
	if end, err = skipNumber(b, i); err != nil {
		return end, c, 0, err
	}
	c, k = number(b[i:end])
	return end, c, k, nil
}

// number classifies the token of a number.
func number(token []byte) (c cell, k Kinds) {
	neg := token[0] == '-'
	var mant uint64
	digits, point := 0, -1
	rest := token
	if neg {
		rest = rest[1:]
	}
	for i, d := range rest {
		switch {
		case d == '.':
			point = i
		case d > '9': // an exponent
			return oddNumber(token)
		default:
			if mant = mant*10 + uint64(d-'0'); digits > 0 || d > '0' {
				digits++
			}
		}
	}
	if digits > 19 || neg && mant == 0 {
		return oddNumber(token)
	}
	if point < 0 {
		return integer(token, mant, neg)
	}
	scale := len(rest) - point - 1
	if mant >= maxDigit || scale > maxScale {
		return oddNumber(token)
	}
	signed := int64(mant)
	if neg {
		signed = -signed
	}
	c = cell{form: formDec, num: signed<<scaleBit | int64(scale)}
	// Fifteen digits are exact in every float64 (of a usual magnitude).
	if mant < 1e15 && scale <= 22 {
		return c, Float
	}
	if _, exact := exactFloat(token); exact {
		return c, Float
	}
	return c, Wide
}

func integer(token []byte, mant uint64, neg bool) (c cell, k Kinds) {
	switch {
	case mant > math.MaxInt64+1, mant > math.MaxInt64 && !neg:
		return cell{form: formRaw, bytes: token}, Wide
	case mant <= maxExact:
		k = Int
	default:
		k = Bigint
	}
	num := int64(mant)
	if neg {
		num = -num
	}
	return cell{form: formInt, num: num}, k
}

// oddNumber is one whose token must be kept.
func oddNumber(token []byte) (c cell, k Kinds) {
	c = cell{form: formRaw, bytes: token}
	if !bytes.ContainsAny(token, ".eE") && string(token) != "-0" {
		return c, Wide // an integer that int64 does not hold
	}
	if _, exact := exactFloat(token); exact {
		return c, Float
	}
	return c, Wide
}

// decimal is a number's value: 0.DIGITS * 10^exp, its digits without zeros at
// either end.
type decimal struct {
	neg    bool
	digits []byte // none: zero
	exp    int64
}

// maxExp is beyond what the digits of any token that memory holds make up for:
// an exponent beyond it is as good as any.
const maxExp = 1 << 40

// parse takes the token of a number apart.
func parse(token []byte, buf []byte) (d decimal) {
	if token[0] == '-' {
		d.neg, token = true, token[1:]
	}
	mantissa := token
	if e := bytes.IndexAny(token, "eE"); e >= 0 {
		mantissa = token[:e]
		d.exp = exponent(token[e+1:])
	}
	whole, fraction, _ := bytes.Cut(mantissa, []byte("."))
	d.exp += int64(len(whole))
	buf = append(append(buf[:0], whole...), fraction...)
	trimmed := bytes.TrimLeft(buf, "0")
	d.exp -= int64(len(buf) - len(trimmed))
	d.digits = bytes.TrimRight(trimmed, "0")
	if len(d.digits) == 0 {
		d.exp = 0
	}
	return d
}

func exponent(s []byte) (n int64) {
	neg := s[0] == '-'
	if neg || s[0] == '+' {
		s = s[1:]
	}
	for _, c := range s {
		n = min(n*10+int64(c-'0'), maxExp)
	}
	if neg {
		return -n
	}
	return n
}

// exactFloat is the float64 whose shortest form has the same digits.
func exactFloat(token []byte) (f float64, exact bool) {
	var space [64]byte
	d := parse(token, space[:])
	if len(d.digits) > 17 {
		return 0, false
	}
	if len(token) > len(space) {
		token = d.short() // ParseFloat misreads some tokens of a thousand digits
	}
	// ParseFloat keeps no part of its argument but in an error, and there a copy.
	f, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(token), len(token)), 64)
	if err != nil {
		return 0, false
	}
	var back, backSpace [40]byte
	b := parse(strconv.AppendFloat(back[:0], f, 'e', -1, 64), backSpace[:])
	return f, d.neg == b.neg && d.exp == b.exp && bytes.Equal(d.digits, b.digits)
}

// short is a token of the same number.
func (d decimal) short() (token []byte) {
	if d.neg {
		token = append(token, '-')
	}
	token = append(append(token, '0', '.'), d.digits...)
	return strconv.AppendInt(append(token, '0', 'e'), d.exp, 10)
}

// scaled is the number times 10^scale, if that is an int64 and exact.
func (d decimal) scaled(scale int) (n int64, exact bool) {
	zeros := d.exp + int64(scale-len(d.digits))
	if len(d.digits) == 0 {
		return 0, true
	}
	if zeros < 0 || int64(len(d.digits))+zeros > 19 {
		return 0, false
	}
	var u uint64
	for _, c := range d.digits {
		u = u*10 + uint64(c-'0')
	}
	for range zeros {
		u *= 10
	}
	switch {
	case d.neg && u <= math.MaxInt64+1:
		return -int64(u), true
	case !d.neg && u <= math.MaxInt64:
		return int64(u), true
	}
	return 0, false
}

// rescale is digits/10^from as an integer of 10^-to, if that is exact.
func rescale(digits int64, from, to int) (n int64, exact bool) {
	if digits == 0 || from == to {
		return digits, true
	}
	if from > to {
		if from-to >= len(powers) || digits%powers[from-to] != 0 {
			return 0, false
		}
		return digits / powers[from-to], true
	}
	if to-from >= len(powers) {
		return 0, false
	}
	p := powers[to-from]
	if n = digits * p; n/p != digits {
		return 0, false
	}
	return n, true
}

// appendDecimal writes a decimal as it came.
func appendDecimal(dst []byte, num int64) []byte {
	digits := num >> scaleBit
	if digits < 0 {
		dst, digits = append(dst, '-'), -digits
	}
	return appendDigits(dst, digits, int(num&maxScale))
}

// appendDigits writes digits, the last scale of them behind the point.
func appendDigits(dst []byte, n int64, scale int) []byte {
	var space [20]byte
	d := strconv.AppendInt(space[:0], n, 10)
	for range scale + 1 - len(d) {
		dst = append(dst, '0') // at least one stands before the point
	}
	dst = append(dst, d...)
	if scale > 0 {
		dst = append(dst, 0)
		at := len(dst) - 1 - scale
		copy(dst[at+1:], dst[at:])
		dst[at] = '.'
	}
	return dst
}
