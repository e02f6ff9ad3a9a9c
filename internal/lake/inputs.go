package lake

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluicehq/sluice/internal/columns"
	"github.com/sluicehq/sluice/internal/landing"
)

// An input is a staged file, and which of its records count.
type input struct {
	name    string
	marker  string // what says that it is there
	sum     string // SHA-256; empty: unknown
	size    int    // in bytes; 0: unknown
	rows    int
	largest int      // bytes of its largest row
	least   []string // its least key
	keep    *picked  // nil: all of them
}

func (in *input) of(s columns.Staged) { in.rows, in.largest, in.least = s.Rows, s.Largest, s.Least }

// errStale says that a staged file is not what its marker says. The marker has
// been removed, and what it is about is made anew.
var errStale = errors.New("a staged file is not as its marker says")

// inputs finds the parts of all tables, those with waste cleaned of it: what does
// not count must not decide about types. What is known of the parts' fields is
// united at once, since it is much.
func (p *publishing) inputs(ctx context.Context, l *Lake, soft time.Time) error {
	p.parts, p.rows, p.seen = map[string][]input{}, map[string]int{}, map[string]map[string]columns.FieldSeen{}
	dirty := map[string][]input{}
	var mu sync.Mutex
	err := each(ctx, 8, p.sel.objects, func(ctx context.Context, o *picked) error {
		if o.kept == 0 {
			return nil
		}
		var m marker
		if err := l.read(ctx, o.marker, &m); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		for i, rec := range m.Records {
			for table, n := range rec.Made {
				if o.keeps(int32(i)) {
					p.rows[table] += n
				}
			}
		}
		for _, part := range m.Parts {
			in := input{name: part.Name, marker: o.marker, sum: part.SHA256, size: part.Bytes}
			in.of(part.Staged)
			if o.kept < o.of {
				in.keep = o
				dirty[part.Table] = append(dirty[part.Table], in)
				continue
			}
			p.take(part.Table, in, part.Fields)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, table := range sortedKeys(dirty) {
		for _, in := range dirty[table] {
			clean := l.workPrefix(p.run.ID) + table + "-clean-" + name(in.name, in.sum, in.keep.keep) + ".parquet"
			out, fields, err := l.gathered(ctx, clean, l.paths(table), []input{in}, soft)
			if err != nil {
				return err
			}
			p.take(table, out, fields)
		}
	}
	for _, parts := range p.parts {
		slices.SortFunc(parts, func(a, b input) int {
			if c := slices.Compare(a.least, b.least); c != 0 {
				return c
			}
			return strings.Compare(a.name, b.name)
		})
	}
	return nil
}

// take adds a part of a table.
func (p *publishing) take(table string, in input, fields map[string]columns.FieldSeen) {
	if in.rows == 0 {
		return
	}
	p.parts[table] = append(p.parts[table], in)
	seen := p.seen[table]
	if seen == nil {
		seen = map[string]columns.FieldSeen{}
		p.seen[table] = seen
	}
	for field, s := range fields {
		seen[field] = seen[field].Union(s)
	}
}

// gathered merges inputs into one staged object, unless it is there already.
func (l *Lake) gathered(ctx context.Context, name string, path []string, in []input, soft time.Time) (out input, fields map[string]columns.FieldSeen, err error) {
	out = input{name: name, marker: name + ".json"}
	var staged columns.Staged
	there, err := l.readIf(ctx, out.marker, &staged)
	if err != nil {
		return out, nil, err
	}
	if !there {
		if l.late(soft) {
			return out, nil, ErrUnfinished
		}
		if staged, err = l.gather(ctx, name, path, in); err != nil {
			return out, nil, fmt.Errorf("merging %d staged files into %s: %w", len(in), name, err)
		}
		if err := l.write(ctx, out.marker, staged); err != nil {
			return out, nil, err
		}
	}
	out.of(staged)
	return out, staged.Fields, nil
}

func (l *Lake) gather(ctx context.Context, name string, path []string, in []input) (staged columns.Staged, err error) {
	opened, err := l.open(ctx, in)
	defer closeAll(opened)
	if err != nil {
		return staged, err
	}
	file, err := l.newSpool(ctx, name)
	if err != nil {
		return staged, err
	}
	defer file.drop()
	if staged, err = columns.Gather(ctx, file, path, inputsOf(opened)); err != nil {
		return staged, err
	}
	return staged, file.Close()
}

// mostMerged is how many bytes of row groups and rows the files that are merged
// at once may take, about.
const mostMerged = 192 << 20

// groups divides inputs into those that can be merged at once: as many as are to
// be open, and fewer where rows are long.
func (l *Lake) groups(in []input) (out [][]input) {
	size := 0
	for i, one := range in {
		// A row group of 4 MiB, packed and unpacked in part, and its largest row in
		// each of the places that it is copied to.
		takes := 3<<20 + 6*one.largest
		if n := len(out) - 1; i == 0 || len(out[n]) >= l.fan() || len(out[n]) > 1 && size+takes > mostMerged {
			out, size = append(out, nil), 0
		}
		out[len(out)-1] = append(out[len(out)-1], one)
		size += takes
	}
	return out
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

// openOne opens an input. One that is not there, or not as it was written, is
// given up with its marker.
func (l *Lake) openOne(ctx context.Context, in input) (landing.ReadAtCloser, int64, error) {
	if in.size == 0 || in.size > small {
		f, size, err := l.Store.Open(ctx, in.name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, 0, l.giveUp(ctx, in)
		}
		return f, size, err
	}
	r, err := l.Store.Get(ctx, in.name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, l.giveUp(ctx, in)
	}
	if err != nil {
		return nil, 0, err
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, small+1))
	if err != nil {
		return nil, 0, err
	}
	if sum := sha256.Sum256(data); in.sum != "" && hex.EncodeToString(sum[:]) != in.sum {
		return nil, 0, l.giveUp(ctx, in)
	}
	return whole{bytes.NewReader(data)}, int64(len(data)), nil
}

func (l *Lake) giveUp(ctx context.Context, in input) error {
	if err := l.Store.Delete(ctx, in.marker); err != nil {
		return fmt.Errorf("removing %s: %w", in.marker, err)
	}
	return errStale
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
