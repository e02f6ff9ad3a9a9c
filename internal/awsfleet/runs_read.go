package awsfleet

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/run"
)

// walk calls each for the rows of all tasks of a run, shard by shard.
func (s *runs) walk(ctx context.Context, id string, what scan, each func(row) error) error {
	for shard := range shards {
		what.pk = shardPK(id, shard)
		if err := s.v.table.query(ctx, what, each); err != nil {
			return err
		}
	}
	return nil
}

// Ends implements run.Store.
func (s *runs) Ends(ctx context.Context, id string, each func(fanout.Settlement) error) error {
	return s.walk(ctx, id, scan{filter: "attribute_exists(#out)"}, func(r row) error {
		e, err := r.ended(id)
		if err != nil {
			return err
		}
		return each(e)
	})
}

// Lists implements run.Store.
func (s *runs) Lists(ctx context.Context, id string, each func(fanout.Listed) error) error {
	return s.walk(ctx, id, scan{filter: "attribute_exists(#l)", only: "#sk, #l"}, func(r row) error {
		return each(unpackListed(r, id))
	})
}

// Counts implements run.Store. What is queued is SQS's rough figure, of all runs.
func (s *runs) Counts(ctx context.Context, id string) (map[string]run.Count, error) {
	out, err := s.v.Progress(ctx, id)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	tiers := slices.Collect(maps.Keys(out))
	err = each(ctx, len(tiers), func(i int) error {
		urls, ok := s.v.stack.Queues[tiers[i]]
		if !ok {
			return nil // a tier that the spec has lost since
		}
		d, err := s.v.cloud.depth(ctx, urls.URL)
		mu.Lock()
		defer mu.Unlock()
		c := out[tiers[i]]
		c.Queued, c.InHand = d.Visible+d.Hidden+d.Delayed, d.Hidden
		out[tiers[i]] = c
		return err
	})
	return out, wrap(err, "counting run %s", id)
}

// Progress is Counts without a look at the queues. What a tier knows is what
// the tier above has found, less what others had found before.
func (v *Vendor) Progress(ctx context.Context, id string) (map[string]run.Count, error) {
	r, err := (&runs{v}).Get(ctx, id)
	if err != nil {
		return nil, err
	}
	counts := map[string]row{}
	err = v.table.query(ctx, scan{pk: runPK(id), prefix: countPrefix}, func(c row) error {
		counts[strings.TrimPrefix(c.str("sk"), countPrefix)] = c
		return nil
	})
	if err != nil {
		return nil, wrap(err, "counting run %s", id)
	}
	out := map[string]run.Count{}
	known := len(r.Seeds)
	for _, tier := range r.Tiers {
		c := counts[tier]
		out[tier] = run.Count{Known: known, Done: c.int("done"), Gone: c.int("gone"), Dead: c.int("dead"), Discarded: c.int("discarded"), Rows: c.int("rows")}
		known = c.int("found") - c.int("shared")
	}
	return out, nil
}
