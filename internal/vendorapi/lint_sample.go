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

// LintSample says what a tier, or a branch of it (TIER/BRANCH), makes of a sample
// answer, if that is hardly meant. Keys of tiers above are stood in for by a text,
// carried fields by null.
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
	out := c.lintItems(tier, t)
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

// standIn is a call of a tier for nobody in particular: for the first constants and
// the first slice. of is TIER, or TIER/BRANCH; without a branch the first is meant.
func (p *Plan) standIn(of string) (*call, error) {
	name, branch, named := strings.Cut(of, "/")
	t, ok := p.tiers[name]
	if !ok {
		var names []string
		for _, t := range p.Tiers {
			names = append(names, t.Name)
		}
		return nil, fmt.Errorf("vendor %s has no tier %q%s", p.Name, name, didYouMean(name, names))
	}
	switch {
	case named && !slices.Contains(t.branches, branch):
		return nil, fmt.Errorf("tier %s of vendor %s has no branch %q%s", name, p.Name, branch, didYouMean(branch, t.branches))
	case !named && len(t.branches) > 0:
		branch = t.branches[0]
	}
	day := time.Now().In(p.Zone).Truncate(24 * time.Hour)
	n := fanout.Node{Carry: make(map[string]json.RawMessage)}
	for _, place := range t.path {
		n.Path = append(n.Path, p.standInKey(place, branch))
	}
	for _, other := range p.spec.tiers {
		for _, f := range other.carry {
			n.Carry[f.name] = json.RawMessage("null")
		}
	}
	if t.batch != nil {
		n.Carry[batchCarry] = json.RawMessage(`{"` + anyKey + `":{}}`)
	}
	return p.call(fanout.Task{Run: "lint", Tier: name, Node: n, Window: fanout.Window{From: day.AddDate(0, 0, -1), To: day}}, "")
}

// anyKey stands for a key that nobody knows.
const anyKey = "1"

// standInKey is what stands in one place of a task's path.
func (p *Plan) standInKey(place, branch string) string {
	switch place {
	case branchName:
		return branch
	case sliceName:
		return shortDuration(0)
	}
	for _, t := range p.spec.tiers {
		if t.name == place && t.key != nil && len(t.key.parts) > 1 {
			return anyKey + strings.Repeat("/"+anyKey, len(t.key.parts)-1)
		}
		if t.fan == nil {
			continue
		}
		if i := slices.Index(t.fan.names, place); i >= 0 && i < len(t.fan.lists) {
			return t.fan.lists[i][0]
		}
	}
	return anyKey
}

// lintItems looks at the nodes that a sample has.
func (c *call) lintItems(tier string, t taken) (out []string) {
	say := func(format string, args ...any) {
		out = append(out, fmt.Sprintf("tier %s: ", tier)+fmt.Sprintf(format, args...))
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
