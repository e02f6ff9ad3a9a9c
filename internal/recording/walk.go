package recording

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/vendorapi"
)

// Bounds are how much of a vendor's tree a walk sees.
type Bounds struct {
	Calls int `json:"calls"` // in all
	Nodes int `json:"nodes"` // of each tier that had something below them
	Pages int `json:"pages"` // of each list
}

// A Caller makes one page's call, as a client does.
type Caller func(ctx context.Context, t fanout.Task, cursor string) (fanout.Page, error)

// Walk walks some of a vendor's tree, the same part each time for the same answers,
// and writes down what a spec makes of it. What the vendor refuses, and what never
// reached it, end the walk; other failures are part of it.
func Walk(ctx context.Context, plan *vendorapi.Plan, w fanout.Window, b Bounds, call Caller) (text string, calls int, err error) {
	wk := &walk{plan: plan, call: call, bounds: b, seen: map[string]bool{}}
	tasks := plan.Root("recording", w)
	for i := range plan.Tiers {
		// What is left is shared by the tiers that are to come.
		tasks, err = wk.tier(ctx, tasks, max((b.Calls-wk.calls)/(len(plan.Tiers)-i), 1))
		if err != nil || wk.calls >= b.Calls {
			break
		}
	}
	return wk.out.String(), wk.calls, err
}

type walk struct {
	plan   *vendorapi.Plan
	call   Caller
	bounds Bounds
	seen   map[string]bool
	calls  int
	out    strings.Builder
}

// tier walks a tier's tasks, as far as its bounds go, and finds those of the one
// below.
func (w *walk) tier(ctx context.Context, tasks []fanout.Task, calls int) (below []fanout.Task, err error) {
	until, fruitful := min(w.calls+calls, w.bounds.Calls), 0
	for _, t := range tasks {
		if w.calls >= until || fruitful >= w.bounds.Nodes {
			break
		}
		if w.seen[t.ID] {
			continue
		}
		w.seen[t.ID] = true
		found, rows, err := w.task(ctx, t, until)
		if err != nil {
			return below, err
		}
		if len(found)+rows > 0 {
			fruitful++
		}
		below = append(below, found...)
	}
	return below, nil
}

// task walks the pages of one.
func (w *walk) task(ctx context.Context, t fanout.Task, until int) (below []fanout.Task, rows int, err error) {
	cursor := ""
	for n := 1; n <= w.bounds.Pages && w.calls < until; n++ {
		w.calls++
		w.title(t, n)
		page, err := w.call(ctx, t, cursor)
		var ce *fanout.CallError
		if errors.As(err, &ce) && ce.Status != 0 && ce.Class != fanout.Refused && ce.Class != fanout.Throttled {
			w.printf("  status %d, %s: %v\n", ce.Status, ce.Class, ce.Err)
			return below, rows, nil
		}
		if err != nil {
			return below, rows, err
		}
		w.page(ctx, t, cursor, page)
		if next := w.plan.Below(t.Tier); next != "" {
			for _, c := range page.Children {
				below = append(below, t.Child(next, c))
			}
		}
		rows += page.Rows
		if page.Release != nil {
			page.Release()
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	return below, rows, nil
}

func (w *walk) printf(format string, args ...any) { fmt.Fprintf(&w.out, format, args...) }

// title is the line that begins what one page gave.
func (w *walk) title(t fanout.Task, page int) {
	w.printf("%s", t.Tier)
	for _, k := range t.Path {
		w.printf(" %s", text(k))
	}
	w.printf(" page %d\n", page)
}

// page writes down what a page was taken apart into.
func (w *walk) page(ctx context.Context, t fanout.Task, cursor string, p fanout.Page) {
	end := "the last page"
	if p.Next != "" {
		end = "more pages follow"
	}
	w.printf("  status %d, nodes %d, rejects %d, rows %d, %s\n", p.Status, len(p.Children), p.Rejects, p.Rows, end)
	for _, n := range p.Children {
		w.printf("  node")
		for _, k := range own(t, n) {
			w.printf(" %s", text(k))
		}
		for _, name := range slices.Sorted(maps.Keys(n.Carry)) {
			w.printf(" %s=%s", name, n.Carry[name])
		}
		w.printf("\n")
	}
	tables := w.plan.TablesOf(t)
	for _, table := range tables {
		name := ""
		if len(tables) > 1 {
			name = table + " "
		}
		for row, err := range w.plan.Rows(ctx, t, cursor, p.Body, table) {
			if err != nil {
				w.printf("  rows: %v\n", err)
				return
			}
			w.printf("  row %s%s\n", name, row)
		}
	}
}

// own is what of a node's path the task does not have.
func own(t fanout.Task, n fanout.Node) []string {
	if len(n.Path) > len(t.Path) && slices.Equal(n.Path[:len(t.Path)], t.Path) {
		return n.Path[len(t.Path):]
	}
	return n.Path
}

// text is a key on one line.
func text(s string) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return fmt.Sprintf("%q", s)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
