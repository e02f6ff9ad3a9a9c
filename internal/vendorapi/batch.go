package vendorapi

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/sluicehq/sluice/internal/fanout"
)

type batchField struct {
	At   place
	Size count `yaml:"size"`
	Join text  `yaml:"join"`
}

// batch is a tier that asks about several nodes in one call. The last key in its
// tasks' paths is those of a group, joined by commas; a comma or percent sign in a
// key is escaped, so that it is unambiguous.
type batch struct {
	size   int
	join   string // what the vendor wants between them
	repeat bool   // it wants a parameter for each instead
}

// joinRepeat is the join of keys that are parameters of their own.
const joinRepeat = "repeat"

// batchCarry holds what each node of a group carries, by key. No field can be
// called that.
const batchCarry = "$batch"

// batch compiles the field of that name, and takes from the scope of the tier what
// differs between the nodes of a group.
func (d *decoder) batch(f, above *tierField, sc *scope) (*batch, *scope) {
	if f.Batch == nil {
		return nil, sc
	}
	b := &batch{size: f.Batch.Size.n, join: ","}
	if f.Batch.Join.given() {
		b.join = f.Batch.Join.s
	}
	if b.join == joinRepeat {
		b.repeat, b.join = true, ","
	}
	switch {
	case above == nil:
		d.errorf(f.Batch.At, "batch: the first tier has nothing above it to group")
		return nil, sc
	case above.Unique.on:
		d.errorf(f.Batch.At, "batch: the nodes of the unique tier %s belong to whoever found them first, one by one: they cannot be grouped", above.Name.s)
	case b.size < 2 || b.size > 10_000:
		d.errorf(f.Batch.Size.at.or(f.Batch.At), "batch needs size, how many nodes a call may ask about: from 2 to 10000")
	}
	inner := *sc
	inner.batch = true
	inner.batches = map[string]*batch{above.Name.s: b}
	for n, other := range sc.batches {
		inner.batches[n] = other
	}
	inner.hidden = make(map[string]string, len(sc.hidden))
	for n, why := range sc.hidden {
		inner.hidden[n] = why
	}
	inner.carries, inner.parts = slices.Clone(sc.carries), slices.Clone(sc.parts)
	hide := func(from []string, name string) []string {
		inner.hidden[name] = fmt.Sprintf("it differs between the nodes that tier %s asks about in one call: in jq $batch has it by key", f.Name.s)
		return slices.DeleteFunc(from, func(n string) bool { return n == name })
	}
	for _, e := range above.Carry {
		inner.carries = hide(inner.carries, e.name.s)
	}
	for _, e := range above.Key.parts {
		inner.parts = hide(inner.parts, above.Name.s+"."+e.name.s)
	}
	return b, &inner
}

// or is where p stands, or where its parent does when it is nowhere.
func (p place) or(parent place) place {
	if p == (place{}) {
		return parent
	}
	return p
}

var (
	batchEscaper   = strings.NewReplacer("%", "%25", ",", "%2C")
	batchUnescaper = strings.NewReplacer("%25", "%", "%2C", ",")
)

func joinKeys(keys []string) string {
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = batchEscaper.Replace(k)
	}
	return strings.Join(out, ",")
}

func splitKeys(joined string) []string {
	keys := strings.Split(joined, ",")
	for i, k := range keys {
		keys[i] = batchUnescaper.Replace(k)
	}
	return keys
}

// keyList is keys as JSON has them.
func keyList(keys []string) []any {
	out := make([]any, len(keys))
	for i, k := range keys {
		out[i] = k
	}
	return out
}

// text is the keys of a group as the vendor wants them.
func (b *batch) text(joined string) (string, error) {
	keys := splitKeys(joined)
	for _, k := range keys {
		if strings.Contains(k, b.join) && len(keys) > 1 {
			return "", fmt.Errorf("the key %q holds %q, by which the keys of a batch are joined: send them in json, or join them otherwise", clip(k, 100), b.join)
		}
	}
	return strings.Join(keys, b.join), nil
}

// group makes the nodes of one page into groups for the tier below. A key that is
// there twice is asked about once.
func (c *call) group(nodes []fanout.Node) (out []fanout.Node) {
	b := c.tier.below.batch
	var keys []string
	var size, length int
	fields := map[string]map[string]json.RawMessage{}
	closed := func(from fanout.Node) {
		if len(keys) == 0 {
			return
		}
		path := append(slices.Clone(from.Path[:len(from.Path)-1]), joinKeys(keys))
		all, err := json.Marshal(fields)
		if err != nil { // cannot be: they came from JSON
			all = []byte("{}")
		}
		carry := map[string]json.RawMessage{batchCarry: all}
		for _, name := range c.tier.hand {
			carry[name] = from.Carry[name]
		}
		out = append(out, fanout.Node{Path: path, Carry: carry})
		keys, size, length, fields = nil, 0, 0, map[string]map[string]json.RawMessage{}
	}
	seen := make(map[string]bool, len(nodes))
	for _, n := range nodes {
		key := n.Path[len(n.Path)-1]
		if seen[key] {
			continue
		}
		seen[key] = true
		own := make(map[string]json.RawMessage, len(c.tier.carry))
		for _, f := range c.tier.carry {
			own[f.name] = n.Carry[f.name]
		}
		bytes, escaped := nodeSize(n)+2*len(key), len(batchEscaper.Replace(key))+1
		if len(keys) == b.size || length+escaped > maxKey || size+bytes > maxNode {
			closed(n)
		}
		keys, size, length = append(keys, key), size+bytes, length+escaped
		fields[key] = own
	}
	if len(nodes) > 0 {
		closed(nodes[0])
	}
	return out
}

// batchMark stands between the keys of a batch while a path is expanded: each key
// is escaped by itself, what joins them is not a part of any.
const batchMark = "\x01"

// path is the request's path and query by its template.
func (c *call) path() (string, error) {
	if len(c.tier.batches) == 0 {
		return c.tier.get.expand(c.text)
	}
	join := ""
	s, err := c.tier.get.expand(func(name string) (v string, err error) {
		b := c.tier.batches[name]
		if b == nil {
			v, err = c.text(name)
		} else {
			v, join = c.task.Path[slices.Index(c.tier.path, name)], joinInURL(b.join)
		}
		if strings.Contains(v, batchMark) {
			err = fmt.Errorf("variable %q is %q, which cannot stand in the path of a batch", name, clip(v, 100))
		}
		if b != nil && v != "" {
			v = strings.Join(splitKeys(v), batchMark)
		}
		return v, err
	})
	return strings.ReplaceAll(s, "%01", join), err
}

// joinInURL leaves what separates values alone, and escapes anything else.
func joinInURL(join string) string {
	var b strings.Builder
	for i := range len(join) {
		if strings.IndexByte(",;:!*()'@$", join[i]) >= 0 {
			b.WriteByte(join[i])
		} else {
			b.WriteString(escapeQuery(join[i : i+1]))
		}
	}
	return b.String()
}
