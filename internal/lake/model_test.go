package lake_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/lake"
	"github.com/sluicehq/sluice/internal/landing"
	"github.com/sluicehq/sluice/internal/run"
	"github.com/sluicehq/sluice/internal/vendorapi"
)

// bucket is a model of a store, whose process can be killed at any operation.
type bucket struct {
	mu      sync.Mutex
	objects map[string][]byte
	writes  []string // names, in order
	ops     int
	kill    int // before this operation the process dies; -1: never
}

var errKilled = errors.New("killed")

func newBucket() *bucket { return &bucket{objects: map[string][]byte{}, kill: -1} }

// op does one operation, unless the process has been killed.
func (b *bucket) op(do func() error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.ops
	b.ops++
	if b.kill >= 0 && n >= b.kill {
		return errKilled
	}
	return do()
}

// count is how many operations there have been.
func (b *bucket) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ops
}

// revive lets another process go on with what is there.
func (b *bucket) revive() { b.ops, b.kill = 0, -1 }

func (b *bucket) Put(_ context.Context, name string, data []byte) error {
	return b.op(func() error { b.set(name, data); return nil })
}

func (b *bucket) set(name string, data []byte) {
	b.objects[name] = bytes.Clone(data)
	b.writes = append(b.writes, name)
}

func (b *bucket) PutFile(ctx context.Context, name string, f *os.File) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	return b.Put(ctx, name, data)
}

func (b *bucket) Get(_ context.Context, name string) (rc io.ReadCloser, err error) {
	err = b.op(func() error {
		data, ok := b.objects[name]
		if !ok {
			return fmt.Errorf("object %s: %w", name, fs.ErrNotExist)
		}
		rc = io.NopCloser(bytes.NewReader(data))
		return nil
	})
	return rc, err
}

type ranges struct{ *bytes.Reader }

func (ranges) Close() error { return nil }

func (b *bucket) Open(_ context.Context, name string) (r landing.ReadAtCloser, size int64, err error) {
	err = b.op(func() error {
		data, ok := b.objects[name]
		if !ok {
			return fmt.Errorf("object %s: %w", name, fs.ErrNotExist)
		}
		r, size = ranges{bytes.NewReader(data)}, int64(len(data))
		return nil
	})
	return r, size, err
}

func tagOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func (b *bucket) Tag(_ context.Context, name string) (data []byte, tag string, err error) {
	err = b.op(func() error {
		if have, ok := b.objects[name]; ok {
			data, tag = bytes.Clone(have), tagOf(have)
		}
		return nil
	})
	return data, tag, err
}

func (b *bucket) Swap(_ context.Context, name, old string, data []byte) (tag string, err error) {
	err = b.op(func() error {
		have := ""
		if d, ok := b.objects[name]; ok {
			have = tagOf(d)
		}
		if tag = tagOf(data); have == tag {
			return nil
		}
		if have != old {
			return landing.ErrSwapped
		}
		b.set(name, data)
		return nil
	})
	return tag, err
}

func (b *bucket) List(_ context.Context, prefix string, each func(string) error) error {
	var names []string
	if err := b.op(func() error {
		for _, n := range slices.Sorted(maps.Keys(b.objects)) {
			if strings.HasPrefix(n, prefix) {
				names = append(names, n)
			}
		}
		return nil
	}); err != nil {
		return err
	}
	for _, n := range names {
		if err := each(n); err != nil {
			return err
		}
	}
	return nil
}

func (b *bucket) Delete(_ context.Context, names ...string) error {
	for _, n := range names {
		if err := b.op(func() error { delete(b.objects, n); return nil }); err != nil {
			return err
		}
	}
	return nil
}

// below lists the objects below a prefix.
func (b *bucket) below(prefix string) (out []string) {
	for _, n := range slices.Sorted(maps.Keys(b.objects)) {
		if strings.HasPrefix(n, prefix) {
			out = append(out, n)
		}
	}
	return out
}

// books is a model of runs and their ledger.
type books struct {
	runs  map[string]run.Run
	ends  map[string][]fanout.Settlement
	lists map[string][]fanout.Listed
}

func newBooks() *books {
	return &books{map[string]run.Run{}, map[string][]fanout.Settlement{}, map[string][]fanout.Listed{}}
}

func (b *books) Get(_ context.Context, id string) (run.Run, error) {
	r, ok := b.runs[id]
	if !ok {
		return r, run.ErrNoRun
	}
	return r, nil
}

func (b *books) Ends(_ context.Context, id string, each func(fanout.Settlement) error) error {
	for _, e := range b.ends[id] {
		if err := each(e); err != nil {
			return err
		}
	}
	return nil
}

func (b *books) Lists(_ context.Context, id string, each func(fanout.Listed) error) error {
	for _, l := range b.lists[id] {
		if err := each(l); err != nil {
			return err
		}
	}
	return nil
}

// site is a lake of one vendor over models.
type site struct {
	t      testing.TB
	raw    *bucket // landed objects
	bucket *bucket
	books  *books
	lake   *lake.Lake
	landed []string // objects, as they were made
}

const acme = `
name: acme
base_url: http://acme.invalid
limits: [{name: calls, bucket: 10/s}]
tiers:
  - {name: devices, get: /devices, items: ".devices[]", key: .id}
  - {name: data, get: "/devices/{devices}", rows: ".rows[]", table: points}
`

func newSite(t *testing.T, spec string) *site {
	t.Helper()
	s := &site{t: t, raw: newBucket(), bucket: newBucket(), books: newBooks()}
	s.lake = s.with(spec)
	return s
}

// with is the site's lake by another spec.
func (s *site) with(spec string) *lake.Lake {
	s.t.Helper()
	parsed, err := vendorapi.Parse("acme.yaml", []byte(spec))
	if err != nil {
		s.t.Fatal(err)
	}
	plan, err := parsed.Bind(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &lake.Lake{Plan: plan, Store: s.bucket, Landing: landing.New(s.raw), Runs: s.books, Temp: s.t.TempDir()}
}

// A page is one answer that lands.
type page struct {
	device, fetch string
	chunk         int
	rows          string // the answer's rows: JSON objects with commas between
	waste         bool   // the ledger does not name its fetch
}

// run makes a closed run of a day whose objects hold these pages.
func (s *site) run(id string, day int, objects ...[]page) {
	s.t.Helper()
	from := time.Date(2026, 11, day, 0, 0, 0, 0, time.UTC)
	r := run.Run{ID: id, Vendor: "acme", Tiers: []string{"devices", "data"}, Window: fanout.Window{From: from, To: from.AddDate(0, 0, 1)}, Opened: from.Add(26 * time.Hour), State: run.Closed}
	known := 0
	ends := map[string]*fanout.Settlement{}
	for n, pages := range objects {
		b := landing.New(s.raw).Begin(id, "data")
		for i, p := range pages {
			task := fanout.Task{Run: id, Window: r.Window}.Child("data", fanout.Node{Path: []string{p.device}})
			body := `{"rows":[` + p.rows + `]}`
			rows := strings.Count(p.rows, `{"`)
			rec := fanout.Record{Kind: "page", Task: task, Fetch: p.fetch, Chunk: p.chunk, At: from.Add(time.Duration(n*100+i) * time.Second), Status: 200, Rows: rows, Body: []byte(body)}
			if err := b.Add(rec); err != nil {
				s.t.Fatal(err)
			}
			if p.waste {
				continue
			}
			e := ends[task.ID+fmt.Sprint(p.chunk)]
			if e == nil {
				e = &fanout.Settlement{Task: task, Outcome: fanout.Done, Fetch: p.fetch, Chunk: p.chunk}
				ends[task.ID+fmt.Sprint(p.chunk)] = e
			}
			e.Object = b.Object()
			e.Pages++
			e.Rows += rows
		}
		if err := b.Commit(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
		s.landed = append(s.landed, b.Object())
	}
	s.books.ends[id], s.books.lists[id] = nil, nil
	for _, e := range ends {
		if last := ends[e.Task.ID+fmt.Sprint(e.Chunk+1)]; last != nil { // a chunk before the last
			s.books.lists[id] = append(s.books.lists[id], fanout.Listed{Run: id, Tier: "data", Task: e.Task.ID, Chunk: e.Chunk, Fetch: e.Fetch, Object: e.Object, Rows: e.Rows, Pages: e.Pages})
			continue
		}
		known++
		s.books.ends[id] = append(s.books.ends[id], *e)
	}
	r.Verdict = &run.Verdict{Known: known, Done: known, Tiers: []run.TierSum{{Tier: "data", Known: known, Done: known}}}
	s.books.runs[id] = r
}

// publish publishes a run.
func (s *site) publish(id string) lake.Publication {
	s.t.Helper()
	p, err := s.lake.Publish(s.t.Context(), id, time.Time{})
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

// rows are those of a table that count, as JSON-like texts "run key: a=1 b=x".
func (s *site) rows(table string) (out []string) {
	s.t.Helper()
	got, err := readRows(s.t.Context(), s.bucket, table)
	if err != nil {
		s.t.Fatal(err)
	}
	return got
}

func readRows(ctx context.Context, b lake.Store, table string) (out []string, err error) {
	c, err := lake.Read(ctx, b, "")
	if err != nil || len(c.Tables) == 0 {
		return nil, err
	}
	t, err := c.Find(table)
	if err != nil {
		return nil, err
	}
	err = lake.Rows(ctx, b, t, nil, func(names []string, values []any) error {
		at := func(name string) any { return values[slices.Index(names, name)] }
		text := fmt.Sprintf("%v", at("_run"))
		if i := slices.Index(names, "_devices"); i >= 0 {
			text += fmt.Sprintf(" %v:", values[i])
		}
		for i, n := range names {
			if !slices.Contains([]string{"_run", "_generation", "_source", "_upload", "_devices", "_path", "_fetched_at"}, n) && values[i] != nil {
				text += fmt.Sprintf(" %s=%v", n, values[i])
			}
		}
		out = append(out, text)
		return nil
	})
	return out, err
}
