package vendorapi

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/yosida95/uritemplate/v3"
)

// lookup gives the value of a template's variable for one call.
type lookup func(name string) (string, error)

// errNoValue says that a variable has no usable value for this node.
var errNoValue = errors.New("has no value")

// plainTemplate is a text with variables in braces, which are put in as they
// are: {name}. {{name}} stands for {name} itself. Braces around anything else
// are just braces, so that selectors and JSON need no escaping.
type plainTemplate struct {
	parts []part
}

// part is a literal, or a variable's name.
type part struct {
	text string
	name bool
}

var plainVariable = regexp.MustCompile(`\{\{[A-Za-z_][A-Za-z0-9_.-]*\}\}|\{[A-Za-z_][A-Za-z0-9_.-]*\}`)

func parsePlain(s string) plainTemplate {
	var t plainTemplate
	pos := 0
	for _, m := range plainVariable.FindAllStringIndex(s, -1) {
		if m[0] > pos {
			t.parts = append(t.parts, part{text: s[pos:m[0]]})
		}
		found := s[m[0]:m[1]]
		if strings.HasPrefix(found, "{{") {
			t.parts = append(t.parts, part{text: found[1 : len(found)-1]})
		} else {
			t.parts = append(t.parts, part{text: found[1 : len(found)-1], name: true})
		}
		pos = m[1]
	}
	if pos < len(s) {
		t.parts = append(t.parts, part{text: s[pos:]})
	}
	return t
}

func (t plainTemplate) names() []string {
	var names []string
	for _, p := range t.parts {
		if p.name {
			names = append(names, p.text)
		}
	}
	return names
}

// secret tells whether a secret is in it.
func (t plainTemplate) secret() bool {
	return slices.ContainsFunc(t.parts, func(p part) bool { return p.name && strings.HasPrefix(p.text, "secret.") })
}

func (t plainTemplate) expand(get lookup) (string, error) {
	if len(t.parts) == 1 && !t.parts[0].name {
		return t.parts[0].text, nil
	}
	var b strings.Builder
	for _, p := range t.parts {
		if !p.name {
			b.WriteString(p.text)
			continue
		}
		v, err := get(p.text)
		if err != nil {
			return "", err
		}
		b.WriteString(v)
	}
	return b.String(), nil
}

// pathTemplate is an RFC 6570 template of a path with its query.
type pathTemplate struct {
	t     *uritemplate.Template
	names []string // as the spec writes them
}

var (
	expression = regexp.MustCompile(`\{[^}]*\}`)
	// literalURI is what may stand in a URI outside of expressions.
	literalURI = regexp.MustCompile(`^(?:[A-Za-z0-9._~:/?\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*$`)
	modifier   = regexp.MustCompile(`:[0-9]+[,}]|\*[,}]`)
)

func parsePath(s string) (pathTemplate, error) {
	if !strings.HasPrefix(s, "/") {
		return pathTemplate{}, errors.New("must start with /: it goes below base_url")
	}
	if rest := expression.ReplaceAllString(s, ""); !literalURI.MatchString(rest) {
		return pathTemplate{}, errors.New("has a character that a URL cannot hold: write it as %XX")
	}
	// RFC 6570 has no hyphens in names, but percent-encoded characters.
	escaped := expression.ReplaceAllStringFunc(s, func(e string) string { return strings.ReplaceAll(e, "-", "%2D") })
	for _, e := range expression.FindAllString(s, -1) {
		if modifier.MatchString(e) {
			return pathTemplate{}, fmt.Errorf("%s: the modifiers :n and * are not supported", e)
		}
		if strings.HasPrefix(e, "{#") {
			return pathTemplate{}, fmt.Errorf("%s: a fragment is not sent to a vendor", e)
		}
	}
	t, err := uritemplate.New(escaped)
	if err != nil {
		return pathTemplate{}, fmt.Errorf("is no URI template: %w", err)
	}
	p := pathTemplate{t: t}
	for _, n := range t.Varnames() {
		p.names = append(p.names, strings.ReplaceAll(n, "%2D", "-"))
	}
	return p, nil
}

// expand puts the values in, every one escaped so that the vendor reads exactly
// its bytes.
func (p pathTemplate) expand(get lookup) (string, error) {
	vars := uritemplate.Values{}
	for _, n := range p.names {
		v, err := get(n)
		if err != nil {
			return "", err
		}
		if v == "" || strings.Contains(v, "\x00") {
			return "", fmt.Errorf("variable %q is %q, which cannot stand in a URL", n, v)
		}
		vars.Set(strings.ReplaceAll(n, "-", "%2D"), uritemplate.String(byteRunes(v)))
	}
	s, err := p.t.Expand(vars)
	if err != nil {
		return "", err
	}
	path, _, _ := strings.Cut(s, "?")
	for seg := range strings.SplitSeq(path, "/") {
		if seg == "." || seg == ".." {
			return "", fmt.Errorf("a key makes the path %q, whose segment %q means another path", clip(path, 200), seg)
		}
	}
	return s, nil
}

// byteRunes turns each byte of s into the rune of that number. uritemplate
// v3.0.2 percent-encodes code points and not the bytes of their UTF-8 (a
// u-umlaut becomes %FC, and U+FFFD an error); of runes under 256 both are the
// same.
func byteRunes(s string) string {
	r := make([]rune, len(s))
	for i := range len(s) {
		r[i] = rune(s[i])
	}
	return string(r)
}
