package columns

import (
	"fmt"
	"io"
	"reflect"
	"runtime"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// table is the root of a file's schema. Unlike a parquet.Group it keeps the
// order of its columns.
type table struct {
	parquet.Group
	columns []parquet.Field
}

func (t *table) Fields() []parquet.Field { return t.columns }
func (t *table) GoType() reflect.Type    { return reflect.TypeFor[struct{}]() }
func (t *table) String() string          { return "table" }

// leaf is a column of a table.
type leaf struct {
	parquet.Node
	name string
}

func (l *leaf) Name() string                             { return l.name }
func (l *leaf) Value(reflect.Value) (none reflect.Value) { return none }

// layout is how a file is written.
type layout struct {
	group   int // bytes of a row group, raw
	rows    int // of a row group, about
	page    int // bytes of a page, raw
	version int // of data pages
	codec   *packer
	dict    int64 // bytes of a dictionary; behind them come plain pages
}

var (
	// Staged files are read by nobody but this package, soon and once.
	stagedLayout = layout{group: 4 << 20, rows: 20_000, page: 64 << 10, version: 2, codec: &packer{level: zstd.SpeedFastest}, dict: 256 << 10}
	// Published files are read for years by engines of every age.
	publishedLayout = layout{group: 32 << 20, rows: 200_000, page: 256 << 10, version: 1, codec: &packer{level: zstd.SpeedDefault}, dict: 1 << 20}
)

var (
	dictionary = &parquet.RLEDictionary
	deltas     = &parquet.DeltaBinaryPacked
	texts      = &parquet.DeltaLengthByteArray
)

// packer is zstd with a window for pages. Its encoders are made once: they
// take megabytes.
type packer struct {
	level   zstd.EncoderLevel
	once    sync.Once
	encoder *zstd.Encoder
}

func (p *packer) String() string                            { return "ZSTD" }
func (p *packer) CompressionCodec() format.CompressionCodec { return format.Zstd }

func (p *packer) Encode(dst, src []byte) ([]byte, error) {
	p.once.Do(func() {
		p.encoder, _ = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(runtime.GOMAXPROCS(0)), zstd.WithEncoderLevel(p.level),
			zstd.WithWindowSize(1<<20), zstd.WithZeroFrames(true), zstd.WithEncoderCRC(false))
	})
	return p.encoder.EncodeAll(src, dst[:0]), nil
}

func (p *packer) Decode(dst, src []byte) ([]byte, error) { return parquet.Zstd.Decode(dst, src) }

// writer writes a file row by row, gathering the values of a chunk of rows for
// each column before they go to Parquet.
type writer struct {
	to      *parquet.GenericWriter[any]
	columns []*parquet.ColumnWriter
	values  [][]parquet.Value
	nulls   []parquet.Value
	arena   []byte // of the chunk's values that are bytes
	layout  layout
	chunk   int // rows of a chunk
	waiting int // rows gathered
	size    int // bytes gathered
	raw     int // bytes of the row group
}

func newWriter(w io.Writer, root *table, l layout, metadata string) *writer {
	out := &writer{layout: l, chunk: min(max(1<<16/len(root.columns), 16), 1024)}
	out.to = parquet.NewGenericWriter[any](w, parquet.NewSchema("table", root),
		parquet.Compression(l.codec),
		parquet.PageBufferSize(l.page), parquet.DataPageVersion(l.version), // The index of pages has their least and greatest, cut short; page heads would have them whole.
		parquet.DataPageStatistics(false),
		parquet.DictionaryMaxBytes(l.dict), parquet.CreatedBy("sluice", "1", "0"),
		parquet.KeyValueMetadata(metadataKey, metadata))
	out.columns = out.to.ColumnWriters()
	out.values = make([][]parquet.Value, len(out.columns))
	for i := range out.columns {
		out.nulls = append(out.nulls, parquet.NullValue().Level(0, 0, i))
		out.values[i] = make([]parquet.Value, 0, out.chunk)
	}
	return out
}

// metadataKey is where a file says what this package must know to read it.
const metadataKey = "sluice"

// null and the like set the value of a column in the row under way.
func (w *writer) null(col int) {
	w.values[col] = append(w.values[col], w.nulls[col])
	w.size += 4 // levels take memory too
}

func (w *writer) set(col int, v parquet.Value, definition int) {
	w.values[col] = append(w.values[col], v.Level(0, definition, col))
	w.size += 8
}

// bytes takes bytes that stay as they are until the chunk is written.
func (w *writer) bytes(col int, b []byte, definition int) {
	w.values[col] = append(w.values[col], parquet.ByteArrayValue(b).Level(0, definition, col))
	w.size += 4 + len(b)
}

// copied takes bytes that change sooner.
func (w *writer) copied(col int, b []byte, definition int) {
	n := len(w.arena)
	w.arena = append(w.arena, b...)
	w.bytes(col, w.arena[n:len(w.arena):len(w.arena)], definition)
}

// maxChunk is how many bytes are gathered, about.
const maxChunk = 256 << 10

// end ends a row; full says that a row group ended with it.
func (w *writer) end() (full bool, err error) {
	w.waiting++
	if w.waiting < w.chunk && w.size < maxChunk {
		return false, nil
	}
	return w.endChunk()
}

// endChunk writes the rows gathered, and ends the row group when it has no room
// for as many more.
func (w *writer) endChunk() (full bool, err error) {
	if err := w.flush(); err != nil {
		return false, err
	}
	if w.raw+maxChunk <= w.layout.group {
		return false, nil
	}
	w.raw = 0
	return true, w.to.Flush()
}

// flush hands the chunk to the columns.
func (w *writer) flush() error {
	for i, values := range w.values {
		if len(values) != w.waiting {
			return fmt.Errorf("column %d has %d values in %d rows", i, len(values), w.waiting)
		}
		if len(values) == 0 {
			continue
		}
		if _, err := w.columns[i].WriteRowValues(values); err != nil {
			return err
		}
		w.values[i] = values[:0]
	}
	if cap(w.arena) > 1<<20 {
		w.arena = nil // a row of a monstrous size need not stay
	}
	w.arena = w.arena[:0]
	w.raw += w.size
	w.waiting, w.size = 0, 0
	return nil
}

func (w *writer) close() error {
	if err := w.flush(); err != nil {
		return err
	}
	return w.to.Close()
}
