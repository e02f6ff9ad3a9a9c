package fanouttest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/sluicehq/sluice/internal/fanout"
)

// Landing is a model of a fanout.Landing.
type Landing struct {
	mu      sync.Mutex
	seq     int
	objects map[string][]fanout.Record
}

// Begin implements fanout.Landing.
func (l *Landing) Begin(run, tier string) fanout.LandingBatch {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	return &landingBatch{l: l, object: fmt.Sprintf("%s/%s/%d", run, tier, l.seq)}
}

// Children implements fanout.Landing.
func (l *Landing) Children(ctx context.Context, row fanout.Listed) ([]fanout.Node, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.objects[row.Object] {
		if r.Kind == "list" && r.Task.ID == row.Task && r.Fetch == row.Fetch && r.Chunk == row.Chunk {
			return r.Children, ctx.Err()
		}
	}
	return nil, fmt.Errorf("object %s does not hold the children of task %s, fetch %s", row.Object, row.Task, row.Fetch)
}

// Records returns everything landed.
func (l *Landing) Records() (out []fanout.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range slices.Sorted(maps.Keys(l.objects)) {
		out = append(out, l.objects[o]...)
	}
	return out
}

// Object returns the records of one object.
func (l *Landing) Object(name string) []fanout.Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.objects[name])
}

// Objects is how many objects have landed.
func (l *Landing) Objects() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.objects)
}

type landingBatch struct {
	l      *Landing
	object string
	recs   []fanout.Record
	size   int
}

func (b *landingBatch) Object() string { return b.object }
func (b *landingBatch) Size() int      { return b.size }

func (b *landingBatch) Add(r fanout.Record) error {
	if r.Body != nil {
		var body bytes.Buffer
		if err := json.Compact(&body, r.Body); err != nil {
			return err
		}
		r.Body = body.Bytes()
	}
	b.recs = append(b.recs, r)
	b.size += len(r.Body) + 100*len(r.Children)
	return nil
}

func (b *landingBatch) Commit(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	if b.l.objects == nil {
		b.l.objects = map[string][]fanout.Record{}
	}
	b.l.objects[b.object] = b.recs
	return nil
}
