package vendorapi

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
)

// expired is how the vendor says that what pointed to a page has run out. A first
// page is never expired: nothing pointed to it.
type expired struct {
	status []int  // empty: any
	when   *query // nil: always
}

var errExpired = errors.New("what pointed to this page has run out, says the vendor: the list must be begun anew")

// says tells whether an answer that c.heard is of says so.
func (e *expired) says(ctx context.Context, c *call, tree any) bool {
	if e == nil || c.state.Page == 0 || c.heard == nil {
		return false
	}
	if len(e.status) > 0 && !slices.Contains(e.status, c.heard.StatusCode) {
		return false
	}
	if e.when == nil {
		return true
	}
	v, err := e.when.one(ctx, tree, c.vars())
	return err == nil && v != nil && v != false // a query that fails on an answer is not about it
}

// expired tells whether an answer that is no 2xx says so.
func (x *exchange) expired(resp *http.Response, tree any) bool {
	if tree == (noJSON{}) {
		tree = nil
	}
	if x.call == nil {
		return false
	}
	x.call.heard = resp
	return x.call.tier.expired.says(x.watch.ctx, x.call, tree)
}

// expired compiles the field of that name.
func (d *decoder) expired(f *expiredField, pages *pagesField, sc *scope) *expired {
	if f == nil {
		return nil
	}
	if pages.Cursor == nil && !pages.NextQuery.given() && !pages.NextURL.given() && !pages.Link.on {
		d.errorf(f.At, "expired goes with cursor, next_query, next_url and link: nothing else runs out")
	}
	if len(f.Status) == 0 && !f.When.given() {
		d.errorf(f.At, "expired needs status, when, or both: which answers say so?")
	}
	e := &expired{when: d.jq("expired", f.When, sc)}
	for _, c := range f.Status {
		if c.n < 200 || c.n > 599 || c.n < 300 && !f.When.given() {
			d.errorf(c.at, "expired: a status is from 300 to 599, or from 200 beside when, not %d", c.n)
		}
		e.status = append(e.status, c.n)
	}
	return e
}

// leastSecret is the length from which a secret in what points to a page is taken
// for one: a user's name of three letters is in many a cursor by chance.
const leastSecret = 8

// holds tells whether a secret of some length is in a text.
func (m *masker) holds(text string) bool {
	return slices.ContainsFunc(m.words, func(w string) bool { return len(w) >= leastSecret && strings.Contains(text, w) })
}

// clean takes secrets out of where a list stands: it is landed and logged. A
// parameter that holds one is left out, for whatever the vendor wants to be sent
// is added to each request anew.
func (x *exchange) clean(s *state) error {
	secret := x.client.held.Load().mask.holds
	if q, ok := withoutSecrets(s.Query, secret); ok {
		s.Query = q
	}
	if base, q, _ := cutQuery(s.URL); base != "" {
		if kept, ok := withoutSecrets(q, secret); ok {
			s.URL = base
			if kept != "" {
				s.URL += "?" + kept
			}
		}
	}
	if secret(s.Cursor) || secret(s.Query) || secret(s.URL) {
		return errors.New("a secret of ours is in what points to the next page: it cannot be kept")
	}
	return nil
}
