package draft

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// pages is how a list seems to go on.
type pages struct {
	yaml  string   // the value of the field pages; empty: nothing was found
	taken []string // parameters that it sends by itself
	notes []string
}

var hints = map[string]*regexp.Regexp{
	"url":    regexp.MustCompile(`(?i)^(next|next_?(url|link|page|href|page_?url)|@odata\.nextlink|href)$`),
	"query":  regexp.MustCompile(`(?i)^next_?(page_?)?(params|query)$`),
	"cursor": regexp.MustCompile(`(?i)^(next|next_?page|after|cursor|end_?cursor|next_?(page_?)?(cursor|token|key|marker|id)|continuation(_?token)?|page_?token|scroll_?id|bookmark|marker)$`),
	"more":   regexp.MustCompile(`(?i)^(has_?(more|next)(_?(page|items|results|data))?|more|is_?truncated)$`),
	"total":  regexp.MustCompile(`(?i)^(total|total_?(count|items|results|records|hits|size|elements)|count|size)$`),
	"pages":  regexp.MustCompile(`(?i)^(pages|page_?count|total_?pages|num_?pages|last_?page)$`),

	"offset param": regexp.MustCompile(`(?i)^(offset|start|skip|from|start_?(index|at)|first)$`),
	"page param":   regexp.MustCompile(`(?i)^(page|p|page_?(no|num|number|index))$`),
	"size param":   regexp.MustCompile(`(?i)^(limit|size|count|per_?page|page_?(size|limit)|max(_?results)?|rows|take|top|first)$`),
	"cursor param": regexp.MustCompile(`(?i)^(cursor|after|marker|bookmark|scroll_?id|(next_?)?(page_?)?token|continuation(_?token)?|start_?(key|after))$`),
}

// findPages looks for what says where the next page is: in the answer outside of
// the list, and in the parameters of the URL.
func findPages(t *tier) (p pages) {
	found := t.hinted()
	param := t.param("cursor param")
	size, sized := t.pageSize()
	offset, page := t.param("offset param"), t.param("page param")
	if param.name == "" {
		param = page // of which the answer names the next
	}
	if !numeric(offset.value) {
		offset = pair{}
	}
	if !numeric(page.value) {
		page = pair{}
	}
	in := map[bool]string{true: ", in: form"}[t.form]
	ends := ""
	for _, kind := range []string{"more", "total", "pages"} {
		if found[kind] != "" && (kind != "pages" || page.name != "") {
			ends += ", " + kind + ": " + quote(found[kind])
			break
		}
	}
	switch {
	case found["url"] != "":
		p.yaml = "{next_url: " + quote(found["url"]) + "}"
	case found["query"] != "":
		p.yaml = "{next_query: " + quote(found["query"]) + "}"
	case found["cursor"] != "":
		if param.name == "" {
			param.name = guessParam(found["cursor"])
			p.notes = append(p.notes, "the parameter "+param.name+" is a guess: what does the vendor call it?")
		}
		p.yaml = "{cursor: {from: " + quote(found["cursor"]) + ", param: " + quote(param.name) + in + "}}"
		p.taken = append(p.taken, param.name)
	case offset.name != "":
		p.yaml = "{offset: {param: " + quote(offset.name) + sized + ends + in + "}}"
		p.taken = append(p.taken, offset.name, size.name)
	case page.name != "":
		first := ""
		if page.value == "0" {
			first = ", first: 0"
		}
		p.yaml = "{page: {param: " + quote(page.name) + first + sized + ends + in + "}}"
		p.taken = append(p.taken, page.name, size.name)
		p.notes = append(p.notes, "the first page is taken to be "+map[bool]string{true: "0", false: "1"}[page.value == "0"])
	case t.list.found && len(t.list.items) > 0:
		p.notes = append(p.notes, "no sign of further pages: is this answer the whole list? A header Link is read by pages: {link: true}")
		if total := found["total"]; total != "" {
			p.notes = append(p.notes, "there may be: "+total+" looks like a number of all items")
		}
	}
	if p.yaml != "" && found["total"] != "" && ends != "" {
		p.notes = append(p.notes, "a total that is too low loses items: leave it out if it is not exact")
	}
	return p
}

// pageSize is the parameter that says how long a page is, and how a spec says so.
func (t *tier) pageSize() (size pair, sized string) {
	if size = t.param("size param"); size.name == "" {
		return size, ""
	}
	sized = ", size_param: " + quote(size.name)
	if n, err := strconv.Atoi(size.value); err == nil && n > 0 {
		sized += fmt.Sprintf(", size: %d", n)
	}
	return size, sized
}

// hinted are the fields of the answer that look like hints, by kind; the first
// answer that has one counts.
func (t *tier) hinted() map[string]string {
	found := map[string]string{}
	for _, tree := range t.trees {
		eachField(tree, func(path, name string, v any) {
			for _, kind := range []string{"url", "query", "cursor", "more", "total", "pages"} {
				if (found[kind] == "" || kind == "total" && better(path, found[kind])) && hints[kind].MatchString(name) && fits(kind, path, v, len(t.list.items)/len(t.trees)) {
					found[kind] = path
					return
				}
			}
		})
	}
	return found
}

// better tells whether a total is rather one than what was found before: count and
// size may be those of the page.
func better(path, than string) bool {
	total := func(s string) bool { return strings.Contains(strings.ToLower(s), "total") }
	return total(path) && !total(than)
}

// fits tells whether a value can be what its name says.
func fits(kind, path string, v any, items int) bool {
	s, isText := v.(string)
	n, isNumber := v.(json.Number)
	link := isText && (strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "/") || strings.HasPrefix(s, "?"))
	switch kind {
	case "url":
		if strings.HasSuffix(strings.ToLower(path), "href") && !strings.Contains(strings.ToLower(path), "next") {
			return false
		}
		return link
	case "query":
		return isText && strings.Contains(s, "=")
	case "cursor":
		return isText && s != "" && !link || isNumber && !strings.HasSuffix(path, "_id")
	case "more":
		_, isBool := v.(bool)
		return isBool
	}
	all, err := strconv.Atoi(string(n))
	return isNumber && err == nil && (kind == "pages" && all > 0 || all >= items && all > 0)
}

// param is the URL's parameter that has such a name.
func (t *tier) param(kind string) pair {
	i := slices.IndexFunc(t.query, func(p pair) bool { return hints[kind].MatchString(p.name) })
	if i < 0 {
		return pair{}
	}
	return t.query[i]
}

func numeric(s string) bool {
	_, err := strconv.Atoi(s)
	return err == nil
}

// guessParam is what a cursor found in such a field may be sent as.
func guessParam(path string) string {
	name := path[strings.LastIndexByte(path, '.')+1:]
	cut := regexp.MustCompile(`(?i)^next_?`).ReplaceAllString(name, "")
	if cut == "" {
		return "cursor"
	}
	return strings.ToLower(cut[:1]) + cut[1:]
}
