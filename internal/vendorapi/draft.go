package vendorapi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strings"
)

// A draft is a page's request as its tier makes it, with what the pager puts on
// top. What all requests of a vendor have in common, credentials above all, is the
// client's to add.
type draft struct {
	url    *url.URL // its query is apart
	query  []param
	form   []param
	json   any
	kind   string            // the body's content type; empty: there is none
	header map[string]string // the pager's
}

const (
	kindJSON = "application/json"
	kindForm = "application/x-www-form-urlencoded"
)

// draft makes the page's request. Its origin is the base URL's, but for a next
// URL that the plan allows.
func (c *call) draft(ctx context.Context) (*draft, error) {
	d := &draft{header: make(map[string]string)}
	below, err := c.path()
	if err != nil {
		return nil, err
	}
	path, rawQuery, _ := strings.Cut(below, "?")
	if d.query, err = parseParams(rawQuery); err != nil {
		return nil, fmt.Errorf("query of %s: %w", strings.ToLower(c.tier.method), err)
	}
	more, err := c.expandParams(c.tier.query)
	if err != nil {
		return nil, err
	}
	d.query = append(d.query, more...)
	if err := c.fill(ctx, d); err != nil {
		return nil, err
	}
	u := *c.plan.base
	raw := u.EscapedPath() + path
	if u.Path, err = url.PathUnescape(raw); err != nil {
		return nil, fmt.Errorf("path: %w", err)
	}
	u.RawPath = raw
	if u.EscapedPath() != raw { // url would send another path than was meant
		return nil, fmt.Errorf("path %q cannot be sent as it is", clip(raw, 200))
	}
	d.url = &u
	if err := c.tier.pages.ask(c, d); err != nil {
		return nil, err
	}
	c.asked = d.full()
	return d, nil
}

// fill makes the draft's body.
func (c *call) fill(ctx context.Context, d *draft) (err error) {
	switch b := &c.tier.body; {
	case b.isJSON():
		d.kind = kindJSON
		d.json, err = c.jsonBody(ctx)
	case len(b.form) > 0:
		d.kind = kindForm
		d.form, err = c.expandParams(b.form)
	}
	return err
}

// full is the draft's whole URL.
func (d *draft) full() *url.URL {
	u := *d.url
	u.RawQuery = rawParams(d.query)
	return &u
}

// bytes is the draft's body as sent.
func (d *draft) bytes() []byte {
	switch d.kind {
	case kindJSON:
		return []byte(exactJSON(d.json))
	case kindForm:
		return []byte(rawParams(d.form))
	}
	return nil
}

// Where in a request a parameter can stand.
const (
	inQuery  = "query"
	inJSON   = "json"
	inForm   = "form"
	inHeader = "header"
)

// put sets a parameter, in the place of whatever stands there.
func (d *draft) put(in, name string, v any) error {
	if in == inJSON {
		whole, err := withField(d.json, strings.Split(name, "."), v)
		if err != nil {
			return fmt.Errorf("json: %s: %w", name, err)
		}
		d.kind, d.json = kindJSON, whole
		return nil
	}
	s, ok := digits(v)
	if !ok {
		return fmt.Errorf("%s: a text or a number is expected, not %s", name, clip(exactJSON(v), 100))
	}
	switch in {
	case inForm:
		d.kind, d.form = kindForm, putParams(d.form, []param{newParam(name, s)})
	case inHeader:
		if l := strings.ToLower(name); !headerName.MatchString(name) || clientsOwn(l) || l == "authorization" || l == "cookie" { // a vendor's object names them
			return fmt.Errorf("header %s: no cursor can be sent back in that", clip(name, 100))
		}
		if !headerValue(s) {
			return fmt.Errorf("header %s: the value has a character that a header cannot hold", name)
		}
		d.header[name] = s
	default:
		d.query = putParams(d.query, []param{newParam(name, s)})
	}
	return nil
}

// putInBody sets a field of the body, of whatever kind that is.
func (d *draft) putInBody(name, v string) error {
	if d.kind == kindForm {
		return d.put(inForm, name, v)
	}
	return d.put(inJSON, name, v)
}

// withField is the object v with a field in it or in an object inside it. What v
// is made of may belong to others, and is not changed.
func withField(v any, path []string, field any) (any, error) {
	if len(path) == 0 {
		return field, nil
	}
	old, ok := v.(map[string]any)
	if !ok && v != nil {
		return nil, errors.New("what is to hold it is no object")
	}
	out := make(map[string]any, len(old)+1)
	maps.Copy(out, old)
	inner, err := withField(old[path[0]], path[1:], field)
	out[path[0]] = inner
	return out, err
}
