package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/landing"
)

// A Verdict says what became of a run:
//
//	done + gone + dead + discarded = seeds + distinct children of the recorded lists
//
// or which tasks are missing. Anyone can compute it again from the ledger and
// the landing.
type Verdict struct {
	At    time.Time `json:"at"`
	Seeds int       `json:"seeds"`
	Known int       `json:"known"` // seeds + distinct children
	Done  int       `json:"done"`
	Gone  int       `json:"gone"`
	Dead  int       `json:"dead"`
	// Discarded are those that were dead, and that an operator has decided to leave
	// so.
	Discarded int       `json:"discarded,omitempty"`
	Missing   int       `json:"missing"` // known and not settled
	Strays    int       `json:"strays"`  // settled, but in no recorded list
	Rows      int       `json:"rows"`
	Tiers     []TierSum `json:"tiers"`

	// The first of the dead, the discarded, the gone and the missing, by name.
	DeadNames      []string `json:"dead_names,omitempty"`
	DiscardedNames []string `json:"discarded_names,omitempty"`
	GoneNames      []string `json:"gone_names,omitempty"`
	MissingNames   []string `json:"missing_names,omitempty"`
	// Hidden is how many tasks lay below the dead ones in the last run: -1 when
	// there is none to tell.
	Hidden   int      `json:"hidden"`
	Problems []string `json:"problems,omitempty"`
}

// TierSum is a verdict's line for one tier.
type TierSum struct {
	Tier                             string
	Known, Done, Gone, Dead, Missing int
	Rows                             int
	Discarded                        int `json:",omitempty"`
}

// Complete tells whether everything that the run knew of is landed, gone, or
// left out by an operator's decision.
func (v Verdict) Complete() bool { return v.Settled() && v.Dead == 0 && len(v.Problems) == 0 }

// Settled tells whether every task has ended, be it dead.
func (v Verdict) Settled() bool { return v.Missing == 0 && v.Strays == 0 }

// Sum is the verdict's equation, as people read it.
func (v Verdict) Sum() string {
	op, discarded := "=", ""
	if v.Done+v.Gone+v.Dead+v.Discarded != v.Known {
		op = "!="
	}
	if v.Discarded > 0 {
		discarded = fmt.Sprintf(" + %d discarded", v.Discarded)
	}
	return fmt.Sprintf("%d done + %d gone + %d dead%s %s %d seed(s) + %d distinct children",
		v.Done, v.Gone, v.Dead, discarded, op, v.Seeds, v.Known-v.Seeds)
}

// maxNames bounds the names that a verdict carries.
const maxNames = 100

// partSize is how many tasks are compared at once: of a larger run the number
// of passes grows. 1<<18 IDs take about 30 MB. What is kept besides is one mark
// for each list.
const partSize = 1 << 18

// judge computes the verdict of a run.
type judge struct {
	store   Store
	landing *landing.Landing
	run     Run
	v       Verdict
	tiers   map[string]*TierSum
	missing func(fanout.Task) error // told of each missing task; nil: nobody asks
}

// verdict compares. A large run is compared in several passes over the ledger;
// if its lists have grown meanwhile they are begun again: a task that was listed
// between two passes may have a child that no pass has looked for.
func (j *judge) verdict(ctx context.Context) (Verdict, error) {
	for try := 0; ; try++ {
		before, err := j.size(ctx)
		if err != nil {
			return Verdict{}, err
		}
		parts := uint64(before.tasks/partSize + 1)
		v, err := j.passes(ctx, parts)
		if err != nil || parts == 1 || j.missing != nil { // who only asks what is missing may ask again
			return v, err
		}
		after, err := j.size(ctx)
		if err != nil || after == before {
			return v, err
		}
		if try == 4 {
			return Verdict{}, fmt.Errorf("run %s is still growing: its verdict cannot be computed yet", j.run.ID)
		}
	}
}

func (j *judge) passes(ctx context.Context, parts uint64) (Verdict, error) {
	j.v = Verdict{At: time.Now().UTC(), Seeds: len(j.run.Seeds), Hidden: -1}
	j.tiers = map[string]*TierSum{}
	for _, t := range j.run.Tiers {
		j.tiers[t] = &TierSum{Tier: t}
	}
	seed := maphash.MakeSeed()
	for part := range parts {
		mine := func(id string) bool { return parts == 1 || maphash.String(seed, id)%parts == part }
		if err := j.part(ctx, mine); err != nil {
			return Verdict{}, err
		}
	}
	for _, t := range j.run.Tiers {
		s := *j.tiers[t]
		if s.Known > 1 && s.Gone == s.Known {
			j.v.Problems = append(j.v.Problems, fmt.Sprintf("tier %s: the vendor answered 404 for all %d tasks: its path in the spec is probably wrong", t, s.Known))
		}
		j.v.Tiers = append(j.v.Tiers, s)
	}
	slices.Sort(j.v.DeadNames)
	slices.Sort(j.v.DiscardedNames)
	slices.Sort(j.v.GoneNames)
	slices.Sort(j.v.MissingNames)
	return j.v, nil
}

// extent is how large a run's recorded lists are. Lists only grow.
type extent struct {
	lists int
	tasks int // there can be at most
}

func (j *judge) size(ctx context.Context) (extent, error) {
	e := extent{tasks: len(j.run.Seeds)}
	err := j.store.Lists(ctx, j.run.ID, func(l fanout.Listed) error { e.lists++; e.tasks += l.Children; return nil })
	return e, wrap(err, "reading the lists of run "+j.run.ID)
}

// ended is what is kept of a settlement.
type ended struct{ chunk int }

// part judges the tasks whose IDs are mine.
func (j *judge) part(ctx context.Context, mine func(id string) bool) error {
	ends := map[string]ended{}
	err := j.store.Ends(ctx, j.run.ID, func(e fanout.Settlement) error {
		if mine(e.Task.ID) {
			ends[e.Task.ID] = ended{e.Chunk}
			j.settled(e)
		}
		return nil
	})
	if err != nil {
		return wrap(err, "reading the settled tasks of run "+j.run.ID)
	}
	// A settlement has the rows of its last part; the chunks before it have theirs.
	err = j.store.Lists(ctx, j.run.ID, func(l fanout.Listed) error {
		if end, ok := ends[l.Task]; ok && l.Chunk < end.chunk {
			j.sum(l.Tier).Rows += l.Rows
			j.v.Rows += l.Rows
		}
		return nil
	})
	if err != nil {
		return wrap(err, "reading the lists of run "+j.run.ID)
	}
	seen := map[string]bool{}
	known := func(t fanout.Task) error {
		if !mine(t.ID) || seen[t.ID] {
			return nil
		}
		seen[t.ID] = true
		j.v.Known++
		sum := j.sum(t.Tier)
		sum.Known++
		if _, settled := ends[t.ID]; settled {
			return nil
		}
		j.v.Missing++
		sum.Missing++
		if len(j.v.MissingNames) < maxNames {
			j.v.MissingNames = append(j.v.MissingNames, Name(t))
		}
		if j.missing != nil {
			return j.missing(t)
		}
		return nil
	}
	for _, t := range j.run.Seeds {
		if err := known(t); err != nil {
			return err
		}
	}
	if err := j.children(ctx, known); err != nil {
		return err
	}
	for id := range ends {
		if !seen[id] {
			j.v.Strays++
		}
	}
	return nil
}

func (j *judge) settled(e fanout.Settlement) {
	sum := j.sum(e.Task.Tier)
	switch e.Outcome {
	case fanout.Done:
		j.v.Done++
		sum.Done++
	case fanout.Gone:
		j.v.Gone++
		sum.Gone++
		if len(j.v.GoneNames) < maxNames {
			j.v.GoneNames = append(j.v.GoneNames, Name(e.Task))
		}
	case fanout.Dead:
		j.v.Dead++
		sum.Dead++
		if len(j.v.DeadNames) < maxNames {
			j.v.DeadNames = append(j.v.DeadNames, Name(e.Task))
		}
	case fanout.Discarded:
		j.v.Discarded++
		sum.Discarded++
		if len(j.v.DiscardedNames) < maxNames {
			j.v.DiscardedNames = append(j.v.DiscardedNames, Name(e.Task))
		}
	}
	sum.Rows += e.Rows
	j.v.Rows += e.Rows
}

func (j *judge) sum(tier string) *TierSum {
	if j.tiers[tier] == nil { // a tier that the spec has lost since
		j.tiers[tier] = &TierSum{Tier: tier}
		j.run.Tiers = append(j.run.Tiers, tier)
	}
	return j.tiers[tier]
}

// children calls each for every child of every recorded list.
func (j *judge) children(ctx context.Context, each func(fanout.Task) error) error {
	counts := map[mark]bool{}
	err := j.store.Lists(ctx, j.run.ID, func(l fanout.Listed) error {
		if l.Children > 0 {
			counts[markOf(l.Task, l.Fetch, l.Chunk)] = true
		}
		return nil
	})
	if err != nil {
		return wrap(err, "reading the lists of run "+j.run.ID)
	}
	for i, tier := range j.run.Tiers[:max(len(j.run.Tiers)-1, 0)] {
		below := j.run.Tiers[i+1]
		err := j.landing.Records(ctx, j.run.ID, tier, func(r *fanout.Record) error {
			k := markOf(r.Task.ID, r.Fetch, r.Chunk)
			if r.Kind != "list" || !counts[k] {
				return nil
			}
			delete(counts, k)
			for _, n := range r.Children {
				if err := each(r.Task.Child(below, n)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if len(counts) > 0 {
		return fmt.Errorf("run %s: the landing has lost the children of %d recorded lists", j.run.ID, len(counts))
	}
	return nil
}

// A mark stands for one part of one task as one fetch found it: 128 bits of a
// hash, so that those of a million tasks take some 50 MB.
type mark [2]uint64

var markSeeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

func markOf(task, fetch string, chunk int) mark {
	text := task + " " + fetch + " " + strconv.Itoa(chunk)
	return mark{maphash.String(markSeeds[0], text), maphash.String(markSeeds[1], text)}
}

// Name is a task as people read it: its tier and its key path.
func Name(t fanout.Task) string {
	return t.Tier + " " + cmp.Or(strings.Join(t.Path, " / "), "(root)")
}

func wrap(err error, doing string) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%s: %w", doing, err)
}
