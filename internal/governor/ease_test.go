package governor_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/governor/governortest"
)

// recovering is a vendor of several kinds of limit that recover, and one that
// does not.
func recovering() []governor.Limit {
	return []governor.Limit{
		{Name: "b", Kind: governor.Bucket, Count: 20, Per: time.Second, Burst: 5, Recover: 10 * time.Minute},
		{Name: "w", Kind: governor.Window, Count: 900, Per: time.Minute, Recover: 90 * time.Second},
		{Name: "s", Kind: governor.Spacing, Count: 1, Per: 30 * time.Millisecond, Recover: 7*time.Second + 1},
		{Name: "fixed", Kind: governor.Bucket, Count: 30, Per: time.Second, Burst: 3},
		{Name: "f", InFlight: 4},
	}
}

// A history is one random life of a vendor's item.
type history struct {
	t      *testing.T
	rnd    *rand.Rand
	g      *governor.Governor
	limits []governor.Limit
	it     governor.Item
	now    time.Time
	errors int
}

// every is the interval at t, as if nothing else happened until then.
func (h *history) every(it governor.Item, t time.Time) time.Duration {
	every, late := governor.RulingAt(h.limits, 10*time.Millisecond, &it, t)
	plain := it.Clone()
	plain.Eases = nil
	if _, most := governor.RulingAt(h.limits, 10*time.Millisecond, &plain, t); late != most {
		h.t.Fatalf("calls may be %v late, without an ease %v", late, most)
	}
	return every
}

// instants are those at which either item changes, those beside, and some more.
func (h *history) instants(items ...governor.Item) []time.Time {
	var out []time.Time
	for _, it := range items {
		from, _ := governor.Segments(h.limits, 10*time.Millisecond, &it, h.now)
		for _, t := range append(from, it.Brake.Until) {
			for _, d := range []time.Duration{-1, 0, 1} {
				out = append(out, latest(h.now, t.Add(d)))
			}
		}
	}
	for range 20 {
		out = append(out, h.now.Add(h.upTo(3*time.Hour)), h.now.Add(h.upTo(time.Minute)))
	}
	return out
}

func (h *history) upTo(d time.Duration) time.Duration { return time.Duration(h.rnd.Int64N(int64(d))) }

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// fails lets the vendor answer 429, and compares what holds with and without.
func (h *history) fails() {
	sent := h.now.Add(-h.upTo(5 * time.Second))
	if h.rnd.IntN(3) == 0 {
		sent = h.now
	}
	retry := time.Duration(0)
	if h.rnd.IntN(2) == 0 {
		retry = h.upTo(2 * time.Minute)
	}
	before := h.it.Clone()
	h.g.BrakeItem(&h.it, h.now, sent, retry)
	h.errors++
	for _, at := range h.instants(before, h.it) {
		was, is := h.every(before, at), h.every(h.it, at)
		if is < was {
			h.t.Fatalf("an error at %v made the interval at +%v %v instead of %v\n%+v\n%+v", h.now, at.Sub(h.now), is, was, before, h.it)
		}
	}
}

// step does something at random, errors most often.
func (h *history) step() {
	switch h.rnd.IntN(8) {
	case 0:
		if h.it.Overrides == nil {
			h.it.Overrides = map[string]governor.Override{}
		}
		name := h.limits[h.rnd.IntN(4)].Name
		h.it.Overrides[name] = governor.Override{Count: 1 + h.rnd.IntN(30), Per: time.Second, Until: h.now.Add(h.upTo(time.Hour))}
	case 1:
		clear(h.it.Overrides)
	case 2:
		if h.it.Lowered == nil {
			h.it.Lowered = map[string]governor.Lowered{}
		}
		h.it.Lowered["b"] = governor.Lowered{Count: 1 + h.rnd.IntN(19), Per: time.Second, Until: h.now.Add(h.upTo(time.Hour))}
	case 3:
		h.it.Prune(h.now)
	case 4:
		h.now = h.now.Add(h.upTo(20 * time.Minute))
	default:
		h.fails()
	}
	h.now = h.now.Add(h.upTo(3 * time.Second))
	if from, _ := governor.Segments(h.limits, 0, &h.it, h.now); len(from) > 1+4*16+4+1 {
		h.t.Fatalf("%d segments", len(from))
	}
}

// An error never makes anything faster: not at its instant, and not at any
// later one. An ease never lets calls start later than the whole rate does.
func TestErrorsNeverSpeedUp(t *testing.T) {
	t.Parallel()
	limits := recovering()
	g, err := governor.New(governor.Config{Vendor: "v", Limits: limits, Store: governortest.NewModel()})
	if err != nil {
		t.Fatal(err)
	}
	errors := 0
	for seed := range uint64(25) {
		h := &history{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), g: g, limits: limits, now: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)}
		for range 60 {
			h.step()
		}
		errors += h.errors
	}
	if errors < 550 {
		t.Errorf("only %d errors: the test shows little", errors)
	}
}

// Every share there can be: the list of segments says at each instant what at
// does, has at most 17 entries, never slows down, and ends with the whole rate,
// for half of it after Recover exactly.
func TestEveryShareRecovers(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for _, l := range recovering()[:3] {
		limits := []governor.Limit{l}
		full, _ := governor.Plan(l, 0)
		for share := 1; share <= 64; share++ {
			it := governor.Item{Eases: map[string]governor.Ease{l.Name: {Share: share, From: now.Add(time.Second), Over: l.Recover}}}
			from, every := governor.Segments(limits, 0, &it, now)
			if len(from) > 17 || every[len(every)-1] != full {
				t.Fatalf("%s at %d/64: %d segments, the last %v", l.Name, share, len(from), every[len(every)-1])
			}
			for i, at := range from {
				if i > 0 && (!at.After(from[i-1]) || every[i] >= every[i-1]) {
					t.Fatalf("%s at %d/64: segment %d does not come after, or is not faster", l.Name, share, i)
				}
				if is, _ := governor.RulingAt(limits, 0, &it, at); is != every[i] {
					t.Fatalf("%s at %d/64: %v in segment %d, %v by itself", l.Name, share, every[i], i, is)
				}
				if before, _ := governor.RulingAt(limits, 0, &it, at.Add(-1)); i > 0 && before != every[i-1] {
					t.Fatalf("%s at %d/64: the rate changes before segment %d", l.Name, share, i)
				}
			}
			done := from[len(from)-1].Sub(now.Add(time.Second))
			if share == 32 && (l.Recover-done).Abs() > 8 {
				t.Errorf("%s: from half to full in %v, want %v", l.Name, done, l.Recover)
			}
			it.Prune(from[len(from)-1])
			if len(it.Eases) != 0 {
				t.Errorf("%s at %d/64: whole again, and still there", l.Name, share)
			}
		}
	}
}

// Three brakes in a row: an eighth, and never less than a 64th; each is in the
// log, with what it leaves; a late report is not, and recovery waits for it.
func TestEaseLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := bucket(50, 5)
		l.Recover = time.Hour
		f := newFleet(t, l, governor.Limit{Name: "f", InFlight: 4})
		m := f.add(0)
		for range 3 {
			if err := m.Throttled(t.Context(), time.Now(), time.Second); err != nil {
				t.Fatal(err)
			}
			if err := m.Throttled(t.Context(), time.Now().Add(-time.Second), 2*time.Second); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
		}
		r, err := governor.Status(t.Context(), f.store, "v", f.limits, 0)
		if err != nil || len(r.Log) != 3 {
			t.Fatalf("%d entries, %v", len(r.Log), err)
		}
		if e := r.Log[2]; e.What != "brake" || e.By != "m0" || !strings.HasPrefix(e.New, "until ") || !strings.HasSuffix(e.New, ", limit b at 1/8") || !strings.Contains(e.Why, "429") {
			t.Errorf("%+v", e)
		}
		if b := r.Limits[0]; b.Ease != 0.125 || !b.Binds || fmt.Sprintf("%.3f", b.Rate) != "6.250" {
			t.Errorf("%+v", b)
		}
		if f := r.Limits[1]; f.Ease != 1 || f.Binds || f.Rate != 0 {
			t.Errorf("%+v", f)
		}
		it, _ := f.store.Load(t.Context(), "v")
		if !it.Eases["b"].From.Equal(it.Brake.Until) {
			t.Errorf("recovers from %v on, braked until %v", it.Eases["b"].From, it.Brake.Until)
		}
		for range 10 {
			if err := m.Throttled(t.Context(), time.Now(), time.Second); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if it, _ = f.store.Load(t.Context(), "v"); it.ShareAt("b", time.Now()) != 1 {
			t.Errorf("after many brakes %d/64", it.ShareAt("b", time.Now()))
		}
		f.close()
	})
}

// A fleet after a brake: half of the rate, then step by step more, all of it
// after Recover; also when an operator changes the limit meanwhile, whose
// ceiling it keeps. On one machine and on AWS.
func TestEasedFleet(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]func(*governor.Config){"local": func(*governor.Config) {}, "aws": aws} {
		for _, override := range []bool{false, true} {
			t.Run(fmt.Sprint(name, override), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { easedFleet(t, config, override) })
			})
		}
	}
}

func easedFleet(t *testing.T, config func(*governor.Config), override bool) {
	l := bucket(40, 5)
	l.Recover = 80 * time.Second
	f := newFleet(t, l)
	for range 3 {
		f.add(25, config)
	}
	time.Sleep(10 * time.Second)
	if err := f.members[1].Throttled(t.Context(), time.Now(), 5*time.Second); err != nil {
		t.Fatal(err)
	}
	it, _ := f.store.Load(t.Context(), "v")
	end := it.Brake.Until
	rate := 40.0
	if override {
		time.Sleep(time.Second)
		if err := governor.SetLimit(t.Context(), f.store, "v", halved(l), l, me); err != nil {
			t.Fatal(err)
		}
		rate = 20
	}
	time.Sleep(time.Until(end.Add(100 * time.Second)))
	f.fits(f.close())
	for step := range 10 {
		from := end.Add(time.Duration(step) * 10 * time.Second)
		share := min(0.5+float64(step)/16, 1)
		n, want := f.vendor.Between(from, from.Add(10*time.Second)), 10*rate*share
		least := 0.97 * want
		if step == 0 {
			least -= 3 * rate * share // slots of before the cut are kept clear of
		}
		if float64(n) > want+6 || float64(n) < least {
			t.Errorf("step %d: %d calls in 10 s, want %.0f%s", step, n, want, f.figures())
		}
	}
}

// What an ease costs whoever books and whoever reads.
func BenchmarkSegments(b *testing.B) {
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for _, eased := range []bool{false, true} {
		b.Run(fmt.Sprintf("eased=%v", eased), func(b *testing.B) {
			limits, it := recovering(), governor.Item{}
			if eased {
				it.Eases = map[string]governor.Ease{}
				for _, l := range limits[:3] {
					it.Eases[l.Name] = governor.Ease{Share: 1, From: now, Over: l.Recover}
				}
			}
			for b.Loop() {
				governor.Segments(limits, 0, &it, now)
			}
		})
	}
}
