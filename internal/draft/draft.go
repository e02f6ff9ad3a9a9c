// Package draft writes the first version of a vendor's spec from sample answers:
// it finds the lists, what could be keys, how pages go on, what parents' keys
// stand in URLs, and says in comments what it guessed. What samples cannot tell,
// such as limits, is left to be said.
package draft

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// A Sample is one answer of a tier's request.
type Sample struct {
	Tier string
	From string // what was asked: a URL, or a path; empty: not known
	Body []byte
	Name string // of the file, for errors
	Post bool   // it came from a POST
	Form bool   // so it did, and From's parameters are a form
}

// tier is what is known of one.
type tier struct {
	name  string
	from  *url.URL // nil: not known
	trees []any    // the answers
	list  list
	keys  keys
	pages pages
	carry []string // fields that URLs below hold, as jq paths
	post  bool
	form  bool
	batch string // what joins several keys of the tier above in one parameter; empty: nothing does
	size  int    // how many it joins

	path    string // of its request
	query   []pair
	secrets []pair // parameters that hold secrets: their names
}

type pair struct{ name, value string }

var tierName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,31}$`)

// reservedNames mean something everywhere in a spec.
var reservedNames = []string{"window", "slice", "secret", "env", "status", "headers", "token", "branch", "batch"}

// Spec writes the spec of the vendor name from samples of its tiers, top first. base
// is the URL that all paths are below; empty: what the samples' URLs have in common.
func Spec(name, base string, samples []Sample) (string, error) {
	if len(samples) == 0 {
		return "", errors.New("no sample is given: what does the vendor answer?")
	}
	tiers, err := read(samples)
	if err != nil {
		return "", err
	}
	if base, err = place(base, tiers); err != nil {
		return "", err
	}
	for i, t := range tiers {
		t.list = findList(t.trees)
		t.keys = findKeys(t.name, t.list)
		t.request(base, tiers[:i])
		t.pages = findPages(t)
	}
	return write(name, base, tiers), nil
}

// read parses the samples, several of a tier together.
func read(samples []Sample) (out []*tier, err error) {
	for _, s := range samples {
		if !tierName.MatchString(s.Tier) || slices.Contains(reservedNames, s.Tier) {
			return nil, fmt.Errorf("%q cannot be a tier's name: it is like devices (%s)", s.Tier, tierName)
		}
		tree, err := parse(s.Body)
		if err != nil {
			return nil, fmt.Errorf("sample %s of tier %s is no JSON: %w", s.Name, s.Tier, err)
		}
		i := slices.IndexFunc(out, func(t *tier) bool { return t.name == s.Tier })
		if i < 0 {
			i, out = len(out), append(out, &tier{name: s.Tier})
		}
		out[i].trees = append(out[i].trees, tree)
		out[i].form = out[i].form || s.Form
		out[i].post = out[i].post || s.Post || s.Form
		if s.From == "" || out[i].from != nil {
			continue
		}
		if out[i].from, err = url.Parse(s.From); err != nil {
			return nil, fmt.Errorf("the URL of tier %s: %w", s.Tier, err)
		}
		if u := out[i].from; u.Host == "" && u.Scheme == "" && strings.HasPrefix(u.Path, "/") {
			continue // a path
		} else if !sound(u) {
			return nil, fmt.Errorf("%q, the URL of tier %s, is none like https://api.example.com/v1/things", s.From, s.Tier)
		}
	}
	return out, nil
}

// sound tells whether a URL can be a vendor's.
func sound(u *url.URL) bool {
	return (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && !strings.ContainsAny(u.Host, " {}")
}

// parse keeps the digits of numbers.
func parse(b []byte) (tree any, err error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	if err := dec.Decode(&tree); err != nil {
		return nil, err
	}
	if dec.More() {
		return nil, errors.New("more follows after its end")
	}
	return tree, nil
}

// place is the URL that all requests are below.
func place(base string, tiers []*tier) (string, error) {
	if base != "" {
		u, err := url.Parse(base)
		if err != nil || !sound(u) || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Contains(base, "{") {
			return "", fmt.Errorf("the base URL %q is none like https://api.example.com/v1", base)
		}
		return strings.TrimRight(base, "/"), nil
	}
	origin, common, found := "", []string(nil), false
	for _, t := range tiers {
		if t.from == nil || t.from.Host == "" {
			continue
		}
		segments := strings.Split(strings.Trim(t.from.EscapedPath(), "/"), "/")
		segments = segments[:len(segments)-1] // each request keeps one of its own
		if !found {
			origin, common, found = t.from.Scheme+"://"+t.from.Host, segments, true
		}
		n := 0
		for n < min(len(common), len(segments)) && common[n] == segments[n] {
			n++
		}
		common = common[:n]
	}
	if !found {
		return "https://api.example.com", nil
	}
	return strings.TrimRight(origin+"/"+strings.Join(common, "/"), "/"), nil
}
