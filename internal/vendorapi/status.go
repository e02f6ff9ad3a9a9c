package vendorapi

import (
	"reflect"
	"regexp"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v4"
)

// statuses are what a rule is about: a status such as 403, a class such as 4xx, or
// a list of these. None at all are the 2xx: an answer that the vendor itself calls
// an error is another's only where a rule says so.
type statuses []statusField

// statusField is one status, or the class of a hundred.
type statusField struct {
	from, to int
	at       place
}

var statusClass = regexp.MustCompile(`^([2-5])xx$`)

func (s *statuses) decode(d *decoder, n *yaml.Node) {
	if n.Kind != yaml.SequenceNode {
		var one statusField
		one.decode(d, n)
		*s = statuses{one}
		return
	}
	if len(n.Content) == 0 {
		d.errorf(placeOf(n), "no status is given: leave the field out, and the rule is about 2xx")
	}
	d.value(n, reflect.ValueOf((*[]statusField)(s)).Elem())
}

func (s *statusField) decode(d *decoder, n *yaml.Node) {
	s.at = placeOf(n)
	if m := statusClass.FindStringSubmatch(n.Value); n.Kind == yaml.ScalarNode && m != nil {
		s.from, _ = strconv.Atoi(m[1] + "00")
		s.to = s.from + 99
		return
	}
	code, err := strconv.Atoi(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil || code < 200 || code > 599 {
		d.errorf(s.at, "a status from 200 to 599 such as 403, or a class such as 4xx, is expected, not %s", kindName(n))
		return
	}
	s.from, s.to = code, code
}

// about tells whether a rule is about answers of a status. A class is not about
// those that mean slow down, unless the rule means the same: else a rule for errors
// of all kinds would take the brake away.
func (r *rule) about(code int, throttled []int) bool {
	if len(r.status) == 0 {
		return code/100 == 2
	}
	slow := slices.Contains(throttled, code) && r.means != meansThrottled
	return slices.ContainsFunc(r.status, func(s statusField) bool {
		return s.from <= code && code <= s.to && (s.from == s.to || !slow)
	})
}
