package columns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

// maxDepth is how deep a row may be nested, itself counted.
const maxDepth = 10000

var (
	errCut    = errors.New("the row ends too early")
	errDepth  = fmt.Errorf("nested deeper than %d", maxDepth)
	errString = errors.New("a string holds a control character or a bad escape")
)

// unexpected says where the row is no JSON.
func unexpected(b []byte, i int) error {
	if i >= len(b) {
		return errCut
	}
	return fmt.Errorf("unexpected %q at byte %d", b[i], i)
}

func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// scanString reads a string that begins at b[i]; end is behind its closing
// quote. It looks at eight bytes at a time for one that is special.
func scanString(b []byte, i int) (end int, escaped bool, err error) {
	if i >= len(b) || b[i] != '"' {
		return i, false, unexpected(b, i)
	}
	for i++; ; {
		for i+8 <= len(b) {
			x := binary.LittleEndian.Uint64(b[i:])
			quote, slash := x^('"'*ones), x^('\\'*ones)
			special := ((quote-ones)&^quote | (slash-ones)&^slash | (x-' '*ones)&^x) & highs
			if special != 0 {
				i += bits.TrailingZeros64(special) / 8
				break
			}
			i += 8
		}
		if i >= len(b) {
			return i, escaped, errCut
		}
		switch c := b[i]; {
		case c == '"':
			return i + 1, escaped, nil
		case c == '\\':
			escaped = true
			n := escape(b[i:])
			if n == 0 {
				return i, true, errString
			}
			i += n
		case c < ' ':
			return i, escaped, errString
		default:
			i++
		}
	}
}

// escape is the length of the escape that b begins with; 0: it is none.
func escape(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if _, ok := hex4(b[2:]); ok {
			return 6
		}
	}
	return 0
}

func hex4(b []byte) (r rune, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// literal reads null, false or true at b[i].
func literal(b []byte, i int) (end int, c cell, ok bool) {
	switch rest := b[i:]; {
	case len(rest) >= 4 && string(rest[:4]) == "null":
		return i + 4, cell{form: formNull}, true
	case len(rest) >= 4 && string(rest[:4]) == "true":
		return i + 4, cell{form: formTrue}, true
	case len(rest) >= 5 && string(rest[:5]) == "false":
		return i + 5, cell{form: formFalse}, true
	}
	return i, cell{}, false
}

// scanner reads values; it owns the stack of open arrays and objects.
type scanner struct{ open []byte }

// value reads the value at b[i] as a cell, whose bytes are a part of b.
func (s *scanner) value(b []byte, i int) (end int, c cell, k Kinds, err error) {
	if i >= len(b) {
		return i, c, 0, errCut
	}
	switch b[i] {
	case '"':
		end, escaped, err := scanString(b, i)
		if err != nil {
			return end, c, 0, err
		}
		if escaped {
			return end, cell{form: formRaw, bytes: b[i:end]}, Text, nil
		}
		return end, cell{form: formText, bytes: b[i+1 : end-1]}, Text, nil
	case '{', '[':
		if end, err = s.nested(b, i); err != nil {
			return end, c, 0, err
		}
		return end, cell{form: formRaw, bytes: b[i:end]}, Nested, nil
	case 'n', 't', 'f':
		end, c, ok := literal(b, i)
		if !ok {
			return i, c, 0, unexpected(b, i)
		}
		if c.form == formNull {
			return end, c, Null, nil
		}
		return end, c, Bool, nil
	}
	return scanNumber(b, i)
}

// nested checks the array or object at b[i] and finds its end. It does not
// call itself, so that a hostile depth costs a byte a level.
func (s *scanner) nested(b []byte, i int) (end int, err error) {
	s.open = s.open[:0]
	key := false // a key comes next, else a value
	for {
		if i = space(b, i); i >= len(b) {
			return i, errCut
		}
		if key {
			if i, _, err = scanString(b, i); err != nil {
				return i, err
			}
			if i = space(b, i); i >= len(b) || b[i] != ':' {
				return i, unexpected(b, i)
			}
			i, key = i+1, false
			continue
		}
		switch c := b[i]; c {
		case '{', '[':
			if len(s.open) == maxDepth-1 {
				return i, errDepth
			}
			s.open = append(s.open, c+2) // '{'+2 is '}', '['+2 is ']'
			if i = space(b, i+1); i < len(b) && b[i] == c+2 {
				break // empty: it closes below
			}
			key = c == '{'
			continue
		default:
			if i, err = s.scalar(b, i); err != nil {
				return i, err
			}
		}
		var done bool
		if i, key, done, err = s.close(b, i); done || err != nil {
			return i, err
		}
	}
}

func (s *scanner) scalar(b []byte, i int) (end int, err error) {
	switch b[i] {
	case '"':
		end, _, err = scanString(b, i)
	case 'n', 't', 'f':
		var ok bool
		if end, _, ok = literal(b, i); !ok {
			err = unexpected(b, i)
		}
	default:
		end, err = skipNumber(b, i)
	}
	return end, err
}

// close reads what follows a value: closing brackets, or a comma, behind which
// comes a key or a value.
func (s *scanner) close(b []byte, i int) (end int, key, done bool, err error) {
	for {
		if i = space(b, i); i >= len(b) {
			return i, false, false, errCut
		}
		top := s.open[len(s.open)-1]
		switch b[i] {
		case top:
			s.open = s.open[:len(s.open)-1]
			if i++; len(s.open) == 0 {
				return i, false, true, nil
			}
		case ',':
			return i + 1, top == '}', false, nil
		default:
			return i, false, false, unexpected(b, i)
		}
	}
}
