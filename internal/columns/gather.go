package columns

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
)

// Gather merges sorted staged inputs, whose tiers are path, into one sorted
// staged file of the rows that count. Kinds are those of the rows kept.
func Gather(ctx context.Context, to io.Writer, path []string, in []Input) (Staged, error) {
	m, err := openMerge(ctx, in, path)
	if err != nil {
		return Staged{}, fmt.Errorf("gather: %w", err)
	}
	defer m.close()
	w, err := newStagedWriter(to, union(m.all, path))
	if err != nil {
		return Staged{}, err
	}
	w.copies = true
	at := make(map[string]int, len(w.meta.Fields))
	for i, s := range w.meta.Fields {
		at[s.Name] = i
	}
	for _, c := range m.all {
		c.gather = make([]int, len(w.meta.Fields))
		for i := range c.gather {
			c.gather[i] = -1
		}
		for i, s := range c.meta.Fields {
			if out, ok := at[s.Name]; ok {
				c.gather[out] = i
			}
		}
	}
	g := gathering{stagedWriter: w}
	for _, s := range w.meta.Fields {
		g.names = append(g.names, len(quote(nil, s.Name))+len(":,"))
	}
	for {
		c, err := m.next()
		if err != nil {
			return Staged{}, fmt.Errorf("gather: %w", err)
		}
		if c == nil {
			break
		}
		if err := g.row(c); err != nil {
			return Staged{}, fmt.Errorf("gather: %w", err)
		}
		if _, err := w.end(); err != nil {
			return Staged{}, fmt.Errorf("write a staged file: %w", err)
		}
	}
	return w.close()
}

// union is what the columns of all inputs fit in. Beyond MaxFields names, the
// first in order have columns.
func union(all []*cursor, path []string) stagedMetadata {
	m := stagedMetadata{Path: path}
	shapes := map[string]shape{}
	for _, c := range all {
		m.Rest = m.Rest || c.meta.Rest
		m.Rows += c.meta.Rows // at most
		for _, s := range c.meta.Fields {
			u := shapes[s.Name]
			u.Name = s.Name
			u.Lit, u.Num, u.Decimal = u.Lit || s.Lit, u.Num || s.Num, u.Decimal || s.Decimal
			u.Text, u.Raw = u.Text || s.Text, u.Raw || s.Raw
			u.Nums, u.Texts = max(u.Nums, s.Nums), max(u.Texts, s.Texts)
			shapes[s.Name] = u
		}
	}
	for _, name := range slices.Sorted(maps.Keys(shapes)) {
		if len(m.Fields) == MaxFields {
			m.Rest = true
			break
		}
		s := shapes[name]
		s.Raw = s.Raw || s.Decimal // long integers do not fit beside decimals
		m.Fields = append(m.Fields, s)
	}
	return m
}

// gathering copies rows.
type gathering struct {
	*stagedWriter
	object []byte   // scratch: the row's rest
	keys   []string // the path of the record
	names  []int    // of each field: the bytes of its name in a row
}

// row copies the row that a cursor stands on.
func (g *gathering) row(c *cursor) (err error) {
	defer guard(c.name, &err)
	if !c.goes || g.keys == nil {
		g.keys = make([]string, len(c.line.path))
		for i, key := range c.line.path {
			g.keys[i] = string(key)
		}
	}
	g.path(g.keys, 1)
	g.lineage(&c.line)
	size := len("{}")
	for out, in := range c.gather {
		if in < 0 {
			g.cell(out, cell{})
			continue
		}
		v := c.cell(&c.fields[in])
		if v.form != formNone {
			g.saw(out, v, v.kind())
			size += g.names[out] + v.size()
		}
		g.cell(out, v)
	}
	if g.rest >= 0 {
		g.others(c)
		size += len(g.object)
	}
	g.staged.Largest = max(g.staged.Largest, size)
	return nil
}

// others makes the row's rest of the input's, and of fields that have no
// column here.
func (g *gathering) others(c *cursor) {
	g.object = g.object[:0]
	if c.rest >= 0 {
		if v := c.value(c.rest); !v.IsNull() {
			g.object = append(g.object, v.ByteArray()...)
		}
	}
	last := g.meta.Fields[max(0, len(g.meta.Fields)-1):]
	for i := len(c.meta.Fields) - 1; i >= 0 && len(last) > 0 && c.meta.Fields[i].Name > last[0].Name; i-- {
		v := c.cell(&c.fields[i])
		if v.form == formNone {
			continue
		}
		if n := len(g.object); n > 0 {
			g.object[n-1] = ','
		} else {
			g.object = append(g.object, '{')
		}
		g.object = append(quote(g.object, c.meta.Fields[i].Name), ':')
		g.object = append(v.token(g.object), '}')
	}
	if len(g.object) == 0 {
		g.null(g.rest)
		return
	}
	g.staged.Rest++
	g.copied(g.rest, g.object, 1)
}
