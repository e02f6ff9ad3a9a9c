package vendorapi

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
)

// Lint says what in a plan is no mistake, and still hardly meant: a line each.
func (p *Plan) Lint() (out []string) {
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if slices.ContainsFunc(p.Limits, func(l Limit) bool { return l.Name == unknownLimits[0].Name && l.Kind == Spacing }) {
		say("limits are unknown: one call a second, one at a time. Say what the vendor allows")
	}
	for i, t := range p.Tiers {
		binding := 0
		for _, l := range p.Limits {
			if l.Tiers == nil || slices.Contains(l.Tiers, t.Name) {
				binding++
			}
		}
		if binding == 0 {
			say("tier %s: no limit binds its calls", t.Name)
		}
		if i == len(p.Tiers)-1 && len(t.Tables) == 0 {
			say("tier %s is the last and has no table: its answers are landed and give no rows", t.Name)
		}
	}
	out = append(out, p.lintBearer()...)
	for i, t := range p.spec.tiers {
		for name, r := range t.requests() {
			if i > 0 && !p.spec.tiers[i-1].oneNode() && !p.asksForItsNode(r) {
				say("tier %s uses nothing of its node, such as {%s}: it makes the same call for every node", name, p.Tiers[i-1].Name)
			}
			if r.bodyOutOfPages() {
				say("tier %s sends a body, and its pages go by the query: is that so? Say in: form, in: json or in: query", name)
			}
		}
	}
	return out
}

// lintBearer finds a bearer token that is no token: a word and a token.
func (p *Plan) lintBearer() (out []string) {
	for _, kind := range slices.Sorted(maps.Keys(p.spec.auths.of)) {
		t := p.spec.auths.of[kind].bearer
		if t == nil || !slices.ContainsFunc(t.parts, func(p part) bool { return !p.name && strings.Contains(p.text, " ") }) {
			continue
		}
		out = append(out, fmt.Sprintf(`auth: the bearer has a space, and is sent as "Authorization: Bearer %s". If the vendor wants no "Bearer ", say api_key: {header: Authorization, value: "%[1]s"}`, t.written()))
	}
	return out
}

// written is the template as a spec writes it, but for doubled braces.
func (t plainTemplate) written() string {
	var b strings.Builder
	for _, p := range t.parts {
		if p.name {
			b.WriteString("{" + p.text + "}")
		} else {
			b.WriteString(p.text)
		}
	}
	return b.String()
}

// requests are what the tier asks about a node: mostly itself, or TIER/BRANCH.
func (t *tier) requests() iter.Seq2[string, *tier] {
	return func(yield func(string, *tier) bool) {
		if t.of == nil {
			yield(t.name, t)
			return
		}
		for _, branch := range t.branches {
			if !yield(t.name+"/"+branch, t.of[branch]) {
				return
			}
		}
	}
}

// oneNode tells whether all that the tier finds has the same key: a text of the spec.
func (t *tier) oneNode() bool {
	if t.key == nil || t.key.whole == nil {
		return false
	}
	term := t.key.whole.parsed.Term
	return term != nil && term.Str != nil && len(term.Str.Queries) == 0 && len(term.SuffixList) == 0
}

// asksForItsNode tells whether anything in a request differs from node to node: a
// key, a part of one, what was carried down, or a batch.
func (p *Plan) asksForItsNode(t *tier) bool {
	of := map[string]bool{"batch": true}
	for _, up := range p.spec.tiers {
		if slices.Contains(t.path, up.name) {
			of[up.name], of[jqName(up.name)] = true, true
		}
		for _, f := range up.carry {
			of[f.name] = true
		}
	}
	return slices.ContainsFunc(t.asksWith(), func(name string) bool {
		key, _, _ := strings.Cut(name, ".")
		return of[key]
	})
}

// asksWith are the variables in the tier's request.
func (t *tier) asksWith() []string {
	names := slices.Clone(t.get.names)
	for _, q := range slices.Concat(t.query, t.body.form) {
		for _, v := range q.vals {
			names = append(names, v.names()...)
		}
	}
	for _, h := range t.headers {
		names = append(names, h.val.names()...)
	}
	for _, v := range t.with { // each is used
		names = append(names, v.names()...)
	}
	if t.body.program != nil {
		names = append(names, t.body.program.vars...)
	}
	return append(names, t.body.tree.names()...)
}

// names are the variables in a JSON body.
func (t *jsonTree) names() (out []string) {
	switch {
	case t == nil:
		return nil
	case t.text != nil:
		return t.text.names()
	}
	for i := range t.fields {
		out = append(out, t.fields[i].val.names()...)
	}
	for i := range t.list {
		out = append(out, t.list[i].names()...)
	}
	return out
}

// bodyOutOfPages tells whether a request has a body, and nothing says that its
// pages' parameters belong in the query all the same.
func (t *tier) bodyOutOfPages() bool {
	in := inQuery
	switch p := t.pages.(type) {
	case *offsetPages:
		in = p.in
	case *numberPages:
		in = p.in
	case *cursorPages:
		in = p.in
	}
	return in == "" && (t.body.isJSON() || len(t.body.form) > 0)
}
