package vendorapi

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// Lint says what in a plan is no mistake, and still hardly meant: a line each.
func (p *Plan) Lint() (out []string) {
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if slices.ContainsFunc(p.Limits, func(l Limit) bool { return l.Name == unknownLimits[0].Name && l.Kind == Spacing }) {
		say("limits are unknown: one call a second, one at a time. Say what the vendor allows")
	}
	for i, t := range p.Tiers {
		binding := 0
		for _, l := range p.Limits {
			if l.Tiers == nil || slices.Contains(l.Tiers, t.Name) {
				binding++
			}
		}
		if binding == 0 {
			say("tier %s: no limit binds its calls", t.Name)
		}
		if i == len(p.Tiers)-1 && len(t.Tables) == 0 {
			say("tier %s is the last and has no table: its answers are landed and give no rows", t.Name)
		}
	}
	return out
}

// LintSample says what a tier makes of a sample answer, if that is hardly meant. Keys
// of tiers above are stood in for by a text, carried fields by null.
func (p *Plan) LintSample(ctx context.Context, tier string, body []byte) ([]string, error) {
	c, err := p.standIn(tier)
	if err != nil {
		return nil, err
	}
	if _, err := judge(body, p.Bounds.Depth); err != nil {
		return nil, fmt.Errorf("the sample of tier %s: %w", tier, err)
	}
	tree, err := c.tier.ready(body)
	if err != nil {
		return nil, fmt.Errorf("the sample of tier %s is malformed: %w", tier, err)
	}
	var t taken
	if err := c.takeItems(ctx, tree, &t); err != nil {
		return []string{fmt.Sprintf("tier %s: the sample breaks the spec: %v", tier, err)}, nil
	}
	out := c.lintItems(t)
	if len(c.tier.tables) == 0 {
		return out, nil
	}
	switch err := c.countRows(ctx, tree, &t); {
	case err != nil:
		out = append(out, fmt.Sprintf("tier %s: rows fail on the sample (carried fields are null in it): %v", tier, err))
	case t.rows == 0:
		out = append(out, fmt.Sprintf("tier %s: the sample gives its table no rows", tier))
	}
	return out, nil
}

// standIn is a call of a tier for nobody in particular.
func (p *Plan) standIn(name string) (*call, error) {
	t, ok := p.tiers[name]
	if !ok {
		var names []string
		for _, t := range p.Tiers {
			names = append(names, t.Name)
		}
		return nil, fmt.Errorf("vendor %s has no tier %q%s", p.Name, name, didYouMean(name, names))
	}
	day := time.Now().In(p.Zone).Truncate(24 * time.Hour)
	n := fanout.Node{Carry: make(map[string]json.RawMessage)}
	for range t.path {
		n.Path = append(n.Path, "1")
	}
	for _, other := range p.spec.tiers {
		for _, f := range other.carry {
			n.Carry[f.name] = json.RawMessage("null")
		}
	}
	return p.call(fanout.Task{Run: "lint", Tier: name, Node: n, Window: fanout.Window{From: day.AddDate(0, 0, -1), To: day}}, "")
}

// lintItems looks at the nodes that a sample has.
func (c *call) lintItems(t taken) (out []string) {
	say := func(format string, args ...any) {
		out = append(out, fmt.Sprintf("tier %s: ", c.tier.name)+fmt.Sprintf(format, args...))
	}
	if c.tier.items != nil && t.items == 0 {
		say("items find nothing in the sample")
	}
	if c.tier.key == nil || t.items == 0 {
		return out
	}
	keys := make(map[string]bool)
	for _, n := range t.children {
		keys[strings.Join(n.Path, "\x00")] = true
	}
	switch double := len(t.children) - len(keys); {
	case t.rejects == t.items:
		say("no item of the sample has a key")
	case len(keys) == 1 && double > 0:
		say("the key is never unique: all %d items of the sample have the same", len(t.children))
	case double > 0:
		say("the key is not unique: %d items of the sample have %d keys", len(t.children), len(keys))
	}
	if t.rejects > 0 && t.rejects < t.items {
		say("%d of the sample's %d items have no usable key", t.rejects, t.items)
	}
	return out
}
