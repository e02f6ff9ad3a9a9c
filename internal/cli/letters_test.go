package cli

import (
	"context"
	"slices"
	"testing"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/run"
)

// TestTaskFlag: a name or an ID means that task and no other, whatever signs its
// keys hold; in a pattern only * is special.
func TestTaskFlag(t *testing.T) {
	keys := []string{"1", "[1]", "a*b", "axxb", `a\b`, "ab", "50%?", "50%1", "x/y", "x", "line\nbreak", "AB"}
	for flag, want := range map[string][]string{
		"data [1]":  {"[1]"},
		"data 1":    {"1"},
		"data a*b":  {"a*b"}, // a name, and then no pattern
		`data a\b`:  {`a\b`},
		"data 50%?": {"50%?"},
		"data a*":   {"a*b", "axxb", `a\b`, "ab"},
		"data 50*":  {"50%?", "50%1"},
		"*[1]":      {"[1]"},
		"data x*":   {"x/y", "x"},
		"*break":    {"line\nbreak"},
		"data":      nil,
		"data [x":   nil,
		"*":         keys,
		"id of a*b": {"a*b"},
		"id of ab":  {"ab"},
		"id of *":   nil,
		"":          keys,
	} {
		var tasks []run.DeadTask
		for _, k := range keys {
			tasks = append(tasks, run.DeadTask{Task: fanout.Task{ID: "id of " + k, Run: "r", Tier: "data", Node: fanout.Node{Path: []string{k}}}})
		}
		l := letters{runs: []run.Run{{ID: "r"}}, store: deadOnly{tasks: tasks}}
		f := letterFlags{task: flag}
		meant, err := f.meant(t.Context(), l, []string{"sim"})
		if err != nil {
			t.Errorf("--task %q: %v", flag, err)
			continue
		}
		var got []string
		for _, d := range tasks {
			if meant(d) {
				got = append(got, d.Task.Path[0])
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("--task %q means %q, want %q", flag, got, want)
		}
	}
}

// TestMayHaveDead: what an interrupted replay has left in a closed run is not
// dead, and is missing from its verdict; no run is passed over that has some.
func TestMayHaveDead(t *testing.T) {
	verdict := func(dead, missing int) *run.Verdict { return &run.Verdict{Dead: dead, Missing: missing} }
	runs := []run.Run{
		{ID: "fine", State: run.Closed, Verdict: verdict(0, 0)},
		{ID: "dead", State: run.Closed, Verdict: verdict(1, 0)},
		{ID: "left", State: run.Closed, Verdict: verdict(0, 1)},
		{ID: "open", State: run.Open, Verdict: verdict(0, 0)},
		{ID: "new", State: run.Open},
	}
	var got []string
	for _, r := range mayHaveDead(runs) {
		got = append(got, r.ID)
	}
	if want := []string{"dead", "left", "open", "new"}; !slices.Equal(got, want) {
		t.Errorf("%q may have dead tasks, want %q", got, want)
	}
}

// deadOnly is a store that knows dead tasks and nothing else.
type deadOnly struct {
	run.Store
	tasks []run.DeadTask
}

func (s deadOnly) DeadTasks(_ context.Context, _ string, each func(run.DeadTask) error) error {
	for _, d := range s.tasks {
		if err := each(d); err != nil {
			return err
		}
	}
	return nil
}
