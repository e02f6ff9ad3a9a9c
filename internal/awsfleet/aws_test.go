package awsfleet_test

import (
	"flag"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/awsfleet"
	"github.com/sluicehq/sluice/internal/awsfleet/awstest"
	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/fanout/fanouttest"
	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/governor/governortest"
	"github.com/sluicehq/sluice/internal/landing"
	"github.com/sluicehq/sluice/internal/run"
	"github.com/sluicehq/sluice/internal/run/runtest"
	"github.com/sluicehq/sluice/internal/series/seriestest"
)

// TestMain lets more tests run beside each other than there are processors:
// they wait for servers and for messages to show.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

const vendor = "v"

// open makes a stack of its own on servers that record and can fail, and works
// with it.
func open(t *testing.T, tiers ...string) (*awstest.Servers, *awsfleet.Vendor) {
	t.Helper()
	s := awstest.StandIn(t)
	return s, s.Open(t, "AKIATEST").Use(s.Make(t, vendor, tiers...))
}

// anywhere does the same in a real account, if there is to be one.
func anywhere(t *testing.T, tiers ...string) *awsfleet.Vendor {
	t.Helper()
	s := awstest.Start(t)
	return s.Open(t, "AKIATEST").Use(s.Make(t, vendor, tiers...))
}

// opened has an open run with one seed.
func opened(t *testing.T, tiers ...string) (*awstest.Servers, *awsfleet.Vendor, run.Run) {
	t.Helper()
	s, v := open(t, tiers...)
	r, err := v.Runs().Create(t.Context(), newRun("r1", 0, tiers...), false)
	if err != nil {
		t.Fatal(err)
	}
	return s, v, r
}

// newRun is a run of the n-th day.
func newRun(id string, n int, tiers ...string) run.Run {
	from := time.Date(2026, 11, 1+n, 0, 0, 0, 0, time.UTC)
	w := fanout.Window{From: from, To: from.AddDate(0, 0, 1)}
	return run.Run{
		ID: id, Vendor: vendor, Window: w, Tiers: tiers, State: run.Open, Opened: time.Now().UTC(),
		Seeds: []fanout.Task{{ID: fanout.TaskID(id, tiers[0], nil), Run: id, Tier: tiers[0], Life: 1, Window: w}},
	}
}

func task(run, tier string, path ...string) fanout.Task {
	return fanout.Task{ID: fanout.TaskID(run, tier, path), Run: run, Tier: tier, Life: 1, Node: fanout.Node{Path: path}}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// settings are what these servers are like.
var settings = fanouttest.Settings{Short: time.Second, Parallel: true}

func TestQueue(t *testing.T) {
	fanouttest.TestQueue(t, settings, func(t *testing.T) fanout.Queue {
		return anywhere(t, "t").Queue(vendor, "t")
	})
}

func TestLedger(t *testing.T) {
	fanouttest.TestLedger(t, settings, func(t *testing.T) (fanout.Ledger, string, func(fanout.Task) fanout.Task) {
		v := anywhere(t, "a")
		r, err := v.Runs().Create(t.Context(), newRun("r1", 0, "a"), false)
		ok(t, err)
		return v.Ledger(vendor), r.ID, func(ts fanout.Task) fanout.Task {
			next, err := v.Runs().Reopen(t.Context(), ts.Run, []run.Letter{{Task: ts.ID, Life: ts.Life}}, run.Note{Tag: "r-test", At: time.Now()})
			if err != nil || len(next) != 1 {
				t.Fatal(next, err)
			}
			return next[0]
		}
	})
}

func TestRuns(t *testing.T) {
	runtest.TestStore(t, runtest.Settings{Parallel: true, Rough: awstest.Real()}, func(t *testing.T) runtest.Place {
		v := anywhere(t, "a", "b")
		return runtest.Place{Store: v.Runs(), Ledger: v.Ledger(vendor), Vendor: vendor, Queue: func(tier string) fanout.Queue { return v.Queue(vendor, tier) }}
	})
}

func TestLanding(t *testing.T) {
	t.Parallel()
	fanouttest.TestLanding(t, func(t *testing.T) fanout.Landing { return anywhere(t).Landing(vendor) },
		func(t *testing.T, l fanout.Landing, object string, each func(*fanout.Record)) {
			ok(t, l.(*landing.Landing).Object(t.Context(), object, func(r *fanout.Record) error { each(r); return nil }))
		})
}

// TestGovernorStore: the handles that one test opens are processes that share a
// stack.
func TestGovernorStore(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	stacks := map[*testing.T]func() governor.Store{}
	governortest.TestStore(t, func(t *testing.T) governor.Store {
		mu.Lock()
		defer mu.Unlock()
		if stacks[t] == nil {
			s := awstest.Start(t)
			stack := s.Make(t, vendor)
			stacks[t] = func() governor.Store { return awsfleet.Patient(s.Open(t, "AKIATEST").Use(stack)).Governor() }
		}
		return stacks[t]()
	})
}

func TestSeries(t *testing.T) {
	t.Parallel()
	s := awstest.Start(t)
	seriestest.Store(t, s.Open(t, "AKIATEST").Use(s.Make(t, vendor)).Series(), vendor)
}
