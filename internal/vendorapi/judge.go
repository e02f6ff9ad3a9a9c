package vendorapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// A rule says what an answer means that its status alone does not tell. The first
// that matches holds.
type rule struct {
	status statuses
	header []headerRule
	when   *query
	means  string
	says   *query
	line   int
}

type headerRule struct {
	name string
	is   *regexp.Regexp
}

// What a rule may say that an answer means.
const (
	meansOK      = "ok"    // what it looks like: no later rule is asked
	meansEmpty   = "empty" // there is nothing: a list without items
	meansGone    = "gone"
	meansRefused = "refused"

	meansThrottled = "throttled"
)

var meanings = map[string]fanout.Class{
	meansOK: "", meansEmpty: "", meansGone: fanout.Missing, meansRefused: fanout.Refused, meansThrottled: fanout.Throttled,
	"unavailable": fanout.Unavailable, "error": fanout.Bad, "rejected": fanout.Rejected, "expired": fanout.Expired,
}

// noJSON stands for a body that is none.
type noJSON struct{}

// matches tells whether the rule is about an answer, whose status it is about.
func (r *rule) matches(ctx context.Context, resp *http.Response, tree any, vars func(string) (any, error)) bool {
	for _, h := range r.header {
		if v := resp.Header.Values(h.name); len(v) == 0 || !h.is.MatchString(strings.Join(v, ", ")) {
			return false
		}
	}
	if r.when == nil {
		return true
	}
	if tree == (noJSON{}) {
		return false
	}
	v, err := r.when.one(ctx, tree, vars)
	return err == nil && v == true // a query that fails on an answer is not about it
}

// rule is the first of the plan's that is about an answer; nil: none.
func (p *Plan) rule(ctx context.Context, resp *http.Response, tree any, vars func(string) (any, error)) (*rule, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, maxTake, errSlowQueries)
	defer cancel()
	for i := range p.spec.rules {
		r := &p.spec.rules[i]
		if r.about(resp.StatusCode, p.spec.throttled) && r.matches(ctx, resp, tree, vars) {
			return r, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	return nil, nil
}

// answerVars adds what an answer is beside its body to other variables.
func answerVars(resp *http.Response, other func(string) (any, error)) func(string) (any, error) {
	return func(name string) (any, error) {
		switch name {
		case "status":
			return resp.StatusCode, nil
		case "headers":
			return headerObject(resp.Header), nil
		}
		return other(name)
	}
}

// headerObject is an answer's headers as jq sees them: by their names in lower
// case, several of a name joined.
func headerObject(h http.Header) map[string]any {
	out := make(map[string]any, len(h))
	for name, v := range h {
		out[strings.ToLower(name)] = strings.ToValidUTF8(strings.Join(v, ", "), "\uFFFD")
	}
	return out
}

// settingValue is a setting as jq sees it.
func (p *Plan) settingValue(name string) (any, error) { return p.setting(name) }

// errEmpty is an answer that the spec takes for a list without items.
var errEmpty = errors.New("nothing there")

// ruled is the error that an answer is by a rule.
func (x *exchange) ruled(r *rule, resp *http.Response, tree any, vars func(string) (any, error)) error {
	if r.means == meansEmpty {
		return errEmpty
	}
	text := fmt.Sprintf("by the spec's answers (line %d) it is %s", r.line, r.means)
	if said := x.saying(r.says, tree, vars); said != "" {
		text = said
	}
	class := meanings[r.means]
	if class == fanout.Refused {
		return x.refused(resp.StatusCode, text)
	}
	return x.patiently(resp, x.fail(class, resp.StatusCode, errors.New(text)))
}

const mostSaying = 300 // bytes of the vendor's own message that an error quotes

// saying is the vendor's own message in an answer, fit to be shown; empty: there
// is none.
func (x *exchange) saying(says *query, tree any, vars func(string) (any, error)) string {
	if says == nil || tree == (noJSON{}) {
		return ""
	}
	ctx, cancel := context.WithTimeout(x.parent, maxTake)
	defer cancel()
	v, err := says.one(ctx, tree, vars)
	if err != nil || v == nil {
		return ""
	}
	said, ok := digits(v)
	if !ok {
		said = exactJSON(v)
	}
	if said = x.client.held.Load().mask.excerpt(said, mostSaying, false); said == "" {
		return ""
	}
	return fmt.Sprintf("the vendor says %q", said)
}

// told adds the vendor's own message to the error of an answer that no rule is about.
func (x *exchange) told(err error, tree any, vars func(string) (any, error)) error {
	var ce *fanout.CallError
	if !errors.As(err, &ce) {
		return err
	}
	if said := x.saying(x.client.plan.spec.says, tree, vars); said != "" {
		ce.Err = fmt.Errorf("%w: %s", ce.Err, said)
	}
	return err
}

// patiently adds how long the vendor asks to wait.
func (x *exchange) patiently(resp *http.Response, err error) error {
	var ce *fanout.CallError
	if errors.As(err, &ce) && (ce.Class == fanout.Throttled || ce.Class == fanout.Unavailable) {
		ce.RetryAfter = retryAfter(resp.Header, time.Now())
		if ce.RetryAfter == 0 && ce.Class == fanout.Throttled {
			ce.RetryAfter = x.said.untilReset(time.Now())
		}
	}
	return err
}

// errUnproved is an answer that does not show what only good credentials get.
var errUnproved = errors.New("the first answer lacks the spec's proof of life: wrong credentials, or fewer rights than are needed?")

// prove holds the first answer of a run to the spec's proof.
func (c *call) prove(ctx context.Context, tree any, vars func(string) (any, error)) error {
	q := c.plan.spec.proof
	if q == nil || !c.first() {
		return nil
	}
	v, err := q.one(ctx, tree, vars)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil || v != true {
		return errUnproved
	}
	return nil
}

// first tells whether the call is a run's first, or one of them.
func (c *call) first() bool { return c.state.Page == 0 && c.tier.name == c.plan.spec.tiers[0].name }

// answers compiles what the spec says of answers.
func (d *decoder) answers(doc *document, s *Spec, top *scope) {
	sc := top.recording(top.used)
	sc.answer, sc.secrets = true, false
	s.says = d.jq("says", doc.Says, sc)
	for _, f := range doc.Answers {
		r := rule{status: f.Status, means: f.Means.s, line: f.At.line, when: d.jq("when", f.When, sc), says: d.jq("says", f.Says, sc)}
		if r.says == nil && r.means != meansOK && r.means != meansEmpty {
			r.says = s.says
		}
		if len(r.status) == 0 && r.when != nil && slices.Contains(r.when.vars, "status") {
			d.errorf(f.When.at, "answers: a rule without status is about 2xx answers only: beside $status say which it is about, such as status: [4xx, 5xx]")
		}
		for _, e := range f.Header {
			is, err := regexp.Compile(e.val.s)
			if err != nil || !headerName.MatchString(e.name.s) {
				d.errorf(e.val.at, "answers: a header is a name with a regular expression such as ^0$: %v", err)
				continue
			}
			r.header = append(r.header, headerRule{e.name.s, is})
		}
		if len(r.status)+len(r.header) == 0 && !f.When.given() {
			d.errorf(f.At, "answers: a rule needs status, header or when: which answers is it about?")
		}
		if _, ok := meanings[r.means]; !ok {
			d.errorf(f.Means.or(f.At), "answers: means is one of ok, empty, gone, refused, throttled, unavailable, error, rejected and expired, not %q", r.means)
		}
		s.rules = append(s.rules, r)
	}
	s.proof = d.jq("proof", doc.Proof, sc)
}

// judges are the queries that look at an answer of a tier before it is taken apart.
func (s *Spec) judges(first bool) (out []*query) {
	for _, r := range s.rules {
		for _, q := range []*query{r.when, r.says} {
			if q != nil {
				out = append(out, q)
			}
		}
	}
	if first && s.proof != nil {
		out = append(out, s.proof)
	}
	return out
}
