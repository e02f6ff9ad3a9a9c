package columns

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"
)

// publishedMetadata is what a published file says of itself.
type publishedMetadata struct {
	Format     int      `json:"published"` // 1
	Source     string   `json:"source"`
	Run        string   `json:"run"`
	Generation string   `json:"generation"`
	Path       []string `json:"path"`
	Columns    []Column `json:"columns"`
	Key        []string `json:"key,omitempty"`
	Variant    bool     `json:"variant,omitempty"`
	Plain      []string `json:"plain,omitempty"` // fields whose values seldom repeat
}

// The lineage of a published file, before the tiers' columns.
var constants = []string{"_run", "_generation", "_source", "_upload"}

// metadataOf is what a file of a schema says. Columns of no type are left out.
func metadataOf(s *Schema) (*publishedMetadata, error) {
	m := &publishedMetadata{Format: 1, Source: s.Source, Run: s.Run, Generation: s.Generation, Path: s.Path, Key: s.Key, Variant: s.Variant}
	for _, c := range s.Columns {
		if c.Type != (Type{}) {
			// Whatever else is known of a column does not show in its rows, and so
			// must not in its bytes.
			m.Columns = append(m.Columns, Column{Name: c.Name, Field: c.Field, Type: c.Type})
		}
	}
	fields, names := map[string]bool{}, map[string]bool{}
	for _, c := range m.Columns {
		if fields[c.Field] {
			return nil, fmt.Errorf("two columns take the field %q", c.Field)
		}
		fields[c.Field] = true
	}
	for _, key := range s.Key {
		if !fields[key] {
			return nil, fmt.Errorf("no column takes the field %q of the key", key)
		}
	}
	// Engines do not tell upper from lower case.
	for _, f := range m.root().columns {
		if name := strings.ToLower(f.Name()); names[name] || name == "" {
			return nil, fmt.Errorf("two columns are named %q, or one has no name", f.Name())
		} else {
			names[name] = true
		}
	}
	return m, nil
}

// places are the columns of a published file.
type places struct{ tiers, at, key, data, variant, all int }

func (m *publishedMetadata) places() (p places) {
	p = places{tiers: len(constants), at: len(constants) + len(m.Path), key: -1, variant: -1}
	p.data = p.at + 1
	if len(m.Key) > 0 {
		p.key = p.data
		p.data++
	}
	p.all = p.data + len(m.Columns)
	if m.Variant {
		p.variant = p.all
		p.all++
	}
	return p
}

// root is the schema of a published file.
func (m *publishedMetadata) root() *table {
	t := &table{}
	add := func(name string, node parquet.Node) {
		t.columns = append(t.columns, &leaf{parquet.Encoded(node, dictionary), name})
	}
	plain := func(name string, node parquet.Node) {
		t.columns = append(t.columns, &leaf{parquet.Encoded(node, &parquet.Plain), name})
	}
	for _, name := range constants {
		add(name, parquet.String())
	}
	for _, tier := range m.Path {
		add("_"+tier, parquet.String())
	}
	add("_fetched_at", parquet.Timestamp(parquet.Microsecond))
	if len(m.Key) > 0 {
		plain("_key", parquet.String())
	}
	for _, c := range m.Columns {
		if c.Type == TypeBool || slices.Contains(m.Plain, c.Field) {
			plain(c.Name, parquet.Optional(c.Type.node()))
		} else {
			add(c.Name, parquet.Optional(c.Type.node()))
		}
	}
	if m.Variant {
		add("_variant", parquet.Optional(parquet.String()))
	}
	return t
}

// node is how a type is written. JSON is text for Parquet: not every engine
// knows more.
func (t Type) node() parquet.Node {
	switch {
	case t == TypeInt:
		return parquet.Int(64)
	case t == TypeDouble:
		return parquet.Leaf(parquet.DoubleType)
	case t == TypeBool:
		return parquet.Leaf(parquet.BooleanType)
	case t == TypeDate:
		return parquet.Date()
	case t.IsTime():
		return parquet.Timestamp(parquet.Microsecond)
	case t.Name == "decimal":
		return parquet.Decimal(t.Scale, t.Precision, parquet.Int64Type)
	}
	return parquet.String()
}

// counted counts and hashes what is written.
type counted struct {
	to   io.Writer
	n    int64
	hash hash.Hash
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.n += int64(n)
	c.hash.Write(p[:n])
	return n, err
}

// encode chooses how columns are encoded, by what was seen when their values
// were staged.
func (m *publishedMetadata) encode(all []*cursor) {
	rows := 0
	different := map[string]int{}
	for _, c := range all {
		rows += c.meta.Rows
		for _, s := range c.meta.Fields {
			different[s.Name] = max(different[s.Name], s.Nums, s.Texts)
		}
	}
	for _, c := range m.Columns {
		if !pays(different[c.Field], min(rows, publishedLayout.rows)) {
			m.Plain = append(m.Plain, c.Field)
		}
	}
}

// making is a published file under way.
type making struct {
	*writer
	out  *counted
	made Made
}

// make begins a published file; groups is how many bytes its row groups have,
// raw.
func (m *publishedMetadata) make(to io.Writer, groups int) (*making, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("describe a published file: %w", err)
	}
	l := publishedLayout
	l.group = min(max(groups, 2*maxChunk), l.group)
	out := &counted{to: to, hash: sha256.New()}
	return &making{writer: newWriter(out, m.root(), l, string(text)), out: out}, nil
}

// path counts a row by its key.
func (m *making) path(keys []string) {
	if m.made.Rows == 0 {
		m.made.Least = slices.Clone(keys)
	}
	m.made.Greatest = keys
	m.made.Rows++
}

// finish ends the file.
func (m *making) finish() (Made, error) {
	if err := m.close(); err != nil {
		return Made{}, fmt.Errorf("write a published file: %w", err)
	}
	m.made.Bytes, m.made.SHA256 = m.out.n, hex.EncodeToString(m.out.hash.Sum(nil))
	return m.made, nil
}

// openPublished opens a published file.
func openPublished(at io.ReaderAt, size int64) (r *reader, m *publishedMetadata, err error) {
	const name = "published file"
	m = &publishedMetadata{}
	if r, err = open(name, at, size, m); err != nil {
		return nil, nil, err
	}
	if m.Format != 1 {
		return nil, nil, named{name, errors.New("it is no published file")}
	}
	return r, m, r.expect(m.root())
}
