package lake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/sluicehq/sluice/internal/columns"
)

// A Table is one that can be read: its columns, and the runs whose rows count.
type Table struct {
	Schema
	Lines []Line // by window; of a common table all vendors' runs
}

// Rows are those that count.
func (t Table) Rows() (n int) {
	for _, line := range t.Lines {
		n += line.Rows
	}
	return n
}

// Bytes are those of all files.
func (t Table) Bytes() (n int64) {
	for _, line := range t.Lines {
		n += line.Bytes
	}
	return n
}

// Layout is the columns of the table's files, lineage first, with the types
// that they have there.
func (t Table) Layout() (out []columns.Column) {
	text := func(name string) { out = append(out, columns.Column{Name: name, Type: columns.TypeText}) }
	for _, name := range []string{"_run", "_generation", "_source", "_upload"} {
		text(name)
	}
	for _, tier := range t.Path {
		text("_" + tier)
	}
	out = append(out, columns.Column{Name: "_fetched_at", Type: columns.TypeTimestamp})
	if len(t.Key) > 0 {
		text("_key")
	}
	out = append(out, t.Columns...)
	text("_variant")
	return out
}

// A Catalog is what a lake holds for readers.
type Catalog struct {
	Tables   []Table // by owner and name
	Refusals []Refusal
}

// Read reads the catalog of a lake: of one vendor and the tables that it shares,
// or of all vendors if vendor is empty.
func Read(ctx context.Context, store Store, vendor string) (Catalog, error) {
	var c Catalog
	l := &Lake{Store: store}
	names, err := l.names(ctx, "published/")
	if err != nil {
		return c, err
	}
	tables := map[string]*Table{}
	for _, name := range names {
		x, err := readPublished(ctx, store, name)
		if err != nil {
			return c, err
		}
		own := vendor == "" || strings.TrimSuffix(path.Base(name), ".ndjson") == vendor
		if err := c.add(ctx, l, x, own, tables); err != nil {
			return c, err
		}
	}
	for _, key := range sortedKeys(tables) {
		t := tables[key]
		slices.SortStableFunc(t.Lines, func(a, b Line) int { return a.From.Compare(b.From) })
		mine := func(line Line) bool { return vendor == "" || line.Vendor == vendor }
		if t.Owner != common || slices.ContainsFunc(t.Lines, mine) {
			c.Tables = append(c.Tables, *t)
		}
	}
	return c, c.refusals(ctx, l, vendor)
}

func readPublished(ctx context.Context, store Store, name string) (*index, error) {
	r, err := store.Get(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return &index{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the index %s: %w", name, err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("reading the index %s: %w", name, err)
	}
	x, err := parseIndex(data)
	if err != nil {
		return nil, fmt.Errorf("the index %s: %w", name, err)
	}
	return x, nil
}

// add takes a vendor's index into the catalog; own: its own tables too, and not
// only those that it shares.
func (c *Catalog) add(ctx context.Context, l *Lake, x *index, own bool, tables map[string]*Table) error {
	for _, line := range x.Lines {
		if line.Owner != common && !own {
			continue
		}
		key := line.Owner + " " + line.Table
		t := tables[key]
		if t == nil {
			s, there := x.schema(line.Owner, line.Table)
			if line.Owner == common {
				var err error
				if s, there, err = l.commonSchema(ctx, line.Table); err != nil {
					return err
				}
			}
			if !there {
				return fmt.Errorf("the index has rows of table %s of %s, and no schema of it", line.Table, line.Owner)
			}
			t = &Table{Schema: s}
			tables[key] = t
		}
		t.Lines = append(t.Lines, line)
	}
	return nil
}

func (c *Catalog) refusals(ctx context.Context, l *Lake, vendor string) error {
	prefix := "refused/"
	if vendor != "" {
		prefix += vendor + "/"
	}
	names, err := l.names(ctx, prefix)
	if err != nil {
		return err
	}
	for _, name := range names {
		var r Refusal
		if there, err := l.readIf(ctx, name, &r); err != nil {
			return err
		} else if there {
			c.Refusals = append(c.Refusals, r)
		}
	}
	return nil
}

// Manifest reads what a line's run was published as.
func Manifest(ctx context.Context, store Store, line Line) (Publication, error) {
	var pub Publication
	err := (&Lake{Store: store}).read(ctx, line.Manifest, &pub)
	return pub, err
}

// Published tells whether a run's rows count, and since when.
func (c Catalog) Published(run string) (at time.Time, ok bool) {
	for _, t := range c.Tables {
		for _, line := range t.Lines {
			if line.Run == run {
				return line.Published, true
			}
		}
	}
	return time.Time{}, false
}

// Find is a table by its name, or by OWNER.NAME.
func (c Catalog) Find(name string) (Table, error) {
	var found []Table
	var known []string
	for _, t := range c.Tables {
		full := t.Owner + "." + t.Table
		known = append(known, full)
		if name == t.Table || name == full {
			found = append(found, t)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return Table{}, fmt.Errorf("the lake has no table %q: it has %s", name, list(known))
	}
	return Table{}, fmt.Errorf("several tables are called %q: name one of %s", name, list(known))
}

// Rows calls each for every row of a table that counts, run by run in the order
// of their windows, and in a run in the order of the task keys. values are nil,
// bool, int64, float64, string and time.Time, and valid until each returns.
// only, if not nil, tells which runs are wanted.
func Rows(ctx context.Context, store Store, t Table, only func(Line) bool, each func(names []string, values []any) error) error {
	l := &Lake{Store: store}
	layout := t.Layout()
	names := make([]string, len(layout))
	for i, c := range layout {
		names[i] = c.Name
	}
	for _, line := range t.Lines {
		if only != nil && !only(line) {
			continue
		}
		published, err := l.tableOf(ctx, line)
		if err != nil {
			return err
		}
		for _, f := range published.Files {
			if err := l.rowsOf(ctx, f.Name, names, each); err != nil {
				return fmt.Errorf("reading %s: %w", f.Name, err)
			}
		}
	}
	return nil
}

// rowsOf reads a file's rows in the order of the table's columns, those that it
// does not have being nil.
func (l *Lake) rowsOf(ctx context.Context, file string, names []string, each func([]string, []any) error) error {
	f, size, err := l.Store.Open(ctx, file)
	if err != nil {
		return err
	}
	defer f.Close()
	row := make([]any, len(names))
	var from []int // of each column, where it is in the file
	return columns.Each(ctx, f, size, func(have []string, values []any) error {
		if from == nil {
			for _, name := range names {
				from = append(from, slices.Index(have, name))
			}
		}
		for i, at := range from {
			if row[i] = nil; at >= 0 {
				row[i] = values[at]
			}
		}
		return each(names, row)
	})
}

// JSON is a manifest for people and programs.
func (p Publication) JSON() ([]byte, error) { return json.MarshalIndent(p, "", "  ") }
