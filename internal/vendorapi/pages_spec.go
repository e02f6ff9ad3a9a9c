package vendorapi

import (
	"slices"
	"strings"
)

// withoutSecrets is a raw query without the parameters that are secret; ok is
// false if all of them can stay.
func withoutSecrets(raw string, secret func(string) bool) (kept string, ok bool) {
	if !secret(raw) {
		return raw, false
	}
	var out []string
	for kv := range strings.SplitSeq(raw, "&") {
		if !secret(kv) {
			out = append(out, kv)
		}
	}
	return strings.Join(out, "&"), true
}

func cutQuery(u string) (base, query string, has bool) { return strings.Cut(u, "?") }

// paging compiles how a tier's list is taken page by page.
func (d *decoder) paging(f *pagesField, tf *tierField, t *tier, sc *scope) {
	t.pages, t.maxPages = onePage{}, tf.MaxPages.n
	if f == nil || f.none {
		if tf.MaxPages.n > 0 {
			d.errorf(tf.MaxPages.at, "tier %s: max_pages goes with pages", t.name)
		}
		return
	}
	kinds := 0
	for _, on := range []bool{f.Offset != nil, f.Page != nil, f.Cursor != nil, f.NextQuery.given(), f.NextURL.given(), f.Link.on, f.Slices != nil} {
		if on {
			kinds++
		}
	}
	if kinds != 1 {
		d.errorf(f.At, "pages is one of offset, page, cursor, next_query, next_url, link and slices, or the word none")
		return
	}
	seen := sc.recording(sc.used)
	seen.answer = true
	t.expired = d.expired(f.Expired, f, seen)
	switch {
	case f.Offset != nil:
		o := f.Offset
		t.pages = &offsetPages{d.counted(pageField{
			At: o.At, Param: o.Param, SizeParam: o.SizeParam, Size: o.Size, In: o.In, Total: o.Total, More: o.More, ShortEnds: o.ShortEnds,
		}, "offset", "how many items to skip", tf, t, seen)}
	case f.Page != nil:
		t.pages = &numberPages{d.counted(*f.Page, "page", "the page's number", tf, t, seen), f.Page.First.or(1)}
	case f.Cursor != nil:
		t.pages = d.cursor(f.Cursor, t, seen)
	case f.NextQuery.given():
		t.pages = &queryPages{d.jq("next_query", f.NextQuery, seen)}
	case f.NextURL.given():
		t.pages = &urlPages{d.jq("next_url", f.NextURL, seen)}
	case f.Link.on:
		t.pages = &urlPages{}
	default:
		t.pages = d.slices(f.Slices)
	}
}

func (d *decoder) counted(o pageField, kind, says string, tf *tierField, t *tier, sc *scope) countedPages {
	if !o.Param.given() {
		d.errorf(o.At, "%s needs param, the parameter that says %s", kind, says)
	}
	if o.SizeParam.given() != (o.Size.n > 0) {
		d.errorf(o.At, "%s: size_param and size go together", kind)
	}
	if o.ShortEnds.on && o.Size.n == 0 {
		d.errorf(o.ShortEnds.at, "short_ends needs size: short of what?")
	}
	return countedPages{
		param: o.Param.s, sizeParam: o.SizeParam.s, in: d.in(o.In, t, o.Param, o.SizeParam), size: o.Size.n,
		total: d.jq("total", o.Total, sc), pages: d.jq("pages", o.Pages, sc), more: d.jq("more", o.More, sc),
		shortEnds: o.ShortEnds.on, watch: true,
	}
}

func (d *decoder) cursor(f *cursorField, t *tier, sc *scope) pager {
	if !f.From.given() {
		d.errorf(f.At, "cursor needs from, the jq that finds it, and param, the parameter that sends it back, unless from gives an object")
	}
	return &cursorPages{d.jq("cursor", f.From, sc), f.Param.s, d.in(f.In, t, f.Param)}
}

// in says where in the request the pager's parameters go; empty: nobody has said,
// and it is the query.
func (d *decoder) in(f text, t *tier, params ...text) string {
	body := t.method == "POST"
	switch {
	case !f.given(), f.s == inQuery:
	case f.s == inHeader:
		for _, p := range params {
			if p.given() {
				d.headers(dict[text]{{name: p, val: text{s: "x", at: p.at}}}, &scope{used: map[string]bool{}}, true)
			}
		}
	case f.s != inJSON && f.s != inForm:
		d.errorf(f.at, "in is one of query, json, form and header, not %q", f.s)
	case !body:
		d.errorf(f.at, "in: %s goes with post: a GET has no body", f.s)
	case f.s == inJSON && len(t.body.form) > 0, f.s == inForm && t.body.isJSON():
		d.errorf(f.at, "in: %s, but the tier's body is of another kind", f.s)
	case f.s == inJSON && slices.ContainsFunc(params, func(p text) bool { return slices.Contains(strings.Split(p.s, "."), "") && p.given() }):
		d.errorf(f.at, "in: json takes a field's name, or a path such as page.cursor")
	}
	return f.s
}
