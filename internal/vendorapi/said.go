package vendorapi

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	mostSaid    = 12  // headers that are kept of one answer
	mostSaidLen = 200 // bytes of each
	mostCount   = 1_000_000_000
)

// said is what one answer's headers say about the vendor's limits.
type said struct {
	limits  map[string]int
	headers map[string]string
	at      time.Time
}

// hear reads what an answer's headers say, and keeps it as the vendor's last
// word.
func (c *Client) hear(h http.Header) said {
	var s said
	for _, l := range c.plan.Limits {
		if l.Header == "" {
			continue
		}
		if n, ok := firstNumber(h.Get(l.Header)); ok {
			if s.limits == nil {
				s.limits = map[string]int{}
			}
			s.limits[l.Name] = n
		}
	}
	names := make([]string, 0, 4)
	for name := range h {
		if c.plan.tells(name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return s
	}
	slices.Sort(names)
	m, most := c.held.Load().mask, mostSaidLen-len("…")
	s.headers, s.at = make(map[string]string, len(names)), time.Now()
	for _, name := range names[:min(len(names), mostSaid)] {
		s.headers[m.excerpt(name, most, false)] = m.excerpt(strings.Join(h[name], ", "), most, false)
	}
	c.lastSaid.Store(&s)
	return s
}

// tells whether a header, by its canonical name, is about limits.
func (p *Plan) tells(name string) bool {
	for _, prefix := range []string{"Ratelimit", "X-Ratelimit", "X-Rate-Limit"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return name == "Retry-After" || slices.ContainsFunc(p.Limits, func(l Limit) bool { return l.Header == name })
}

// privateHeader tells whether what a header holds may be a secret.
func privateHeader(name string) bool {
	name = strings.ToLower(name)
	return strings.Contains(name, "cookie") || strings.Contains(name, "auth")
}

// firstNumber is the first whole number of a header such as 100 or
// "100, 100;w=60". None, a negative one and what nobody would count are nothing
// said.
func firstNumber(v string) (int, bool) {
	i := strings.IndexAny(v, "0123456789")
	if i < 0 || i > 0 && v[i-1] == '-' {
		return 0, false
	}
	v = v[i:]
	if end := strings.IndexFunc(v, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
		v = v[:end]
	}
	n, err := strconv.Atoi(v)
	return n, err == nil && n > 0 && n <= mostCount
}

// LastSaid is what the vendor's headers said about its limits when they last
// said anything, and when that was; nil if they never did. The map is the
// caller's to read, not to change.
func (c *Client) LastSaid() (headers map[string]string, at time.Time) {
	s := c.lastSaid.Load()
	if s == nil {
		return nil, time.Time{}
	}
	return s.headers, s.at
}
