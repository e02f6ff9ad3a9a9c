package columns

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"
)

// MaxFields is how many fields of a staged file have columns of their own.
const MaxFields = 1000

// maxName is how long a field's name may be to have a column.
const maxName = 1024

// maxColumn bounds the bytes of one column in memory: offsets have 31 bits.
const maxColumn = 1<<31 - 1

// Record is the lineage of one record (page) of a landed object.
type Record struct {
	Path        []string // the task's keys, one for each tier of the key path
	Task, Fetch string
	Chunk, Page int
	At          time.Time // when it was fetched
}

// Staging takes the rows of one landed object for one table and writes them as
// a staged file. It is not safe for concurrent use.
type Staging struct {
	source, run, upload string
	path                []string
	segments            []segment
	sizes               []int32 // bytes of each row, about
	bytes               int     // the sum of sizes
	largest             int     // bytes of the largest row
	fields              map[string]*field
	order               []*field // as they stood in the row before
	rest                *field   // of each row an object of what has no column
	scanner             scanner
	name                []byte // scratch: a field's name without escapes
}

// segment is the rows of one record, in the order in which they came.
type segment struct {
	Record
	rec   int32
	first int // the number of its first row within the record
	start int // its rows in the staging
	end   int
}

// field is a column in memory: the values of the rows that have it.
type field struct {
	name  string
	plain bool // the name has no escapes: it stands in the row as it is
	rows  []int32
	forms []uint8 // form, and the index of the kind above it
	nums  []int64 // of bytes: their start and length in data
	data  []byte
}

// NewStaging begins a staged file of a landed object. path names the tiers of
// the key path.
func NewStaging(source, run, upload string, path []string) *Staging {
	return &Staging{source: source, run: run, upload: upload, path: slices.Clone(path),
		fields: map[string]*field{}, rest: &field{}}
}

// Begin says that the rows that follow are of the landed object's record rec.
func (s *Staging) Begin(rec int, r Record) {
	r.Path = slices.Clone(r.Path)
	s.segments = append(s.segments, segment{Record: r, rec: int32(rec), start: len(s.sizes), end: len(s.sizes)})
}

// Rows is how many rows wait to be written.
func (s *Staging) Rows() int { return len(s.sizes) }

// Size is how many bytes of memory they take, about.
func (s *Staging) Size() int { return s.bytes + 16*len(s.sizes) }

// Add takes a row of the record begun last. After an error the row is not
// there, and everything before it is.
func (s *Staging) Add(row []byte) error {
	if len(s.segments) == 0 {
		return errors.New("a row belongs to no record")
	}
	if err := s.add(row); err != nil {
		s.undo()
		return fmt.Errorf("row %s: %w", example(row), err)
	}
	size := len(row) + 64 // the lineage of a row, about
	s.sizes = append(s.sizes, int32(min(size, maxColumn)))
	s.bytes += size
	s.largest = max(s.largest, len(row))
	s.segments[len(s.segments)-1].end = len(s.sizes)
	return nil
}

func (s *Staging) add(row []byte) error {
	i := space(row, 0)
	if i >= len(row) || row[i] != '{' {
		return errors.New("it is no object")
	}
	if i = space(row, i+1); i < len(row) && row[i] == '}' {
		return s.ends(row, i+1)
	}
	for at := 0; ; at++ {
		f, raw, end, err := s.field(row, i, at)
		if err != nil {
			return err
		}
		if i = space(row, end); i >= len(row) || row[i] != ':' {
			return unexpected(row, i)
		}
		end, c, k, err := s.scanner.value(row, space(row, i+1))
		if err != nil {
			return err
		}
		if f == nil {
			err = s.keep(raw, c)
		} else {
			err = f.add(int32(len(s.sizes)), c, k)
		}
		if err != nil {
			return err
		}
		if i = space(row, end); i >= len(row) || row[i] != ',' && row[i] != '}' {
			return unexpected(row, i)
		}
		if row[i] == '}' {
			return s.ends(row, i+1)
		}
		i = space(row, i+1)
	}
}

func (s *Staging) ends(row []byte, i int) error {
	if i = space(row, i); i < len(row) {
		return unexpected(row, i)
	}
	return nil
}

// field reads the name at row[i], of the at-th field of the row. Rows of a
// kind name the same fields in the same order, so that the field is mostly
// known by comparing bytes. No field: it goes to the rest, by its raw name.
func (s *Staging) field(row []byte, i, at int) (f *field, raw []byte, end int, err error) {
	if at < len(s.order) {
		f := s.order[at]
		end := i + 1 + len(f.name)
		if f.plain && end < len(row) && row[end] == '"' && row[i] == '"' && string(row[i+1:end]) == f.name {
			return f, nil, end + 1, nil
		}
	}
	end, escaped, err := scanString(row, i)
	if err != nil {
		return nil, nil, end, err
	}
	raw = row[i:end]
	name, ok := raw[1:len(raw)-1], true
	if escaped {
		s.name, ok = unescape(s.name[:0], name)
		name = s.name
	} else {
		ok = utf8.Valid(name)
	}
	if !ok || len(name) > maxName {
		return nil, raw, end, nil
	}
	if f = s.fields[string(name)]; f == nil {
		if len(s.fields) == MaxFields {
			return nil, raw, end, nil
		}
		f = &field{name: string(name)}
		f.plain = !bytes.ContainsAny(name, `"\`) && !bytes.ContainsFunc(name, func(r rune) bool { return r < ' ' })
		s.fields[f.name] = f
	}
	if at < len(s.order) {
		s.order[at] = f
	} else if at == len(s.order) {
		s.order = append(s.order, f)
	}
	return f, nil, end, nil
}

// keep adds a field to the row's object of the rest.
func (s *Staging) keep(raw []byte, c cell) error {
	row, r := int32(len(s.sizes)), s.rest
	if n := len(r.rows); n > 0 && r.rows[n-1] == row {
		r.data[len(r.data)-1] = ','
	} else {
		r.rows = append(r.rows, row)
		r.forms = append(r.forms, uint8(formRaw))
		r.nums = append(r.nums, int64(len(r.data))<<32)
		r.data = append(r.data, '{')
	}
	r.data = append(append(r.data, raw...), ':')
	r.data = append(c.token(r.data), '}')
	if len(r.data) > maxColumn {
		return errColumn
	}
	last := &r.nums[len(r.nums)-1]
	start := *last >> 32
	*last = start<<32 | (int64(len(r.data)) - start)
	return nil
}

var errColumn = errors.New("a column takes over 2 GB")

// add takes a row's value; one that the row gave before is forgotten.
func (f *field) add(row int32, c cell, k Kinds) error {
	if n := len(f.rows); n > 0 && f.rows[n-1] == row {
		f.drop()
	}
	num := c.num
	if c.form >= formText {
		if len(f.data)+len(c.bytes) > maxColumn {
			return errColumn
		}
		num = int64(len(f.data))<<32 | int64(len(c.bytes))
		f.data = append(f.data, c.bytes...)
	}
	f.rows = append(f.rows, row)
	f.forms = append(f.forms, uint8(c.form)|uint8(kindIndex(k))<<4)
	f.nums = append(f.nums, num)
	return nil
}

// drop forgets the last value.
func (f *field) drop() {
	n := len(f.rows) - 1
	if form(f.forms[n]&15) >= formText {
		f.data = f.data[:f.nums[n]>>32]
	}
	f.rows, f.forms, f.nums = f.rows[:n], f.forms[:n], f.nums[:n]
}

// undo forgets what is there of the row that was not taken.
func (s *Staging) undo() {
	row := int32(len(s.sizes))
	for _, f := range s.fields {
		if n := len(f.rows); n > 0 && f.rows[n-1] == row {
			f.drop()
		}
	}
	if n := len(s.rest.rows); n > 0 && s.rest.rows[n-1] == row {
		s.rest.drop()
	}
}

// cell is the i-th value.
func (f *field) cell(i int) cell {
	c := cell{form: form(f.forms[i] & 15), num: f.nums[i]}
	if c.form >= formText {
		start, n := c.num>>32, c.num&(1<<32-1)
		c.bytes = f.data[start : start+n]
	}
	return c
}

func (f *field) kind(i int) Kinds { return 1 << (f.forms[i] >> 4) }

func (f *field) clear() {
	f.rows, f.forms, f.nums, f.data = f.rows[:0], f.forms[:0], f.nums[:0], f.data[:0]
}

// clear empties the staging; the record begun last stays open. Buffers are
// kept unless there are many.
func (s *Staging) clear() {
	if n := len(s.segments); n > 0 {
		last := s.segments[n-1]
		last.first += last.end - last.start
		last.start, last.end = 0, 0
		s.segments = append(s.segments[:0], last)
	}
	if len(s.fields) > MaxFields/10 {
		s.fields, s.order = map[string]*field{}, nil
	}
	for _, f := range s.fields {
		f.clear()
	}
	s.rest.clear()
	s.sizes, s.bytes, s.largest = s.sizes[:0], 0, 0
}
