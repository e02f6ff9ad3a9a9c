package governor_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicehq/sluice/internal/governor"
)

const tooLong = 400*24*time.Hour + 1

// A time of centuries is no limit that could be kept, whoever asks for it.
func TestHugePeriodsAreRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		spec := window(500, time.Minute)
		f := newFleet(t, spec)
		for _, per := range []time.Duration{tooLong, 50_000 * time.Hour, 2_562_047 * time.Hour, math.MaxInt64} {
			for _, l := range []governor.Limit{
				window(1, per), {Name: "b", Kind: governor.Bucket, Count: 1, Per: per}, {Name: "s", Kind: governor.Spacing, Count: 1, Per: per},
				{Name: "j", Kind: governor.Bucket, Count: 1, Per: time.Second, Jitter: per}, {Name: "r", Kind: governor.Bucket, Count: 1, Per: time.Second, Recover: per},
				{Name: "f", InFlight: 1, Jitter: per},
			} {
				if _, err := governor.Check([]governor.Limit{l}, 0); err == nil || !strings.Contains(err.Error(), "at most 400 days") {
					t.Errorf("%+v: %v", l, err)
				}
			}
			c := governor.Change{Limit: spec.Name, Count: 1, Per: per}
			for _, of := range []governor.Limit{spec, {}} { // the zero Limit: over the spec
				if err := governor.SetLimit(t.Context(), f.store, "v", c, of, me); err == nil || errors.Is(err, governor.ErrAboveCeiling) {
					t.Errorf("1 per %v is set: %v", per, err)
				}
				if _, err := governor.Try(t.Context(), f.store, "v", f.limits, 0, c, of); err == nil {
					t.Errorf("1 per %v is tried", per)
				}
			}
		}
		for _, count := range []int{1 << 62, math.MaxInt, 1_000_001} {
			c := governor.Change{Limit: spec.Name, Count: count, Per: time.Second}
			if err := governor.SetLimit(t.Context(), f.store, "v", c, governor.Limit{}, me); err == nil {
				t.Errorf("%d per second is set", count)
			}
		}
		if w, _ := f.store.Counts(); w != 0 {
			t.Errorf("%d writes", w)
		}
		f.close()
	})
}

// What is in an item all the same (an earlier version let it in) makes a limit
// longer, not none; and what is allowed is kept under the smallest share, too.
func TestHugePeriodsHold(t *testing.T) {
	t.Parallel()
	now := time.Now()
	eased := map[string]governor.Ease{"w": {Share: 1, From: now.Add(time.Hour), Over: time.Minute}}
	for _, per := range []time.Duration{time.Hour, tooLong - 1, 50_000 * time.Hour, 2_562_047 * time.Hour, math.MaxInt64} {
		for _, kind := range []governor.Kind{governor.Window, governor.Bucket, governor.Spacing} {
			limits := []governor.Limit{{Name: "w", Kind: kind, Count: 500, Per: time.Minute, Burst: math.MaxInt}, window(1000, time.Second)}
			it := governor.Item{Overrides: map[string]governor.Override{"w": {Count: 1, Per: per}}}
			every, late := governor.RulingAt(limits[:1], 0, &it, now)
			it.Eases = eased
			slow, lateSlow := governor.RulingAt(limits, 0, &it, now)
			want := per
			if per < math.MaxInt64/64 {
				want = 64 * per
			}
			if every < per || slow < want || min(late, lateSlow) < 0 {
				t.Errorf("%s of 1 per %v: every %v (%v late), under a share of a 64th %v (%v late)", kind, per, every, late, slow, lateSlow)
			}
		}
	}
}
