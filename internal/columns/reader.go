package columns

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// reader reads the rows of a file one after the other. It holds one row group
// as it is stored, and of each column a page and a batch of values.
type reader struct {
	name    string
	at      io.ReaderAt
	size    int64
	file    *parquet.File
	group   int   // the next row group
	left    int64 // rows of this one behind the row it stands on
	stored  section
	columns []columnReader
}

// columnReader reads one column of a row group. Its values are good until it
// is asked for more.
type columnReader struct {
	pages  *parquet.FilePages
	page   parquet.Page
	values parquet.ValueReader
	batch  []parquet.Value
	at     int
	space  []parquet.Value
}

// A batch has so many values, fewer where there are many columns.
const (
	maxBatch = 128
	minBatch = 16
)

// tailSize is what is read of a file's end at once: its footer, mostly.
const tailSize = 64 << 10

// section is a part of a file in memory.
type section struct {
	base  int64
	bytes []byte
}

// ReadAt implements io.ReaderAt with the file's own offsets.
func (s *section) ReadAt(p []byte, off int64) (int, error) {
	if off < s.base || off > s.base+int64(len(s.bytes)) {
		return 0, io.ErrUnexpectedEOF
	}
	n := copy(p, s.bytes[off-s.base:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// read fills the section by one call.
func (s *section) read(at io.ReaderAt, base, size int64) error {
	if int64(cap(s.bytes)) < size {
		s.bytes = make([]byte, size)
	}
	s.base, s.bytes = base, s.bytes[:size]
	n, err := at.ReadAt(s.bytes, base)
	if int64(n) == size {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// guard makes an error of a panic: what a damaged file does to the decoder is
// no reason to fall.
func guard(name string, err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%s: it is damaged: %v", name, r)
	} else if *err != nil && !errors.As(*err, new(named)) {
		*err = named{name, *err}
	}
}

// named is an error with the file that it came from.
type named struct {
	name string
	err  error
}

func (n named) Error() string { return n.name + ": " + n.err.Error() }
func (n named) Unwrap() error { return n.err }

// open reads a file's footer; it decodes what the file says of itself.
func open(name string, at io.ReaderAt, size int64, metadata any) (r *reader, err error) {
	defer guard(name, &err)
	if size < 12 {
		return nil, fmt.Errorf("%d bytes are no Parquet file", size)
	}
	var tail section
	if err := tail.read(at, max(0, size-tailSize), min(size, tailSize)); err != nil {
		return nil, fmt.Errorf("read its end: %w", err)
	}
	if string(tail.bytes[len(tail.bytes)-4:]) != "PAR1" {
		return nil, errors.New("it is no Parquet file, or it was cut")
	}
	footer := int64(binary.LittleEndian.Uint32(tail.bytes[len(tail.bytes)-8:])) + 8
	if footer > size-4 {
		return nil, fmt.Errorf("its footer has %d bytes of %d", footer, size)
	}
	if footer > int64(len(tail.bytes)) {
		if err := tail.read(at, size-footer, footer); err != nil {
			return nil, fmt.Errorf("read its footer: %w", err)
		}
	}
	f, err := parquet.OpenFile(&tail, size, parquet.SkipMagicBytes(true), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, err
	}
	text, ok := f.Lookup(metadataKey)
	if !ok {
		return nil, errors.New("it says nothing of itself: another program wrote it")
	}
	if err := json.Unmarshal([]byte(text), metadata); err != nil {
		return nil, fmt.Errorf("what it says of itself: %w", err)
	}
	return &reader{name: name, at: at, size: size, file: f}, nil
}

// expect says whether the file has the columns of a schema.
func (r *reader) expect(root *table) (err error) {
	defer guard(r.name, &err)
	have := r.file.Root().Columns()
	if len(have) != len(root.columns) {
		return fmt.Errorf("it has %d columns, and says it has %d", len(have), len(root.columns))
	}
	for i, want := range root.columns {
		if c := have[i]; c.Name() != want.Name() || !c.Leaf() || c.Type().Kind() != want.Type().Kind() || c.Optional() != want.Optional() || c.Repeated() {
			return fmt.Errorf("column %d is not %s %s", i, want.Name(), want.Type())
		}
	}
	batch := min(max(1<<14/len(have), minBatch), maxBatch)
	space := make([]parquet.Value, batch*len(have))
	r.columns = make([]columnReader, len(have))
	for i := range r.columns {
		r.columns[i].space = space[i*batch : (i+1)*batch]
	}
	return nil
}

// next stands on the next row; false: there is none.
func (r *reader) next() (ok bool, err error) {
	for r.left == 0 {
		if ok, err := r.load(); !ok || err != nil {
			return false, err
		}
	}
	r.left--
	for i := range r.columns {
		c := &r.columns[i]
		if c.at++; c.at >= len(c.batch) {
			if err := r.fill(c); err != nil {
				return false, err
			}
		}
	}
	return true, nil
}

// value is that of the row that it stands on.
func (r *reader) value(col int) *parquet.Value {
	c := &r.columns[col]
	return &c.batch[c.at]
}

// load reads the next row group, by one call.
func (r *reader) load() (ok bool, err error) {
	defer guard(r.name, &err)
	for i := range r.columns {
		r.columns[i].close()
	}
	groups := r.file.RowGroups()
	if r.group == len(groups) {
		return false, nil
	}
	meta := &r.file.Metadata().RowGroups[r.group]
	start, end := r.size, int64(0)
	for i := range meta.Columns {
		from, to := extent(&meta.Columns[i].MetaData)
		start, end = min(start, from), max(end, to)
	}
	if start < 0 || start >= end || end > r.size || len(meta.Columns) != len(r.columns) || meta.NumRows < 0 {
		return false, fmt.Errorf("row group %d lies from byte %d to %d of %d", r.group, start, end, r.size)
	}
	if err := r.stored.read(r.at, start, end-start); err != nil {
		return false, fmt.Errorf("read row group %d: %w", r.group, err)
	}
	for i, c := range groups[r.group].ColumnChunks() {
		r.columns[i].pages = c.(*parquet.FileColumnChunk).PagesFrom(&r.stored)
	}
	r.group++
	r.left = meta.NumRows
	return true, nil
}

func extent(m *format.ColumnMetaData) (from, to int64) {
	from = m.DataPageOffset
	if m.DictionaryPageOffset > 0 {
		from = min(from, m.DictionaryPageOffset)
	}
	return from, from + m.TotalCompressedSize
}

// fill reads a column's next values, of its next page if this one is done.
func (r *reader) fill(c *columnReader) (err error) {
	defer guard(r.name, &err)
	for {
		if c.values == nil {
			if c.page, err = c.pages.ReadPage(); err != nil {
				return fmt.Errorf("a column ends early: %w", err)
			}
			c.values = c.page.Values()
		}
		n, err := c.values.ReadValues(c.space)
		if n > 0 {
			c.batch, c.at = c.space[:n], 0
			return nil
		}
		if err != nil && err != io.EOF {
			return err
		}
		parquet.Release(c.page)
		c.page, c.values = nil, nil
	}
}

func (c *columnReader) close() {
	if c.page != nil {
		parquet.Release(c.page)
	}
	if c.pages != nil {
		c.pages.Close()
	}
	c.pages, c.page, c.values, c.batch, c.at = nil, nil, nil, nil, 0
}

func (r *reader) close() {
	for i := range r.columns {
		r.columns[i].close()
	}
}
