package awsfleet_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/awsfleet"
	"github.com/sluicehq/sluice/internal/awsfleet/awstest"
	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/run"
)

// bury makes n dead tasks in run r1, each with an answer of a few hundred bytes.
func bury(t *testing.T, v *awsfleet.Vendor, n int) {
	t.Helper()
	l := v.Ledger(vendor)
	excerpt := strings.Repeat("<p>oops</p>", 40)
	for from := 0; from < n; from += 2000 {
		var ends []fanout.Settlement
		for i := from; i < min(n, from+2000); i++ {
			at := time.Now().UTC()
			ends = append(ends, fanout.Settlement{Task: task("r1", "a", fmt.Sprint("k", i)), Outcome: fanout.Dead, At: at,
				Reason: &fanout.Reason{Class: fanout.Bad, Status: 500 + i%4, Message: fmt.Sprintf("item %d is no object", i), Excerpt: excerpt, At: at}})
		}
		ok(t, l.Settle(t.Context(), ends))
	}
}

// TestLettersCost: listing n dead letters reads whole pages, and asks no queue;
// reopening some costs a write for each and a read for a hundred.
func TestLettersCost(t *testing.T) {
	t.Parallel()
	s := awstest.StandIn(t)
	cloud := s.Open(t, "AKIATEST")
	v := cloud.Use(s.Make(t, vendor, "a"))
	_, err := v.Runs().Create(t.Context(), newRun("r1", 0, "a"), false)
	ok(t, err)
	const n = letterCount
	bury(t, v, n)
	before := cloud.Usage()
	began := time.Now()
	var causes run.Causes
	var dead []run.Letter
	seen := 0
	ok(t, v.Runs().DeadTasks(t.Context(), "r1", func(d run.DeadTask) error {
		causes.Add(d)
		if seen++; len(dead) < 100 {
			dead = append(dead, run.Letter{Task: d.Task.ID, Life: d.Task.Life})
		}
		return nil
	}))
	used := cloud.Usage().Since(before)
	megabytes := used.ReadUnits * 4096 / (1 << 20)
	t.Logf("%d dead letters, %.0f MB of rows: %d queries in %v", n, megabytes, used.Calls["dynamodb.Query"], time.Since(began).Round(time.Millisecond))
	if all := causes.List(); seen != n || len(all) != 4 {
		t.Errorf("%d dead letters of %d causes, want %d of 4", seen, len(all), n)
	}
	if most := 16 + int(megabytes) + 1; used.Calls["dynamodb.Query"] > most {
		t.Errorf("%d queries, want at most %d", used.Calls["dynamodb.Query"], most)
	}
	for what, calls := range used.Calls {
		if what != "dynamodb.Query" {
			t.Errorf("%d calls of %s: to list costs queries only", calls, what)
		}
	}

	before = cloud.Usage()
	open, err := v.Runs().Reopen(t.Context(), "r1", dead, run.Note{Tag: "r-1", At: time.Now()})
	if err != nil || len(open) != len(dead) {
		t.Fatal(len(open), err)
	}
	used = cloud.Usage().Since(before)
	if used.Calls["dynamodb.BatchGetItem"] != 1 || used.Calls["dynamodb.UpdateItem"] != len(dead)+1 || len(used.Calls) > 3 {
		t.Errorf("reopening %d: %v, want one batch read, a write for each, and one for the counters", len(dead), used.Calls)
	}
}
