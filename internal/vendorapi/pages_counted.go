package vendorapi

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// countedPages are what pages by offset and by number have in common. Their lists end
// at the first empty page, or sooner where the spec names something that can be
// believed.
type countedPages struct {
	param, sizeParam, in string
	size                 int
	total                *query // items of the list
	pages                *query // pages of the list
	more                 *query // whether there are more
	shortEnds            bool
	watch                bool // the same page twice is a vendor that ignores the parameter
}

func (p *countedPages) queries() []*query { return given(p.total, p.pages, p.more) }

func (p *countedPages) put(d *draft, at int) error {
	if err := d.put(p.in, p.param, json.Number(strconv.Itoa(at))); err != nil || p.sizeParam == "" {
		return err
	}
	return d.put(p.in, p.sizeParam, json.Number(strconv.Itoa(p.size)))
}

// next: what the vendor says of its list ends it only where it can be true. A
// total that is not positive, or changes, says nothing; and one that a full page
// reaches may be a lower bound, so that one more page is asked for.
func (p *countedPages) next(s state, r pageResult) (state, bool, error) {
	if p.watch {
		back := s.pass(r.print)
		if r.items > 0 && (back == 1 || s.Seen == r.print) {
			return s, false, fmt.Errorf("a loop: the vendor's pages %d and %d are the same: it seems to ignore %q", s.Page-1, s.Page, p.param)
		}
		if r.items > 0 && back > 0 {
			return s, false, fmt.Errorf("a loop of %d pages: the vendor's page %d is its page %d again", back, s.Page, s.Page-back)
		}
		s.Seen = r.print
	}
	if p.more != nil {
		more, err := r.flag("more", p.more)
		return s, more, err
	}
	if r.items == 0 {
		return s, false, nil
	}
	full := p.size > 0 && r.items >= p.size || s.Most > 0 && r.items >= s.Most
	s.Most = max(s.Most, r.items)
	total, err := r.believed("total", p.total, &s.Total, &s.Doubt)
	if err != nil {
		return s, false, err
	}
	pages, err := r.believed("pages", p.pages, &s.Pages, &s.Doubt)
	if err != nil {
		return s, false, err
	}
	switch {
	case total > 0 && s.Received >= total, pages > 0 && s.Page >= pages:
		s.Past = true
		return s, full, nil
	case p.shortEnds && r.items < p.size && total == 0 && pages == 0:
		return s, false, nil
	}
	return s, true, nil // a short page below a known total was capped
}

// flag is what a query says that is either so or not.
func (r pageResult) flag(what string, q *query) (bool, error) {
	v, err := q.one(r.ctx, r.tree, r.vars)
	if err != nil {
		return false, err
	}
	switch v {
	case nil, false:
		return false, nil
	case true:
		return true, nil
	}
	return false, fmt.Errorf("%s: true, false or null is expected, not %s: compare it in jq", what, clip(exactJSON(v), 100))
}

// believed is a number that the vendor says of the whole list; 0 if it says none,
// or has said another one before.
func (r pageResult) believed(what string, q *query, first *int, doubt *bool) (int, error) {
	if q == nil {
		return 0, nil
	}
	v, err := q.one(r.ctx, r.tree, r.vars)
	if err != nil || v == nil {
		return 0, err
	}
	s, ok := digits(v)
	f, err := strconv.ParseFloat(s, 64)
	if _, text := v.(string); text || !ok || err != nil {
		return 0, fmt.Errorf("%s: a number is expected, not %s", what, clip(exactJSON(v), 100))
	}
	if f < 1 || f > 1e15 {
		return 0, nil
	}
	n := int(f)
	if *first == 0 {
		*first = n
	}
	if *doubt = *doubt || *first != n; *doubt {
		return 0, nil
	}
	return n, nil
}

// offsetPages step by the items received, not by the size asked for: vendors cap
// the size without a word.
type offsetPages struct{ countedPages }

func (p *offsetPages) ask(c *call, d *draft) error { return p.put(d, c.state.Received) }

func (p *offsetPages) next(s state, r pageResult) (state, bool, error) {
	s, more, err := p.countedPages.next(s, r)
	if more && r.items == 0 && err == nil {
		err = fmt.Errorf("a loop: the vendor's page %d is empty, and more are said to follow: the next page's offset would be the same, %d", s.Page, s.Received)
	}
	return s, more, err
}

// numberPages count pages.
type numberPages struct {
	countedPages
	first int
}

func (p *numberPages) ask(c *call, d *draft) error { return p.put(d, p.first+c.state.Page) }
