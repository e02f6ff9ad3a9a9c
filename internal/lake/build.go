package lake

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sluicehq/sluice/internal/columns"
	"github.com/sluicehq/sluice/internal/landing"
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

// An input is a staged file, and which of its records count.
type input struct {
	name   string
	sum    string
	size   int     // in bytes; 0: unknown
	keep   *picked // nil: all of them
	staged columns.Staged
}

// inputs are the parts of a table, those with waste cleaned of it: what does not
// count must not decide about types.
func (l *Lake) inputs(ctx context.Context, r run.Run, s *selection, table string, soft time.Time) (out []input, rows int, err error) {
	for _, o := range s.objects {
		rows += o.made[table]
		if o.kept == 0 {
			continue
		}
		for _, p := range o.parts {
			if p.Table != table {
				continue
			}
			in := input{name: p.Name, sum: p.SHA256, size: p.Bytes, staged: p.Staged}
			if o.kept < o.of {
				in.keep = o
				if in, err = l.cleaned(ctx, r, table, in, soft); err != nil {
					return nil, 0, err
				}
			}
			if in.staged.Rows > 0 {
				out = append(out, in)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b input) int {
		if c := slices.Compare(a.staged.Least, b.staged.Least); c != 0 {
			return c
		}
		return strings.Compare(a.name, b.name)
	})
	return out, rows, nil
}

// cleaned is a staged file without the records that do not count.
func (l *Lake) cleaned(ctx context.Context, r run.Run, table string, in input, soft time.Time) (input, error) {
	clean := l.workPrefix(r.ID) + table + "-clean-" + name(in.sum, in.keep.keep) + ".parquet"
	return l.gathered(ctx, clean, l.paths(table), []input{in}, soft)
}

// gathered merges inputs into one staged object, unless it is there already.
func (l *Lake) gathered(ctx context.Context, name string, path []string, in []input, soft time.Time) (input, error) {
	out := input{name: name}
	there, err := l.readIf(ctx, name+".json", &out.staged)
	if there || err != nil {
		return out, err
	}
	if l.late(soft) {
		return out, ErrUnfinished
	}
	opened, err := l.open(ctx, in)
	defer closeAll(opened)
	if err != nil {
		return out, err
	}
	file, err := l.newSpool(ctx, name)
	if err != nil {
		return out, err
	}
	if out.staged, err = columns.Gather(ctx, file, path, inputsOf(opened)); err != nil {
		file.File.Close() // nothing of it is kept
	} else {
		err = file.Close()
	}
	if err != nil {
		return out, fmt.Errorf("merging %d staged files into %s: %w", len(in), name, err)
	}
	return out, l.write(ctx, name+".json", out.staged)
}

// An opened input can be read.
type opened struct {
	columns.Input
	file landing.ReadAtCloser
}

func (l *Lake) open(ctx context.Context, in []input) (out []opened, err error) {
	for _, i := range in {
		f, size, err := l.openOne(ctx, i)
		if err != nil {
			return out, fmt.Errorf("opening %s: %w", i.name, err)
		}
		o := opened{columns.Input{Name: i.name, File: f, Size: size}, f}
		if i.keep != nil {
			o.Keep = i.keep.keeps
		}
		out = append(out, o)
	}
	return out, nil
}

// small is a file that is read whole, in one request, rather than in ranges.
const small = 1 << 20

func (l *Lake) openOne(ctx context.Context, in input) (landing.ReadAtCloser, int64, error) {
	if in.size == 0 || in.size > small {
		return l.Store.Open(ctx, in.name)
	}
	r, err := l.Store.Get(ctx, in.name)
	if err != nil {
		return nil, 0, err
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, small+1))
	return whole{bytes.NewReader(data)}, int64(len(data)), err
}

// whole is a file in memory.
type whole struct{ *bytes.Reader }

func (whole) Close() error { return nil }

func inputsOf(all []opened) (out []columns.Input) {
	for _, o := range all {
		out = append(out, o.Input)
	}
	return out
}

func closeAll(all []opened) {
	for _, o := range all {
		o.file.Close() // it was only read
	}
}

// build makes a table's files: merged in passes of as many files as are open at
// once, then cast.
func (b *build) build(ctx context.Context) error {
	prefix := b.l.workPrefix(b.run.ID) + b.fresh.Generation + "/"
	there, err := b.l.readIf(ctx, prefix+"made.json", &b.fresh)
	if there || err != nil {
		return err
	}
	in := b.parts
	for pass := 0; len(in) > b.l.fan(); pass++ {
		var next []input
		for n, group := range slices.Collect(slices.Chunk(in, b.l.fan())) {
			out, err := b.l.gathered(ctx, fmt.Sprintf("%spass%d-%05d.parquet", prefix, pass, n), b.fresh.Path, group, b.soft)
			if err != nil {
				return err
			}
			next = append(next, out)
		}
		in = next
	}
	if b.l.late(b.soft) {
		return ErrUnfinished
	}
	if err := b.cast(ctx, in, prefix+"cast.json"); err != nil {
		return fmt.Errorf("making table %s of run %s: %w", b.table, b.run.ID, err)
	}
	return b.l.write(ctx, prefix+"made.json", b.fresh)
}

// cast writes the files that will be read. When soft comes, it notes which files
// there are, and the next try goes on behind them.
func (b *build) cast(ctx context.Context, in []input, progress string) error {
	opened, err := b.l.open(ctx, in)
	defer closeAll(opened)
	if err != nil {
		return err
	}
	had := b.fresh // what a try before this has made
	if _, err := b.l.readIf(ctx, progress, &had); err != nil {
		return err
	}
	b.fresh.Files, b.fresh.Rows = had.Files, had.Rows
	prefix := b.l.prefix(b.table, b.run) + b.fresh.Generation
	n, first := len(had.Files), len(had.Files)
	made, err := columns.CastOn(ctx, inputsOf(opened), b.fresh.columns(b.run.ID, b.l.Plan.Name), had.Rows, b.l.target(), func() (columns.File, error) {
		if b.l.late(b.soft) && n > first { // a try that makes no file would be repeated for ever
			return nil, ErrUnfinished
		}
		n++
		return b.l.newSpool(ctx, fmt.Sprintf("%s-%05d.parquet", prefix, n-1))
	})
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

// columns is the schema as a file is written with it.
func (p Published) columns(run, source string) columns.Schema {
	return columns.Schema{Path: p.Path, Run: run, Generation: p.Generation, Source: source, Columns: p.Columns, Key: p.Key, Variant: p.Variant}
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
	if err := s.put(s.File); err != nil {
		s.File.Close()
		return err
	}
	return s.File.Close()
}

// digest names the inputs.
func (b *build) digest() string {
	h := sha256.New()
	enc := json.NewEncoder(h)
	for _, in := range b.parts {
		enc.Encode([]any{in.name, in.sum, in.staged.Rows})
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// generation names what comes out of these inputs with this schema.
func (b *build) generation(inputs string) string {
	return name(version, b.run.ID, b.table, b.l.specID(), b.l.target(), inputs, b.fresh.Schema.layout())
}

// layout is all of a schema that the files show.
func (s Schema) layout() []any {
	out := []any{s.Owner, s.Table, s.Path, s.Key, s.Variant, s.Template}
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
