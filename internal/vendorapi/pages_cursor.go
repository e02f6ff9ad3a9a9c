package vendorapi

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// cursorPages hand back the cursor of the page before. The list ends where there
// is none; an empty page with a cursor goes on.
type cursorPages struct {
	from  *query
	param string // empty: the cursor is an object, whose fields all go back
	in    string
}

func (p *cursorPages) ask(c *call, d *draft) error {
	if c.state.Cursor == "" {
		return nil
	}
	if !c.state.JSON {
		return d.put(p.in, p.param, c.state.Cursor)
	}
	v, err := parseJSON([]byte(c.state.Cursor))
	if err != nil {
		return fmt.Errorf("cursor: %w", err)
	}
	fields, ok := v.(map[string]any)
	if p.param != "" || !ok {
		return d.put(p.in, p.param, v)
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if fields[name] == nil {
			continue
		}
		if p.in == inHeader && !headerName.MatchString(name) {
			return fmt.Errorf("cursor: %q is no header's name", clip(name, 100))
		}
		if err := d.put(p.in, name, fields[name]); err != nil {
			return fmt.Errorf("cursor: %w", err)
		}
	}
	return nil
}

func (p *cursorPages) queries() []*query { return []*query{p.from} }

func (p *cursorPages) next(s state, r pageResult) (state, bool, error) {
	v, err := p.from.one(r.ctx, r.tree, r.vars)
	if err != nil {
		return s, false, err
	}
	s.Cursor, s.JSON, err = p.cursor(v)
	if err != nil || s.Cursor == "" {
		return s, false, err
	}
	return s, true, s.pointsTo("cursor", s.Cursor)
}

// cursor reads what from found; none is the end.
func (p *cursorPages) cursor(v any) (text string, json bool, err error) {
	switch v := v.(type) {
	case map[string]any:
		if !slices.ContainsFunc(slices.Collect(maps.Values(v)), func(f any) bool { return f != nil && f != "" }) {
			return "", false, nil
		}
		if p.param == "" || p.in == inJSON {
			return exactJSON(v), true, nil
		}
		return "", false, fmt.Errorf("cursor: from gives an object: leave param out, and its fields go back by their names")
	case []any:
		if p.param == "" || p.in != inJSON {
			return "", false, fmt.Errorf("cursor: a list can go back in: json only, by its param")
		}
		if len(v) == 0 {
			return "", false, nil
		}
		return exactJSON(v), true, nil
	}
	text, err = cursorText("cursor", v)
	if text != "" && p.param == "" {
		return "", false, fmt.Errorf("cursor: from gives %s: say by which param it goes back", clip(exactJSON(v), 100))
	}
	_, isText := v.(string)
	return text, text != "" && !isText, err
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

// queryPages take the next page's query parameters from the answer. They
// change the query only, never path or host: credentials go nowhere else.
type queryPages struct{ from *query }

func (p *queryPages) ask(c *call, d *draft) error {
	over, err := parseParams(c.state.Query)
	d.query = putParams(d.query, over)
	return err
}

func (p *queryPages) queries() []*query { return []*query{p.from} }

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
		return s, false, fmt.Errorf("next_query: query parameters are expected, not the link %q: cut it in jq, or say next_url", clip(q, 100))
	}
	if !literalURI.MatchString(q) {
		return s, false, fmt.Errorf("next_query: %q is not escaped as a URL's query is", clip(q, 100))
	}
	if _, err := parseParams(q); err != nil {
		return s, false, fmt.Errorf("next_query: %w", err)
	}
	s.Query = q
	return s, true, s.pointsTo("query", q)
}
