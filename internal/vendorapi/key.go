package vendorapi

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/sluicehq/sluice/internal/fanout"
)

// keyField is the jq that finds a key, or one for each of its parts by name.
type keyField struct {
	at    place
	whole text
	parts dict[text]
}

func (k *keyField) decode(d *decoder, n *yaml.Node) {
	k.at = placeOf(n)
	if n.Kind == yaml.MappingNode {
		d.value(n, reflect.ValueOf(&k.parts).Elem())
		if len(k.parts) == 0 {
			d.errorf(k.at, "a key of several parts has at least one: {owner: .owner, name: .name}")
		}
		return
	}
	k.whole.decode(d, n)
}

func (k keyField) given() bool { return k.whole.given() || len(k.parts) > 0 }

// nodeKey finds an item's key. One of several parts is these, joined by slashes.
type nodeKey struct {
	whole *query
	parts []carried
}

func (d *decoder) key(f keyField, sc *scope) *nodeKey {
	if !f.given() {
		return nil
	}
	k := &nodeKey{whole: d.jq("key", f.whole, sc)}
	for _, e := range f.parts {
		if !carryName.MatchString(e.name.s) {
			d.errorf(e.name.at, "the name of a key's part must be like owner (%s), not %q", carryName, e.name.s)
		}
		k.parts = append(k.parts, carried{e.name.s, d.jq("key "+e.name.s, e.val, sc)})
	}
	return k
}

// of is an item's key; ok is false if it has none that could be used.
func (k *nodeKey) of(ctx context.Context, item any, vars func(string) (any, error)) (key string, ok bool, err error) {
	if k.whole != nil {
		return keyText(ctx, k.whole, item, vars)
	}
	parts := make([]string, len(k.parts))
	for i, p := range k.parts {
		part, ok, err := keyText(ctx, p.q, item, vars)
		if err != nil || !ok {
			return "", false, err
		}
		parts[i] = keyEscaper.Replace(part)
	}
	key = strings.Join(parts, "/")
	if len(key) > maxKey {
		return "", false, &errJQ{"key", fmt.Errorf("%d bytes: at most %d can be a key", len(key), maxKey)}
	}
	return key, true, nil
}

// What keeps a key of several parts unambiguous.
var (
	keyEscaper   = strings.NewReplacer("%", "%25", "/", "%2F")
	keyUnescaper = strings.NewReplacer("%25", "%", "%2F", "/")
)

// keyText is the text that q finds; ok is false for null and an empty one.
func keyText(ctx context.Context, q *query, item any, vars func(string) (any, error)) (key string, ok bool, err error) {
	k, err := q.one(ctx, item, vars)
	if err != nil || k == nil {
		return "", false, err
	}
	key, ok = digits(k)
	switch {
	case !ok:
		return "", false, &errJQ{q.what, fmt.Errorf("a text or a number is expected, not %s", clip(exactJSON(k), 100))}
	case len(key) > maxKey:
		return "", false, &errJQ{q.what, fmt.Errorf("%d bytes: at most %d can be a key", len(key), maxKey)}
	}
	return key, key != "", nil
}

// keyPart is one part of the key that an ancestor in that tier has.
func (c *call) keyPart(tier, part string) (string, error) {
	key, err := c.text(tier)
	if err != nil {
		return "", err
	}
	if t := c.plan.tiers[tier]; t != nil && t.key != nil {
		i := slices.IndexFunc(t.key.parts, func(p carried) bool { return p.name == part })
		if parts := strings.Split(key, "/"); i >= 0 && len(parts) == len(t.key.parts) {
			return keyUnescaper.Replace(parts[i]), nil
		}
	}
	return "", fmt.Errorf("%q %w in this task: was the spec changed?", tier+"."+part, errNoValue)
}

// maxKey bounds a key: it travels in messages and rows with all keys above it.
const (
	maxKey  = 16 << 10
	maxNode = 64 << 10 // path and carried fields: what every message and row of it holds
)

// node makes a child of an item; ok is false for one without a usable key.
func (c *call) node(ctx context.Context, item any) (n fanout.Node, ok bool, err error) {
	key, ok, err := c.tier.key.of(ctx, item, c.value)
	if err != nil || !ok {
		return n, false, err
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
