package lake

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sluicehq/sluice/internal/columns"
	"github.com/sluicehq/sluice/internal/run"
)

// attempt publishes runs over the index as it is now. landing.ErrSwapped:
// another publication has changed it.
func (l *Lake) attempt(ctx context.Context, all []*publishing, rebuild bool, soft time.Time) ([]Publication, error) {
	x, err := l.readIndex(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range all {
		for _, line := range x.Lines {
			if line.Run != p.run.ID && line.ofWindow(p.run) && line.Opened.After(p.run.Opened) {
				return nil, refuse(p.run.ID, "run %s of the same window is newer, and published", line.Run)
			}
		}
	}
	c := &change{l: l, x: x, all: all, soft: soft, rebuild: rebuild, builds: map[string][]*build{}, alone: map[string]bool{}}
	for _, table := range l.Plan.Lake.Tables {
		if err := c.plan(ctx, table.Name); err != nil {
			return nil, err
		}
	}
	return c.carryOut(ctx)
}

// A change is what a publication is about to do to the index.
type change struct {
	l       *Lake
	x       *index
	all     []*publishing
	soft    time.Time
	rebuild bool
	builds  map[string][]*build // by run
	new     []*build            // those that make files
	recasts []*recast
	schemas []Schema
	same    []Line          // whose files have the types of a new epoch already
	alone   map[string]bool // common tables that no other vendor feeds and whose runs are all made anew
}

// plan decides on one table's schema, and on what is to be made.
func (c *change) plan(ctx context.Context, table string) error {
	l := c.l
	had, was, err := c.had(ctx, table)
	if err != nil {
		return err
	}
	seen := map[string]columns.FieldSeen{}
	for _, p := range c.all {
		for field, s := range p.seen[table] {
			seen[field] = seen[field].Union(s)
		}
	}
	last := c.all[len(c.all)-1].run.ID
	schema, changed, err := l.merged(table, had, was, seen)
	if err != nil {
		return refuse(last, "table %s: %v", table, err)
	}
	c.schemas = append(c.schemas, schema)
	for _, p := range c.all {
		b := &build{l: l, run: p.run, table: table, soft: c.soft, parts: p.parts[table], rows: p.rows[table], fresh: Published{Schema: schema, Change: changed}}
		c.builds[p.run.ID] = append(c.builds[p.run.ID], b)
		inputs := b.digest()
		b.fresh.Inputs = inputs
		line, there := c.x.line(p.run.ID, table)
		if there && !c.rebuild && line.Inputs == inputs && line.Spec == l.specID() {
			b.same = &line
			continue
		}
		b.fresh.Generation = b.generation(c.x, inputs)
		c.new = append(c.new, b)
	}
	return c.planRecasts(ctx, schema)
}

// had is the schema that a table has had. Where all of its runs are made anew it
// has none, and without a column neither: nothing has been decided yet.
func (c *change) had(ctx context.Context, table string) (had Schema, was bool, err error) {
	l, owner := c.l, c.l.owner(table)
	whole := c.rebuild && c.whole(table)
	if !whole {
		for _, line := range c.x.Lines {
			if line.Table == table && line.Owner != owner {
				return had, false, refuse(c.all[len(c.all)-1].run.ID, "table %s is published as one of %s, and the spec makes it one of %s: `sluice lake rebuild --all %s` makes all runs anew", table, line.Owner, owner, l.Plan.Name)
			}
		}
	}
	if owner != common {
		had, was = c.x.schema(owner, table)
	} else {
		if had, was, err = l.commonSchema(ctx, table); err != nil {
			return had, false, err
		}
		if whole {
			if whole, err = l.feedsAlone(ctx, table); err != nil {
				return had, false, err
			}
			c.alone[table] = whole
		}
	}
	if whole || len(had.Columns) == 0 {
		return Schema{}, false, nil
	}
	return had, was, nil
}

// whole tells whether all runs that are published of a table are made anew.
func (c *change) whole(table string) bool {
	for _, line := range c.x.Lines {
		if line.Table == table && !slices.ContainsFunc(c.all, func(p *publishing) bool { return p.run.ID == line.Run }) {
			return false
		}
	}
	return true
}

// makeFiles makes all files that are missing. Nobody reads them before the switch.
func (c *change) makeFiles(ctx context.Context) error {
	for _, b := range c.new {
		if err := b.build(ctx); err != nil {
			return err
		}
		if m := b.fresh.Misfits; len(m) > 0 && b.fresh.Contract == "freeze" {
			return refuse(b.run.ID, "table %s: %d values of column %s are no %s, such as %s of landed object %s, and the contract is freeze", b.table, m[0].Rows, m[0].Column, b.typeOf(m[0].Column), m[0].Example, m[0].Upload)
		}
	}
	for _, r := range c.recasts {
		if err := r.carryOut(ctx, c.soft); err != nil {
			return err
		}
	}
	return pause(ctx, c.l.Settle)
}

// carryOut makes all files, then the manifests, then switches.
func (c *change) carryOut(ctx context.Context) ([]Publication, error) {
	l := c.l
	if err := c.announce(ctx); err != nil {
		return nil, err
	}
	if err := c.makeFiles(ctx); err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	var lines []Line
	var out []Publication
	for _, p := range c.all {
		pub, fresh, err := c.manifest(ctx, p, now)
		if err != nil {
			return nil, err
		}
		out, lines = append(out, pub), append(lines, fresh...)
	}
	others, err := c.recastManifests(ctx)
	if err != nil {
		return nil, err
	}
	lines = append(lines, others...)
	// All files and manifests are durable, and nobody sees any of them.
	for _, p := range c.all {
		if err := l.unchanged(ctx, p.run); err != nil {
			return nil, err
		}
	}
	if err := c.commonSchemas(ctx); err != nil {
		return nil, err
	}
	for _, s := range c.schemas {
		if s.Owner != common {
			c.x.setSchema(s)
		}
	}
	var published []run.Run
	for _, p := range c.all {
		published = append(published, p.run)
	}
	before := slices.Clone(c.x.Lines)
	for i, line := range c.x.Lines {
		for _, same := range c.same {
			if same.Generation == line.Generation {
				c.x.Lines[i].Epoch = same.Epoch
			}
		}
	}
	c.x.put(lines, published, now)
	if err := l.swap(ctx, c.x); err != nil {
		return nil, err
	}
	// The new rows count, the old ones do not.
	return out, c.tidy(ctx, out, before, now)
}

// pause waits, or returns why ctx has ended.
func pause(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

func (b *build) typeOf(column string) columns.Type {
	for _, c := range b.fresh.Columns {
		if c.Name == column {
			return c.Type
		}
	}
	return columns.Type{}
}

// announce notes what files are about to be made, so that what a crash leaves of
// them is deleted one day, and nothing of them before.
func (c *change) announce(ctx context.Context) error {
	now := time.Now().UTC()
	some := false
	note := func(d drop) {
		for _, known := range c.x.Drops {
			if known.Generation == d.Generation && now.Sub(known.At) < c.l.grace()/4 {
				return
			}
		}
		some = true
		c.x.drop(d)
	}
	for _, b := range c.new {
		note(drop{Generation: b.fresh.Generation, OfRun: b.run.ID, Table: b.table, Prefix: c.l.prefix(b.table, b.run), At: now})
	}
	for _, r := range c.recasts {
		note(drop{Generation: r.fresh.Generation, OfRun: r.line.Run, Table: r.line.Table, Prefix: r.line.Prefix, At: now})
	}
	if !some {
		return nil
	}
	return c.l.swap(ctx, c.x)
}

// manifest writes what a run's publication is, and returns the lines that are to
// stand for it in the index.
func (c *change) manifest(ctx context.Context, p *publishing, now time.Time) (Publication, []Line, error) {
	l := c.l
	pub := Publication{
		Vendor: l.Plan.Name, Run: p.run, Published: now, Spec: l.specID(), Pages: p.sel.pages, Waste: p.sel.waste, Left: p.left, Notes: p.notes,
	}
	for _, line := range c.x.Lines {
		if line.Run == p.run.ID && !slices.ContainsFunc(c.builds[p.run.ID], func(b *build) bool { return b.table == line.Table }) {
			pub.Notes = append(pub.Notes, fmt.Sprintf("table %s is no longer in the spec: its rows stay as they were published", line.Table))
		}
	}
	var gens []any
	for _, b := range c.builds[p.run.ID] {
		if b.same != nil {
			old, err := l.tableOf(ctx, *b.same)
			if err != nil {
				return pub, nil, err
			}
			epoch := b.fresh.Epoch // its files have the types of it, or are recast to them
			b.fresh = *old
			b.fresh.Epoch = epoch
			if r := c.recastOf(*b.same); r != nil {
				b.fresh = r.fresh
			}
		}
		pub.Tables = append(pub.Tables, &b.fresh)
		gens = append(gens, b.fresh.Generation)
	}
	at := l.manifestName(p.run.ID, name(gens...))
	if err := l.write(ctx, at, pub); err != nil {
		return pub, nil, err
	}
	var lines []Line
	for _, b := range c.builds[p.run.ID] {
		line := Line{
			Vendor: l.Plan.Name, Run: p.run.ID, Generation: b.fresh.Generation, Owner: b.fresh.Owner, Table: b.table, Rows: b.fresh.Rows, Files: len(b.fresh.Files), Bytes: b.fresh.bytes(),
			From: p.run.Window.From, To: p.run.Window.To, Date: l.date(p.run), Opened: p.run.Opened, Published: now, Manifest: at, Prefix: l.prefix(b.table, p.run), Spec: l.specID(), Inputs: b.fresh.Inputs, Rev: p.run.Rev, Epoch: b.fresh.Epoch,
		}
		lines = append(lines, line)
	}
	return pub, lines, nil
}

// published is what a run was published as, if its ledger is still the same; else
// nil. With another spec it is not made anew before somebody asks for that.
func (l *Lake) published(ctx context.Context, id string) (*Publication, error) {
	r, err := l.Runs.Get(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("publishing run %s: %w", id, err)
	}
	x, err := l.readIndex(ctx)
	if err != nil {
		return nil, err
	}
	at := ""
	for _, table := range l.Plan.Lake.Tables {
		line, there := x.line(id, table.Name)
		if !there || line.Rev != r.Rev || r.State != run.Closed {
			return nil, nil
		}
		at = line.Manifest
	}
	pub := &Publication{Unchanged: true}
	if err := l.read(ctx, at, pub); err != nil {
		return nil, err
	}
	return pub, l.tidied(ctx, *pub, nil)
}

// tableOf reads one table of the manifest that a line names.
func (l *Lake) tableOf(ctx context.Context, line Line) (*Published, error) {
	var pub Publication
	if err := l.read(ctx, line.Manifest, &pub); err != nil {
		return nil, err
	}
	for _, t := range pub.Tables {
		if t.Table == line.Table {
			return t, nil
		}
	}
	return nil, fmt.Errorf("the manifest %s has no table %s", line.Manifest, line.Table)
}
