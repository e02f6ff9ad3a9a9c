package vendorapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/itchyny/gojq"
)

// A tree is many times its text. Of an answer that is not small, and of which a
// tier's queries want nothing but the elements of one list and fields beside
// it, the elements are therefore taken from the text one by one. Whatever is
// out of the ordinary is left to the whole tree, so that both ways find the
// same, errors included.

// parsed is an answer that queries can be run over.
type parsed struct {
	tree any    // the whole; or, beside a list, what is left with that list empty
	list []byte // nil, or the text of the list that items and rows are taken from
}

// each is a query of the form .a.b[] or .a.b[] | rest.
type each struct {
	path []string   // a, b
	rest *gojq.Code // of the query's variables; nil: the elements themselves
	pick *picker    // nil: rest makes no objects of fields as they are
}

// eachOf tells whether a query has that form.
func eachOf(q *gojq.Query, vars []string) *each {
	var rest *gojq.Query
	if piped(q) {
		q, rest = q.Left, q.Right
	}
	path, iterates := fields(q)
	if !iterates {
		return nil
	}
	e := &each{path: path}
	if rest != nil {
		code, err := gojq.Compile(rest, gojq.WithVariables(vars))
		if err != nil {
			return nil
		}
		e.rest, e.pick = code, pickerOf(rest, vars)
	}
	return e
}

func bare(q *gojq.Query) bool {
	return q.Meta == nil && len(q.Imports)+len(q.FuncDefs)+len(q.Patterns) == 0
}

func piped(q *gojq.Query) bool {
	return bare(q) && q.Term == nil && q.Op == gojq.OpPipe && q.Left != nil && q.Right != nil
}

// fields is the path of a query like .a.b, or .a.b[] if it iterates; the path
// of anything else is nil.
func fields(q *gojq.Query) (path []string, iterates bool) {
	if !bare(q) || q.Term == nil {
		return nil, false
	}
	path = []string{}
	switch t := q.Term; {
	case t.Type == gojq.TermTypeIndex && t.Index.Name != "":
		path = append(path, t.Index.Name)
	case t.Type != gojq.TermTypeIdentity:
		return nil, false
	}
	for _, s := range q.Term.SuffixList {
		switch {
		case iterates || s.Optional:
			return nil, false
		case s.Iter:
			iterates = true
		case s.Index != nil && s.Index.Name != "":
			path = append(path, s.Index.Name)
		default:
			return nil, false
		}
	}
	return path, iterates
}

// apartFrom tells whether a query certainly sees nothing of what is at path: it
// is made of .x.y and .x.y | anything, and operators between them.
func apartFrom(q *gojq.Query, path []string) bool {
	if bare(q) && q.Term == nil && q.Op != gojq.OpPipe && q.Op != gojq.OpComma && q.Left != nil && q.Right != nil {
		return apartFrom(q.Left, path) && apartFrom(q.Right, path)
	}
	if piped(q) {
		return apartFrom(q.Left, path)
	}
	if bare(q) && q.Term != nil && len(q.Term.SuffixList) == 0 {
		switch q.Term.Type {
		case gojq.TermTypeNull, gojq.TermTypeFalse, gojq.TermTypeTrue, gojq.TermTypeNumber:
			return true
		case gojq.TermTypeString:
			return len(q.Term.Str.Queries) == 0
		}
	}
	if bare(q) && q.Term != nil && q.Term.Type == gojq.TermTypeFunc && strings.HasPrefix(q.Term.Func.Name, "$") {
		return true // a variable, and what is in it
	}
	at, iterates := fields(q)
	if at == nil || iterates {
		return false
	}
	n := min(len(at), len(path))
	return !slices.Equal(at[:n], path[:n])
}

// listPath is where the one list is that the tier's queries want; ok is false
// if they want anything else.
func (t *tier) listPath() (path []string, ok bool) {
	for _, q := range append(slices.Clone(t.rows), t.items) {
		switch {
		case q == nil:
			continue
		case q.each == nil || ok && !slices.Equal(path, q.each.path):
			return nil, false
		}
		path, ok = q.each.path, true
	}
	for _, q := range t.asides() {
		ok = ok && apartFrom(q.parsed, path)
	}
	return path, ok
}

// asides are the queries that want something beside the list.
func (t *tier) asides() []*query {
	all := append(t.pages.queries(), t.judges...)
	if t.expired != nil {
		all = append(all, given(t.expired.when)...)
	}
	return all
}

// split makes an answer ready without a tree of the list; ok is false if the
// whole tree is needed, or as good.
func (t *tier) split(body []byte) (p parsed, ok bool) {
	if len(body) <= smallBody {
		return p, false
	}
	return t.cut(body)
}

func (t *tier) cut(body []byte) (p parsed, ok bool) {
	path, ok := t.listPath()
	if !ok || !json.Valid(body) {
		return p, false
	}
	from, to, ok := findList(body, path)
	if !ok {
		return p, false
	}
	p.list = body[from:to]
	if len(t.asides()) == 0 {
		return p, true
	}
	tree, err := parseJSON(slices.Concat(body[:from], []byte("[]"), body[to:]))
	p.tree = tree
	return p, err == nil
}

// ready makes an answer ready for the tier's queries.
func (t *tier) ready(body []byte) (parsed, error) {
	if p, ok := t.split(body); ok {
		return p, nil
	}
	tree, err := parseJSON(body)
	return parsed{tree: tree}, err
}

// over runs the query over an answer.
func (q *query) over(ctx context.Context, p parsed, vars func(string) (any, error)) iter.Seq2[any, error] {
	if p.list == nil {
		switch empty, err := q.lacks(p.tree); {
		case err != nil:
			return func(yield func(any, error) bool) { yield(nil, err) }
		case empty:
			return func(func(any, error) bool) {}
		}
		return q.run(ctx, p.tree, vars)
	}
	return func(yield func(any, error) bool) {
		args, err := q.args(vars)
		if err != nil {
			yield(nil, err)
			return
		}
		dec := json.NewDecoder(bytes.NewReader(p.list))
		dec.UseNumber()
		_, err = dec.Token() // [
		for err == nil && dec.More() {
			var v any
			if err = ctx.Err(); err != nil {
				break
			}
			if err = dec.Decode(&v); err != nil {
				break
			}
			if q.each.rest == nil {
				if !yield(v, nil) {
					return
				}
				continue
			}
			for v, err := range q.runCode(ctx, q.each.rest, v, args) {
				if !yield(v, err) || err != nil {
					return
				}
			}
		}
		if err != nil { // ctx's end: the text is known to be good
			yield(nil, err)
		}
	}
}

// lacks tells whether there is nothing where the query wants a list: null is an
// empty one, and so is a missing one where the spec says so. Else what is missing
// is an error, for an answer of another kind must not pass as an empty list.
func (q *query) lacks(tree any) (empty bool, err error) {
	if q.each == nil {
		return false, nil
	}
	at := tree
	for i, name := range q.each.path {
		fields, ok := at.(map[string]any)
		if !ok && at != nil {
			return false, nil // jq says what is wrong
		}
		v, ok := fields[name]
		if !ok {
			return q.optional, q.missing(q.each.path[:i], at)
		}
		at = v
	}
	return at == nil, nil
}

func (q *query) missing(within []string, at any) error {
	if q.optional {
		return nil
	}
	where, has := "the answer", "is null"
	if len(within) > 0 {
		where = "." + strings.Join(within, ".")
	}
	if fields, ok := at.(map[string]any); ok {
		names := slices.Sorted(maps.Keys(fields))
		has = "has " + clip(strings.Join(names[:min(len(names), 8)], ", "), 200)
		if len(names) == 0 {
			has = "has nothing"
		}
	}
	return &errJQ{q.what, fmt.Errorf("the answer has no .%s: %s %s; if the vendor leaves empty lists out, say optional: true", strings.Join(q.each.path, "."), where, has)}
}

// countList is the number of a list's elements.
func countList(list []byte) (n int) {
	for i := skipSpace(list, 1); list[i] != ']'; n++ {
		if i = skipSpace(list, skipValue(list, i)); list[i] == ',' {
			i = skipSpace(list, i+1)
		}
	}
	return n
}

// findList finds the list at path in a JSON text that is known to be valid. A
// text that has no list there, or a field of the path twice, has none.
func findList(b []byte, path []string) (from, to int, ok bool) {
	at := skipSpace(b, 0)
	for _, name := range path {
		if at = findField(b, at, name); at < 0 {
			return 0, 0, false
		}
	}
	if b[at] != '[' {
		return 0, 0, false
	}
	return at, skipValue(b, at), true
}

// findField is where the value of a field is in the object at b[at], or -1.
func findField(b []byte, at int, name string) int {
	if b[at] != '{' {
		return -1
	}
	found := -1
	for i := skipSpace(b, at+1); b[i] != '}'; {
		end := skipValue(b, i)
		key := b[i+1 : end-1]
		same := string(key) == name
		if bytes.IndexByte(key, '\\') >= 0 {
			var s string
			same = json.Unmarshal(b[i:end], &s) == nil && s == name
		}
		i = skipSpace(b, skipSpace(b, end)+1) // behind the colon
		if same {
			if found >= 0 {
				return -1
			}
			found = i
		}
		if i = skipSpace(b, skipValue(b, i)); b[i] == ',' {
			i = skipSpace(b, i+1)
		}
	}
	return found
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// skipValue is where the value at b[i] ends.
func skipValue(b []byte, i int) int {
	depth := 0
	for ; i < len(b); i++ {
		switch b[i] {
		case '"':
			for i++; b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']', ',':
			if depth == 0 { // what follows a number or a word
				return i
			}
			if b[i] == ',' {
				continue
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ' ', '\n', '\t', '\r', ':':
			if depth == 0 {
				return i
			}
		}
	}
	return i
}
