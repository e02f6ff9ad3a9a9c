package lake

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/sluicehq/sluice/internal/columns"
	"github.com/sluicehq/sluice/internal/run"
)

// A Published is one table of a publication, as its manifest tells it.
type Published struct {
	Schema
	Generation string   `json:"generation"`
	Inputs     string   `json:"inputs"` // a digest of what its files were made of
	Rows       int      `json:"rows"`
	Files      []File   `json:"files"`
	Change     Change   `json:"change"`
	Misfits    []Misfit `json:"misfits,omitempty"`
}

// A File is one Parquet file.
type File struct {
	Name string `json:"name"`
	columns.Made
}

// A Misfit is a column whose values did not all have its type: those are in
// _variant, to the letter.
type Misfit struct {
	Column string `json:"column"`
	columns.Misfit
}

// bytes are those of all files.
func (p Published) bytes() (n int64) {
	for _, f := range p.Files {
		n += f.Bytes
	}
	return n
}

// A build makes one table of one run.
type build struct {
	l     *Lake
	run   run.Run
	table string
	soft  time.Time
	parts []input // sorted by the least key
	rows  int     // that must come out
	fresh Published
	same  *Line // of what is published already; nil: files are made
}

// build makes a table's files: merged in passes of as many files as are open at
// once, then cast.
func (b *build) build(ctx context.Context) error {
	l := b.l
	prefix := l.workPrefix(b.run.ID) + b.fresh.Generation + "/"
	made, there, err := l.begun(ctx, prefix+"made.json", l.prefix(b.table, b.run))
	if err != nil {
		return err
	}
	if there {
		b.fresh = made
		return nil
	}
	in := b.parts
	for pass := 0; ; pass++ {
		groups := l.groups(in)
		if len(groups) <= 1 {
			break
		}
		var next []input
		for n, group := range groups {
			out, _, err := l.gathered(ctx, fmt.Sprintf("%spass%d-%05d.parquet", prefix, pass, n), b.fresh.Path, group, b.soft)
			if err != nil {
				return err
			}
			next = append(next, out)
		}
		in = next
	}
	if l.late(b.soft) {
		return ErrUnfinished
	}
	if err := b.cast(ctx, in, prefix+"cast.json"); err != nil {
		return fmt.Errorf("making table %s of run %s: %w", b.table, b.run.ID, err)
	}
	return l.write(ctx, prefix+"made.json", b.fresh)
}

// begun reads what a try before has noted of the files that it made below prefix.
// It counts as long as they are all there: those that were not switched for long
// are deleted.
func (l *Lake) begun(ctx context.Context, note, prefix string) (made Published, there bool, err error) {
	if there, err = l.readIf(ctx, note, &made); !there || err != nil || len(made.Files) == 0 {
		return made, there, err
	}
	names, err := l.names(ctx, prefix)
	if err != nil {
		return Published{}, false, err
	}
	for _, f := range made.Files {
		if !slices.Contains(names, f.Name) {
			return Published{}, false, nil
		}
	}
	return made, true, nil
}

// cast writes the files that will be read. When soft comes, it notes which files
// there are, and the next try goes on behind them.
func (b *build) cast(ctx context.Context, in []input, progress string) error {
	opened, err := b.l.open(ctx, in)
	defer closeAll(opened)
	if err != nil {
		return err
	}
	had, _, err := b.l.begun(ctx, progress, b.l.prefix(b.table, b.run))
	if err != nil {
		return err
	}
	b.fresh.Files, b.fresh.Rows = had.Files, had.Rows
	prefix := b.l.prefix(b.table, b.run) + b.fresh.Generation
	n, first := len(had.Files), len(had.Files)
	var last *spool
	made, err := columns.CastOn(ctx, inputsOf(opened), b.fresh.columns(b.run.ID, b.l.Plan.Name), had.Rows, b.l.target(), func() (columns.File, error) {
		if b.l.late(b.soft) && n > first { // a try that makes no file would be repeated for ever
			return nil, ErrUnfinished
		}
		n++
		file, err := b.l.newSpool(ctx, fmt.Sprintf("%s-%05d.parquet", prefix, n-1))
		last = file
		return file, err
	})
	if last != nil {
		last.drop() // of the file that an error has ended nothing is kept
	}
	for i, m := range made {
		b.fresh.Files = append(b.fresh.Files, File{fmt.Sprintf("%s-%05d.parquet", prefix, first+i), m})
		b.fresh.Rows += m.Rows
	}
	if errors.Is(err, ErrUnfinished) {
		return errors.Join(b.l.write(ctx, progress, b.fresh), ErrUnfinished)
	}
	if err != nil {
		return err
	}
	b.fresh.misfits()
	if b.fresh.Rows != b.rows {
		return fmt.Errorf("%d rows were made of %d: this is a mistake in Sluice, and nothing is published", b.fresh.Rows, b.rows)
	}
	return nil
}

// misfits adds up what the files say of values that did not fit.
func (p *Published) misfits() {
	all := map[string]columns.Misfit{}
	for _, f := range p.Files {
		for column, fit := range f.Misfits {
			had, was := all[column]
			fit.Rows += had.Rows
			fit.Kinds |= had.Kinds
			if was {
				fit.Example, fit.Upload = had.Example, had.Upload
			}
			all[column] = fit
		}
	}
	p.Misfits = nil
	for _, column := range sortedKeys(all) {
		p.Misfits = append(p.Misfits, Misfit{column, all[column]})
	}
}

// columns is the schema as a file is written with it. What has no part in its rows
// stays out: a generation's files have the same bytes whoever makes them. Any table
// may need _variant on any day (a misfit, a text that is no Unicode), so each has it.
func (p Published) columns(run, source string) columns.Schema {
	s := columns.Schema{Path: p.Path, Run: run, Generation: p.Generation, Source: source, Key: p.Key, Variant: true}
	for _, c := range p.Columns {
		s.Columns = append(s.Columns, columns.Column{Name: c.Name, Field: c.Field, Type: c.Type})
	}
	return s
}

// A spool is a file under way that becomes an object when it is closed.
type spool struct {
	*os.File
	put func(*os.File) error
}

func (l *Lake) newSpool(ctx context.Context, name string) (*spool, error) {
	f, err := os.CreateTemp(l.Temp, "sluice-lake-*")
	if err != nil {
		return nil, err
	}
	// Its name is not needed any more: whatever happens, nothing of it stays.
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return &spool{f, func(f *os.File) error { return l.Store.PutFile(ctx, name, f) }}, nil
}

// Close makes the object durable.
func (s *spool) Close() error {
	err := s.put(s.File)
	s.drop()
	return err
}

// drop gives up what has not become an object.
func (s *spool) drop() { s.File.Close() } // it has no name, so nothing stays; twice is harmless

// digest names the inputs.
func (b *build) digest() string {
	var all []any
	for _, in := range b.parts {
		all = append(all, in.name, in.sum, in.rows)
	}
	return name(all...)
}

// generation names what comes out of these inputs with this schema. Files that
// are read, or that are being deleted, are never written again: then the name is
// another one.
func (b *build) generation(x *index, inputs string) string {
	for n := 0; ; n++ {
		g := name(version, b.run.ID, b.table, b.l.specID(), b.l.target(), inputs, b.fresh.Schema.layout(), n)
		if !x.taken(g) {
			return g
		}
	}
}

// layout is all of a schema that the files show.
func (s Schema) layout() []any {
	out := []any{s.Owner, s.Table, s.Path, s.Key, s.Template}
	for _, c := range s.Columns {
		out = append(out, []any{c.Name, c.Field, c.Type})
	}
	return out
}

// name is a name that follows from what it is derived from.
func name(from ...any) string {
	h := sha256.New()
	json.NewEncoder(h).Encode(from) // of plain data: it cannot fail
	return hex.EncodeToString(h.Sum(nil))[:16]
}
