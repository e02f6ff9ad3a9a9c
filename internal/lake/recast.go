package lake

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/sluicehq/sluice/internal/columns"
)

// A recast makes a run's files of a table again because a type has been widened
// since: all files of a table have one schema, so that every engine can read
// them together.
type recast struct {
	l     *Lake
	work  string // prefix of what is under way
	line  Line
	from  *Published
	fresh Published
}

// planRecasts finds the published runs whose files have other types than the
// schema. Those that only lack columns stay as they are: engines read null.
func (c *change) planRecasts(ctx context.Context, s Schema) error {
	for _, line := range c.x.Lines {
		if line.Table != s.Table || line.Owner != s.Owner || line.Epoch == s.Epoch || slices.ContainsFunc(c.new, func(b *build) bool { return b.run.ID == line.Run && b.table == line.Table }) {
			continue
		}
		if slices.ContainsFunc(c.all, func(p *publishing) bool {
			return p.run.ID != line.Run && line.ofWindow(p.run)
		}) {
			continue // it is about to leave the index
		}
		from, err := c.l.tableOf(ctx, line)
		if err != nil {
			return err
		}
		if sameTypes(from.Columns, s.Columns) {
			line.Epoch = s.Epoch
			c.same = append(c.same, line)
			continue
		}
		r := &recast{l: c.l, work: c.l.workPrefix(c.all[len(c.all)-1].run.ID), line: line, from: from, fresh: Published{Schema: s, Inputs: line.Inputs}}
		for n := 0; r.fresh.Generation == "" || c.x.taken(r.fresh.Generation); n++ {
			r.fresh.Generation = name(version, "recast", line.Generation, s.layout(), n)
		}
		c.recasts = append(c.recasts, r)
	}
	return nil
}

func sameTypes(old, now []columns.Column) bool {
	for _, o := range old {
		for _, n := range now {
			if n.Field == o.Field && n.Type != o.Type {
				return false
			}
		}
	}
	return true
}

// carryOut writes the files, each of which stays where it was, under the new
// generation's name. What is made is noted file by file, so that the next try
// goes on behind it.
func (r *recast) carryOut(ctx context.Context, soft time.Time) error {
	progress := r.work + r.fresh.Generation + "/recast.json"
	had, _, err := r.l.begun(ctx, progress, r.line.Prefix)
	if err != nil {
		return err
	}
	r.fresh.Files, r.fresh.Rows, r.fresh.Misfits = had.Files, had.Rows, r.from.Misfits
	for n := len(r.fresh.Files); n < len(r.from.Files); n++ {
		if r.l.late(soft) {
			return ErrUnfinished
		}
		old := r.from.Files[n].Name
		file := fmt.Sprintf("%s%s-%05d.parquet", r.line.Prefix, r.fresh.Generation, n)
		m, err := r.file(ctx, old, file)
		if err != nil {
			return fmt.Errorf("making %s again with wider types: %w", old, err)
		}
		r.fresh.Files = append(r.fresh.Files, File{file, m})
		r.fresh.Rows += m.Rows
		if err := r.l.write(ctx, progress, r.fresh); err != nil {
			return err
		}
	}
	if r.fresh.Rows != r.from.Rows {
		return fmt.Errorf("run %s, table %s: %d rows were made again of %d: this is a mistake in Sluice, and nothing is published", r.line.Run, r.line.Table, r.fresh.Rows, r.from.Rows)
	}
	return nil
}

func (r *recast) file(ctx context.Context, from, to string) (m columns.Made, err error) {
	in, size, err := r.l.Store.Open(ctx, from)
	if err != nil {
		return m, err
	}
	defer in.Close()
	out, err := r.l.newSpool(ctx, to)
	if err != nil {
		return m, err
	}
	defer out.drop()
	if m, err = columns.Recast(ctx, in, size, r.fresh.columns(r.line.Run, r.l.Plan.Name), out); err != nil {
		return m, err
	}
	return m, out.Close()
}

// recastOf is the recast of what a line stands for; nil: it stays.
func (c *change) recastOf(line Line) *recast {
	for _, r := range c.recasts {
		if r.line.Generation == line.Generation {
			return r
		}
	}
	return nil
}

// recastManifests writes the manifests of runs that are not published now and
// have tables that were recast, and returns the lines of those runs.
func (c *change) recastManifests(ctx context.Context) (lines []Line, err error) {
	byRun := map[string]*Publication{}
	for _, r := range c.recasts {
		if slices.ContainsFunc(c.all, func(p *publishing) bool { return p.run.ID == r.line.Run }) {
			continue // its manifest has the table already
		}
		pub := byRun[r.line.Run]
		if pub == nil {
			pub = &Publication{}
			if err := c.l.read(ctx, r.line.Manifest, pub); err != nil {
				return nil, err
			}
			byRun[r.line.Run] = pub
		}
		for i, t := range pub.Tables {
			if t.Table == r.line.Table {
				pub.Tables[i] = &r.fresh
			}
		}
	}
	for _, run := range sortedKeys(byRun) {
		pub := byRun[run]
		var gens []any
		for _, t := range pub.Tables {
			gens = append(gens, t.Generation)
		}
		at := c.l.manifestName(run, name(gens...))
		if err := c.l.write(ctx, at, pub); err != nil {
			return nil, err
		}
		for _, line := range c.x.Lines {
			if line.Run != run {
				continue
			}
			if r := c.recastOf(line); r != nil {
				line.Generation, line.Files, line.Bytes, line.Epoch = r.fresh.Generation, len(r.fresh.Files), r.fresh.bytes(), r.fresh.Epoch
			}
			line.Manifest = at
			lines = append(lines, line)
		}
	}
	return lines, nil
}

// ofGeneration tells whether an object below a prefix is a file of a generation.
func ofGeneration(object, prefix, generation string) bool {
	return path.Dir(object)+"/" == prefix && strings.HasPrefix(path.Base(object), generation+"-")
}
