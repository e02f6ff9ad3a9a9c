package draft

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// list is where an answer's items are.
type list struct {
	path  string // jq, such as .data.items; "" for an answer that is the list itself
	found bool
	items []any   // of all answers
	each  [][]any // of each
	other []string
}

var plainName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// field is jq for a field of what path finds.
func field(path, name string) string {
	if plainName.MatchString(name) {
		return path + "." + name
	}
	b, err := json.Marshal(name)
	if err != nil {
		b = []byte(`""`)
	}
	if path == "" {
		path = "."
	}
	return path + "[" + string(b) + "]"
}

// mostDeep is how deep lists and hints are looked for.
const mostDeep = 4

// eachField visits all fields that are not inside of lists, outer ones first.
func eachField(tree any, visit func(path, name string, v any)) {
	type at struct {
		path string
		v    map[string]any
	}
	level := []at{}
	if m, ok := tree.(map[string]any); ok {
		level = append(level, at{"", m})
	}
	for range mostDeep {
		var next []at
		for _, a := range level {
			for _, name := range slices.Sorted(maps.Keys(a.v)) {
				path := field(a.path, name)
				visit(path, name, a.v[name])
				if m, ok := a.v[name].(map[string]any); ok {
					next = append(next, at{path, m})
				}
			}
		}
		level = next
	}
}

// findList takes the longest list of objects, or else the longest of texts or
// numbers; of equals the outermost.
func findList(trees []any) (out list) {
	best := -1
	consider := func(path string, v any) {
		items, ok := v.([]any)
		if !ok {
			return
		}
		out.other = append(out.other, path+"[]")
		score := min(len(items), 1000)
		switch {
		case len(items) == 0:
		case kindOf(items) == "object":
			score += 10000
		case kindOf(items) == "list":
			score = 0 // a column of values
		}
		if score > best {
			best, out.path, out.found = score, path, true
		}
	}
	tree := trees[0]
	consider("", tree)
	eachField(tree, func(path, _ string, v any) { consider(path, v) })
	if !out.found {
		return out
	}
	out.other = slices.DeleteFunc(out.other, func(p string) bool { return p == out.path+"[]" })
	for _, t := range trees {
		if items, ok := lookup(t, out.path).([]any); ok {
			out.items, out.each = append(out.items, items...), append(out.each, items)
		}
	}
	return out
}

// lookup follows a path that field has made.
func lookup(tree any, path string) (found any) {
	if path == "" {
		return tree
	}
	eachField(tree, func(at, _ string, v any) {
		if at == path {
			found = v
		}
	})
	return found
}

// jq is the list as the spec says it.
func (l list) jq() string {
	if l.path == "" {
		return ".[]"
	}
	return l.path + "[]"
}

func kindOf(items []any) string {
	switch items[0].(type) {
	case map[string]any:
		return "object"
	case []any:
		return "list"
	}
	return "scalar"
}

// keys are the fields that could tell items apart.
type keys struct {
	best   string   // jq
	sure   bool     // unique and never null in the samples
	others []string // as good
	fields []string // all texts and numbers of an item
	times  []string // those that look like times, with what they look like
	twice  bool     // items come in several samples
}

// keyNames are what keys are called, the likeliest first.
var keyNames = []string{"id", "key", "uuid", "guid", "uid", "name", "slug", "code", "number", "path"}

// scalars are the texts and numbers of an item, by jq path, outer ones first.
func scalars(item any) (paths []string, values map[string]any) {
	values = make(map[string]any)
	eachField(item, func(path, _ string, v any) {
		switch v.(type) {
		case string, json.Number, nil:
			paths, values[path] = append(paths, path), v
		}
	})
	return paths, values
}

func findKeys(tierName string, l list) (k keys) {
	items := l.items
	if len(items) == 0 {
		return keys{best: ".id"}
	}
	if kindOf(items) != "object" {
		k.best, k.sure = ".", distinct(l.each, func(v any) any { return v })
		return k
	}
	seen := map[string]bool{}
	for _, item := range items {
		paths, _ := scalars(item)
		for _, p := range paths {
			if !seen[p] {
				seen[p], k.fields = true, append(k.fields, p)
			}
		}
	}
	var all []map[string]any
	for _, item := range items {
		_, v := scalars(item)
		all = append(all, v)
	}
	var unique, present []string
	for _, p := range k.fields {
		if form := timesOf(all, p); form != "" {
			k.times = append(k.times, p+" ("+form+")")
			continue
		}
		if slices.ContainsFunc(all, func(v map[string]any) bool { return v[p] == nil || v[p] == "" }) {
			continue
		}
		present = append(present, p)
		if distinct(l.each, valueOf(p)) {
			unique = append(unique, p)
		}
	}
	rank := func(p string) int { return rankOf(tierName, p) }
	byRank := func(a, b string) int { return rank(a) - rank(b) }
	slices.SortStableFunc(unique, byRank)
	slices.SortStableFunc(present, byRank)
	switch {
	case len(unique) > 0:
		k.best, k.others, k.sure = unique[0], unique[1:], true
		k.twice = !distinct([][]any{items}, valueOf(k.best))
	case len(present) > 0:
		k.best, k.others = present[0], unique
	default:
		k.best = ".id"
	}
	return k
}

// rankOf is low for what keys are called: id, or device_id of devices.
func rankOf(tierName, path string) int {
	deep := 5 * strings.Count(path[1:], ".")
	name := strings.ToLower(path[strings.LastIndexByte(path, '.')+1:])
	name = strings.NewReplacer("_", "", "-", "", `"`, "", "]", "").Replace(name)
	own := strings.TrimSuffix(strings.NewReplacer("_", "", "-", "").Replace(tierName), "s")
	for i, n := range keyNames {
		if name == n || name == own+n {
			return i*10 + deep
		}
	}
	if strings.HasSuffix(name, "id") {
		return len(keyNames)*10 + deep
	}
	return 1000 + deep
}

// valueOf is the field at a path.
func valueOf(path string) func(any) any {
	return func(item any) any { _, s := scalars(item); return s[path] }
}

// distinct tells whether no list has a value twice, or none.
func distinct(lists [][]any, of func(any) any) bool {
	for _, items := range lists {
		seen := map[string]bool{}
		for _, item := range items {
			v := of(item)
			if v == nil || seen[fmt.Sprint(v)] {
				return false
			}
			seen[fmt.Sprint(v)] = true
		}
	}
	return true
}

var (
	timeName = regexp.MustCompile(`(?i)(time|date|_at|_on|stamp|since|until|epoch|created|updated|modified)`)
	dateText = regexp.MustCompile(`^\d{4}-\d\d-\d\d$`)
)

// timesOf says what the values of a field look like, if they are times.
func timesOf(all []map[string]any, path string) (form string) {
	for _, v := range all {
		if v[path] == nil {
			continue
		}
		f := timeForm(fmt.Sprint(v[path]), timeName.MatchString(path) || strings.HasSuffix(path, ".ts") || strings.HasSuffix(path, ".t"))
		if f == "" || form != "" && f != form {
			return ""
		}
		form = f
	}
	return form
}

// timeForm is the form of a time; numbers count only where a name speaks of time.
func timeForm(s string, named bool) string {
	if dateText.MatchString(s) {
		return "date"
	}
	if _, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return "rfc3339"
	}
	f, err := strconv.ParseFloat(s, 64)
	switch {
	case err != nil || !named:
		return ""
	case f > 9e8 && f < 5e9:
		return "epoch"
	case f > 9e11 && f < 5e12:
		return "ms"
	}
	return ""
}
