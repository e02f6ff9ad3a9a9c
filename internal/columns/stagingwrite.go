package columns

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
)

// Write writes all rows in order and forgets them. The record begun last stays
// open, so that its rows can go on in the next file.
func (s *Staging) Write(to io.Writer) (Staged, error) {
	segments, err := s.sorted()
	if err != nil {
		return Staged{}, err
	}
	var fields []*field
	for _, name := range slices.Sorted(maps.Keys(s.fields)) {
		if f := s.fields[name]; len(f.rows) > 0 {
			fields = append(fields, f)
		}
	}
	m := stagedMetadata{Path: s.path, Rows: len(s.sizes), Rest: len(s.rest.rows) > 0}
	var seen sample
	for _, f := range fields {
		m.Fields = append(m.Fields, f.shape(&seen))
	}
	w, err := newStagedWriter(to, m)
	if err != nil {
		return Staged{}, err
	}
	for len(segments) > 0 {
		var spans []segment
		spans, segments = cut(segments, w.chunk, s.sizes)
		if err := s.chunk(w, fields, spans); err != nil {
			return Staged{}, fmt.Errorf("write a staged file: %w", err)
		}
	}
	w.staged.Rest, w.staged.Largest = len(s.rest.rows), s.largest
	staged, err := w.close()
	s.clear()
	return staged, err
}

// sorted are the records that have rows, in order.
func (s *Staging) sorted() ([]segment, error) {
	var sorted []segment
	for _, g := range s.segments {
		if len(g.Path) != len(s.path) {
			return nil, fmt.Errorf("record %d of %s has %d keys for %d tiers", g.rec, s.upload, len(g.Path), len(s.path))
		}
		if g.end > g.start {
			sorted = append(sorted, g)
		}
	}
	slices.SortStableFunc(sorted, func(a, b segment) int {
		return cmp.Or(slices.Compare(a.Path, b.Path), cmp.Compare(a.Chunk, b.Chunk), cmp.Compare(a.Page, b.Page),
			cmp.Compare(a.rec, b.rec), cmp.Compare(a.first, b.first))
	})
	return sorted, nil
}

// cut takes a chunk of rows off the segments.
func cut(segments []segment, rows int, sizes []int32) (spans, rest []segment) {
	room := maxChunk
	for len(segments) > 0 && rows > 0 && room > 0 {
		g := segments[0]
		end := g.start
		for end < g.end && rows > 0 && room > 0 {
			rows, room = rows-1, room-int(sizes[end])
			end++
		}
		span := g
		span.end = end
		spans = append(spans, span)
		if end == g.end {
			segments = segments[1:]
			continue
		}
		segments[0].first += end - g.start
		segments[0].start = end
	}
	return spans, segments
}

// chunk writes the rows of a chunk, column by column.
func (s *Staging) chunk(w *stagedWriter, fields []*field, spans []segment) error {
	run, source, upload := []byte(s.run), []byte(s.source), []byte(s.upload)
	rows := 0
	for _, g := range spans {
		l := lineage{rec: int64(g.rec), chunk: int64(g.Chunk), page: int64(g.Page), row: int64(g.first), at: g.At.UnixMicro(),
			run: run, source: source, upload: upload, task: []byte(g.Task), fetch: []byte(g.Fetch)}
		for _, key := range g.Path {
			l.path = append(l.path, []byte(key))
		}
		for range g.end - g.start {
			w.lineage(&l)
			l.row++
		}
		rows += g.end - g.start
		w.path(g.Path, g.end-g.start)
	}
	for i, f := range fields {
		for _, g := range spans {
			at, _ := slices.BinarySearch(f.rows, int32(g.start))
			for row := g.start; row < g.end; row++ {
				if at == len(f.rows) || f.rows[at] != int32(row) {
					w.cell(i, cell{})
					continue
				}
				c := f.cell(at)
				w.saw(i, c, f.kind(at))
				w.cell(i, c)
				at++
			}
		}
	}
	if w.rest >= 0 {
		s.others(w, spans)
	}
	w.waiting = rows
	_, err := w.endChunk()
	return err
}

func (s *Staging) others(w *stagedWriter, spans []segment) {
	for _, g := range spans {
		at, _ := slices.BinarySearch(s.rest.rows, int32(g.start))
		for row := g.start; row < g.end; row++ {
			if at == len(s.rest.rows) || s.rest.rows[at] != int32(row) {
				w.null(w.rest)
				continue
			}
			w.put(w.rest, s.rest.cell(at).bytes, 1)
			at++
		}
	}
}

// shape looks at what forms a column is made of, and how it is best encoded.
func (f *field) shape(seen *sample) shape {
	s := shape{Name: f.name}
	var has [8]bool
	long := false
	for i, b := range f.forms {
		fm := form(b & 15)
		has[fm] = true
		long = long || fm == formInt && (f.nums[i] >= maxDigit || f.nums[i] <= -maxDigit)
	}
	s.Lit = has[formNull] || has[formFalse] || has[formTrue]
	s.Decimal = has[formDec]
	s.Num = has[formInt] || has[formDec]
	s.Text = has[formText]
	s.Raw = has[formRaw] || s.Decimal && long
	s.Nums = seen.different(f, formInt, formDec)
	s.Texts = seen.different(f, formText, formText)
	return s
}

// sample are some values of a column.
type sample struct {
	texts map[string]struct{}
	nums  map[int64]struct{}
}

// different looks at some values of two forms and says about how many
// different ones there are: as many as are seen, where most are seen again;
// else as many as make so few meet (as with birthdays).
func (s *sample) different(f *field, a, b form) int {
	const size = 512
	if s.nums == nil {
		s.texts, s.nums = map[string]struct{}{}, map[int64]struct{}{}
	}
	clear(s.texts)
	clear(s.nums)
	looked := 0
	for i := 0; i < len(f.rows); i += max(1, len(f.rows)/size) {
		c := f.cell(i)
		switch {
		case c.form != a && c.form != b:
			continue
		case c.form == formText:
			s.texts[string(c.bytes)] = struct{}{}
		default:
			s.nums[c.num] = struct{}{}
		}
		looked++
	}
	seen := len(s.texts) + len(s.nums)
	if 2*seen <= looked {
		return seen
	}
	return looked * looked / (2*(looked-seen) + 1)
}

// pays says whether a dictionary of so many values is worth its place among
// so many rows.
func pays(different, rows int) bool { return 8*different <= rows }
