package functions

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestLooks: when a run's verdict is computed, minute by minute.
func TestLooks(t *testing.T) {
	busy, hidden, empty := sight{}, sight{idle: true}, sight{idle: true, quiet: true}
	balanced := sight{idle: true, quiet: true, balanced: true}
	loud := sight{idle: true, balanced: true}
	suspicious := sight{idle: true, quiet: true, suspect: true}
	for _, c := range []struct {
		name  string
		looks []sight
		ended []int
		due   []int // of which looks a verdict comes
	}{
		{"work goes on", []sight{busy, busy, busy}, []int{1, 5, 9}, nil},
		{"all has ended, by the counters", []sight{busy, balanced, balanced, balanced}, []int{5, 9, 9, 9}, []int{1, 2}},
		{"the counters have lost some", []sight{busy, empty, empty, empty}, []int{5, 9, 9, 9}, []int{1, 2}},
		{"balanced before the queues were empty", []sight{busy, loud, loud, empty, empty, empty}, []int{5, 9, 9, 9, 9, 9}, []int{1, 4}},
		{"a message may have been given up on", []sight{busy, suspicious, suspicious, suspicious, empty}, []int{5, 9, 9, 9, 9}, []int{1, 4}},
		{"something is missing for long", repeat(empty, 25), same(9, 25), []int{0, 1, 12, 23}},
		{"a message that is none of ours stays hidden", repeat(hidden, 30), same(9, 30), []int{15, 26}},
		{"tasks wait for their next attempt", repeat(hidden, 10), []int{1, 1, 1, 2, 2, 2, 3, 3, 3, 4}, nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(time.Hour) // since the last verdict, of which nothing is known
			var l look
			var due []int
			for i, s := range c.looks {
				var now bool
				if l, now = l.then(s, Looked{Settled: c.ended[i]}); now {
					due = append(due, i)
				}
				time.Sleep(time.Minute)
			}
			if len(due) != len(c.due) {
				t.Fatalf("%s: verdicts at %v, want %v", c.name, due, c.due)
			}
			for i := range due {
				if due[i] != c.due[i] {
					t.Errorf("%s: verdicts at %v, want %v", c.name, due, c.due)
				}
			}
		})
	}
}

func repeat(s sight, n int) (out []sight) {
	for range n {
		out = append(out, s)
	}
	return out
}

func same(v, n int) (out []int) {
	for range n {
		out = append(out, v)
	}
	return out
}
