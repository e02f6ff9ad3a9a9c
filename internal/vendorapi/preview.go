package vendorapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/sluicehq/sluice/internal/fanout"
)

// PreviewOptions bound a preview. The zero value is fine but for Permit.
type PreviewOptions struct {
	NodesPerTier int // nodes asked about in each tier; default 2
	MaxCalls     int // calls in all; default 20
	Show         int // children and rows that a step shows; default 3
	// Permit waits for the right to make one request, as a governor gives it.
	Permit func(context.Context, fanout.Call) (fanout.Permit, error)
}

// A PreviewStep is one call of a preview.
type PreviewStep struct {
	Tier     string
	Part     string   // which branch, constants and slice, where the tier has any
	Request  string   // method and URL, secrets masked
	Headers  []string // as sent, sorted, secrets masked
	Sent     string   // the body as sent, clipped, secrets masked
	Status   int
	Bytes    int           // of the body, decompressed
	Children []fanout.Node // without what the tier below multiplies their tasks by
	Found    int           // nodes in the answer, of which Children are the first
	Rejects  int
	Rows     []json.RawMessage
	Took     int  // rows in the answer, of which Rows are the first
	More     bool // the list has more pages
	Err      error
}

// Preview walks a few nodes of each tier, one page each, from the root down,
// and emits every call. All branches are asked for, but of constants and slices
// only the first, unless the first tier has them. Nothing is written anywhere. A failed call is emitted
// and the walk goes on; Preview then returns the first failure. It ends early
// when MaxCalls are made or the vendor refuses the credentials.
func (c *Client) Preview(ctx context.Context, w fanout.Window, opt PreviewOptions, emit func(PreviewStep)) error {
	opt.NodesPerTier, opt.MaxCalls, opt.Show = orDefault(opt.NodesPerTier, 2), orDefault(opt.MaxCalls, 20), orDefault(opt.Show, 3)
	tasks := c.plan.fewOf(c.plan.Root("preview", w), opt.NodesPerTier)
	var first error
	for calls := 0; len(tasks) > 0; {
		var below []fanout.Task
		for _, t := range tasks {
			if calls == opt.MaxCalls {
				return first
			}
			calls++
			step, nodes, err := c.previewCall(ctx, t, opt)
			for errors.Is(err, fanout.ErrTooLate) && ctx.Err() == nil { // nothing was sent
				step, nodes, err = c.previewCall(ctx, t, opt)
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			var ce *fanout.CallError
			if err != nil && !errors.As(err, &ce) {
				return err // no permit: nothing was sent
			}
			emit(step)
			if first == nil && err != nil {
				first = err
			}
			if ce != nil && (ce.Class == fanout.Refused || ce.Class == fanout.Throttled) {
				return err
			}
			if next := c.plan.Below(t.Tier); next != "" {
				for _, n := range nodes {
					below = append(below, t.Child(next, n))
				}
			}
		}
		tasks = c.plan.fewOf(below, opt.NodesPerTier)
	}
	return first
}

// fewOf are those of a tier's tasks that ask about its first nodes, n of them: with
// all branches, but only the first constants and slice. The root list is no node:
// of the first tier it is the constants and slices that count.
func (p *Plan) fewOf(tasks []fanout.Task, n int) (out []fanout.Task) {
	seen, first := make(map[string]bool), make(map[string]string)
	for _, task := range tasks {
		t := p.tiers[task.Tier]
		path, of, _ := t.parted(task.Path)
		if t == p.spec.tiers[0] {
			path, of = slices.Concat(path, of), nil
		}
		node, part := strings.Join(path, "\x00"), strings.Join(of, "\x00")
		chosen, known := first[node]
		switch {
		case seen[task.ID], known && chosen != part, !known && len(first) == n:
			continue
		case !known:
			first[node] = part
		}
		seen[task.ID] = true
		out = append(out, task)
	}
	return out
}

// parted takes a task's path apart: that of its node, the constants and slice, and
// the branch, which is empty where there is none.
func (t *tier) parted(path []string) (node, of []string, branch string) {
	if len(t.branches) > 0 {
		path, branch = path[:len(path)-1], path[len(path)-1]
	}
	own := 0
	if t.fan != nil {
		own = len(t.fan.names)
	}
	return path[:len(path)-own], path[len(path)-own:], branch
}

// part says which part of a tier's work on a node a task is.
func (t *tier) part(path []string) string {
	_, of, branch := t.parted(path)
	var out []string
	for i, value := range of {
		out = append(out, t.fan.names[i]+" "+value)
	}
	if branch != "" {
		out = append(out, "branch "+branch)
	}
	return strings.Join(out, ", ")
}

// nodes are the nodes that a page's children are tasks for, each once, and how many
// they are: several in each group of a batch.
func (t *tier) nodes(children []fanout.Node) (out []fanout.Node, count int) {
	for _, n := range children {
		n.Path, _, _ = t.parted(n.Path)
		if len(out) > 0 && slices.Equal(n.Path, out[len(out)-1].Path) {
			continue
		}
		out = append(out, n)
		if count++; t.batch != nil {
			count += len(splitKeys(n.Path[len(n.Path)-1])) - 1
		}
	}
	return out, count
}

func orDefault(n, def int) int {
	if n <= 0 {
		return def
	}
	return n
}

// previewCall makes the first page's call of t under a permit.
func (c *Client) previewCall(ctx context.Context, t fanout.Task, opt PreviewOptions) (PreviewStep, []fanout.Node, error) {
	step := PreviewStep{Tier: t.Tier, Part: c.plan.tiers[t.Tier].part(t.Path)}
	if step.Err = c.show(ctx, t, &step); step.Err != nil {
		return step, nil, step.Err
	}
	permit, err := opt.Permit(ctx, fanout.CallOf(t))
	if err != nil {
		return step, nil, fmt.Errorf("preview %s: %w", t.Tier, err)
	}
	calling, permits := fanout.WithPermits(ctx, permit, fanout.CallOf(t), opt.Permit)
	defer permits.Release()
	page, err := c.Call(calling, t, "")
	if err != nil {
		var ce *fanout.CallError
		if errors.As(err, &ce) {
			step.Status = ce.Status
		}
		step.Err = err
		return step, nil, err
	}
	defer page.Release()
	m := c.held.Load().mask
	step.Status, step.Bytes, step.Rejects = page.Status, len(page.Body), page.Rejects
	step.Took, step.More = page.Rows, page.Next != ""
	if below := c.plan.tiers[t.Tier].below; below != nil {
		var nodes []fanout.Node
		nodes, step.Found = below.nodes(page.Children)
		for _, n := range nodes[:min(len(nodes), opt.Show)] {
			step.Children = append(step.Children, m.node(n))
		}
	}
	for row, err := range c.plan.Rows(ctx, t, "", page.Body) {
		if err != nil || len(step.Rows) == opt.Show {
			break
		}
		step.Rows = append(step.Rows, json.RawMessage(m.text(string(row))))
	}
	return step, page.Children, nil
}

// mostShown bounds what is shown of a request's body.
const mostShown = 4 << 10

// show fills in the first page's request as it would be sent, masked.
func (c *Client) show(ctx context.Context, t fanout.Task, step *PreviewStep) error {
	x := &exchange{client: c, parent: ctx, held: c.held.Load(), request: "tier " + t.Tier, page: 1}
	step.Request = x.request
	page, err := c.plan.call(t, "")
	if err != nil {
		return x.fail(fanout.Broken, 0, err)
	}
	req, err := c.request(ctx, page, x.held, nil)
	if err != nil {
		return x.fail(fanout.Broken, 0, err)
	}
	for _, name := range slices.Sorted(maps.Keys(req.Header)) {
		for _, v := range req.Header[name] {
			step.Headers = append(step.Headers, x.held.mask.text(name+": "+v))
		}
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return x.fail(fanout.Broken, 0, err)
	}
	step.Sent = clip(x.held.mask.text(string(body)), mostShown)
	step.Request = x.held.mask.text(requestLine(req))
	return nil
}

// node is n with secrets masked that a vendor put into it.
func (m *masker) node(n fanout.Node) fanout.Node {
	out := fanout.Node{}
	for _, k := range n.Path {
		out.Path = append(out.Path, m.text(k))
	}
	for name, raw := range n.Carry {
		if out.Carry == nil {
			out.Carry = make(map[string]json.RawMessage)
		}
		out.Carry[name] = json.RawMessage(m.text(string(raw)))
	}
	return out
}
