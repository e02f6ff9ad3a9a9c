package vendorapi

import (
	"bytes"
	"slices"
	"strings"

	"github.com/itchyny/gojq"
)

// A row is mostly an object of an element's fields as they are, with some of the
// task's beside them: {id, name, kind: .type.name, device: $devices}. Such a row is
// put together from pieces of the text, and the interpreter is asked only about
// elements that are out of the ordinary.
type picker struct {
	fields []picked
	heads  map[string]int // first names of paths -> their number
}

// picked is one field of a row.
type picked struct {
	label []byte   // {"name": or ,"name":
	path  []string // nil: it is fixed
	head  int      // path[0]'s number
	fixed []byte   // its value
	arg   int      // which of the query's variables it is; -1: none
}

var null = []byte("null")

// span is a piece of the text; it is empty where nothing was found.
type span struct{ from, to int }

// pickerOf is how a query's rows are put together; nil: in another way.
func pickerOf(q *gojq.Query, vars []string) *picker {
	if !bare(q) || q.Term == nil || q.Term.Type != gojq.TermTypeObject || len(q.Term.SuffixList) > 0 || len(q.Term.Object.KeyVals) == 0 {
		return nil
	}
	named := make(map[string]picked)
	var names []string
	for _, kv := range q.Term.Object.KeyVals {
		name, f, ok := pickedOf(kv, vars)
		if _, twice := named[name]; !ok || twice {
			return nil
		}
		named[name], names = f, append(names, name)
	}
	slices.Sort(names)
	p := &picker{heads: make(map[string]int)}
	for i, name := range names {
		f := named[name]
		f.label = append(appendQuoted([]byte{"{,"[min(i, 1)]}, name), ':')
		if f.path != nil {
			if _, known := p.heads[f.path[0]]; !known {
				p.heads[f.path[0]] = len(p.heads)
			}
			f.head = p.heads[f.path[0]]
		}
		p.fields = append(p.fields, f)
	}
	return p
}

// pickedOf reads one field of an object's construction.
func pickedOf(kv *gojq.ObjectKeyVal, vars []string) (name string, f picked, ok bool) {
	f.arg = -1
	switch {
	case kv.KeyQuery != nil || kv.KeyString != nil && len(kv.KeyString.Queries) > 0:
		return "", f, false
	case kv.KeyString != nil:
		name = kv.KeyString.Str
	default:
		name = kv.Key
	}
	variable, isVariable := name, strings.HasPrefix(name, "$") && kv.KeyString == nil
	switch {
	case isVariable && kv.Val == nil:
		name = name[1:]
	case kv.Val == nil:
		f.path = []string{name}
		return name, f, true
	case isVariable || !bare(kv.Val) || kv.Val.Term == nil:
		return "", f, false
	default:
		t := kv.Val.Term
		path, iterates := fields(kv.Val)
		switch {
		case len(path) > 0 && !iterates:
			f.path = path
			return name, f, true
		case len(t.SuffixList) > 0:
			return "", f, false
		case t.Type == gojq.TermTypeString && len(t.Str.Queries) == 0:
			f.fixed = appendQuoted(nil, t.Str.Str)
			return name, f, true
		case t.Type == gojq.TermTypeNull:
			f.fixed = []byte("null")
			return name, f, true
		case t.Type != gojq.TermTypeFunc || len(t.Func.Args) > 0:
			return "", f, false
		}
		variable = t.Func.Name
	}
	f.arg = slices.Index(vars, variable)
	return name, f, f.arg >= 0
}

// bind puts the values of the query's variables in.
func (p *picker) bind(args []any) *picker {
	if p == nil || !slices.ContainsFunc(p.fields, func(f picked) bool { return f.arg >= 0 }) {
		return p
	}
	bound := &picker{slices.Clone(p.fields), p.heads}
	for i, f := range p.fields {
		if f.arg >= 0 {
			bound.fields[i].fixed = appendJSON(nil, args[f.arg])
		}
	}
	return bound
}

// pick puts a row together from the object in text; ok is false where the
// interpreter must be asked.
func (r *lakeRows) pick(p *picker, text []byte) (row []byte, ok bool) {
	r.span = append(r.span[:0], make([]span, len(p.heads))...)
	for i := skipSpace(text, 1); text[i] != '}'; {
		end := quoteEnd(text, i)
		name := text[i+1 : end]
		if bytes.IndexByte(name, '\\') >= 0 {
			return nil, false
		}
		from := skipSpace(text, skipSpace(text, end+1)+1) // behind the colon
		to, loose := skipRow(text, from)
		if head, wanted := p.heads[string(name)]; wanted {
			if loose {
				return nil, false
			}
			r.span[head] = span{from, to}
		}
		i = nextIn(text, to)
	}
	b := r.buf[:0]
	for i := range p.fields {
		f := &p.fields[i]
		b = append(b, f.label...)
		if f.path == nil {
			b = append(b, f.fixed...)
			continue
		}
		at := r.span[f.head]
		value, ok := within(text[at.from:at.to], f.path[1:])
		if !ok {
			return nil, false
		}
		if len(value) == 0 {
			value = null
		}
		b = append(b, value...)
	}
	r.buf = append(b, '}')
	return r.buf, true
}

// within is what is at path in the value that text is; nothing: null. What has no
// fields is for the interpreter to say.
func within(text []byte, path []string) (value []byte, ok bool) {
	for _, name := range path {
		if len(text) == 0 || string(text) == "null" {
			return nil, true
		}
		if text[0] != '{' {
			return nil, false
		}
		at := findField(text, 0, name)
		if at < 0 {
			return nil, !bytes.Contains(text, []byte(name)) && bytes.IndexByte(text, '\\') < 0 // missing, or there twice
		}
		to, _ := skipRow(text, at)
		text = text[at:to]
	}
	return text, true
}
