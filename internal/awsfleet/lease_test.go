package awsfleet_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/awsfleet"
	"github.com/sluicehq/sluice/internal/fanout"
)

func TestLeases(t *testing.T) {
	t.Parallel()
	v := anywhere(t, "a")
	ctx, now := t.Context(), time.Now().UTC().Round(time.Microsecond)
	lease := func(owner string) awsfleet.Lease {
		return awsfleet.Lease{Owner: owner, Soft: now.Add(time.Minute), Expires: now.Add(30 * time.Second)}
	}
	try := func(what string, want bool) func(bool, error) {
		return func(got bool, err error) {
			t.Helper()
			if err != nil || got != want {
				t.Errorf("%s: %v, %v; want %v", what, got, err, want)
			}
		}
	}
	peek := func(want ...awsfleet.Lease) {
		t.Helper()
		_, got, err := v.Peek(ctx, "a", len(want))
		if err != nil || len(got) != len(want) {
			t.Fatal(got, err)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("slot %d: %+v, want %+v", i, got[i], want[i])
			}
		}
	}
	peek(awsfleet.Lease{}, awsfleet.Lease{})
	x, y := lease("x"), lease("y")
	try("renewing what is nobody's", false)(v.Renew(ctx, "a", 0, x))
	try("taking what is nobody's", true)(v.Acquire(ctx, "a", 0, x, now))
	try("taking it once more", true)(v.Acquire(ctx, "a", 0, x, now))
	try("taking what is another's", false)(v.Acquire(ctx, "a", 0, y, now))
	try("taking another slot", true)(v.Acquire(ctx, "a", 1, y, now))
	try("renewing what is another's", false)(v.Renew(ctx, "a", 0, y))
	peek(x, y, awsfleet.Lease{})
	x.Expires = now.Add(40 * time.Second)
	try("renewing", true)(v.Renew(ctx, "a", 0, x))
	try("taking what has not ended", false)(v.Acquire(ctx, "a", 0, y, now.Add(39*time.Second)))
	try("taking what has ended", true)(v.Acquire(ctx, "a", 0, y, now.Add(40*time.Second)))
	try("renewing what has been taken", false)(v.Renew(ctx, "a", 0, x))
	y.HandingOver = true
	try("handing over", true)(v.Renew(ctx, "a", 0, y))
	try("taking what is handed over", true)(v.Acquire(ctx, "a", 0, x, now))
	ok(t, v.Release(ctx, "a", 0, "y"))
	peek(x)
	ok(t, v.Release(ctx, "a", 0, "x"))
	ok(t, v.Release(ctx, "a", 0, "x"))
	peek(awsfleet.Lease{})
}

// TestOneTakes: of many who want a slot one gets it.
func TestOneTakes(t *testing.T) {
	t.Parallel()
	v := anywhere(t, "a")
	now := time.Now()
	var took atomic.Int32
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			got, err := v.Acquire(t.Context(), "a", 0, awsfleet.Lease{Owner: string(rune('a' + i)), Expires: now.Add(time.Minute)}, now)
			if err != nil {
				t.Error(err)
			}
			if got {
				took.Add(1)
			}
		})
	}
	wg.Wait()
	if took.Load() != 1 {
		t.Errorf("%d have the slot", took.Load())
	}
}

func TestAwaiting(t *testing.T) {
	t.Parallel()
	v := anywhere(t, "a")
	ctx := t.Context()
	zone := time.FixedZone("", 3600)
	day := func(n int) fanout.Window {
		return fanout.Window{From: time.Date(2026, 11, n, 0, 0, 0, 0, zone), To: time.Date(2026, 11, n+1, 0, 0, 0, 0, zone)}
	}
	for _, n := range []int{3, 1, 2, 1} {
		ok(t, v.Await(ctx, awsfleet.Waiting{Window: day(n)}))
	}
	ok(t, v.Forget(ctx, day(2)))
	ok(t, v.Forget(ctx, day(9)))
	got, err := v.Awaiting(ctx)
	if err != nil || len(got) != 2 || !got[0].From.Equal(day(1).From) || !got[1].To.Equal(day(3).To) {
		t.Errorf("%v, %v", got, err)
	}
}
