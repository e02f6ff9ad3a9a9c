package vendorapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// place is where in the spec something is written: line and column from 1.
type place struct{ line, col int }

// A SpecError is everything that is wrong with a spec, one line for each
// mistake: file:line:column: what.
type SpecError struct {
	lines []string
	more  int
}

func (e *SpecError) Error() string {
	s := strings.Join(e.lines, "\n")
	if e.more > 0 {
		s += fmt.Sprintf("\n... and %d more", e.more)
	}
	return s
}

const (
	maxSpecErrors = 10
	maxSpecDepth  = 32     // an alias may point to what holds it
	maxSpecNodes  = 50_000 // aliases of aliases multiply
)

// decoder reads YAML nodes into the types of document.go. It goes on after a
// mistake, so that one look shows them all.
type decoder struct {
	file  string
	found []mistake
	nodes int
	depth int
	made  dict[lakeTableField] // tables that the lake makes from those of tiers
}

type mistake struct {
	at   place
	text string
}

func (d *decoder) errorf(at place, format string, args ...any) {
	d.found = append(d.found, mistake{at, fmt.Sprintf(format, args...)})
}

// err is all mistakes in the order of the file, or nil.
func (d *decoder) err() error {
	if len(d.found) == 0 {
		return nil
	}
	slices.SortStableFunc(d.found, func(a, b mistake) int {
		if a.at.line != b.at.line {
			return a.at.line - b.at.line
		}
		return a.at.col - b.at.col
	})
	d.found = slices.Compact(d.found)
	e := &SpecError{}
	for i, m := range d.found {
		if i == maxSpecErrors {
			e.more = len(d.found) - i
			break
		}
		text := strings.Join(strings.Fields(m.text), " ")
		e.lines = append(e.lines, fmt.Sprintf("%s:%d:%d: %s", d.file, max(m.at.line, 1), max(m.at.col, 1), text))
	}
	return e
}

var yamlLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+)(?:, column (\d+))?: )?`)

// parse reads src's single YAML document into doc.
func (d *decoder) parse(src []byte, doc any) {
	dec := yaml.NewDecoder(bytes.NewReader(src))
	var root yaml.Node
	switch err := dec.Decode(&root); {
	case errors.Is(err, io.EOF):
		d.errorf(place{1, 1}, "the spec is empty")
		return
	case err != nil:
		d.syntax(err)
		return
	}
	var second yaml.Node
	if err := dec.Decode(&second); err == nil {
		d.errorf(placeOf(&second), "a second YAML document: a spec is one")
		return
	} else if !errors.Is(err, io.EOF) {
		d.syntax(err)
		return
	}
	n := &root
	if n.Kind == yaml.DocumentNode && len(n.Content) == 1 {
		n = n.Content[0]
	}
	d.value(n, reflect.ValueOf(doc).Elem())
}

func (d *decoder) syntax(err error) {
	text := err.Error()
	m := yamlLine.FindStringSubmatch(text)
	line, _ := strconv.Atoi(m[1])
	col, _ := strconv.Atoi(m[2])
	d.errorf(place{line, col}, "not YAML: %s", text[len(m[0]):])
}

func placeOf(n *yaml.Node) place { return place{n.Line, n.Column} }

// noder is implemented by the types that read their node themselves.
type noder interface {
	decode(d *decoder, n *yaml.Node)
}

// value reads n into v, whose type says what is expected.
func (d *decoder) value(n *yaml.Node, v reflect.Value) {
	d.nodes++
	d.depth++
	defer func() { d.depth-- }()
	if d.depth > maxSpecDepth || d.nodes > maxSpecNodes {
		if d.nodes < 2*maxSpecNodes { // say it once
			d.errorf(placeOf(n), "nested too deep or aliased too often")
			d.nodes = 2 * maxSpecNodes
		}
		return
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if own, ok := v.Addr().Interface().(noder); ok {
		own.decode(d, n)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem())
	case reflect.Slice:
		d.list(n, v)
	case reflect.Struct:
		d.fields(n, v)
	default:
		d.errorf(placeOf(n), "cannot be read into %s", v.Type())
	}
}

func (d *decoder) list(n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		d.errorf(placeOf(n), "a list is expected, not %s", kindName(n))
		return
	}
	for _, c := range n.Content {
		item := reflect.New(v.Type().Elem()).Elem()
		d.value(c, item)
		v.Set(reflect.Append(v, item))
	}
}

// fields reads a mapping into a struct, whose yaml tags name the fields.
func (d *decoder) fields(n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		d.errorf(placeOf(n), "fields are expected (%s), not %s", strings.Join(fieldNames(v.Type()), ", "), kindName(n))
		return
	}
	if at := v.FieldByName("At"); at.IsValid() {
		at.Set(reflect.ValueOf(placeOf(n)))
	}
	index := make(map[string]int)
	for i := range v.NumField() {
		if tag := v.Type().Field(i).Tag.Get("yaml"); tag != "" {
			index[tag] = i
		}
	}
	d.pairs(n, func(name text, val *yaml.Node) {
		i, ok := index[name.s]
		if !ok {
			d.errorf(name.at, "unknown field %q%s", name.s, didYouMean(name.s, fieldNames(v.Type())))
			return
		}
		d.value(val, v.Field(i))
	})
}

// pairs calls f for each entry of a mapping, and complains of what is there twice.
func (d *decoder) pairs(n *yaml.Node, f func(name text, val *yaml.Node)) {
	seen := make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, val := n.Content[i], n.Content[i+1]
		if k.Kind != yaml.ScalarNode {
			d.errorf(placeOf(k), "a field's name is expected, not %s", kindName(k))
			continue
		}
		if k.Tag == "!!merge" {
			d.errorf(placeOf(k), "merge keys (<<) are not supported: use an alias for a whole value")
			continue
		}
		if line, twice := seen[k.Value]; twice {
			d.errorf(placeOf(k), "field %q is already given in line %d", k.Value, line)
			continue
		}
		seen[k.Value] = k.Line
		f(text{s: k.Value, at: placeOf(k)}, val)
	}
}

// fieldNames lists the names that t's yaml tags give, in the order of t.
func fieldNames(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		if tag := t.Field(i).Tag.Get("yaml"); tag != "" {
			names = append(names, tag)
		}
	}
	return names
}

// unquoted is the variable that a mapping would be if it stood in quotes: YAML reads
// {groups} as fields, of which one is there and has no value.
func unquoted(n *yaml.Node) (string, bool) {
	if n.Kind != yaml.MappingNode || n.Style&yaml.FlowStyle == 0 || len(n.Content) != 2 {
		return "", false
	}
	name, val := n.Content[0], n.Content[1]
	s := "{" + name.Value + "}"
	return s, name.Kind == yaml.ScalarNode && val.Tag == "!!null" && val.Value == "" && len(name.Value) < 200
}

func kindName(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "fields"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!null":
		return "nothing"
	case n.Kind == yaml.ScalarNode:
		return strconv.Quote(clip(n.Value, 40))
	}
	return "something else"
}

// didYouMean offers the name of names that is nearest to a mistyped one.
func didYouMean(name string, names []string) string {
	best, dist := "", max(2, len(name)/3)+1
	for _, n := range names {
		if x := editDistance(strings.ToLower(name), n); x < dist {
			best, dist = n, x
		}
	}
	switch {
	case best != "":
		return fmt.Sprintf(": did you mean %q?", best)
	case len(names) == 0:
		return ""
	}
	return ": known are " + strings.Join(names, ", ")
}

// editDistance counts the insertions, deletions, substitutions and swaps of
// neighbours that turn a into b.
func editDistance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			x := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				x = min(x, rows[i-2][j-2]+1)
			}
			rows[i][j] = x
		}
	}
	return rows[len(a)][len(b)]
}

// clip cuts s to at most n bytes, at a rune's edge.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n] + "..."
}
