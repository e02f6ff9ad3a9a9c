package columns

import (
	"math/bits"
	"strconv"
	"unicode/utf8"
)

// form says how a value is kept.
type form uint8

const (
	formNone  form = iota // there is no such field in the row
	formNull              //
	formFalse             //
	formTrue              //
	formInt               // num
	formDec               // num: digits<<scaleBit | scale
	formText              // bytes: a string without escapes, as it stands between its quotes
	formRaw               // bytes: the token of anything else
)

// cell is one value, in a form that gives its token back.
type cell struct {
	form  form
	num   int64
	bytes []byte
}

// token appends the JSON token that the cell came from.
func (c cell) token(dst []byte) []byte {
	switch c.form {
	case formNull:
		return append(dst, "null"...)
	case formFalse:
		return append(dst, "false"...)
	case formTrue:
		return append(dst, "true"...)
	case formInt:
		return strconv.AppendInt(dst, c.num, 10)
	case formDec:
		return appendDecimal(dst, c.num)
	case formText:
		return append(append(append(dst, '"'), c.bytes...), '"')
	}
	return append(dst, c.bytes...)
}

// size is how many bytes its token has; of numbers about.
func (c cell) size() int {
	switch c.form {
	case formText:
		return len(c.bytes) + len(`""`)
	case formRaw:
		return len(c.bytes)
	case formInt, formDec:
		return 3 + bits.Len64(uint64(max(c.num, -c.num)))*3/10 // a sign, a point, and a digit for each ten times
	}
	return len("false")
}

// kind classifies a cell as the scanner did when it came.
func (c cell) kind() Kinds {
	switch c.form {
	case formNone:
		return 0
	case formNull:
		return Null
	case formFalse, formTrue:
		return Bool
	case formInt:
		if -maxExact <= c.num && c.num <= maxExact {
			return Int
		}
		return Bigint
	case formDec:
		if digits := c.num >> scaleBit; -1e15 < digits && digits < 1e15 && c.num&maxScale <= 22 {
			return Float
		}
		var space [48]byte
		if _, exact := exactFloat(appendDecimal(space[:0], c.num)); exact {
			return Float
		}
		return Wide
	case formText:
		return Text
	}
	switch c.bytes[0] {
	case '"':
		return Text
	case '{', '[':
		return Nested
	}
	_, k := number(c.bytes)
	return k
}

// isText says whether the cell is a string, with or without escapes.
func (c cell) isText() bool {
	return c.form == formText || c.form == formRaw && c.bytes[0] == '"'
}

// text is the content of a string; false: it is no Unicode text. The result
// is a part of the cell or is appended to dst.
func (c cell) text(dst []byte) (text []byte, ok bool) {
	if c.form == formText {
		return c.bytes, utf8.Valid(c.bytes)
	}
	return unescape(dst, c.bytes[1:len(c.bytes)-1])
}

var escapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// unescape appends what stands between a string's quotes; false: a lone
// surrogate, or bytes that are not UTF-8.
func unescape(dst, s []byte) (text []byte, ok bool) {
	if !utf8.Valid(s) {
		return dst, false
	}
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			dst = append(dst, s[i])
			continue
		}
		if i++; s[i] != 'u' {
			dst = append(dst, escapes[s[i]])
			continue
		}
		r, _ := hex4(s[i+1:])
		i += 4
		if r&0xF800 == 0xD800 {
			low, isEscape := rune(0), i+2 < len(s) && s[i+1] == '\\' && s[i+2] == 'u'
			if isEscape {
				low, _ = hex4(s[i+3:])
			}
			if r >= 0xDC00 || low&0xFC00 != 0xDC00 {
				return dst, false
			}
			r = (r-0xD800)<<10 | (low - 0xDC00) + 0x10000
			i += 6
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst, true
}

const hexes = "0123456789abcdef"

// quote appends a Go string as JSON, escaping what must be.
func quote[S ~string | ~[]byte](dst []byte, s S) []byte {
	dst = append(dst, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hexes[c>>4], hexes[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// clean appends a token with any byte that is not UTF-8 as the surrogate that
// stands for it, so that the token is Unicode text and says still what came.
func clean(dst, token []byte) []byte {
	if utf8.Valid(token) {
		return append(dst, token...)
	}
	for len(token) > 0 {
		r, n := utf8.DecodeRune(token)
		if c := token[0]; r == utf8.RuneError && n == 1 {
			dst = append(dst, '\\', 'u', 'd', 'c', hexes[c>>4], hexes[c&15])
		} else {
			dst = append(dst, token[:n]...)
		}
		token = token[n:]
	}
	return dst
}

// example is a token for people, of at most 80 bytes of whole characters.
func example(token []byte) string {
	const bound = 80
	token = clean(nil, token[:min(len(token), bound+utf8.UTFMax)])
	if len(token) <= bound {
		return string(token)
	}
	cut := bound
	for cut > 0 && !utf8.RuneStart(token[cut]) {
		cut--
	}
	return string(token[:cut])
}
