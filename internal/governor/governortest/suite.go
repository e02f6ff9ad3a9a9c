package governortest

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/governor"
)

// TestStore is the contract of governor.Store as tests. open returns a handle
// on the data of the (sub)test t: called again with the same t, another handle
// on the same data.
func TestStore(t *testing.T, open func(t *testing.T) governor.Store) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, a, b governor.Store)
	}{
		{"a fresh item is zero", storeFresh},
		{"load sees the last write", storeLoad},
		{"an error of fn writes nothing", storeError},
		{"updates are atomic", storeAtomic},
		{"a big item comes back exactly", storeBig},
		{"a later version's fields stay", storeLater},
		{"a history is whole", storeHistory},
		{"vendors are apart", storeVendors},
		{"the clock", storeClock},
		{"a context that has ended", storeContext},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t), open(t)) })
	}
}

func storeFresh(t *testing.T, a, b governor.Store) {
	it, err := a.Load(t.Context(), "v")
	if err != nil || !reflect.DeepEqual(it, governor.Item{}) {
		t.Fatalf("Load of nothing: %+v, %v; want the zero Item", it, err)
	}
	err = b.Update(t.Context(), "v", func(it *governor.Item) error {
		if !reflect.DeepEqual(*it, governor.Item{}) {
			t.Errorf("Update of nothing sees %+v; want the zero Item", *it)
		}
		it.Rev++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func storeLoad(t *testing.T, a, b governor.Store) {
	for i := range 20 {
		s, r := a, b
		if i%2 == 1 {
			s, r = b, a
		}
		if err := s.Update(t.Context(), "v", func(it *governor.Item) error { it.Rev++; it.Epoch = int64(i); return nil }); err != nil {
			t.Fatal(err)
		}
		it, err := r.Load(t.Context(), "v")
		if err != nil || it.Epoch != int64(i) || it.Rev != int64(i)+1 {
			t.Fatalf("after write %d the other handle loads epoch %d, rev %d, %v", i, it.Epoch, it.Rev, err)
		}
	}
}

func storeError(t *testing.T, a, b governor.Store) {
	no := errors.New("no")
	for range 2 { // on a fresh item and on one that exists
		before, err := a.Load(t.Context(), "v")
		if err != nil {
			t.Fatal(err)
		}
		err = a.Update(t.Context(), "v", func(it *governor.Item) error { it.Rev++; it.Epoch = 99; return no })
		if !errors.Is(err, no) {
			t.Fatalf("Update returns %v; want fn's error", err)
		}
		if it, err := b.Load(t.Context(), "v"); err != nil || !reflect.DeepEqual(it, before) {
			t.Fatalf("after a refused update: %+v, %v; want %+v", it, err, before)
		}
		if err := b.Update(t.Context(), "v", func(it *governor.Item) error { it.Rev++; it.Epoch = 7; return nil }); err != nil {
			t.Fatal(err)
		}
	}
}

// storeAtomic: every update that reported success is in the item, once.
func storeAtomic(t *testing.T, a, b governor.Store) {
	const workers, each = 8, 25
	var wg sync.WaitGroup
	for w := range workers {
		s, id := a, fmt.Sprintf("m%d", w)
		if w%2 == 1 {
			s = b
		}
		wg.Go(func() {
			for range each {
				err := s.Update(t.Context(), "v", func(it *governor.Item) error {
					it.Rev++
					if it.Members == nil {
						it.Members = map[string]governor.Member{}
					}
					m := it.Members[id]
					m.Units++
					it.Members[id] = m
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	it, err := a.Load(t.Context(), "v")
	if err != nil || it.Rev != workers*each {
		t.Fatalf("%d updates left rev %d, %v", workers*each, it.Rev, err)
	}
	for id, m := range it.Members {
		if m.Units != each {
			t.Errorf("%s updated %d times, the item has %d", id, each, m.Units)
		}
	}
}

func storeBig(t *testing.T, a, b governor.Store) {
	at := time.Date(2026, 11, 1, 2, 3, 4, 123456789, time.UTC)
	big := governor.Item{
		Booked: at, Epoch: 1 << 60,
		Cuts:      []governor.Cut{{Epoch: 1, At: at, Made: at, Last: at.Add(1)}},
		Brake:     governor.Brake{Until: at, Set: at, Growth: 3, Why: "429 <&> \u2028 ü \x00"},
		Breaker:   governor.Breaker{Since: at, Why: "down", Next: at, Probes: 7, Owner: "m", Slot: at, Lease: at},
		Stop:      governor.Stop{Kind: governor.ByOperator, By: "me", Why: "so", At: at},
		Members:   map[string]governor.Member{},
		Overrides: map[string]governor.Override{"a b/c": {Count: 1, Per: 1, Burst: 2, InFlight: 3, Until: at, By: "me", Why: "so", At: at}},
		Eases:     map[string]governor.Ease{"a b/c": {Share: 17, From: at, Over: 90 * time.Second}},
		Lowered:   map[string]governor.Lowered{"a b/c": {Count: 1, Per: 1, Until: at, Said: "1 per 1ns", At: at}},
		Budget:    &governor.Budget{Run: "r", Calls: 1 << 40, Until: at, Used: 7, Since: at, At: at, By: "me"},
		Quotas:    map[string][]governor.Quota{"day=a/ü": {{End: at, Used: 1 << 40}, {End: at.Add(time.Hour), Used: 1}}},
		Told:      map[string]governor.Told{"a b/c": {Left: 7, Until: at, At: at}},
		Probe:     at,
		Lanes: &governor.Lanes{Of: at, Floor: at, By: map[string]governor.Lane{
			"": {Last: at, Holes: []governor.Hole{{From: at, To: at.Add(time.Second + 1)}}}, "slow=<1>": {Last: at},
		}},
	}
	for i := range 200 {
		big.Members[fmt.Sprintf("member-%d", i)] = governor.Member{Expires: at, Booked: at, Want: i, Units: i, Lease: at, Turn: at, Waits: at}
	}
	for range 50 {
		big.Log = append(big.Log, governor.Entry{At: at, By: "me", What: "limit", Old: "x", New: "y", Why: strings.Repeat("why ", 50)})
	}
	if err := a.Update(t.Context(), "v", func(it *governor.Item) error { big.Rev = it.Rev + 1; *it = big; return nil }); err != nil {
		t.Fatal(err)
	}
	it, err := b.Load(t.Context(), "v")
	if h, ok := b.(governor.Historian); ok && err == nil {
		it.Log, err = h.History(t.Context(), "v")
	}
	if err != nil || !reflect.DeepEqual(it, big) {
		t.Fatalf("a big item does not come back as it was written (%v)", err)
	}
}

// storeLater: what a later version has put into the item beside the fields that
// this one knows survives this one's changes, in a short item and a long one.
func storeLater(t *testing.T, a, b governor.Store) {
	const field, value = "tomorrow's <field>", `{"n":12345678901234567890,"s":"<&> ü","of":[null,true,1.50]}`
	put := func(it *governor.Item) error {
		it.Rev++
		return json.Unmarshal(fmt.Appendf(nil, `{%q:%s}`, field, value), it)
	}
	if err := a.Update(t.Context(), "v", put); err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		if err := governor.Record(t.Context(), b, "v", governor.Entry{By: "me", What: "something"}); err != nil {
			t.Fatal(err)
		}
		err := b.Update(t.Context(), "v", func(it *governor.Item) error {
			it.Rev++
			it.Cuts = append(it.Cuts, governor.Cut{Epoch: int64(i)})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		it, err := a.Load(t.Context(), "v")
		if err != nil || len(it.Cuts) != i+1 {
			t.Fatalf("%d cuts of %d, %v", len(it.Cuts), i+1, err)
		}
		var fields map[string]json.RawMessage
		doc, err := json.Marshal(it)
		if err == nil {
			err = json.Unmarshal(doc, &fields)
		}
		var got, want any
		if err == nil {
			err = errors.Join(json.Unmarshal(fields[field], &got), json.Unmarshal([]byte(value), &want))
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("after %d changes a later version finds %s (%v)", i+1, fields[field], err)
		}
	}
}

// storeHistory: a store that keeps the audit log apart has each entry once, in
// order, of changes that were made, whoever else changes the item; at least the
// latest 200, however many there were.
func storeHistory(t *testing.T, a, b governor.Store) {
	h, ok := b.(governor.Historian)
	if !ok {
		return // its log is in the item, whose test is above
	}
	at := time.Now().UTC().Round(0).Add(-time.Minute)
	no := errors.New("no")
	const changes, each, shown = 110, 2, 200
	for i := range changes {
		log := func(it *governor.Item, what string) {
			it.Rev++
			for j := range each {
				it.Log = append(it.Log, governor.Entry{At: at.Add(time.Duration(i/3) * time.Second), By: "me", What: what, New: fmt.Sprint(i*each + j)})
			}
		}
		s := []governor.Store{a, b}[i%2]
		if err := s.Update(t.Context(), "v", func(it *governor.Item) error { log(it, "done"); return nil }); err != nil {
			t.Fatal(err)
		}
		if i%10 != 0 {
			continue
		}
		if err := a.Update(t.Context(), "v", func(it *governor.Item) error { log(it, "not done"); return no }); !errors.Is(err, no) {
			t.Fatalf("Update returns %v; want fn's error", err)
		}
		if err := a.Update(t.Context(), "other", func(it *governor.Item) error { log(it, "another vendor's"); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	got, err := h.History(t.Context(), "v")
	if err != nil || len(got) < shown {
		t.Fatalf("a history of %d entries has %d, %v", changes*each, len(got), err)
	}
	for i, e := range got {
		n := changes*each - len(got) + i
		want := governor.Entry{At: at.Add(time.Duration(n/each/3) * time.Second), By: "me", What: "done", New: fmt.Sprint(n)}
		if e != want {
			t.Fatalf("entry %d is %+v, want %+v", i, e, want)
		}
	}
	it, err := b.Load(t.Context(), "v")
	if err != nil || len(it.Log) > each {
		t.Errorf("%d entries stay in the item (%v)", len(it.Log), err)
	}
}

func storeVendors(t *testing.T, a, b governor.Store) {
	for i, v := range []string{"v", "V", "v/w", "ü"} {
		if err := a.Update(t.Context(), v, func(it *governor.Item) error { it.Rev++; it.Epoch = int64(i); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	for i, v := range []string{"v", "V", "v/w", "ü"} {
		if it, err := b.Load(t.Context(), v); err != nil || it.Epoch != int64(i) {
			t.Errorf("vendor %q has epoch %d, %v; want %d", v, it.Epoch, err, i)
		}
	}
}

func storeClock(t *testing.T, a, _ governor.Store) {
	before := time.Now()
	now, resolution, err := a.Clock(t.Context())
	if err != nil || resolution < 0 || resolution > time.Second {
		t.Fatalf("Clock: resolution %v, %v", resolution, err)
	}
	if slack := 50 * time.Millisecond; now.Add(resolution+slack).Before(before) || now.Add(-slack).After(time.Now()) {
		t.Errorf("Clock: %v +%v, between %v and %v", now, resolution, before, time.Now())
	}
}

func storeContext(t *testing.T, a, _ governor.Store) {
	ctx, cancel := contextEnded(t)
	defer cancel()
	if err := a.Update(ctx, "v", func(it *governor.Item) error { it.Rev++; return nil }); err == nil {
		t.Error("Update under an ended context succeeds")
	}
	if _, err := a.Load(ctx, "v"); err == nil {
		t.Error("Load under an ended context succeeds")
	}
}
