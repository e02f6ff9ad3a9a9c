package run_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/run"
)

func died(tier, key string, status int, message string, at int) run.DeadTask {
	return run.DeadTask{
		Task:   fanout.Task{ID: fanout.TaskID("r", tier, []string{key}), Run: "r", Tier: tier, Node: fanout.Node{Path: []string{key}}},
		Reason: fanout.Reason{Class: fanout.Bad, Status: status, Message: message}, At: time.Unix(int64(at), 0),
	}
}

// TestCauses: what differs from task to task does not make another cause, and
// the name of a cause is for good.
func TestCauses(t *testing.T) {
	var c run.Causes
	for i := range 50 {
		c.Add(died("a", fmt.Sprint(i), 500, fmt.Sprintf("device dg%%2F%d: row %d of 0x%x-ab is no object", i, i*i, i), 1000-i))
	}
	c.Add(died("a", "x", 500, "another thing is wrong", 5))
	c.Add(died("a", "x", 502, "device 1: row 2 of 0x3-ab is no object", 5))
	c.Add(died("b", "x", 500, "device 1: row 2 of 0x3-ab is no object", 5))
	got := c.List()
	if len(got) != 4 {
		t.Fatalf("%d causes, want 4: %+v", len(got), got)
	}
	if f := got[0]; f.Count != 50 || f.Tier != "a" || f.Status != 500 || f.First.Unix() != 951 || f.Last.Unix() != 1000 || len(f.Samples) != 3 || len(f.Runs) != 1 {
		t.Errorf("%+v", f)
	}
	if name := run.CauseOf(died("a", "x", 500, "another thing is wrong", 0)); name != "2ht05u" {
		t.Errorf("the cause is named %s; scripts know it by another name", name)
	}
}

// TestManyCauses: what is kept does not grow with what is dead.
func TestManyCauses(t *testing.T) {
	var c run.Causes
	word := func(i int) string { return strings.Repeat(string(rune('a'+i%26)), 1+i/26%20) + string(rune('a'+i/520)) }
	for i := range 3000 {
		c.Add(died("a", "k", 500, "wrong: "+word(i), i))
	}
	got, n := c.List(), 0
	for _, cause := range got {
		n += cause.Count
	}
	if len(got) != 1001 || n != 3000 || got[0].Name != "others" || got[0].Count != 2000 {
		t.Errorf("%d causes of %d tasks, the largest %+v", len(got), n, got[0])
	}
}
