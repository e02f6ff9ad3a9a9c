package lake

import (
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/run"
)

// A selection is which records of a run's staged objects count. It takes a bit
// for each record, besides the objects' names.
type selection struct {
	objects []*picked // in the order of their names
	pages   int       // landed pages that count
	waste   int       // those that do not
}

// A picked object is one with the records that count.
type picked struct {
	marker string
	keep   []uint64 // a bit for each record
	kept   int
	of     int
}

func (p *picked) keeps(rec int32) bool {
	return int(rec)/64 < len(p.keep) && p.keep[rec/64]&(1<<(rec%64)) != 0
}

// partSize is how many fetches are held at once: of a larger run the number of
// passes over the ledger grows. 1<<19 take about 40 MB.
var partSize = 1 << 19

// A mark stands for one part of one task as one fetch found it: 128 bits of a
// hash.
type mark [2]uint64

var markSeeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

func markOf(task, fetch string, chunk int) mark {
	text := task + " " + fetch + " " + strconv.Itoa(chunk)
	return mark{maphash.String(markSeeds[0], text), maphash.String(markSeeds[1], text)}
}

// ledgered is what the ledger says of a run's tables' tiers, held against what
// the landing has.
type ledgered struct {
	rows  int
	pages int
	lost  int // pages that are not there
	more  int // pages that are there beyond what was counted
}

// An awaited fetch has so many pages that have not been found yet.
type awaited struct {
	pages   int32
	excused bool // they may be in an object that an operator has left out
}

// selects finds the records whose fetch the ledger names, and holds them against
// what the ledger has counted: all that was settled must be there. left are
// objects that an operator has decided to do without.
func (l *Lake) selects(ctx context.Context, r run.Run, markers []string, left []Dead) (*selection, ledgered, error) {
	s := &selection{objects: make([]*picked, len(markers))}
	for i, name := range markers {
		s.objects[i] = &picked{marker: name}
	}
	without := map[string]bool{}
	for _, d := range left {
		without[d.Object] = true
	}
	tiers := l.tiers()
	total := 0
	if r.Verdict != nil {
		for _, t := range r.Verdict.Tiers {
			if slices.Contains(tiers, t.Tier) {
				total += t.Known
			}
		}
	}
	var sum ledgered
	seed := maphash.MakeSeed()
	parts := uint64(total/partSize + 1)
	for n := range parts {
		mine := func(task string) bool { return parts == 1 || maphash.String(seed, task)%parts == n }
		counts, err := l.counted(ctx, r.ID, tiers, mine, without, &sum)
		if err != nil {
			return nil, sum, err
		}
		if err := l.pick(ctx, s, mine, counts); err != nil {
			return nil, sum, err
		}
		for _, f := range counts {
			switch {
			case f.pages < 0:
				sum.more -= int(f.pages)
			case !f.excused:
				sum.lost += int(f.pages)
			}
		}
	}
	for _, o := range s.objects {
		s.pages += o.kept
		s.waste += o.of - o.kept
	}
	return s, sum, nil
}

// counted are the fetches of the tasks that are mine.
func (l *Lake) counted(ctx context.Context, id string, tiers []string, mine func(string) bool, without map[string]bool, sum *ledgered) (map[mark]awaited, error) {
	counts := map[mark]awaited{}
	last := map[string]int32{} // task: chunks that precede its last part
	count := func(task, fetch, object string, chunk, pages, rows int) {
		// All but the last of a part's pages may be in objects before that.
		excused := without[object] || pages > 1 && len(without) > 0
		counts[markOf(task, fetch, chunk)] = awaited{int32(pages), excused}
		sum.pages += pages
		sum.rows += rows
	}
	err := l.Runs.Ends(ctx, id, func(e fanout.Settlement) error {
		if !slices.Contains(tiers, e.Task.Tier) || !mine(e.Task.ID) {
			return nil
		}
		if e.Chunk > 0 {
			last[e.Task.ID] = int32(e.Chunk)
		}
		if e.Outcome == fanout.Done {
			count(e.Task.ID, e.Fetch, e.Object, e.Chunk, e.Pages, e.Rows)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the settled tasks of run %s: %w", id, err)
	}
	// A settlement names the fetch of the last part; the chunks before it have
	// their own.
	err = l.Runs.Lists(ctx, id, func(row fanout.Listed) error {
		if n, ended := last[row.Task]; ended && row.Chunk < int(n) {
			count(row.Task, row.Fetch, row.Object, row.Chunk, row.Pages, row.Rows)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the lists of run %s: %w", id, err)
	}
	return counts, nil
}

// pick marks the records that count in all objects.
func (l *Lake) pick(ctx context.Context, s *selection, mine func(string) bool, counts map[mark]awaited) error {
	var mu sync.Mutex // guards counts; each object has one reader
	return each(ctx, 8, s.objects, func(ctx context.Context, o *picked) error {
		var m marker
		if err := l.read(ctx, o.marker, &m); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if o.keep == nil {
			o.keep, o.of = make([]uint64, (len(m.Records)+63)/64), len(m.Records)
		}
		for i, rec := range m.Records {
			if !mine(rec.Task) {
				continue
			}
			k := markOf(rec.Task, rec.Fetch, rec.Chunk)
			f, counted := counts[k]
			if !counted {
				continue
			}
			f.pages--
			counts[k] = f
			o.keep[i/64] |= 1 << (i % 64)
			o.kept++
		}
		return nil
	})
}

// wrong tells what the landing lacks of what the ledger has counted, or has
// twice; empty: neither.
func (sum ledgered) wrong() string {
	switch {
	case sum.lost > 0:
		return fmt.Sprintf("the ledger has counted %d landed pages of its tables, and the landing lacks %d of them: landed objects are missing (were they deleted? restore them, or run the window again with --again)", sum.pages, sum.lost)
	case sum.more > 0:
		return fmt.Sprintf("the ledger has counted %d landed pages of its tables, and the landing has %d of them twice: is there a copy of a landed object? Remove it", sum.pages, sum.more)
	}
	return ""
}

// tasksOf counts the tasks of a list for people: "3 tasks are dead (data d1 / x, ...)".
func tasksOf(n int, what string, names []string) string {
	shown := names[:min(3, len(names))]
	more := ""
	if n > len(shown) {
		more = ", ..."
	}
	return fmt.Sprintf("%s %s (%s%s)", counted(n, "task is", "tasks are"), what, strings.Join(shown, ", "), more)
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
