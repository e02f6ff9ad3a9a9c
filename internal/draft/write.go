package draft

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// quote is a text as YAML reads it back.
func quote(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if odd := func(r rune) bool { return r == '\'' || !unicode.IsPrint(r) }; !strings.ContainsFunc(s, odd) {
		return "'" + s + "'"
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xFFFF:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return `"` + b.String() + `"`
}

type writer struct{ strings.Builder }

func (w *writer) line(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }

func write(name, base string, tiers []*tier) string {
	w := &writer{}
	w.line("# yaml-language-server: $schema=schema.json")
	w.line("# A draft, made from sample answers by sluice vendor new. Comments say what was")
	w.line("# guessed: look at each, then try it with sluice vendor preview.")
	w.line("name: %s", name)
	w.line("about: what is read, in a line")
	w.line("base_url: %s", quote(base))
	w.auth(tiers)
	w.line("")
	w.line("# No sample tells what the vendor allows. unknown is one call a second, one at a")
	w.line("# time. Its documents may say something like one of these:")
	w.line("#   - {name: per-minute, window: 500/m}")
	w.line("#   - {name: calls, bucket: 20/s, burst: 5, in_flight: 8}")
	w.line("limits: unknown")
	w.line("")
	w.line("tiers:")
	for i, t := range tiers {
		if i > 0 {
			w.line("")
		}
		w.tier(t, tiers[:i], i == len(tiers)-1)
	}
	return w.String()
}

func (w *writer) auth(tiers []*tier) {
	for _, t := range tiers {
		for _, p := range t.secrets {
			w.line("# The URL of %s has a parameter %q, which looks like a credential. Its value", t.name, p.name)
			w.line("# is not kept: it is the secret %q.", "key")
			w.line("auth: {api_key: {value: \"{secret.key}\", query: %s}}", quote(p.name))
			return
		}
	}
	w.line("# Who asks? One of these, or see docs/vendor-spec.md:")
	w.line("# auth: {bearer: \"{secret.token}\"}")
	w.line("# auth: {basic: {user: \"{secret.user}\", password: \"{secret.password}\"}}")
}

// note is a comment: what samples hold does not end its line.
func (w *writer) note(format string, args ...any) {
	text := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(fmt.Sprintf(format, args...), "?"))
	w.line("    # %s", text)
}

func (w *writer) tier(t *tier, above []*tier, last bool) {
	w.line("  - name: %s", t.name)
	if t.from == nil {
		w.note("The path is a guess: no URL was given with the sample.")
	}
	w.line("    get: %s", quote(t.path))
	if q := t.parameters(); q != "" {
		w.line("    query: {%s}", q)
	}
	for _, n := range t.pages.notes {
		w.note("%s%s.", strings.ToUpper(n[:1]), strings.TrimSuffix(n[1:], "."))
	}
	if t.pages.yaml != "" {
		w.line("    pages: %s", t.pages.yaml)
	}
	w.items(t, last)
	if last {
		w.rows(t, above)
	} else {
		w.keys(t)
	}
}

// parameters are those of the URL that pages do not send.
func (t *tier) parameters() string {
	var out []string
	seen := map[string]bool{}
	for _, p := range t.query {
		if !slices.Contains(t.pages.taken, p.name) && !seen[p.name] && p.value != "" {
			seen[p.name] = true
			out = append(out, quote(p.name)+": "+quote(p.value))
		}
	}
	return strings.Join(out, ", ")
}

func (w *writer) items(t *tier, last bool) {
	if !t.list.found {
		if !last || strings.Contains(t.pages.yaml, "offset:") || strings.Contains(t.pages.yaml, "page:") {
			w.note("No list was found in the sample: the answer itself is the one item.")
			w.line("    items: .")
		}
		return
	}
	if len(t.list.items) == 0 {
		w.note("The list is empty in the sample: what is in it could not be seen.")
	}
	if len(t.list.other) > 0 {
		w.note("Other lists in the answer: %s.", strings.Join(t.list.other, ", "))
	}
	if !last || strings.Contains(t.pages.yaml, "offset:") || strings.Contains(t.pages.yaml, "page:") {
		w.line("    items: %s", quote(t.list.jq()))
	}
}

func (w *writer) keys(t *tier) {
	k := t.keys
	switch {
	case len(t.list.items) == 0:
		w.note("The key is a guess.")
	case !k.sure:
		w.note("NOT unique in the %d items of the sample, or not always there: what does tell them apart?", len(t.list.items))
	default:
		w.note("There and unique in all %d items%s.", len(t.list.items), also(k.others))
	}
	w.line("    key: %s", quote(k.best))
	if k.twice {
		w.note("Several samples have the same key. If it is one thing in several lists, say")
		w.note("unique: true, and it is walked once.")
	}
	if len(t.carry) > 0 {
		var fields []string
		for _, p := range t.carry {
			fields = append(fields, t.carriedAs(p)+": "+quote(p))
		}
		w.note("Found in the URLs below.")
		w.line("    carry: {%s}", strings.Join(fields, ", "))
	}
	if f := few(without(k.fields, k.best), 12); f != "" {
		w.note("Other fields, which carry could hand down: %s.", f)
	}
	if len(k.times) > 0 {
		w.note("Looks like times: %s.", strings.Join(k.times, ", "))
	}
}

func also(others []string) string {
	if len(others) == 0 {
		return ""
	}
	return "; so are " + few(others, 5)
}

func few(list []string, n int) string {
	more := ""
	if len(list) > n {
		more = fmt.Sprintf(" and %d more", len(list)-n)
	}
	return strings.Join(list[:min(len(list), n)], ", ") + more
}

func without(list []string, s string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(x string) bool { return x == s })
}

// rows writes the table of the last tier: its items, with the keys that they were
// found under.
func (w *writer) rows(t *tier, above []*tier) {
	items, row := t.list.jq(), "."
	switch {
	case !t.list.found:
		items = ""
	case len(t.list.items) > 0 && kindOf(t.list.items) == "list":
		w.note("The items are lists, such as columns: name what is in them.")
		row = "{values: .}"
	case len(t.list.items) > 0 && kindOf(t.list.items) == "scalar":
		row = "{value: .}"
	}
	if columns := t.columns(); len(columns) > 1 && (!t.list.found || kindOrNone(t.list.items) != "object") {
		w.note("This looks like columns: %s. For a row each: range(%s | length) as $i | {...: %s[$i]}.",
			strings.Join(columns, ", "), columns[0], columns[0])
	}
	var keys []string
	for _, up := range above {
		keys = append(keys, up.name+": $"+strings.ReplaceAll(up.name, "-", "_"))
	}
	if len(keys) > 0 {
		quoted := strings.Join(keys, ", ")
		for _, up := range above {
			if strings.Contains(up.name, "-") {
				quoted = strings.ReplaceAll(quoted, up.name+": ", `"`+up.name+`": `)
			}
		}
		if row = "{" + quoted + "} + " + row; row == "{"+quoted+"} + ." {
			w.note("A field of the item wins over a key of the same name.")
		}
	}
	switch paged := strings.Contains(t.pages.yaml, "offset:") || strings.Contains(t.pages.yaml, "page:"); {
	case items == "":
		w.line("    rows: %s", quote(row))
	case row != ".":
		w.line("    rows: %s", quote(items+" | "+row))
	case !paged: // the items are the rows
		w.line("    items: %s", quote(items))
	}
	w.line("    table: %s", strings.ReplaceAll(t.name, "-", "_"))
	if len(t.keys.times) > 0 {
		w.note("Looks like times: %s.", strings.Join(t.keys.times, ", "))
	}
}

func kindOrNone(items []any) string {
	if len(items) == 0 {
		return ""
	}
	return kindOf(items)
}

// columns are lists of the same length, as jq paths.
func (t *tier) columns() (paths []string) {
	length := -1
	eachField(t.trees[0], func(path, _ string, v any) {
		items, ok := v.([]any)
		if !ok || len(items) < 2 || kindOf(items) == "object" {
			return
		}
		if length < 0 {
			length = len(items)
		}
		if len(items) == length {
			paths = append(paths, path)
		}
	})
	return paths
}
