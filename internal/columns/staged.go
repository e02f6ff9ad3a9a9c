package columns

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding"
)

// The lineage of a staged file: these columns, then one for each tier.
const (
	colRec = iota
	colRun
	colSource
	colUpload
	colTask
	colFetch
	colChunk
	colPage
	colRow
	colAt
	colPath
)

var lineageNames = [colPath]string{"_rec", "_run", "_source", "_upload", "_task", "_fetch", "_chunk", "_page", "_row", "_fetched_at"}

// lineage is where a row came from. Its bytes may be parts of a page.
type lineage struct {
	rec, chunk, page, row, at        int64
	run, source, upload, task, fetch []byte
	path                             [][]byte
}

// shape says in what forms the values of a field are kept in a file.
type shape struct {
	Name    string `json:"name"`
	Lit     bool   `json:"lit,omitempty"`
	Num     bool   `json:"num,omitempty"`
	Decimal bool   `json:"decimal,omitempty"` // numbers are digits<<5 | scale
	Nums    int    `json:"nums,omitempty"`    // about how many different numbers there are
	Text    bool   `json:"text,omitempty"`
	Texts   int    `json:"texts,omitempty"` // and texts
	Raw     bool   `json:"raw,omitempty"`
}

// stagedMetadata is what the file says of itself.
type stagedMetadata struct {
	Format int      `json:"staged"` // 1
	Path   []string `json:"path"`
	Rows   int      `json:"rows"`
	Fields []shape  `json:"fields"`
	Rest   bool     `json:"rest,omitempty"`
}

// root is the schema of a staged file.
func (m *stagedMetadata) root() *table {
	t := &table{}
	add := func(name string, node parquet.Node, how encoding.Encoding) {
		t.columns = append(t.columns, &leaf{parquet.Encoded(node, how), name})
	}
	either := func(different int, how encoding.Encoding) encoding.Encoding {
		if pays(different, min(m.Rows, stagedLayout.rows)) {
			return dictionary
		}
		return how
	}
	for i, name := range lineageNames {
		switch i {
		case colRec, colChunk, colPage:
			add(name, parquet.Leaf(parquet.Int64Type), dictionary)
		case colRow:
			add(name, parquet.Leaf(parquet.Int64Type), deltas)
		case colAt:
			add(name, parquet.Timestamp(parquet.Microsecond), dictionary)
		default:
			add(name, parquet.String(), dictionary)
		}
	}
	for _, tier := range m.Path {
		add("_"+tier, parquet.String(), dictionary)
	}
	for i, s := range m.Fields {
		name := "f" + strconv.Itoa(i)
		if s.Lit {
			add(name+"_lit", parquet.Optional(parquet.Leaf(parquet.Int32Type)), dictionary)
		}
		if s.Num {
			add(name+"_num", parquet.Optional(parquet.Leaf(parquet.Int64Type)), either(s.Nums, deltas))
		}
		if s.Text {
			add(name+"_text", parquet.Optional(parquet.Leaf(parquet.ByteArrayType)), either(s.Texts, texts))
		}
		if s.Raw {
			add(name+"_raw", parquet.Optional(parquet.Leaf(parquet.ByteArrayType)), dictionary)
		}
	}
	if m.Rest {
		add("_rest", parquet.Optional(parquet.Leaf(parquet.ByteArrayType)), texts)
	}
	return t
}

// parts are the columns of a field; -1: there is none.
type parts struct {
	lit, num, text, raw int
	decimal             bool
}

// columns finds the columns of each field, and of the rest.
func (m *stagedMetadata) columns() (fields []parts, rest, all int) {
	next := colPath + len(m.Path)
	take := func(has bool) int {
		if !has {
			return -1
		}
		next++
		return next - 1
	}
	for _, s := range m.Fields {
		fields = append(fields, parts{decimal: s.Decimal, lit: take(s.Lit), num: take(s.Num), text: take(s.Text), raw: take(s.Raw)})
	}
	rest = take(m.Rest)
	return fields, rest, next
}

// stagedWriter writes a staged file, row by row or, a chunk at a time, column
// by column.
type stagedWriter struct {
	*writer
	meta   stagedMetadata
	fields []parts
	seen   []FieldSeen
	rest   int
	copies bool // bytes given are not ours to keep
	staged Staged
	token  []byte // scratch
}

func newStagedWriter(w io.Writer, m stagedMetadata) (*stagedWriter, error) {
	m.Format = 1
	text, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("describe a staged file: %w", err)
	}
	out := &stagedWriter{meta: m, writer: newWriter(w, m.root(), stagedLayout, string(text)), seen: make([]FieldSeen, len(m.Fields))}
	out.fields, out.rest, _ = m.columns()
	return out, nil
}

// lineage sets the columns of the lineage.
func (w *stagedWriter) lineage(l *lineage) {
	for col, n := range [...]int64{colRec: l.rec, colChunk: l.chunk, colPage: l.page, colRow: l.row, colAt: l.at} {
		if col == colRec || col >= colChunk {
			w.set(col, parquet.Int64Value(n), 0)
		}
	}
	for col, b := range [...][]byte{colRun: l.run, colSource: l.source, colUpload: l.upload, colTask: l.task, colFetch: l.fetch} {
		if col != colRec {
			w.put(col, b, 0)
		}
	}
	for i, key := range l.path {
		w.put(colPath+i, key, 0)
	}
}

func (w *stagedWriter) put(col int, b []byte, definition int) {
	if w.copies {
		w.copied(col, b, definition)
	} else {
		w.bytes(col, b, definition)
	}
}

// cell sets the columns of a field: one to the value, the others to null.
func (w *stagedWriter) cell(i int, c cell) {
	p := &w.fields[i]
	set := -1
	switch c.form {
	case formNull, formFalse, formTrue:
		set = p.lit
		w.set(set, parquet.Int32Value(int32(c.form-formNull)), 1)
	case formInt:
		if p.decimal && (c.num >= maxDigit || c.num <= -maxDigit) {
			set = p.raw
			w.copied(set, strconv.AppendInt(w.token[:0], c.num, 10), 1)
			break
		}
		set = p.num
		if p.decimal {
			c.num <<= scaleBit
		}
		w.set(set, parquet.Int64Value(c.num), 1)
	case formDec:
		set = p.num
		w.set(set, parquet.Int64Value(c.num), 1)
	case formText:
		set = p.text
		w.put(set, c.bytes, 1)
	case formRaw:
		set = p.raw
		w.put(set, c.bytes, 1)
	}
	for _, col := range [...]int{p.lit, p.num, p.text, p.raw} {
		if col >= 0 && col != set {
			w.null(col)
		}
	}
}

// saw counts a value, and keeps the first of its kind as an example.
func (w *stagedWriter) saw(i int, c cell, k Kinds) {
	s := &w.seen[i]
	s.Rows++
	if s.Kinds&k != 0 {
		return
	}
	s.Kinds |= k
	if k != Null {
		if s.Examples == nil {
			s.Examples = map[string]string{}
		}
		s.Examples[k.String()] = example(c.token(nil))
	}
}

// close ends the file.
func (w *stagedWriter) close() (Staged, error) {
	if err := w.writer.close(); err != nil {
		return Staged{}, fmt.Errorf("write a staged file: %w", err)
	}
	w.staged.Fields = make(map[string]FieldSeen, len(w.seen))
	for i, seen := range w.seen {
		if seen.Rows > 0 {
			w.staged.Fields[w.meta.Fields[i].Name] = seen
		}
	}
	return w.staged, nil
}

// path counts rows by their key.
func (w *stagedWriter) path(keys []string, rows int) {
	if w.staged.Rows == 0 {
		w.staged.Least = slices.Clone(keys)
	}
	w.staged.Greatest = keys
	w.staged.Rows += rows
}
