package vendorapi

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/sluicehq/sluice/internal/fanout"
)

// calendarRate is so many calls in each day or hour.
type calendarRate rate

var calendarPattern = regexp.MustCompile(`^([1-9][0-9]{0,8})/(day|hour)$`)

func (r *calendarRate) decode(d *decoder, n *yaml.Node) {
	r.at = placeOf(n)
	m := calendarPattern.FindStringSubmatch(n.Value)
	if n.Kind != yaml.ScalarNode || m == nil {
		d.errorf(r.at, "so many calls such as 1000/day or 500/hour are expected, not %s", kindName(n))
		return
	}
	r.n, _ = strconv.Atoi(m[1])
	if r.per = time.Hour; m[2] == "day" {
		r.per = 24 * time.Hour
	}
}

func (r calendarRate) given() bool { return r.n > 0 }

// limitZone is where a calendar's day begins.
func (d *decoder) limitZone(l limitField, zone *time.Location) *time.Location {
	if !l.Calendar.given() {
		if l.Zone.given() {
			d.errorf(l.Zone.at, "zone goes with calendar: it says where the day or the hour begins")
		}
		return nil
	}
	if !l.Zone.given() {
		return zone
	}
	z, err := time.LoadLocation(l.Zone.s)
	if err != nil || l.Zone.s == "Local" {
		d.errorf(l.Zone.at, "zone %q is no IANA time zone such as UTC or America/Los_Angeles", l.Zone.s)
		return zone
	}
	return z
}

// scopeOf finds whose calls a limit counts, and how much each.
func (d *decoder) scopeOf(doc *document, l limitField, out *Limit) {
	d.boundTiers(doc, l, out)
	d.weights(doc, l, out)
	apart := out.Tiers != nil || out.Each != "" || len(out.Weight) > 0 || out.AtMost > 0
	if apart && out.InFlight > 0 {
		d.errorf(l.InFlight.at, "in_flight limits all calls alike: it stands in a limit of its own, without tiers, method, path, per or weight")
	}
	if l.Each.given() {
		out.Each = l.Each.s
		d.eachOf(doc, l, out)
	}
}

// boundTiers resolves tiers, method and path to a list of tiers. Calls of no tier,
// such as a login, are meant where their method and path are.
func (d *decoder) boundTiers(doc *document, l limitField, out *Limit) {
	if l.Tiers == nil && !l.Method.given() && !l.Path.given() {
		return
	}
	if l.Method.given() && l.Method.s != "GET" && l.Method.s != "POST" {
		d.errorf(l.Method.at, "method is GET or POST, not %q: Sluice makes no others", l.Method.s)
	}
	before := len(d.found)
	for _, t := range l.Tiers {
		d.tierKnown(doc, t)
	}
	glob := globbed(l.Path.s)
	meant := func(method, path string) bool {
		return (!l.Method.given() || method == l.Method.s) && (!l.Path.given() || glob.MatchString(path))
	}
	for i := range doc.Tiers {
		f := &doc.Tiers[i]
		named := l.Tiers == nil || slices.ContainsFunc(l.Tiers, func(t text) bool { return t.s == f.Name.s })
		// A limit on one branch binds all of them: permits are asked for by tier.
		if named && slices.ContainsFunc(append(f.Branches, *f), func(r tierField) bool {
			if r.Post.given() {
				return meant("POST", pathOf(r.Post.s))
			}
			return r.Get.given() && meant("GET", pathOf(r.Get.s))
		}) {
			out.Tiers = append(out.Tiers, f.Name.s)
		}
	}
	if l.Tiers == nil && doc.Auth != nil {
		for _, c := range authCalls(doc.Auth) {
			if meant(c.method, c.path) && !slices.Contains(out.Tiers, "") {
				out.Tiers = append(out.Tiers, "")
			}
		}
	}
	if known := len(d.found) == before; out.Tiers == nil {
		if out.Tiers = []string{}; !known {
			return // that is what is wrong
		}
		d.errorf(l.At, "limit %q binds no call: no tier has that method and path", l.Name.s)
	}
}

// authCall is a request that is made for credentials.
type authCall struct{ method, path string }

func authCalls(f *authField) (calls []authCall) {
	add := func(method string, to text) {
		path := to.s
		if u, err := url.Parse(path); err == nil && u.Host != "" {
			path = u.Path
		}
		calls = append(calls, authCall{method, pathOf(path)})
	}
	if f.OAuth2 != nil {
		add("POST", f.OAuth2.TokenURL)
	}
	if f.Login != nil && f.Login.Post.given() {
		add("POST", f.Login.Post)
	} else if f.Login != nil {
		add("GET", f.Login.Get)
	}
	return calls
}

// pathOf is a request's path, without its query.
func pathOf(template string) string {
	path, _, _ := strings.Cut(template, "?")
	return strings.TrimSuffix(path, "{") // of {?x}
}

// globbed is a path's pattern: * is anything within a segment, ** anything.
func globbed(glob string) *regexp.Regexp {
	var b strings.Builder
	for i, part := range strings.Split(glob, "**") {
		if i > 0 {
			b.WriteString(".*")
		}
		for j, lit := range strings.Split(part, "*") {
			if j > 0 {
				b.WriteString("[^/]*")
			}
			b.WriteString(regexp.QuoteMeta(lit))
		}
	}
	return regexp.MustCompile("^(?:" + b.String() + ")$")
}

func (d *decoder) tierKnown(doc *document, t text) {
	var names []string
	for i := range doc.Tiers {
		names = append(names, doc.Tiers[i].Name.s)
	}
	if !slices.Contains(names, t.s) {
		d.errorf(t.at, "there is no tier %q%s", t.s, didYouMean(t.s, names))
	}
}

// weights reads how much calls count.
func (d *decoder) weights(doc *document, l limitField, out *Limit) {
	from := l.WeightFrom
	switch {
	case out.Kind == NoRate || out.Kind == Spacing:
		if len(l.Weight) > 0 || from != nil {
			d.errorf(l.At, "calls that count several times go with bucket, window or calendar")
		}
	case len(l.Weight) > 0 && from != nil:
		d.errorf(from.At, "weight or weight_from, not both")
	case from != nil && l.AtMost.n < 1:
		d.errorf(from.At, "weight_from needs at_most: what a call counts at most, before its answer tells")
	case from != nil && from.Header.given() == from.JQ.given():
		d.errorf(from.At, "weight_from is one of header and jq")
	}
	if from == nil && l.AtMost.n > 0 {
		d.errorf(l.AtMost.at, "at_most goes with weight_from")
	}
	heaviest := max(l.AtMost.n, 1)
	for _, e := range l.Weight {
		d.tierKnown(doc, e.name)
		if out.Weight == nil {
			out.Weight = map[string]int{}
		}
		out.Weight[e.name.s] = e.val.n
		heaviest = max(heaviest, e.val.n)
	}
	most := out.N
	if out.Kind == Bucket {
		most = out.Burst
	}
	if heaviest > 1 && most > 0 && heaviest > most {
		d.errorf(l.At, "limit %q: a call that counts %d never fits in %d at once", l.Name.s, heaviest, most)
	}
	if from == nil {
		return
	}
	out.AtMost = l.AtMost.n
	if from.Header.given() {
		out.costIn = d.limitHeader(from.Header)
	} else {
		out.costFrom = d.jq("weight_from", from.JQ, &scope{answer: true, used: map[string]bool{}})
	}
}

// known tells at which tiers the value of a key or a carried field is known.
func knownAt(doc *document, name string) []bool {
	known := make([]bool, len(doc.Tiers))
	sc := &scope{hidden: map[string]string{}}
	for i := range doc.Tiers {
		_, _, inner := new(decoder).within(doc, i, sc) // its mistakes are told elsewhere
		known[i] = slices.Contains(inner.names(), name) && inner.batches[name] == nil
		sc = below(inner, &doc.Tiers[i])
	}
	return known
}

// eachOf checks that the calls that are counted for each value of something have
// one, and without other words binds just those.
func (d *decoder) eachOf(doc *document, l limitField, out *Limit) {
	known, bound := knownAt(doc, l.Each.s), []string{}
	for i := range doc.Tiers {
		name := doc.Tiers[i].Name.s
		switch {
		case known[i] && (out.Tiers == nil || slices.Contains(out.Tiers, name)):
			bound = append(bound, name)
		case !known[i] && slices.ContainsFunc(l.Tiers, func(t text) bool { return t.s == name }):
			d.errorf(l.Each.at, "per: at tier %s the value of %q is not known", name, l.Each.s)
		}
	}
	if out.Tiers = bound; len(bound) == 0 {
		d.errorf(l.Each.at, "per: %q is no key of a tier and no carried field that calls are about", l.Each.s)
	}
}

// limitUses notes that limits use carried fields: they travel as far.
func (d *decoder) limitUses(doc *document, uses []map[string]bool) {
	if doc.Limits == nil {
		return
	}
	for _, l := range doc.Limits.list {
		if !l.Each.given() {
			continue
		}
		for i, known := range knownAt(doc, l.Each.s) {
			if known {
				uses[i][l.Each.s] = true
			}
		}
	}
}

// Value is what a call's node has for a key or a carried field; empty: nothing.
func (p *Plan) Value(name string, c fanout.Call) string {
	t := p.tiers[c.Tier]
	if t == nil {
		return ""
	}
	if i := slices.Index(t.path, name); i >= 0 && i < len(c.Node.Path) {
		return c.Node.Path[i]
	}
	raw := c.Node.Carry[name]
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

// costs are the queries that tell how much an answer's call counted.
func costs(limits []Limit, tier string) (out []*query) {
	for _, l := range limits {
		if l.costFrom != nil && (l.Tiers == nil || slices.Contains(l.Tiers, tier)) {
			out = append(out, l.costFrom)
		}
	}
	return out
}

// cost hears what an answer's body says about how much its call counted. What is
// no number of calls is nothing said.
func (x *exchange) cost(ctx context.Context, resp *http.Response, tree any) {
	for _, l := range x.client.plan.Limits {
		if l.costFrom == nil {
			continue
		}
		v, err := l.costFrom.one(ctx, tree, answerVars(resp, x.value))
		if err != nil {
			continue
		}
		said, ok := digits(v)
		if n, err := strconv.ParseFloat(said, 64); ok && err == nil && n >= 0 && n <= mostCount {
			x.said.about(l.Name, func(s *fanout.Said) { s.Cost = roundUp(n) })
		}
	}
}

// roundUp is a whole number of units, and one for what costs nothing.
func roundUp(n float64) int {
	out := int(n)
	if float64(out) < n {
		out++
	}
	return max(out, 1)
}

// about changes what is said of one limit. The map is a copy: it may be the one
// that somebody was given.
func (s *said) about(limit string, change func(*fanout.Said)) {
	fresh := maps.Clone(s.limits)
	if fresh == nil {
		fresh = map[string]fanout.Said{}
	}
	one := fresh[limit]
	change(&one)
	fresh[limit] = one
	s.limits = fresh
}
