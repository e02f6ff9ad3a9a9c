package vendorapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// call is one page of one task: the values that its templates and queries see.
type call struct {
	plan  *Plan
	tier  *tier
	task  fanout.Task
	state state
	slice fanout.Window
	last  bool // the slice is the window's last
}

// call checks that a task fits the plan; one of an older spec may not.
func (p *Plan) call(t fanout.Task, cursor string) (*call, error) {
	tier, ok := p.tiers[t.Tier]
	if !ok {
		return nil, fmt.Errorf("vendor %s has no tier %q", p.Name, t.Tier)
	}
	if len(t.Path) != len(tier.path) {
		return nil, fmt.Errorf("the task's path has %d keys, but tier %s of this spec is below %d tiers: was the spec changed?", len(t.Path), t.Tier, len(tier.path))
	}
	s, err := parseState(cursor)
	if err != nil {
		return nil, err
	}
	c := &call{plan: p, tier: tier, task: t, state: s}
	if sl, ok := tier.pages.(*slicePages); ok {
		c.slice, c.last, err = sl.slice(t.Window, s.Slice)
	}
	return c, err
}

// text is a template's variable as text.
func (c *call) text(name string) (string, error) {
	for i, n := range c.tier.path {
		if n == name {
			return c.task.Path[i], nil
		}
	}
	if raw, ok := c.task.Carry[name]; ok {
		return carriedText(name, raw)
	}
	if v, ok := c.plan.settings[name]; ok {
		return v, nil
	}
	if v, ok := c.tier.with[name]; ok {
		return v.expand(c.text)
	}
	if at, form, ok := c.instant(name); ok {
		return formatTime(at, form, c.plan.Zone), nil
	}
	return "", fmt.Errorf("%q %w in this task: was the spec changed?", name, errNoValue)
}

func carriedText(name string, raw json.RawMessage) (string, error) {
	v, err := parseJSON(raw)
	if err != nil {
		return "", fmt.Errorf("carried field %q: %w", name, err)
	}
	if b, ok := v.(bool); ok {
		return strconv.FormatBool(b), nil
	}
	s, ok := digits(v)
	if !ok {
		return "", fmt.Errorf("carried field %q %w that a request can hold: %s", name, errNoValue, clip(string(raw), 100))
	}
	return s, nil
}

// instant is the time that a variable such as slice.to.epoch names.
func (c *call) instant(name string) (at time.Time, form string, ok bool) {
	m := timeVariable.FindStringSubmatch(name)
	if m == nil {
		return at, "", false
	}
	switch m[1] {
	case "window.from":
		at = c.task.Window.From
	case "window.to":
		at = c.task.Window.To
	case "slice.from":
		at = c.slice.From
	case "slice.to":
		at = c.slice.To
	case "slice.end":
		at = c.sliceEnd()
	}
	return at, m[2], true
}

// sliceEnd is the last instant of a slice, for vendors whose ends are inclusive.
func (c *call) sliceEnd() time.Time {
	if sl, ok := c.tier.pages.(*slicePages); ok {
		return c.slice.To.Add(-sl.resolution)
	}
	return c.slice.To
}

func formatTime(at time.Time, form string, zone *time.Location) string {
	switch form {
	case "ms":
		return strconv.FormatInt(at.UnixMilli(), 10)
	case "rfc3339":
		return at.UTC().Format(time.RFC3339Nano)
	case "date":
		return at.In(zone).Format(time.DateOnly)
	}
	s := strconv.FormatInt(at.Unix(), 10)
	if ns := at.Nanosecond(); ns != 0 { // exact, so that a resolution below a second is not lost
		s += "." + strings.TrimRight(fmt.Sprintf("%09d", ns), "0")
	}
	return s
}

// value is a jq program's variable: keys and settings are strings, carried
// fields what they are, $window and $slice objects of instants.
func (c *call) value(name string) (any, error) {
	switch name {
	case "window":
		return map[string]any{"from": c.times(c.task.Window.From), "to": c.times(c.task.Window.To)}, nil
	case "slice":
		return map[string]any{"from": c.times(c.slice.From), "to": c.times(c.slice.To), "end": c.times(c.sliceEnd())}, nil
	}
	for i, n := range c.tier.path {
		if jqName(n) == name {
			return c.task.Path[i], nil
		}
	}
	if raw, ok := c.task.Carry[name]; ok {
		return parseJSON(raw)
	}
	if v, ok := c.plan.settings[name]; ok {
		return v, nil
	}
	return nil, fmt.Errorf("$%s %w in this task: was the spec changed?", name, errNoValue)
}

func (c *call) times(t time.Time) map[string]any {
	return map[string]any{
		"epoch": json.Number(formatTime(t, "epoch", nil)), "ms": json.Number(formatTime(t, "ms", nil)),
		"rfc3339": formatTime(t, "rfc3339", nil), "date": formatTime(t, "date", c.plan.Zone),
	}
}

// url is the page's full URL. Its origin is always the base URL's.
func (c *call) url() (*url.URL, error) {
	below, err := c.tier.get.expand(c.text)
	if err != nil {
		return nil, err
	}
	path, rawQuery, _ := strings.Cut(below, "?")
	base, err := parseParams(rawQuery)
	if err != nil {
		return nil, fmt.Errorf("query of get: %w", err)
	}
	for _, q := range c.tier.query {
		for _, t := range q.vals {
			v, err := t.expand(c.text)
			if err != nil {
				return nil, err
			}
			base = append(base, newParam(q.name, v))
		}
	}
	over, err := c.tier.pages.params(c.state)
	if err != nil {
		return nil, err
	}
	u := *c.plan.base
	raw := u.EscapedPath() + path
	if u.Path, err = url.PathUnescape(raw); err != nil {
		return nil, fmt.Errorf("path: %w", err)
	}
	u.RawPath, u.RawQuery = raw, mergeParams(base, over)
	if u.EscapedPath() != raw { // url would send another path than was meant
		return nil, fmt.Errorf("path %q cannot be sent as it is", clip(raw, 200))
	}
	return &u, nil
}

// headers adds the tier's own headers to h; get knows secrets too.
func (c *call) headers(h http.Header, get lookup) error {
	for _, t := range c.tier.headers {
		v, err := t.val.expand(get)
		if err != nil {
			return err
		}
		if !headerValue(v) {
			return fmt.Errorf("header %s: the value has a character that a header cannot hold", t.name)
		}
		h.Set(t.name, v)
	}
	return nil
}

// headerValue tells whether v can stand in a header: anything else would let a
// key write headers of its own.
func headerValue(v string) bool {
	for i := range len(v) {
		if v[i] < ' ' && v[i] != '\t' || v[i] == 0x7F {
			return false
		}
	}
	return true
}

// rows yields the rows that the tier's table takes from an answer.
func (c *call) rows(ctx context.Context, p parsed) iter.Seq2[any, error] {
	q := c.tier.rows
	if q == nil {
		q = c.tier.items
	}
	return func(yield func(any, error) bool) {
		for row, err := range q.over(ctx, p, c.value) {
			if _, isObject := row.(map[string]any); err == nil && !isObject {
				err = &errJQ{q.what, fmt.Errorf("a row must be an object, not %s", clip(exactJSON(row), 100))}
			}
			if !yield(row, err) || err != nil {
				return
			}
		}
	}
}

var errTooMany = errors.New("more than the bound")

// taken is an answer taken apart.
type taken struct {
	children []fanout.Node
	items    int
	rejects  int
	rows     int
	next     state
	more     bool
}

// take finds children, rows and the next page in an answer.
func (c *call) take(ctx context.Context, p parsed, print string) (taken, error) {
	var t taken
	if err := c.takeItems(ctx, p, &t); err != nil {
		return t, err
	}
	if c.tier.table != "" {
		if err := c.countRows(ctx, p, &t); err != nil {
			return t, err
		}
	}
	s := c.state
	s.Page++
	s.Received += t.items
	b := c.plan.Bounds
	if err := c.bounded(t.items); err != nil {
		return t, err
	}
	var err error
	t.next, t.more, err = c.tier.pages.next(s, pageResult{ctx, p.tree, t.items, print, c.value})
	if err != nil {
		return t, err
	}
	t.more = t.more && !c.last
	if t.more && t.next.Page >= b.Pages {
		return t, fmt.Errorf("the list has %w of %d pages: a loop?", errTooMany, b.Pages)
	}
	return t, nil
}

func (c *call) countRows(ctx context.Context, p parsed, t *taken) error {
	for _, err := range c.rows(ctx, p) {
		if err != nil {
			return err
		}
		t.rows++
	}
	return nil
}

// bounded holds the list, with so many items of this page, to its bound.
func (c *call) bounded(items int) error {
	if most := c.plan.Bounds.Children; c.state.Received+items > most {
		return fmt.Errorf("the list has %w of %d children", errTooMany, most)
	}
	return nil
}

func (c *call) takeItems(ctx context.Context, p parsed, t *taken) error {
	if c.tier.items == nil {
		return nil
	}
	if c.tier.key == nil && p.list != nil && c.tier.items.each.rest == nil {
		t.items = countList(p.list)
		return c.bounded(t.items)
	}
	for item, err := range c.tier.items.over(ctx, p, c.value) {
		if err != nil {
			return err
		}
		t.items++
		if err := c.bounded(t.items); err != nil {
			return err
		}
		if c.tier.key == nil {
			continue
		}
		n, ok, err := c.node(ctx, item)
		if err != nil {
			return fmt.Errorf("item %d: %w", c.state.Received+t.items, err)
		}
		if !ok {
			t.rejects++
			continue
		}
		t.children = append(t.children, n)
	}
	return nil
}

// maxKey bounds a key: it travels in messages and rows with all keys above it.
const (
	maxKey  = 16 << 10
	maxNode = 64 << 10 // path and carried fields: what every message and row of it holds
)

// node makes a child of an item; ok is false for one without a usable key.
func (c *call) node(ctx context.Context, item any) (n fanout.Node, ok bool, err error) {
	k, err := c.tier.key.one(ctx, item, c.value)
	if err != nil || k == nil {
		return n, false, err
	}
	key, ok := digits(k)
	switch {
	case !ok:
		return n, false, &errJQ{"key", fmt.Errorf("a text or a number is expected, not %s", clip(exactJSON(k), 100))}
	case key == "":
		return n, false, nil
	case len(key) > maxKey:
		return n, false, &errJQ{"key", fmt.Errorf("%d bytes: at most %d can be a key", len(key), maxKey)}
	}
	if !c.tier.unique {
		n.Path = append(n.Path, c.task.Path...)
	}
	n.Path = append(n.Path, key)
	if len(c.tier.hand)+len(c.tier.carry) == 0 {
		return n, true, nil
	}
	n.Carry = make(map[string]json.RawMessage, len(c.tier.hand)+len(c.tier.carry))
	for _, name := range c.tier.hand {
		raw, ok := c.task.Carry[name]
		if !ok {
			return n, false, fmt.Errorf("the task does not carry %q: was the spec changed?", name)
		}
		n.Carry[name] = raw
	}
	for _, f := range c.tier.carry {
		v, err := f.q.one(ctx, item, c.value)
		if err != nil {
			return n, false, err
		}
		n.Carry[f.name] = json.RawMessage(exactJSON(v))
	}
	if size := nodeSize(n); size > maxNode {
		return n, false, &errJQ{"carry", fmt.Errorf("%d bytes are to be carried down from node %s: at most %d (carry fields, not whole objects)", size, clip(key, 50), maxNode)}
	}
	return n, true, nil
}

// nodeSize is about how many bytes a node takes in a message.
func nodeSize(n fanout.Node) (size int) {
	for _, k := range n.Path {
		size += len(k)
	}
	for name, raw := range n.Carry {
		size += len(name) + len(raw)
	}
	return size
}
