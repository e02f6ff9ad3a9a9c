package vendorapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// state is where a list stands: all that the next page's call needs besides
// the task. As a cursor it travels through stores, so that another process can
// go on with the list.
type state struct {
	Page     int    `json:"page"`               // pages read so far
	Received int    `json:"received,omitempty"` // items read so far
	Cursor   string `json:"cursor,omitempty"`   // cursor: the vendor's
	Query    string `json:"query,omitempty"`    // next_query: the vendor's
	Seen     string `json:"seen,omitempty"`     // offset: fingerprint of the last page
	Slice    int    `json:"slice,omitempty"`    // slices: the slice to ask for
}

func (s state) encode() string {
	b, err := json.Marshal(s)
	if err != nil { // cannot be: strings and numbers
		return ""
	}
	return string(b)
}

func parseState(cursor string) (state, error) {
	var s state
	if cursor == "" {
		return s, nil
	}
	dec := json.NewDecoder(strings.NewReader(cursor))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil || s.Page < 1 || s.Received < 0 || s.Slice < 0 {
		return s, fmt.Errorf("the cursor %q is not one that a page of this list gave", clip(cursor, 100))
	}
	return s, nil
}

// pageResult is what a pager sees of an answer.
type pageResult struct {
	ctx   context.Context
	tree  any // the whole answer; a list that the pager's query does not see may be missing
	items int // how many items it has, unusable ones included
	print string
	vars  func(string) (any, error)
}

// pager is one way of taking a list page by page.
type pager interface {
	// params are what the page's request has besides the tier's own query; a
	// parameter of the same name is replaced.
	params(s state) ([]param, error)
	// next tells what follows the page: where the list then stands, or the end.
	// It sets nothing but the pager's own part of s.
	next(s state, r pageResult) (after state, more bool, err error)
	// query is what next runs over the answer; nil: nothing.
	query() *query
}

// param is one query parameter, already escaped.
type param struct {
	name string // decoded
	raw  string // name=value as sent
}

func newParam(name, value string) param {
	return param{name, escapeQuery(name) + "=" + escapeQuery(value)}
}

// escapeQuery escapes everything but unreserved characters, a space as %20:
// not every vendor takes + for a space, all take %20.
func escapeQuery(s string) string {
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
}

// parseParams takes a raw query apart without changing how it is escaped.
func parseParams(raw string) ([]param, error) {
	var out []param
	for kv := range strings.SplitSeq(raw, "&") {
		if kv == "" {
			continue
		}
		name, _, _ := strings.Cut(kv, "=")
		n, err := url.QueryUnescape(name)
		if err != nil {
			return nil, err
		}
		out = append(out, param{n, kv})
	}
	return out, nil
}

// mergeParams is base with over put on top: a name in over replaces all of
// that name in base.
func mergeParams(base, over []param) string {
	replaced := make(map[string]bool, len(over))
	for _, p := range over {
		replaced[p.name] = true
	}
	var raw []string
	for _, p := range base {
		if !replaced[p.name] {
			raw = append(raw, p.raw)
		}
	}
	for _, p := range over {
		raw = append(raw, p.raw)
	}
	return strings.Join(raw, "&")
}

// onePage takes the answer for the whole list.
type onePage struct{}

func (onePage) params(state) ([]param, error)                   { return nil, nil }
func (onePage) next(s state, _ pageResult) (state, bool, error) { return s, false, nil }
func (onePage) query() *query                                   { return nil }

// offsetPages steps by the items received, not by the size asked for: vendors
// cap the size without a word. A list ends at its first empty page, or sooner
// where the spec says that a total or a short page can be believed.
type offsetPages struct {
	param, sizeParam string
	size             int
	total            *query
	shortEnds        bool
	watch            bool // the same page twice is a vendor that ignores the offset
}

func (p *offsetPages) params(s state) ([]param, error) {
	out := []param{newParam(p.param, strconv.Itoa(s.Received))}
	if p.sizeParam != "" {
		out = append(out, newParam(p.sizeParam, strconv.Itoa(p.size)))
	}
	return out, nil
}

func (p *offsetPages) query() *query { return p.total }

func (p *offsetPages) next(s state, r pageResult) (state, bool, error) {
	if r.items == 0 {
		return s, false, nil
	}
	if p.watch && s.Seen == r.print {
		return s, false, fmt.Errorf("the vendor sent the same page for two offsets in a row: it seems to ignore %q", p.param)
	}
	s.Seen = r.print
	total, known, err := p.knownTotal(r)
	if err != nil {
		return s, false, err
	}
	short := p.shortEnds && r.items < p.size
	switch {
	case known && s.Received >= total:
		return s, false, nil
	case short && !known:
		return s, false, nil
	}
	return s, true, nil // a short page below a known total was capped
}

// knownTotal is what the answer says that the list has in all. A negative one
// says that the vendor does not know.
func (p *offsetPages) knownTotal(r pageResult) (total int, known bool, err error) {
	if p.total == nil {
		return 0, false, nil
	}
	v, err := p.total.one(r.ctx, r.tree, r.vars)
	if err != nil || v == nil {
		return 0, false, err
	}
	s, ok := digits(v)
	f, err := strconv.ParseFloat(s, 64)
	if _, text := v.(string); text || !ok || err != nil {
		return 0, false, fmt.Errorf("total: a number is expected, not %s", clip(exactJSON(v), 100))
	}
	if f < 0 || f > 1e15 {
		return 0, false, nil
	}
	return int(f), true, nil
}

// cursorPages hands back the cursor of the page before. The list ends where
// there is none; an empty page with a cursor goes on.
type cursorPages struct {
	from  *query
	param string
}

func (p *cursorPages) params(s state) ([]param, error) {
	if s.Cursor == "" {
		return nil, nil
	}
	return []param{newParam(p.param, s.Cursor)}, nil
}

func (p *cursorPages) query() *query { return p.from }

func (p *cursorPages) next(s state, r pageResult) (state, bool, error) {
	v, err := p.from.one(r.ctx, r.tree, r.vars)
	if err != nil {
		return s, false, err
	}
	c, err := cursorText("cursor", v)
	if err != nil || c == "" {
		return s, false, err
	}
	if c == s.Cursor {
		return s, false, fmt.Errorf("a loop: the vendor's page %d points to itself by the cursor %q", s.Page, clip(c, 100))
	}
	s.Cursor = c
	return s, true, nil
}

// cursorText reads what points to the next page; null, false and "" are the end.
func cursorText(what string, v any) (string, error) {
	if v == nil || v == false {
		return "", nil
	}
	s, ok := digits(v)
	if !ok {
		return "", fmt.Errorf("%s: a text, a number or null is expected, not %s", what, clip(exactJSON(v), 100))
	}
	return s, nil
}

// queryPages takes the next page's query parameters from the answer. They
// change the query only, never path or host: credentials go nowhere else.
type queryPages struct{ from *query }

func (p *queryPages) params(s state) ([]param, error) { return parseParams(s.Query) }
func (p *queryPages) query() *query                   { return p.from }

func (p *queryPages) next(s state, r pageResult) (state, bool, error) {
	v, err := p.from.one(r.ctx, r.tree, r.vars)
	if err != nil {
		return s, false, err
	}
	q, err := cursorText("next_query", v)
	if err != nil || q == "" {
		return s, false, err
	}
	q = strings.TrimLeft(q, "?&")
	if strings.HasPrefix(q, "/") || strings.HasPrefix(q, "http://") || strings.HasPrefix(q, "https://") {
		return s, false, fmt.Errorf("next_query: query parameters are expected, not the link %q: cut it in jq", clip(q, 100))
	}
	if !literalURI.MatchString(q) {
		return s, false, fmt.Errorf("next_query: %q is not escaped as a URL's query is", clip(q, 100))
	}
	if _, err := parseParams(q); err != nil {
		return s, false, fmt.Errorf("next_query: %w", err)
	}
	if q == s.Query {
		return s, false, fmt.Errorf("a loop: the vendor's page %d points to itself by the query %q", s.Page, clip(q, 100))
	}
	s.Query = q
	return s, true, nil
}

// slicePages cuts the run's window in half-open slices, one call for each.
type slicePages struct{ step, resolution time.Duration }

// slice is the i-th slice of w; last tells that none follows.
func (p *slicePages) slice(w fanout.Window, i int) (out fanout.Window, last bool, err error) {
	if !w.From.Before(w.To) {
		return out, false, errors.New("the run's window is empty: there is nothing to slice")
	}
	n := int((w.To.Sub(w.From) + p.step - 1) / p.step)
	if i >= n {
		return out, false, fmt.Errorf("the window has %d slices: there is no slice %d", n, i)
	}
	out.From = w.From.Add(time.Duration(i) * p.step)
	out.To = out.From.Add(p.step)
	if out.To.After(w.To) {
		out.To = w.To
	}
	return out, i == n-1, nil
}

func (*slicePages) params(state) ([]param, error) { return nil, nil }
func (*slicePages) query() *query                 { return nil }

// next does not know the window; the client ends the list at its last slice.
func (*slicePages) next(s state, _ pageResult) (state, bool, error) {
	s.Slice++
	return s, true, nil
}

// pages compiles one kind of paging.
func (d *decoder) pages(f *pagesField, t *tierField, sc *scope) pager {
	if f == nil || f.none {
		return onePage{}
	}
	kinds := 0
	for _, on := range []bool{f.Offset != nil, f.Cursor != nil, f.NextQuery.given(), f.Slices != nil} {
		if on {
			kinds++
		}
	}
	if kinds != 1 {
		d.errorf(f.At, "pages is one of offset, cursor, next_query and slices, or the word none")
		return onePage{}
	}
	switch {
	case f.Offset != nil:
		return d.offset(f.Offset, t, sc)
	case f.Cursor != nil:
		if !f.Cursor.From.given() || !f.Cursor.Param.given() {
			d.errorf(f.Cursor.At, "cursor needs from, the jq that finds it, and param, the parameter that sends it back")
		}
		return &cursorPages{d.jq("cursor", f.Cursor.From, sc), f.Cursor.Param.s}
	case f.NextQuery.given():
		return &queryPages{d.jq("next_query", f.NextQuery, sc)}
	}
	s := f.Slices
	if s.Step.d == 0 {
		d.errorf(s.At, "slices need step, the length of a slice")
	}
	if s.Resolution.d >= s.Step.d && s.Step.d > 0 {
		d.errorf(s.Resolution.at, "the resolution must be below the step")
	}
	return &slicePages{s.Step.d, s.Resolution.d}
}

func (d *decoder) offset(o *offsetField, t *tierField, sc *scope) pager {
	if !o.Param.given() {
		d.errorf(o.At, "offset needs param, the parameter that says how many items to skip")
	}
	if o.SizeParam.given() != (o.Size.n > 0) {
		d.errorf(o.At, "offset: size_param and size go together")
	}
	if o.ShortEnds.on && o.Size.n == 0 {
		d.errorf(o.ShortEnds.at, "short_ends needs size: short of what?")
	}
	return &offsetPages{
		param: o.Param.s, sizeParam: o.SizeParam.s, size: o.Size.n, shortEnds: o.ShortEnds.on,
		total: d.jq("total", o.Total, sc), watch: t.Key.given(),
	}
}
