package lake

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluicehq/sluice/internal/columns"
	"github.com/sluicehq/sluice/internal/run"
)

// An index is what counts of a vendor's tables. It is one object, so that one
// write switches whatever belongs together.
type index struct {
	Lines  []Line
	Tables []Schema
	Drops  []drop

	tag string // of the version that was read
}

// A Line says that a run's rows of one table count. Readers join with it by run
// and generation.
type Line struct {
	Vendor     string    `json:"vendor"`
	Run        string    `json:"run"`
	Generation string    `json:"generation"`
	Owner      string    `json:"owner"`
	Table      string    `json:"table_name"`
	Rows       int       `json:"row_count"`
	Files      int       `json:"files"`
	Bytes      int64     `json:"bytes"`
	From       time.Time `json:"window_from"`
	To         time.Time `json:"window_to"`
	Date       string    `json:"window_date"` // that its files are kept under
	Opened     time.Time `json:"opened"`
	Published  time.Time `json:"published"`
	Manifest   string    `json:"manifest"`
	Prefix     string    `json:"prefix"` // of its files
	Spec       string    `json:"spec"`   // by which the rows were made
	Inputs     string    `json:"inputs"` // a digest of what they were made of
	Rev        int       `json:"rev"`    // of the run, when its ledger was read
	Epoch      int       `json:"epoch"`  // of the schema that the files have the types of
}

// A Schema is a table's columns, as all its published files have them. Its line
// in the index has no run, so that no row joins with it.
type Schema struct {
	Table    string           `json:"schema_of"`
	Owner    string           `json:"owner"`
	Path     []string         `json:"path,omitempty"` // tiers of the key path: columns _TIER
	Columns  []columns.Column `json:"columns"`
	Key      []string         `json:"key,omitempty"`
	Contract string           `json:"contract"`
	Template string           `json:"template"`
	Epoch    int              `json:"epoch,omitempty"` // grows when a type is widened
}

// A drop is files that do not count, and are to be deleted: those of a
// generation that has been replaced, or that was begun and perhaps never ended.
type drop struct {
	Generation string    `json:"dropped"`
	OfRun      string    `json:"of_run"`
	Table      string    `json:"of_table"`
	Prefix     string    `json:"prefix,omitempty"`
	At         time.Time `json:"at"`
	Manifest   string    `json:"of_manifest,omitempty"` // it is this, and no files
	Deleting   bool      `json:"deleting,omitempty"`    // for good: its name is not used again
}

// readIndex reads a vendor's index; one that is not there is empty.
func (l *Lake) readIndex(ctx context.Context) (*index, error) {
	data, tag, err := l.Store.Tag(ctx, l.indexName())
	if err != nil {
		return nil, fmt.Errorf("reading the index %s: %w", l.indexName(), err)
	}
	x, err := parseIndex(data)
	if err != nil {
		return nil, fmt.Errorf("the index %s: %w", l.indexName(), err)
	}
	x.tag = tag
	return x, nil
}

func parseIndex(data []byte) (*index, error) {
	x := &index{}
	for n, text := range bytes.Split(bytes.TrimSpace(data), []byte("\n")) {
		if len(text) == 0 {
			continue
		}
		var kind struct {
			Run, SchemaOf, Dropped string
		}
		var err error
		if err = json.Unmarshal(text, &struct {
			Run      *string `json:"run"`
			SchemaOf *string `json:"schema_of"`
			Dropped  *string `json:"dropped"`
		}{&kind.Run, &kind.SchemaOf, &kind.Dropped}); err == nil {
			switch {
			case kind.Run != "":
				x.Lines, err = added(x.Lines, text)
			case kind.SchemaOf != "":
				x.Tables, err = added(x.Tables, text)
			case kind.Dropped != "":
				x.Drops, err = added(x.Drops, text)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
		}
	}
	return x, nil
}

func added[T any](to []T, text []byte) ([]T, error) {
	var item T
	err := json.Unmarshal(text, &item)
	return append(to, item), err
}

// pack writes an index out: runs by window, tables by name.
func (x *index) pack() []byte {
	slices.SortStableFunc(x.Lines, func(a, b Line) int {
		if c := a.From.Compare(b.From); c != 0 {
			return c
		}
		return strings.Compare(a.Run+" "+a.Table, b.Run+" "+b.Table)
	})
	slices.SortFunc(x.Tables, func(a, b Schema) int { return strings.Compare(a.Owner+" "+a.Table, b.Owner+" "+b.Table) })
	slices.SortFunc(x.Drops, func(a, b drop) int { return strings.Compare(a.Generation, b.Generation) })
	var out bytes.Buffer
	enc := json.NewEncoder(&out) // of plain data: it cannot fail
	enc.SetEscapeHTML(false)
	for _, line := range x.Lines {
		enc.Encode(line)
	}
	for _, t := range x.Tables {
		enc.Encode(t)
	}
	for _, d := range x.Drops {
		enc.Encode(d)
	}
	return out.Bytes()
}

// swap puts an index in the place of the one that was read.
func (l *Lake) swap(ctx context.Context, x *index) error {
	tag, err := l.Store.Swap(ctx, l.indexName(), x.tag, x.pack())
	if err != nil {
		return fmt.Errorf("writing the index %s: %w", l.indexName(), err)
	}
	x.tag = tag
	return nil
}

func (x *index) line(run, table string) (Line, bool) {
	for _, line := range x.Lines {
		if line.Run == run && line.Table == table {
			return line, true
		}
	}
	return Line{}, false
}

func (x *index) schema(owner, table string) (Schema, bool) {
	for _, s := range x.Tables {
		if s.Owner == owner && s.Table == table {
			return s, true
		}
	}
	return Schema{}, false
}

// taken tells whether a generation's files are read or are being deleted.
func (x *index) taken(generation string) bool {
	return slices.ContainsFunc(x.Lines, func(l Line) bool { return l.Generation == generation }) ||
		slices.ContainsFunc(x.Drops, func(d drop) bool { return d.Generation == generation && d.Deleting })
}

// put adds lines and takes out those that they replace: of the same run and
// table, and all of other runs of the windows that are published. What is taken
// out is to be deleted when nobody reads it any more.
func (x *index) put(lines []Line, published []run.Run, now time.Time) {
	replaced := func(old Line) bool {
		return slices.ContainsFunc(lines, func(n Line) bool { return n.Run == old.Run && n.Table == old.Table }) ||
			slices.ContainsFunc(published, func(r run.Run) bool { return r.ID != old.Run && old.ofWindow(r) })
	}
	kept := x.Lines[:0:0]
	for _, old := range x.Lines {
		if !replaced(old) {
			kept = append(kept, old)
			continue
		}
		x.drop(drop{Generation: old.Generation, OfRun: old.Run, Table: old.Table, Prefix: old.Prefix, At: now})
	}
	before := x.Lines
	x.Lines = append(kept, lines...)
	for _, old := range before {
		if !slices.ContainsFunc(x.Lines, func(n Line) bool { return n.Manifest == old.Manifest }) {
			x.drop(drop{Generation: "manifest " + old.Manifest, OfRun: old.Run, Manifest: old.Manifest, At: now})
		}
	}
	for _, line := range lines {
		x.Drops = slices.DeleteFunc(x.Drops, func(d drop) bool { return d.Generation == line.Generation })
	}
	x.Tables = slices.DeleteFunc(x.Tables, func(s Schema) bool {
		return !slices.ContainsFunc(x.Lines, func(l Line) bool { return l.Table == s.Table && l.Owner == s.Owner })
	})
}

func (l Line) ofWindow(r run.Run) bool {
	return l.From.Equal(r.Window.From) && l.To.Equal(r.Window.To)
}

// drop notes that files are to be deleted some time after now.
func (x *index) drop(d drop) {
	x.Drops = append(slices.DeleteFunc(x.Drops, func(o drop) bool { return o.Generation == d.Generation }), d)
}

// setSchema puts a table's schema in the place of the one before.
func (x *index) setSchema(s Schema) {
	x.Tables = append(slices.DeleteFunc(x.Tables, func(o Schema) bool { return o.Owner == s.Owner && o.Table == s.Table }), s)
}
