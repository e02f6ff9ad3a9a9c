package vendorapi

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// urlPages follow the next page's URL, which stands in the answer or in its Link
// header. It may be relative, and may lead to any path of the vendor's origin.
type urlPages struct {
	from *query // nil: the Link header
}

// mostURL bounds a next URL: it travels with the list.
const mostURL = 8 << 10

func (p *urlPages) ask(c *call, d *draft) error {
	if c.state.URL == "" {
		return nil
	}
	u, err := url.Parse(c.state.URL)
	if err != nil {
		return fmt.Errorf("next URL: %w", err)
	}
	if err := c.plan.allowed(u); err != nil {
		return err
	}
	if c.tier.method != "GET" && !sameOrigin(u, c.plan.base) {
		return fmt.Errorf("next URL: it leads to another origin, %s: a request with a body is not sent there", u.Host)
	}
	if d.query, err = parseParams(u.RawQuery); err != nil {
		return fmt.Errorf("next URL: %w", err)
	}
	u.RawQuery = ""
	d.url = u
	return nil
}

func (p *urlPages) queries() []*query { return given(p.from) }

func (p *urlPages) next(s state, r pageResult) (state, bool, error) {
	ref, err := p.find(r)
	if err != nil || ref == "" {
		return s, false, err
	}
	u, err := resolve(r.url, ref)
	if err != nil {
		return s, false, err
	}
	if err := r.plan.allowed(u); err != nil {
		return s, false, err
	}
	s.URL = u.String()
	return s, true, s.pointsTo("URL", s.URL)
}

func (p *urlPages) find(r pageResult) (string, error) {
	if p.from == nil {
		return nextLink(r.headers.Values("Link")), nil
	}
	v, err := p.from.one(r.ctx, r.tree, r.vars)
	if err != nil {
		return "", err
	}
	if _, ok := v.(string); !ok && v != nil && v != false {
		return "", fmt.Errorf("next_url: a text or null is expected, not %s", clip(exactJSON(v), 100))
	}
	return cursorText("next_url", v)
}

// resolve makes a next URL absolute.
func resolve(base *url.URL, ref string) (*url.URL, error) {
	if len(ref) > mostURL {
		return nil, fmt.Errorf("next URL: it has %d bytes: at most %d are followed", len(ref), mostURL)
	}
	u, err := base.Parse(strings.TrimSpace(ref))
	if err != nil {
		return nil, fmt.Errorf("next URL %q is none: %w", clip(ref, 200), errors.Unwrap(err))
	}
	u.Fragment, u.RawFragment = "", ""
	u.RawQuery = cleanQuery(u.RawQuery)
	if _, err := parseParams(u.RawQuery); err != nil {
		return nil, fmt.Errorf("next URL %q: %w", clip(ref, 200), err)
	}
	return u, nil
}

// cleanQuery escapes what cannot stand in a request's first line, and leaves the
// rest as the vendor wrote it.
func cleanQuery(raw string) string {
	var b strings.Builder
	for i := range len(raw) {
		if c := raw[i]; c <= ' ' || c >= 0x7F || strings.IndexByte("\"<>\\^`{|}", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// nextLink is the target of the first link with the relation next in the values
// of Link headers (RFC 8288).
func nextLink(headers []string) string {
	for _, h := range headers {
		for l := range links(h) {
			if l.next && !l.elsewhere {
				return l.target
			}
		}
	}
	return ""
}

type link struct {
	target    string
	next      bool
	elsewhere bool // it has an anchor: it is not about this answer
}

// links yields the links of one header until it makes no sense any more.
func links(h string) func(yield func(link) bool) {
	return func(yield func(link) bool) {
		for {
			h = strings.TrimLeft(h, " \t,")
			if !strings.HasPrefix(h, "<") {
				return
			}
			target, rest, ok := strings.Cut(h[1:], ">")
			if !ok {
				return
			}
			l, related := link{target: strings.TrimSpace(target)}, false
			for {
				rest = strings.TrimLeft(rest, " \t")
				if !strings.HasPrefix(rest, ";") {
					break
				}
				var name, val string
				name, val, rest = linkParam(rest[1:])
				switch {
				case name == "anchor":
					l.elsewhere = true
				case name == "rel" && !related: // only the first counts
					related = true
					for rel := range strings.FieldsSeq(val) {
						l.next = l.next || strings.EqualFold(rel, "next")
					}
				}
			}
			if !yield(l) {
				return
			}
			h = rest
		}
	}
}

// linkParam takes one parameter, its value quoted or not, from the front of s.
func linkParam(s string) (name, val, rest string) {
	s = strings.TrimLeft(s, " \t")
	end := strings.IndexAny(s, "=;,")
	if end < 0 {
		return strings.ToLower(strings.TrimSpace(s)), "", ""
	}
	name, rest = strings.ToLower(strings.TrimSpace(s[:end])), s[end:]
	if rest[0] != '=' {
		return name, "", rest
	}
	rest = strings.TrimLeft(rest[1:], " \t")
	if !strings.HasPrefix(rest, `"`) {
		if end = strings.IndexAny(rest, ";,"); end < 0 {
			end = len(rest)
		}
		return name, strings.TrimSpace(rest[:end]), rest[end:]
	}
	var b strings.Builder
	for i := 1; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == '\\' && i+1 < len(rest):
			i++
			b.WriteByte(rest[i])
		case c == '"':
			return name, b.String(), rest[i+1:]
		default:
			b.WriteByte(c)
		}
	}
	return name, b.String(), "" // never closed
}
