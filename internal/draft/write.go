package draft

import (
	"encoding/json"
	"fmt"
	"maps"
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
	w.line("# guessed: look at each, then try it with sluice vendor preview. An editor helps")
	w.line("# by the schema that the first line names: sluice vendor schema > schema.json")
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
	if i := slices.IndexFunc(tiers, func(t *tier) bool { return len(t.secrets) > 0 }); i >= 0 {
		name := tiers[i].secrets[0].name
		w.line("# The URL of %s has a parameter %q, which looks like a credential. Its value", tiers[i].name, name)
		w.line("# is not kept: it is the secret %q.", "key")
		in := "query"
		if !slices.ContainsFunc(tiers, func(t *tier) bool { return !t.form }) {
			in = "body"
		}
		w.line("auth: {api_key: {value: \"{secret.key}\", %s: %s}}", in, quote(name))
		return
	}
	w.line("# Who asks? One of these, or see docs/vendor-spec.md:")
	w.line("# auth: {bearer: \"{secret.token}\"}")
	w.line("# auth: {api_key: {header: X-Api-Key, value: \"{secret.key}\"}}   # or query, cookie, body")
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
	w.request(t, above)
	for _, n := range t.pages.notes {
		if !strings.HasSuffix(n, "?") {
			n += "."
		}
		w.note("%s%s", strings.ToUpper(n[:1]), n[1:])
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

// request writes what is asked for each node.
func (w *writer) request(t *tier, above []*tier) {
	method, parameters := "get", "query"
	if t.post {
		method = "post"
	}
	if t.form {
		parameters = "form"
	}
	if t.batch != "" {
		w.note("The sample was asked about %d of %s at once. How many does the vendor take?", t.size, above[len(above)-1].name)
		w.line("    batch: {size: %d, join: %s}", t.size, quote(t.batch))
	}
	if t.asksAlike(above) {
		up := above[len(above)-1].name
		w.note("The request does not use {%s}: it would be the same for each of them. Where does", up)
		w.note("the vendor want it? If it takes several at once: batch: {size: 50}")
	}
	w.line("    %s: %s", method, quote(t.path))
	if q := t.parameters(); q != "" {
		w.line("    %s: {%s}", parameters, q)
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
	keys := keysOf(above, t)
	if t.batch != "" {
		w.note("Which of %s is a row of? What is carried down is in $batch, by key.", above[len(above)-1].name)
	}
	switch columns := t.columns(); {
	case len(columns) > 1 && t.itemKind() != "object":
		w.note("The answer looks like columns: %s. A row for each of their places.", strings.Join(columns, ", "))
		w.line("    rows: %s", quote(t.columnRows(columns, keys)))
	default:
		w.itemRows(t, keys)
	}
	w.line("    table: %s", strings.ReplaceAll(t.name, "-", "_"))
	if len(t.keys.times) > 0 {
		w.note("Looks like times: %s.", strings.Join(t.keys.times, ", "))
	}
}

// keysOf are the keys above a tier as fields of an object in jq.
func keysOf(above []*tier, t *tier) string {
	with := append(slices.Clone(above), t)
	var keys []string
	for i, up := range above {
		if i+1 < len(with) && with[i+1].batch != "" {
			continue // the keys of a group: which of them a row is of, the answer must say
		}
		name := up.name
		if strings.Contains(name, "-") {
			name = `"` + name + `"`
		}
		keys = append(keys, name+": $"+strings.ReplaceAll(up.name, "-", "_"))
	}
	return strings.Join(keys, ", ")
}

func (w *writer) itemRows(t *tier, keys string) {
	items, row := "", "."
	if t.list.found {
		items = t.list.jq()
	}
	switch t.itemKind() {
	case "list":
		w.note("The items are lists: name what is in them.")
		row = "{values: .}"
	case "scalar":
		row = "{value: .}"
	}
	if keys != "" {
		if row == "." {
			w.note("A field of the item wins over a key of the same name.")
		}
		row = "{" + keys + "} + " + row
	}
	switch paged := strings.Contains(t.pages.yaml, "offset:") || strings.Contains(t.pages.yaml, "page:"); {
	case items == "":
		w.line("    rows: %s", quote(row))
	case row != ".":
		w.line("    rows: %s", quote(items+" | "+row))
	case !paged: // the items are the rows
		w.line("    items: %s", quote(items))
	}
}

func (t *tier) itemKind() string {
	if len(t.list.items) == 0 {
		return ""
	}
	return kindOf(t.list.items)
}

// columns are lists of the same length, as jq paths: the most that go together.
func (t *tier) columns() (paths []string) {
	byLength := map[int][]string{}
	eachField(t.trees[0], func(path, _ string, v any) {
		if items, ok := v.([]any); ok && len(items) > 0 && kindOf(items) != "object" {
			byLength[len(items)] = append(byLength[len(items)], path)
		}
	})
	for _, n := range slices.Sorted(maps.Keys(byLength)) {
		if len(byLength[n]) >= max(len(paths), 1) {
			paths = byLength[n]
		}
	}
	return paths
}

// columnRows is jq that makes a row for each place of the columns. A column of lists
// gets names from a list of texts that is as long.
func (t *tier) columnRows(columns []string, keys string) string {
	fields, added := []string{}, ""
	if keys != "" {
		fields = append(fields, keys)
	}
	for _, path := range columns {
		column, _ := lookup(t.trees[0], path).([]any)
		inner, isList := column[0].([]any)
		if names := t.namesOf(len(inner), path); isList && names != "" {
			added += " + ([$all" + names + ", $all" + path + "[$i]] | transpose | map({(.[0]): .[1]}) | add)"
			continue
		}
		name := strings.Trim(path[strings.LastIndexAny(path, ".[")+1:], `"]`)
		label, err := json.Marshal(name)
		if err != nil {
			continue
		}
		if plainName.MatchString(name) {
			label = []byte(name)
		}
		fields = append(fields, string(label)+": $all"+path+"[$i]")
	}
	return ". as $all | range($all" + columns[0] + " | length) as $i | {" + strings.Join(fields, ", ") + "}" + added
}

// namesOf is a list of so many different texts.
func (t *tier) namesOf(n int, but string) (found string) {
	eachField(t.trees[0], func(path, _ string, v any) {
		items, ok := v.([]any)
		if !ok || len(items) != n || n == 0 || path == but || found != "" {
			return
		}
		for _, item := range items {
			if _, isText := item.(string); !isText {
				return
			}
		}
		if distinct([][]any{items}, func(v any) any { return v }) {
			found = path
		}
	})
	return found
}
