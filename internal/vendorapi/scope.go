package vendorapi

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// scope knows the variables that may be used in one place of a spec, and
// remembers which of them are.
type scope struct {
	keys     []string // tiers above whose keys are known, in the order of a task's path
	parts    []string // of these keys, as TIER.PART
	carries  []string // fields handed down
	settings []string
	with     []string
	hidden   map[string]string // names that exist but may not be used here -> why
	window   bool
	slice    bool
	secrets  bool
	answer   bool // $status and $headers are known
	used     map[string]bool

	slicer  *slicePages       // a tier above, or this one, is for each slice of the window
	batch   bool              // $batch is known
	batches map[string]*batch // keys above that are those of a group
	whole   bool              // the text is one variable and nothing else, where a group may stand as several
}

// alone is the scope for a text that may be one variable and nothing else.
func (s *scope) alone(t plainTemplate) *scope {
	c := *s
	_, c.whole = t.lone()
	return &c
}

var timeVariable = regexp.MustCompile(`^(window\.(?:from|to|end)|slice\.(?:from|to|end))\.(epoch|ms|rfc3339|date)$`)

// reservedWords mean something everywhere.
var reservedWords = []string{"window", "slice", "batch", branchName, "secret", "env", "status", "headers", "token"}

// named complains of a name that is not like what it should be, or a reserved word.
func (d *decoder) named(name text, at place, what, like string, pattern *regexp.Regexp) bool {
	switch {
	case slices.Contains(reservedWords, name.s):
		d.errorf(name.or(at), "%q is a reserved word, and %s cannot be called that (nor %s)", name.s, what,
			strings.Join(slices.DeleteFunc(slices.Clone(reservedWords), func(w string) bool { return w == name.s }), ", "))
	case !pattern.MatchString(name.s):
		d.errorf(name.or(at), "%s's name must be like %s (%s), not %q", what, like, pattern, name.s)
	default:
		return true
	}
	return false
}

// check says why a template may not use name, or notes that it does.
func (s *scope) check(name string) error {
	switch b := s.batches[name]; {
	case b != nil && b.repeat && !s.whole:
		return fmt.Errorf("{%s}: with join: repeat it is the whole value of a query's or form's parameter, or a text of its own in json, and stands nowhere else", name)
	case slices.Contains(s.names(), name):
	case strings.HasPrefix(name, "secret."):
		if !secretName.MatchString(name[len("secret."):]) {
			return fmt.Errorf("{%s}: a secret's name is like token (%s)", name, secretName)
		}
		if !s.secrets {
			return fmt.Errorf("{%s}: secrets are for auth and headers only: anything else is logged and landed; auth: {api_key: {value: \"{%s}\", body: NAME}} sends it in a form or a JSON body, and query: NAME in the query", name, name)
		}
	case s.window && timeVariable.MatchString(name):
		if strings.HasPrefix(name, "slice.") && !s.slice {
			return fmt.Errorf("{%s}: this tier has no pages: {slices: ...}, nor for: {slices: ...}", name)
		}
	default:
		if why, ok := s.hidden[name]; ok {
			return fmt.Errorf("{%s}: %s", name, why)
		}
		return fmt.Errorf("{%s}: unknown variable%s", name, didYouMean(name, s.all()))
	}
	s.used[name] = true
	return nil
}

// names are the variables that the spec itself names.
func (s *scope) names() []string {
	return slices.Concat(s.keys, s.parts, s.carries, s.settings, s.with)
}

func (s *scope) all() []string {
	names := s.names()
	if s.window {
		names = append(names, "window.from.epoch", "window.to.epoch")
	}
	if s.slice {
		names = append(names, "slice.from.epoch", "slice.to.epoch")
	}
	return names
}

// jqName is how a jq program writes a name: it knows no hyphens.
func jqName(name string) string { return strings.ReplaceAll(name, "-", "_") }

// jqKnown tells whether a jq program may use $name, and notes that it does.
func (s *scope) jqKnown(name string) bool {
	if name == "window" && s.window || name == "slice" && s.slice {
		s.used[name] = true
		return true
	}
	if name == "batch" && s.batch {
		s.used[name] = true
		return true
	}
	if s.answer && (name == "status" || name == "headers") {
		return true
	}
	for _, n := range slices.Concat(s.keys, s.carries, s.settings) {
		if jqName(n) == name {
			s.used[n] = true
			return true
		}
	}
	return false
}

// plain checks a text with variables.
func (d *decoder) plain(t text, sc *scope) plainTemplate {
	p := parsePlain(t.s)
	for _, n := range p.names() {
		if err := sc.check(n); err != nil {
			d.errorf(t.at, "%v", err)
		}
	}
	return p
}

// jq compiles a query; nil stands for a field that is not given.
func (d *decoder) jq(what string, t text, sc *scope) *query {
	if !t.given() {
		return nil
	}
	q, err := compileJQ(what, t.s, sc.jqKnown)
	if err != nil {
		d.errorf(t.at, "%s: %v%s", what, err, sc.hint(err))
		return nil
	}
	return q
}

var undefinedVariable = regexp.MustCompile(`variable not defined: \$(\w+)`)

// hint adds to a jq error why a variable is not there.
func (s *scope) hint(err error) string {
	m := undefinedVariable.FindStringSubmatch(err.Error())
	if m == nil {
		return ""
	}
	for name, why := range s.hidden {
		if jqName(name) == m[1] {
			return ": " + why
		}
	}
	return ""
}
