package draft

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

var (
	secretName = regexp.MustCompile(`(?i)^(api_?key|key|token|access_?token|auth|secret|password|passwd|signature|sig|apikey|app_?key|application_?key)$`)
	fromName   = regexp.MustCompile(`(?i)(start|from|since|begin|after|min|gte?)`)
	toName     = regexp.MustCompile(`(?i)(end|to|until|before|max|lte?)`)
)

// request makes the tier's path and parameters of the URL that was asked for: what
// is a key or another field of a tier above becomes a variable.
func (t *tier) request(base string, above []*tier) {
	if t.from == nil {
		for _, up := range above[max(0, len(above)-1):] {
			t.path = "/" + up.name + "/{" + up.name + "}"
		}
		t.path += "/" + t.name
		return
	}
	path := t.from.EscapedPath()
	if b, err := url.Parse(base); err == nil {
		path = strings.TrimPrefix(path, strings.TrimRight(b.EscapedPath(), "/"))
	}
	defer t.unbatched(above)
	for _, segment := range strings.Split(strings.Trim(path, "/"), "/") {
		text, err := url.PathUnescape(segment)
		if err == nil && t.joined(text, above) {
			segment = "{" + above[len(above)-1].name + "}"
		} else if v := variable(text, above); err == nil && v != "" {
			segment = "{" + v + "}"
		} else {
			segment = strings.NewReplacer("{", "%7B", "}", "%7D").Replace(segment)
		}
		t.path += "/" + segment
	}
	for _, part := range strings.Split(t.from.RawQuery, "&") {
		name, value, _ := strings.Cut(part, "=")
		name, value = unescape(name), unescape(value)
		switch {
		case name == "":
		case secretName.MatchString(name):
			t.secrets = append(t.secrets, pair{name, value})
		case t.joined(value, above):
			t.query = append(t.query, pair{name, "{" + above[len(above)-1].name + "}"})
		case variable(value, above) != "":
			t.query = append(t.query, pair{name, "{" + variable(value, above) + "}"})
		default:
			t.query = append(t.query, pair{name, timeOr(name, value)})
		}
	}
}

func unescape(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}

// variable is what a text stands for: the key of an item of a tier above, or
// another field of one, which is then carried. Short texts are too common for that.
func variable(text string, above []*tier) string {
	for _, up := range slices.Backward(above) {
		for _, item := range up.list.items {
			if up.keys.best == "." && fmt.Sprint(item) == text {
				return up.name
			}
			if _, values := scalars(item); values[up.keys.best] != nil && fmt.Sprint(values[up.keys.best]) == text {
				return up.name
			}
		}
	}
	if len(text) < 3 {
		return ""
	}
	for i, up := range slices.Backward(above) {
		if i+1 < len(above) && above[i+1].batch != "" {
			continue // what differs in a group, nobody below can name
		}
		for _, item := range up.list.items {
			paths, values := scalars(item)
			for _, p := range paths {
				if values[p] == nil || fmt.Sprint(values[p]) != text {
					continue
				}
				if !slices.Contains(up.carry, p) {
					up.carry = append(up.carry, p)
				}
				return up.carriedAs(p)
			}
		}
	}
	return ""
}

// joined tells whether a text is several keys of the tier above, and notes what
// joins them.
func (t *tier) joined(text string, above []*tier) bool {
	if len(above) == 0 || variable(text, above) != "" {
		return false
	}
	keys := above[len(above)-1].found()
	for _, by := range []string{",", ";", "|", "-"} {
		parts := strings.Split(text, by)
		if len(parts) > 1 && !slices.ContainsFunc(parts, func(p string) bool { return !keys[p] }) {
			t.batch, t.size = by, len(parts)
			return true
		}
	}
	return false
}

// unbatched takes a batch back if the request names what differs in a group.
func (t *tier) unbatched(above []*tier) {
	if t.batch == "" {
		return
	}
	up := above[len(above)-1]
	for _, path := range up.carry {
		if t.asksFor("{" + up.carriedAs(path) + "}") {
			t.batch = ""
		}
	}
}

// asksFor tells whether a variable is in the request.
func (t *tier) asksFor(variable string) bool {
	return strings.Contains(t.path, variable) || slices.ContainsFunc(t.query, func(p pair) bool { return strings.Contains(p.value, variable) })
}

// found are the keys in the tier's samples.
func (t *tier) found() map[string]bool {
	keys := make(map[string]bool)
	for _, item := range t.list.items {
		if t.keys.best == "." {
			keys[fmt.Sprint(item)] = true
		} else if _, values := scalars(item); values[t.keys.best] != nil {
			keys[fmt.Sprint(values[t.keys.best])] = true
		}
	}
	return keys
}

// asksAlike tells whether nothing in the request comes from the tiers above.
func (t *tier) asksAlike(above []*tier) bool {
	for _, up := range above {
		if t.asksFor("{" + up.name + "}") {
			return false
		}
		for _, path := range up.carry {
			if t.asksFor("{" + up.carriedAs(path) + "}") {
				return false
			}
		}
	}
	return len(above) > 0
}

// carriedAs is the name of a carried field.
func (t *tier) carriedAs(path string) string {
	clean := regexp.MustCompile(`[^A-Za-z0-9]+`).ReplaceAllString(strings.ReplaceAll(t.name, "-", "_")+path, "_")
	return strings.Trim(clean[:min(len(clean), 32)], "_")
}

// timeOr is a time of the window for a parameter that looks like its beginning or
// end, and else the value as a text that has no variables.
func timeOr(name, value string) string {
	form := timeForm(value, fromName.MatchString(name) || toName.MatchString(name))
	switch {
	case form != "" && fromName.MatchString(name):
		return "{window.from." + form + "}"
	case form != "" && toName.MatchString(name):
		return "{window.to." + form + "}"
	}
	return regexp.MustCompile(`\{([A-Za-z_][A-Za-z0-9_.-]*)\}`).ReplaceAllString(value, "{{$1}}")
}
