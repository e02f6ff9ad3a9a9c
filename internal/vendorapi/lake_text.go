package vendorapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// treeOf is what [parseJSON] makes of a text that is known to be one good JSON text,
// in a third of the time: nothing is checked again. Strings that are no Unicode stay
// what they are.
func treeOf(b []byte) any {
	v, _ := valueAt(b, skipSpace(b, 0))
	return v
}

// valueAt is the value that begins at b[i], and where it ends.
func valueAt(b []byte, i int) (any, int) {
	switch b[i] {
	case '{':
		return objectAt(b, i)
	case '[':
		list := []any{}
		for i = skipSpace(b, i+1); b[i] != ']'; {
			var v any
			v, i = valueAt(b, i)
			list = append(list, v)
			i = nextIn(b, i)
		}
		return list, i + 1
	case '"':
		end := quoteEnd(b, i) + 1
		return unquote(b[i:end]), end
	case 't':
		return true, i + len("true")
	case 'f':
		return false, i + len("false")
	case 'n':
		return nil, i + len("null")
	}
	end := i
	for end < len(b) && (b[end] >= '+' && b[end] <= '9' && b[end] != ',' || b[end] == 'e' || b[end] == 'E') {
		end++
	}
	return json.Number(b[i:end]), end
}

func objectAt(b []byte, i int) (map[string]any, int) {
	fields := make(map[string]any)
	for i = skipSpace(b, i+1); b[i] != '}'; {
		end := quoteEnd(b, i) + 1
		name := unquote(b[i:end])
		var v any
		v, i = valueAt(b, skipSpace(b, skipSpace(b, end)+1)) // behind the colon
		fields[name] = v
		i = nextIn(b, i)
	}
	return fields, i + 1
}

// nextIn is where the next element begins, or the list or object ends.
func nextIn(b []byte, i int) int {
	if i = skipSpace(b, i); b[i] == ',' {
		i = skipSpace(b, i+1)
	}
	return i
}

// unquote is what a quoted text says. Half of a surrogate pair, which is no Unicode,
// becomes the three bytes that it would have (WTF-8): the interpreter hands them on,
// and appendQuoted knows them.
func unquote(quoted []byte) string {
	text := quoted[1 : len(quoted)-1]
	if plainText(text) {
		return string(text)
	}
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '\\' {
			i++
			if text[i] == 'u' {
				r, n := escapedRune(text[i-1:])
				out, i = appendRune(out, r), i+n-2
				continue
			}
			c = unescaped(text[i])
		}
		out = append(out, c)
	}
	return string(out)
}

// unescaped is what a letter or sign means behind a backslash.
func unescaped(c byte) byte {
	if i := strings.IndexByte("bfnrt", c); i >= 0 {
		return "\b\f\n\r\t"[i]
	}
	return c
}

// escapedRune is what b begins with, \uXXXX or a pair of them, and its length.
func escapedRune(b []byte) (r rune, n int) {
	const one = len(`\u0000`)
	r = hexRune(b)
	if utf16.IsSurrogate(r) && len(b) >= 2*one && b[one] == '\\' && b[one+1] == 'u' {
		if both := utf16.DecodeRune(r, hexRune(b[one:])); both != utf8.RuneError {
			return both, 2 * one
		}
	}
	return r, one
}

func hexRune(b []byte) rune {
	n, _ := strconv.ParseUint(string(b[len(`\u`):len(`\u0000`)]), 16, 16) // it is known to be good
	return rune(n)
}

func appendRune(b []byte, r rune) []byte {
	if utf16.IsSurrogate(r) {
		return append(b, 0xED, 0x80|byte(r>>6)&0x3F, 0x80|byte(r)&0x3F)
	}
	return utf8.AppendRune(b, r)
}

// plainText tells whether a text has no escapes.
func plainText(text []byte) bool {
	for _, c := range text {
		if c == '\\' {
			return false
		}
	}
	return true
}

// appendJSON writes what [exactJSON] does, without memory of its own for each value,
// and strings that are no Unicode as they came.
func appendJSON(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, v)
	case int:
		return strconv.AppendInt(b, int64(v), 10)
	case json.Number:
		return append(b, v...)
	case string:
		return appendQuoted(b, v)
	case []any:
		b = append(b, '[')
		for i, x := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendJSON(b, x)
		}
		return append(b, ']')
	case map[string]any:
		var few [32]string
		names := slices.AppendSeq(few[:0], maps.Keys(v))
		slices.Sort(names)
		b = append(b, '{')
		for i, name := range names {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendQuoted(b, name), ':')
			b = appendJSON(b, v[name])
		}
		return append(b, '}')
	}
	return append(b, exactJSON(v)...)
}

func appendQuoted(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return appendEscaped(b, s)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// appendEscaped writes what exactJSON does, and halves of pairs as they came.
func appendEscaped(b []byte, s string) []byte {
	if utf8.ValidString(s) {
		return append(b, exactJSON(s)...)
	}
	b = append(b, '"')
	for from, i := 0, 0; i <= len(s); i++ {
		half := i+2 < len(s) && s[i] == 0xED && s[i+1]&0xE0 == 0xA0 && s[i+2]&0xC0 == 0x80
		if !half && i < len(s) {
			continue
		}
		before := exactJSON(s[from:i])
		b = append(b, before[1:len(before)-1]...)
		if half {
			b = fmt.Appendf(b, `\ud%x`, uint(s[i+1]&0x3F)<<6|uint(s[i+2]&0x3F))
			i += 2
			from = i + 1
		}
	}
	return append(b, '"')
}
