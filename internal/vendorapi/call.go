package vendorapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
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

	asked *url.URL       // the page's request, before credentials; nil: none was made
	heard *http.Response // the answer, for its status and headers; nil: none
}

// call checks that a task fits the plan; one of an older spec may not.
func (p *Plan) call(t fanout.Task, cursor string) (*call, error) {
	tier, ok := p.tiers[t.Tier]
	if !ok {
		return nil, fmt.Errorf("vendor %s has no tier %q", p.Name, t.Tier)
	}
	if len(t.Path) != len(tier.path) {
		return nil, fmt.Errorf("the task's path has %d keys, those of tier %s have %d by this spec: was the spec changed?", len(t.Path), t.Tier, len(tier.path))
	}
	if tier.of != nil {
		branch := t.Path[len(t.Path)-1]
		if tier = tier.of[branch]; tier == nil {
			return nil, fmt.Errorf("tier %s has no branch %q: was the spec changed?", t.Tier, clip(branch, 50))
		}
	}
	s, err := parseState(cursor)
	if err != nil {
		return nil, err
	}
	c := &call{plan: p, tier: tier, task: t, state: s}
	if sl, ok := tier.pages.(*slicePages); ok {
		c.slice, c.last, err = sl.slice(t.Window, s.Slice)
	}
	if tier.slicer != nil {
		c.slice, err = tier.slicer.named(t.Window, t.Path[slices.Index(tier.path, sliceName)])
	}
	return c, err
}

// text is a template's variable as text.
func (c *call) text(name string) (string, error) {
	for i, n := range c.tier.path {
		if n == name {
			if b := c.tier.batches[n]; b != nil {
				return b.text(c.task.Path[i])
			}
			return c.task.Path[i], nil
		}
	}
	if tier, part, ok := strings.Cut(name, "."); ok && c.plan.tiers[tier] != nil && slices.Contains(c.tier.path, tier) {
		return c.keyPart(tier, part)
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
	case "window.end":
		at = c.windowEnd(m[2])
	case "slice.from":
		at = c.slice.From
	case "slice.to":
		at = c.slice.To
	case "slice.end":
		at = c.sliceEnd()
	}
	return at, m[2], true
}

// windowEnd is the window's last instant that a form can say.
func (c *call) windowEnd(form string) time.Time {
	if form == "epoch" {
		return c.task.Window.To.Add(-time.Nanosecond).Truncate(time.Second)
	}
	return c.task.Window.To.Add(-time.Millisecond)
}

// sliceEnd is the last instant of a slice, for vendors whose ends are inclusive.
func (c *call) sliceEnd() time.Time {
	sl := c.tier.slicer
	if sl == nil {
		sl, _ = c.tier.pages.(*slicePages)
	}
	if sl == nil {
		return c.slice.To
	}
	return c.slice.To.Add(-sl.resolution)
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
		end := c.times(c.windowEnd("ms"))
		end["epoch"] = json.Number(formatTime(c.windowEnd("epoch"), "epoch", nil))
		return map[string]any{"from": c.times(c.task.Window.From), "to": c.times(c.task.Window.To), "end": end}, nil
	case "batch":
		if raw, ok := c.task.Carry[batchCarry]; ok {
			return parseJSON(raw)
		}
	case "slice":
		return map[string]any{"from": c.times(c.slice.From), "to": c.times(c.slice.To), "end": c.times(c.sliceEnd())}, nil
	}
	for i, n := range c.tier.path {
		if jqName(n) == name {
			if c.tier.batches[n] != nil {
				return keyList(splitKeys(c.task.Path[i])), nil
			}
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

// headers adds the tier's own headers to h; get knows secrets too. Another origin
// gets those without.
func (c *call) headers(h http.Header, get lookup, foreign bool) error {
	for _, t := range c.tier.headers {
		if foreign && t.val.secret() {
			continue
		}
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

// rows yields the rows that the i-th of the tier's tables takes from an answer.
func (c *call) rows(ctx context.Context, p parsed, i int) iter.Seq2[any, error] {
	q := c.tier.rows[i]
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
	if c.tier.expired.says(ctx, c, p.tree) {
		return t, errExpired
	}
	if err := c.takeItems(ctx, p, &t); err != nil {
		return t, err
	}
	if err := c.spread(&t); err != nil {
		return t, err
	}
	if len(c.tier.tables) > 0 {
		if err := c.countRows(ctx, p, &t); err != nil {
			return t, err
		}
	}
	s := c.state
	s.Page++
	s.Received += t.items
	most := cmp.Or(c.tier.maxPages, c.plan.Bounds.Pages)
	if err := c.bounded(t.items); err != nil {
		return t, err
	}
	var err error
	t.next, t.more, err = c.tier.pages.next(s, c.result(ctx, p, t.items, print))
	if err != nil {
		return t, err
	}
	t.more = t.more && !c.last
	if t.more && t.next.Page >= most {
		return t, fmt.Errorf("the list has %w of %d pages: page %d points to one more: a loop? (max_pages)", errTooMany, most, t.next.Page)
	}
	return t, nil
}

// result is the page as its pager sees it.
func (c *call) result(ctx context.Context, p parsed, items int, print string) pageResult {
	r := pageResult{ctx: ctx, tree: p.tree, items: items, print: print, vars: c.vars(), plan: c.plan, url: c.asked}
	if r.url == nil {
		r.url = c.plan.base
	}
	if c.heard != nil {
		r.headers = c.heard.Header
	}
	return r
}

// vars are the variables of the queries that see the whole answer.
func (c *call) vars() func(string) (any, error) {
	resp := c.heard
	if resp == nil {
		resp = &http.Response{StatusCode: http.StatusOK}
	}
	return answerVars(resp, c.value)
}

// countRows counts the rows of an answer; one that is null has none, as one that the
// spec takes for empty.
func (c *call) countRows(ctx context.Context, p parsed, t *taken) error {
	if p.tree == nil && p.list == nil {
		return nil
	}
	for i := range c.tier.rows {
		for _, err := range c.rows(ctx, p, i) {
			if err != nil {
				return err
			}
			t.rows++
		}
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
