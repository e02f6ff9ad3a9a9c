package vendorapi

import (
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

const (
	mostSaid    = 12  // headers that are kept of one answer
	mostSaidLen = 200 // bytes of each
	mostCount   = 1_000_000_000
)

// said is what one answer's headers say about the vendor's limits.
type said struct {
	limits  map[string]fanout.Said
	reset   time.Time // the latest instant at which a limit of which nothing is left begins anew; zero: nobody says so
	headers map[string]string
	at      time.Time
}

// hear reads what an answer's headers say, and keeps it as the vendor's last
// word.
func (c *Client) hear(h http.Header, now time.Time) said {
	var s said
	for _, l := range c.plan.Limits {
		if one := l.said(h, now); one != (fanout.Said{}) {
			s.about(l.Name, func(to *fanout.Said) { *to = one })
			if one.Reset.After(s.reset) && (one.Left == 0 || !one.Counted) {
				s.reset = one.Reset
			}
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

// tells whether a header, by its canonical name, is about limits, and of a kind
// that people may see.
func (p *Plan) tells(name string) bool {
	if privateHeader(name) {
		return false
	}
	for _, prefix := range []string{"Ratelimit", "X-Ratelimit", "X-Rate-Limit"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return name == "Retry-After" || slices.ContainsFunc(p.Limits, func(l Limit) bool { return l.Said.has(name) || l.costIn == name })
}

// privateHeader tells whether what a header holds may be a secret.
func privateHeader(name string) bool {
	name = strings.ToLower(name)
	return strings.Contains(name, "cookie") || strings.Contains(name, "auth")
}

// saidNumber is the number that a header begins with, such as 100, 1,000 or
// "100, 100;w=60". What is not clearly such a number is nothing said, and so is
// none, a negative one and what nobody would count: a number misread would lower
// the limit of the whole fleet.
var saidNumber = regexp.MustCompile(`^ *(?:([0-9]+)(?:;|, | [^0-9]| *$)|([1-9][0-9]{0,2}(?:,[0-9]{3})+) *$)`)

func firstNumber(v string) (int, bool) {
	m := saidNumber.FindStringSubmatch(v)
	if m == nil {
		return 0, false
	}
	n, err := strconv.Atoi(m[1] + strings.ReplaceAll(m[2], ",", ""))
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
