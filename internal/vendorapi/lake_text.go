package vendorapi

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
)

// treeOf is what [parseJSON] makes of a text that is known to be one good JSON text,
// in a third of the time: nothing is checked again.
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

// unquote is what a quoted text says.
func unquote(quoted []byte) string {
	if plainText(quoted) {
		return string(quoted[1 : len(quoted)-1])
	}
	var s string
	_ = json.Unmarshal(quoted, &s) // it is known to be good
	return s
}

// plainText tells whether a quoted text has no escapes.
func plainText(quoted []byte) bool {
	for _, c := range quoted {
		if c == '\\' {
			return false
		}
	}
	return true
}

// appendJSON writes what [exactJSON] does, without memory of its own for each value.
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
			return append(b, exactJSON(s)...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
