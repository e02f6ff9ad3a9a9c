package fanout

import (
	"context"
	"errors"
	"time"
)

// commit carries a batch through the engine's order of writes. Each step is
// repeated in place until it succeeds or hard ends; between two steps a comment
// says what is true.
func (c *committer) commit(b openBatch) error {
	d := c.d
	c.mu.Lock()
	broken := c.broken
	c.mu.Unlock()
	if broken {
		d.meter.outcome(Returned, len(b.items))
		return context.Cause(d.hard)
	}
	for _, o := range b.objects {
		if err := d.persist("landing "+o.Object(), o.Commit); err != nil {
			d.meter.outcome(Returned, len(b.items))
			return err
		}
		d.meter.update(func(r *Report) { r.Objects++ })
	}
	items := b.items
	// All results of these items are durable. A receipt may have been lost since:
	// that does not matter, for of two workers' writes the first counts.
	steps := []struct {
		doing string
		do    func(context.Context, []item) error
	}{
		{"asking the ledger about lists that ended badly", c.checkLists},
		{"recording lists in the ledger", c.list},
		// Each list has one recorded form, durable in the landing: its nodes.
		{"claiming and sending children", c.send},
		// All children are on the queue below.
		{"noting that children are on the queue", c.markSent},
		{"sending dead letters", c.sendDead},
		{"settling tasks in the ledger", c.settle},
		// Every task that has an end is settled.
	}
	for _, s := range steps {
		if err := d.persist(s.doing, func(ctx context.Context) error { return s.do(ctx, items) }); err != nil {
			d.meter.outcome(Returned, len(items))
			return err
		}
	}
	c.conclude(items)
	return nil
}

// checkLists looks again at lists that are to end gone or dead: a list that
// another worker has recorded meanwhile counts, whatever came later.
func (c *committer) checkLists(ctx context.Context, items []item) error {
	if c.d.Tier.Below == "" {
		return nil
	}
	var at []int
	var tasks []Task
	for i, it := range items {
		if it.end != nil && it.end.Outcome != Done {
			at, tasks = append(at, i), append(tasks, it.del.Task)
		}
	}
	if len(at) == 0 {
		return nil
	}
	stands, err := c.d.Ledger.Look(ctx, tasks)
	if err != nil {
		return err
	}
	for j, i := range at {
		if last := stands[j].Last; last != nil && last.Chunk >= items[i].chunk && last.Fetch != items[i].fetch {
			items[i] = c.d.recorded(items[i].del, *last)
		}
	}
	return nil
}

// list records the chunks and adopts the rows that hold: of two fetches of one
// chunk the first recorded is the one that counts.
func (c *committer) list(ctx context.Context, items []item) error {
	var at []int
	var rows []Listed
	for i, it := range items {
		if it.part != nil && !it.recorded {
			at, rows = append(at, i), append(rows, *it.part)
		}
	}
	if len(rows) > 0 {
		won, err := c.d.Ledger.List(ctx, rows)
		if err != nil {
			return err
		}
		for j, i := range at {
			if won[j].Fetch != items[i].fetch {
				items[i] = c.d.recorded(items[i].del, won[j])
			}
		}
	}
	for i := range items {
		it := &items[i]
		if !it.recorded || it.part == nil || it.part.Sent || it.part.Children == 0 || it.nodes != nil {
			continue
		}
		nodes, err := c.d.Landing.Children(ctx, *it.part)
		if err != nil {
			return err
		}
		it.nodes = nodes
	}
	return nil
}

// send puts the children of all lists on the queue below, in one go. Children
// of a unique tier that another parent owns are not ours to send.
func (c *committer) send(ctx context.Context, items []item) error {
	d := c.d
	var children []Task
	var claims []Claim
	for _, it := range items {
		if it.recorded && it.part.Sent { // by the delivery that recorded it
			continue
		}
		for _, n := range it.nodes {
			child := it.del.Task.Child(d.Tier.Below, n)
			children = append(children, child)
			if d.Tier.Unique {
				claims = append(claims, Claim{Run: child.Run, Child: child.ID, Parent: it.del.Task.ID})
			}
		}
	}
	if len(claims) > 0 {
		mine, err := d.Ledger.Claim(ctx, claims)
		if err != nil {
			return err
		}
		owned := children[:0]
		for i, child := range children {
			if mine[i] {
				owned = append(owned, child)
			}
		}
		children = owned
	}
	if len(children) == 0 {
		return nil
	}
	if err := d.Next.Send(ctx, children); err != nil {
		return err
	}
	d.meter.update(func(r *Report) { r.Children += len(children) })
	return nil
}

// markSent notes it for chunks whose task goes on; a settled task needs no note.
func (c *committer) markSent(ctx context.Context, items []item) error {
	var rows []Listed
	for _, it := range items {
		if it.part != nil && !it.part.Final {
			rows = append(rows, *it.part)
		}
	}
	if len(rows) == 0 {
		return nil
	}
	return c.d.Ledger.MarkSent(ctx, rows)
}

func (c *committer) sendDead(ctx context.Context, items []item) error {
	var dead []Task
	for _, it := range items {
		if it.end != nil && it.end.Outcome == Dead {
			t := it.del.Task
			t.Dead = true
			dead = append(dead, t)
		}
	}
	if len(dead) == 0 {
		return nil
	}
	return c.d.Dead.Send(ctx, dead)
}

func (c *committer) settle(ctx context.Context, items []item) error {
	var ends []Settlement
	for _, it := range items {
		if it.end != nil {
			ends = append(ends, *it.end)
		}
	}
	if len(ends) == 0 {
		return nil
	}
	return c.d.Ledger.Settle(ctx, ends)
}

// conclude makes the one queue call that each delivery ends with. No heartbeat
// follows it. If it fails the task is delivered again, and found settled.
func (c *committer) conclude(items []item) {
	d := c.d
	var settled []Receipt
	var hides []Hide
	for _, it := range items {
		d.hearts.letGo(it.del.Receipt)
		if it.end != nil {
			settled = append(settled, it.del.Receipt)
			d.meter.outcome(it.end.Outcome, 1)
		} else {
			hides = append(hides, Hide{Receipt: it.del.Receipt, For: it.after})
			d.meter.outcome(it.outcome, 1)
		}
	}
	if len(settled) > 0 {
		if err := d.persist("deleting messages", func(ctx context.Context) error { return d.Queue.Delete(ctx, settled) }); err != nil {
			d.log.Warn("settled tasks stay on the queue; their next delivery removes them", "tier", d.Tier.Name, "err", err)
		}
	}
	if len(hides) > 0 {
		err := d.persist("giving chunked tasks back", func(ctx context.Context) error {
			if err := d.Queue.Hide(ctx, hides); !errors.Is(err, ErrReceiptLost) {
				return err
			}
			return nil
		})
		if err != nil {
			d.log.Warn("chunked tasks come back when their visibility ends", "tier", d.Tier.Name, "err", err)
		}
	}
}

// recorded is the ending of a delivery whose latest chunk the ledger has: its
// children are sent from the landing, without a call to the vendor.
func (d *drain) recorded(del Delivery, row Listed) item {
	it := item{del: del, fetch: row.Fetch, chunk: row.Chunk, part: &row, recorded: true, outcome: Returned}
	if row.Final {
		it.end = &Settlement{
			Task: del.Task, Outcome: Done, Fetch: row.Fetch, Object: row.Object, Chunk: row.Chunk,
			Children: row.Children, Rows: row.Rows, Pages: row.Pages, At: time.Now().UTC(),
		}
	}
	return it
}

// buried is the ending of a delivery whose task has used up its attempts.
func (d *drain) buried(del Delivery, st Standing) item {
	chunk := 0
	if st.Last != nil {
		chunk = st.Last.Chunk + 1
	}
	return item{del: del, chunk: chunk, end: &Settlement{
		Task: del.Task, Outcome: Dead, Chunk: chunk, Reason: st.Reason, At: time.Now().UTC(),
	}}
}
