package vendorapi

import (
	"net/http"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/sluicehq/sluice/internal/fanout"
)

// SaidIn names the headers of an answer that speak of a limit; empty: none does.
type SaidIn struct {
	Limit     string // how many calls there are in the limit's time
	Remaining string // how many of them are left
	Reset     string // when there will be all of them again
	Window    string // the limit's time, in seconds
}

// has tells whether name is one of them.
func (s SaidIn) has(name string) bool {
	return name != "" && (name == s.Limit || name == s.Remaining || name == s.Reset || name == s.Window)
}

// saidHeadersField is the names of a limit's headers, or of a family of them.
type saidHeadersField struct {
	At        place
	Limit     text `yaml:"limit"`
	Remaining text `yaml:"remaining"`
	Reset     text `yaml:"reset"`
	Window    text `yaml:"window"`

	family text
}

// families are the names that many vendors use.
var families = map[string]SaidIn{
	"x-ratelimit": {Limit: "X-Ratelimit-Limit", Remaining: "X-Ratelimit-Remaining", Reset: "X-Ratelimit-Reset"},
	"ratelimit":   {Limit: "Ratelimit-Limit", Remaining: "Ratelimit-Remaining", Reset: "Ratelimit-Reset"},
}

func (f *saidHeadersField) decode(d *decoder, n *yaml.Node) {
	if n.Kind == yaml.ScalarNode {
		f.At = placeOf(n)
		f.family.decode(d, n)
		return
	}
	d.fields(n, reflect.ValueOf(f).Elem())
}

// saidIn reads which headers speak of a limit.
func (d *decoder) saidIn(f limitField, l Limit) (out SaidIn) {
	at := f.Header.at
	switch h := f.Headers; {
	case h == nil:
		if f.Header.given() {
			out.Limit = d.limitHeader(f.Header)
		}
	case f.Header.given():
		d.errorf(f.Header.at, "header or headers, not both: header: NAME is headers: {limit: NAME}")
	case h.family.given():
		var known bool
		if out, known = families[strings.ToLower(h.family.s)]; !known {
			d.errorf(h.At, "headers: %q is no family of headers (x-ratelimit, ratelimit): name them by limit, remaining, reset and window", h.family.s)
		}
		at = h.At
	default:
		at = h.At
		for _, p := range []struct {
			to *string
			t  text
		}{{&out.Limit, h.Limit}, {&out.Remaining, h.Remaining}, {&out.Reset, h.Reset}, {&out.Window, h.Window}} {
			if p.t.given() {
				*p.to = d.limitHeader(p.t)
			}
		}
		if out == (SaidIn{}) {
			d.errorf(h.At, "headers: which? limit, remaining, reset or window")
		}
	}
	if out != (SaidIn{}) && l.Kind != Bucket && l.Kind != Sliding && (l.Kind != Calendar || f.Header.given()) {
		d.errorf(at, "header goes with bucket or window, headers with calendar too: they say how many calls there are in its time")
	}
	return out
}

// limitHeader is the name of a header that may speak of limits.
func (d *decoder) limitHeader(t text) string {
	if !headerName.MatchString(t.s) || privateHeader(t.s) {
		d.errorf(t.at, "%q is no header that could say how many calls are allowed", t.s)
	}
	return http.CanonicalHeaderKey(t.s)
}

// said is what an answer's headers say about l. What is not clearly of the form
// that it should be is nothing said.
func (l Limit) said(h http.Header, now time.Time) (out fanout.Said) {
	if n, ok := firstNumber(h.Get(l.Said.Limit)); ok {
		out.Count = n
	}
	if sec, ok := firstNumber(h.Get(l.Said.Window)); ok && out.Count > 0 && time.Duration(sec) <= mostPer/time.Second {
		out.Per = time.Duration(sec) * time.Second
	}
	if l.Said.Reset != "" {
		out.Reset = resetAt(h.Get(l.Said.Reset), now)
	}
	if n, ok := leftNumber(h.Get(l.Said.Remaining)); ok {
		out.Counted, out.Left = true, n
		if sec, ok := firstNumber(h.Get(l.Said.Window)); ok && out.Reset.IsZero() && time.Duration(sec) <= mostReset/time.Second {
			out.Reset = now.Add(time.Duration(sec) * time.Second)
		}
	}
	if n, ok := firstNumber(h.Get(l.costIn)); ok && l.costIn != "" {
		out.Cost = n
	}
	return out
}

var leftPattern = regexp.MustCompile(`^ *([0-9]{1,10}) *(?:[;,].*)?$`)

// leftNumber is how many are left: none, too.
func leftNumber(v string) (int, bool) {
	m := leftPattern.FindStringSubmatch(v)
	if m == nil {
		return 0, false
	}
	n, err := strconv.Atoi(m[1])
	return n, err == nil && n <= mostCount
}

// mostReset is the longest that a reset is believed to be away; what is longer is
// a number that means something else.
const mostReset = 25 * time.Hour

// resetAt is the instant that a header names, by its form: seconds or milliseconds
// of the epoch, seconds from now, an HTTP date, RFC 3339. Zero: none that is to
// come.
func resetAt(v string, now time.Time) (at time.Time) {
	v = strings.TrimSpace(v)
	if n, err := strconv.ParseFloat(v, 64); err == nil && len(v) < 25 {
		switch {
		case !(n > 0) || n > 1e14:
			return at
		case n >= 1e11:
			at = time.UnixMilli(int64(n))
		case n >= 1e8:
			at = time.Unix(int64(n), int64((n-float64(int64(n)))*1e9))
		default:
			at = now.Add(time.Duration(n * float64(time.Second)))
		}
	} else if t, err := http.ParseTime(v); err == nil {
		at = t
	} else if t, err := time.Parse(time.RFC3339, v); err == nil {
		at = t
	}
	if !at.After(now) || at.Sub(now) > mostReset {
		return time.Time{}
	}
	return at.UTC()
}

// untilReset is how long it is until the limits are whole again that headers say
// are used up; 0: they do not say.
func (s said) untilReset(now time.Time) time.Duration {
	if s.reset.IsZero() {
		return 0
	}
	return min(max(s.reset.Sub(now), 0), maxRetryAfter)
}
