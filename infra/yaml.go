package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// readYAML reads src into the struct that into points to, which holds the
// defaults. An unknown key, a key given twice and a value of the wrong kind
// are mistakes.
func readYAML(m *mistakes, src []byte, into any) {
	dec := yaml.NewDecoder(bytes.NewReader(src))
	var root yaml.Node
	switch err := dec.Decode(&root); {
	case errors.Is(err, io.EOF):
		m.add("vendors", "the file is empty: give at least one vendor, as in infra/environment.yaml")
		return
	case err != nil:
		m.add("not YAML", "%s", strings.TrimPrefix(err.Error(), "yaml: "))
		return
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		m.add("---", "the file holds more than one YAML document: keep the first")
		return
	}
	r := reader{m}
	r.value(root.Content[0], reflect.ValueOf(into).Elem(), "")
}

type reader struct{ *mistakes }

func (r reader) wrong(n *yaml.Node, key, format string, args ...any) {
	if key == "" {
		key = "the file"
	}
	r.add(fmt.Sprintf("line %d: %s", n.Line, key), format, args...)
}

// value reads n, which stands at a key, into v.
func (r reader) value(n *yaml.Node, v reflect.Value, key string) {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		r.wrong(n, key, "anchors and aliases are not read here: write the value out")
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		r.fields(n, v, key)
	case reflect.Map:
		r.entries(n, v, key)
	default:
		if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
			r.wrong(n, key, "needs a value: one %s; or leave the key out", kindOf(v))
			return
		}
		r.scalar(n, v, key)
	}
}

// fields reads a mapping whose keys are known.
func (r reader) fields(n *yaml.Node, v reflect.Value, key string) {
	fields := map[string]reflect.Value{}
	for i := range v.NumField() {
		if k, ok := v.Type().Field(i).Tag.Lookup("key"); ok {
			fields[k] = v.Field(i)
		}
	}
	r.pairs(n, key, func(k *yaml.Node, val *yaml.Node, at string) {
		f, ok := fields[k.Value]
		if !ok {
			r.wrong(k, at, "there is no such key: take it out, or write one of: %s", names(fields))
			return
		}
		r.value(val, f, at)
	})
}

// entries reads a mapping whose keys are names.
func (r reader) entries(n *yaml.Node, v reflect.Value, key string) {
	out := reflect.MakeMap(v.Type())
	r.pairs(n, key, func(k *yaml.Node, val *yaml.Node, at string) {
		elem := reflect.New(v.Type().Elem()).Elem()
		if elem.Type() == reflect.TypeFor[*vendor]() {
			elem.Set(reflect.ValueOf(defaultVendor()))
			r.value(val, elem.Elem(), at)
		} else {
			r.value(val, elem, at)
		}
		out.SetMapIndex(reflect.ValueOf(k.Value), elem)
	})
	v.Set(out)
}

// pairs calls f for each key and value of a mapping. Nothing at all is an
// empty mapping: a section of which every line is a comment.
func (r reader) pairs(n *yaml.Node, key string, f func(k, v *yaml.Node, at string)) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return
	}
	if n.Kind != yaml.MappingNode {
		r.wrong(n, key, "needs keys and values, as in infra/environment.yaml")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		at := strings.TrimPrefix(key+"."+k.Value, ".")
		if seen[k.Value] {
			r.wrong(k, at, "is given twice: keep one")
			continue
		}
		seen[k.Value] = true
		f(k, v, at)
	}
}

func (r reader) scalar(n *yaml.Node, v reflect.Value, key string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(n.Value)
		return
	case reflect.Bool:
		if n.Value == "true" || n.Value == "false" {
			v.SetBool(n.Value == "true")
			return
		}
	case reflect.Int:
		if i, err := strconv.Atoi(n.Value); err == nil {
			v.SetInt(int64(i))
			return
		}
	case reflect.Float64:
		if f, err := strconv.ParseFloat(n.Value, 64); err == nil {
			v.SetFloat(f)
			return
		}
	}
	r.wrong(n, key, "%q is no %s", n.Value, kindOf(v))
}

func kindOf(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Bool:
		return "truth value (true or false)"
	case reflect.Int:
		return "whole number"
	case reflect.Float64:
		return "number"
	default:
		return "text"
	}
}
