package vendorapi

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"

	"go.yaml.in/yaml/v4"
)

// jsonField is a JSON body as YAML writes it, whose texts are templates; or a
// text: the jq that makes the body.
type jsonField struct {
	at      place
	program text
	tree    *jsonTree
}

func (j *jsonField) decode(d *decoder, n *yaml.Node) {
	j.at = placeOf(n)
	if n.Kind == yaml.ScalarNode && n.Tag == "!!str" {
		j.program.decode(d, n)
		return
	}
	if n.Kind != yaml.MappingNode && n.Kind != yaml.SequenceNode {
		d.errorf(j.at, "fields, a list, or the jq that makes the body are expected, not %s", kindName(n))
		return
	}
	j.tree = new(jsonTree)
	j.tree.decode(d, n)
}

// jsonTree is one value of a JSON body.
type jsonTree struct {
	at     place
	text   *plainTemplate // of a text
	fields dict[jsonTree]
	list   []jsonTree
	fixed  any // number, boolean or null, if it is nothing else
	kind   yaml.Kind
}

// jsonNumber is a number as JSON writes it; YAML knows more ways.
var jsonNumber = regexp.MustCompile(`^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$`)

func (t *jsonTree) decode(d *decoder, n *yaml.Node) {
	t.at, t.kind = placeOf(n), n.Kind
	if variable, bare := unquoted(n); bare {
		d.errorf(t.at, "YAML takes %s for fields: quote it: %q (or say null for the field's value)", variable, variable)
		return
	}
	switch {
	case n.Kind == yaml.MappingNode:
		d.value(n, reflect.ValueOf(&t.fields).Elem())
	case n.Kind == yaml.SequenceNode:
		d.value(n, reflect.ValueOf(&t.list).Elem())
	case n.Tag == "!!null":
	case n.Tag == "!!bool" && (n.Value == "true" || n.Value == "false"):
		t.fixed = n.Value == "true"
	case n.Tag == "!!int" || n.Tag == "!!float":
		if !jsonNumber.MatchString(n.Value) {
			d.errorf(t.at, "%q is no number of JSON: write it as one, or put it in quotes", clip(n.Value, 40))
		}
		t.fixed = json.Number(n.Value)
	default:
		p := parsePlain(n.Value)
		t.text = &p
	}
}

// check sees to the variables of all texts in the tree.
func (t *jsonTree) check(d *decoder, sc *scope) {
	if t.text != nil {
		own := sc.alone(*t.text)
		for _, n := range t.text.names() {
			if err := own.check(n); err != nil {
				d.errorf(t.at, "%v", err)
			}
		}
	}
	for i := range t.fields {
		t.fields[i].val.check(d, sc)
	}
	for i := range t.list {
		t.list[i].check(d, sc)
	}
}

// value fills the templates in. A text that is one variable and nothing else
// becomes what that variable is.
func (t *jsonTree) value(get lookup, typed func(name string) (any, error)) (any, error) {
	switch {
	case t.text != nil:
		if name, ok := t.text.lone(); ok {
			return typed(name)
		}
		return t.text.expand(get)
	case t.kind == yaml.MappingNode:
		out := make(map[string]any, len(t.fields))
		for i := range t.fields {
			v, err := t.fields[i].val.value(get, typed)
			if err != nil {
				return nil, err
			}
			out[t.fields[i].name.s] = v
		}
		return out, nil
	case t.kind == yaml.SequenceNode:
		out := make([]any, len(t.list))
		for i := range t.list {
			v, err := t.list[i].value(get, typed)
			if err != nil {
				return nil, err
			}
			out[i] = v
		}
		return out, nil
	}
	return t.fixed, nil
}

// lone is the variable that a text consists of, if it is one.
func (t *plainTemplate) lone() (name string, ok bool) {
	if len(t.parts) != 1 || !t.parts[0].name {
		return "", false
	}
	return t.parts[0].text, true
}

// body is what a tier's POST sends; the zero value is an empty one.
type body struct {
	tree    *jsonTree
	program *query
	form    []queryTemplate
}

func (b *body) isJSON() bool { return b.tree != nil || b.program != nil }

// body compiles json and form.
func (d *decoder) body(f *tierField, t *tier, plain *scope) {
	if f.JSON != nil && len(f.Form) > 0 {
		d.errorf(f.JSON.at, "tier %s: a request has one body: json or form", f.Name.s)
	}
	if f.JSON != nil && t.method != "POST" {
		d.errorf(f.JSON.at, "tier %s: json goes with post: a GET has no body", f.Name.s)
	}
	if len(f.Form) > 0 && t.method != "POST" {
		d.errorf(f.Form[0].name.at, "tier %s: form goes with post: a GET has no body", f.Name.s)
	}
	if f.JSON != nil {
		t.body.program = d.jq("json", f.JSON.program, plain)
		if t.body.tree = f.JSON.tree; t.body.tree != nil {
			t.body.tree.check(d, plain)
		}
	}
	t.body.form = d.params(f.Form, plain)
}

// params compiles parameters that are sent by name.
func (d *decoder) params(f dict[texts], plain *scope) (out []queryTemplate) {
	for _, e := range f {
		q := queryTemplate{name: e.name.s}
		for _, v := range e.val {
			q.vals = append(q.vals, d.plain(v, plain.alone(parsePlain(v.s))))
		}
		out = append(out, q)
	}
	return out
}

// jsonBody is the JSON value that the tier's POST sends.
func (c *call) jsonBody(ctx context.Context) (any, error) {
	b := &c.tier.body
	if b.tree != nil {
		return b.tree.value(c.text, c.typed)
	}
	v, err := b.program.one(ctx, nil, c.value)
	if err != nil {
		return nil, err
	}
	switch v.(type) {
	case map[string]any, []any:
		return v, nil
	}
	return nil, fmt.Errorf("json: an object or a list is expected, not %s", clip(exactJSON(v), 100))
}

// expandParams gives the parameters of templates.
func (c *call) expandParams(templates []queryTemplate) (out []param, err error) {
	for _, q := range templates {
		for _, t := range q.vals {
			if keys := c.repeated(&t); keys != nil {
				for _, k := range keys {
					out = append(out, newParam(q.name, k))
				}
				continue
			}
			v, err := t.expand(c.text)
			if err != nil {
				return nil, err
			}
			out = append(out, newParam(q.name, v))
		}
	}
	return out, nil
}

// repeated are the keys of a batch that a parameter is sent for one by one; nil: it
// is no such parameter.
func (c *call) repeated(t *plainTemplate) []string {
	name, ok := t.lone()
	if b := c.tier.batches[name]; !ok || b == nil || !b.repeat {
		return nil
	}
	return splitKeys(c.task.Path[slices.Index(c.tier.path, name)])
}

// typed is a template's variable as JSON: a carried field is what it is, an
// instant in seconds or milliseconds a number, the keys of a batch a list, and
// anything else a text.
func (c *call) typed(name string) (any, error) {
	if c.tier.batches[name] != nil {
		return c.value(jqName(name))
	}
	if raw, ok := c.task.Carry[name]; ok {
		return parseJSON(raw)
	}
	v, err := c.text(name)
	if err != nil {
		return nil, err
	}
	if _, form, ok := c.instant(name); ok && (form == "epoch" || form == "ms") {
		return json.Number(v), nil
	}
	return v, nil
}
