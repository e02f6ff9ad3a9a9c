package columns

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
)

// cursor stands on a row of a staged input.
type cursor struct {
	*reader
	keep   func(rec int32) bool
	index  int
	meta   stagedMetadata
	fields []parts
	rest   int
	line   lineage
	object []byte // of the record, a copy
	goes   bool   // the row is of the same record as the one before
	plan   plan   // of a cast
	gather []int  // of a gathering: the field of the output, or -1
}

// openCursor opens an input; its first row is still to come.
func openCursor(in Input, index int, path []string) (*cursor, error) {
	name := in.Name
	if name == "" {
		name = fmt.Sprintf("input %d", index)
	}
	c := &cursor{keep: in.Keep, index: index}
	var err error
	if c.reader, err = open(name, in.File, in.Size, &c.meta); err != nil {
		return nil, err
	}
	if c.meta.Format != 1 {
		return nil, named{name, errors.New("it is no staged file")}
	}
	if !slices.Equal(c.meta.Path, path) {
		return nil, named{name, fmt.Errorf("its tiers are %q, not %q", c.meta.Path, path)}
	}
	if err := c.expect(c.meta.root()); err != nil {
		return nil, err
	}
	c.fields, c.rest, _ = c.meta.columns()
	c.line.path = make([][]byte, len(path))
	return c, nil
}

// advance stands on the next row that counts; false: there is none.
func (c *cursor) advance() (ok bool, err error) {
	for {
		if ok, err := c.next(); !ok || err != nil {
			return false, err
		}
		rec, row := c.value(colRec).Int64(), c.value(colRow).Int64()
		upload := c.value(colUpload).ByteArray()
		if c.goes = rec == c.line.rec && row == c.line.row+1 && bytes.Equal(upload, c.object); !c.goes {
			c.object = append(c.object[:0], upload...)
		}
		c.line.rec, c.line.row = rec, row
		if c.keep == nil || c.keep(int32(rec)) {
			c.where(upload)
			return true, nil
		}
	}
}

// where takes the rest of the lineage from the row.
func (c *cursor) where(upload []byte) {
	c.line.upload = upload
	c.line.chunk, c.line.page, c.line.at = c.value(colChunk).Int64(), c.value(colPage).Int64(), c.value(colAt).Int64()
	c.line.run, c.line.source = c.value(colRun).ByteArray(), c.value(colSource).ByteArray()
	c.line.task, c.line.fetch = c.value(colTask).ByteArray(), c.value(colFetch).ByteArray()
	for i := range c.line.path {
		c.line.path[i] = c.value(colPath + i).ByteArray()
	}
}

// cell is the row's value of a field.
func (c *cursor) cell(p *parts) cell {
	if p.text >= 0 {
		if v := c.value(p.text); !v.IsNull() {
			return cell{form: formText, bytes: v.ByteArray()}
		}
	}
	if p.num >= 0 {
		if v := c.value(p.num); !v.IsNull() {
			n := v.Int64()
			switch {
			case !p.decimal:
				return cell{form: formInt, num: n}
			case n&maxScale == 0:
				return cell{form: formInt, num: n >> scaleBit}
			}
			return cell{form: formDec, num: n}
		}
	}
	if p.lit >= 0 {
		if v := c.value(p.lit); !v.IsNull() {
			return cell{form: formNull + form(v.Int32())}
		}
	}
	if p.raw >= 0 {
		if v := c.value(p.raw); !v.IsNull() {
			return cell{form: formRaw, bytes: v.ByteArray()}
		}
	}
	return cell{}
}

// merge gives the rows of sorted inputs in order.
type merge struct {
	ctx     context.Context
	all     []*cursor
	heap    []*cursor // that have a row; the least is first
	started bool
	rows    int
}

func openMerge(ctx context.Context, in []Input, path []string) (m *merge, err error) {
	m = &merge{ctx: ctx}
	defer func() {
		if err != nil {
			m.close()
		}
	}()
	for i, input := range in {
		c, err := openCursor(input, i, path)
		if err != nil {
			return m, err
		}
		m.all = append(m.all, c)
	}
	return m, nil
}

func (m *merge) close() {
	for _, c := range m.all {
		c.close()
	}
}

// next is the cursor with the next row; nil: there is none.
func (m *merge) next() (*cursor, error) {
	if m.rows++; m.rows&1023 == 1 && m.ctx.Err() != nil {
		return nil, context.Cause(m.ctx)
	}
	if !m.started {
		m.started = true
		return m.start()
	}
	if len(m.heap) == 0 {
		return nil, nil
	}
	top := m.heap[0]
	ok, err := top.advance()
	if err != nil {
		return nil, err
	}
	if !ok {
		last := len(m.heap) - 1
		m.heap[0] = m.heap[last]
		m.heap = m.heap[:last]
		top.close()
	}
	if !ok || !top.goes {
		m.sink(0)
	}
	return m.first(), nil
}

func (m *merge) first() *cursor {
	if len(m.heap) == 0 {
		return nil
	}
	return m.heap[0]
}

func (m *merge) start() (*cursor, error) {
	for _, c := range m.all {
		c.line.row = -2 // no row before
		ok, err := c.advance()
		if err != nil {
			return nil, err
		}
		if ok {
			m.heap = append(m.heap, c)
		}
	}
	for i := len(m.heap)/2 - 1; i >= 0; i-- {
		m.sink(i)
	}
	return m.first(), nil
}

// sink restores the heap below i.
func (m *merge) sink(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(m.heap); child++ {
			if m.heap[child].compare(m.heap[least]) < 0 {
				least = child
			}
		}
		if least == i {
			return
		}
		m.heap[i], m.heap[least] = m.heap[least], m.heap[i]
		i = least
	}
}

// compare orders cursors by the rows that they stand on.
func (c *cursor) compare(o *cursor) int {
	for i := range c.line.path {
		if n := bytes.Compare(c.line.path[i], o.line.path[i]); n != 0 {
			return n
		}
	}
	return cmp.Or(cmp.Compare(c.line.chunk, o.line.chunk), cmp.Compare(c.line.page, o.line.page), bytes.Compare(c.line.upload, o.line.upload),
		cmp.Compare(c.line.rec, o.line.rec), cmp.Compare(c.line.row, o.line.row), cmp.Compare(c.index, o.index))
}
