package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/run"
)

// shownTask is all that is known of a task that is or was dead.
type shownTask struct {
	Run      string         `json:"run"`
	Task     string         `json:"task"`
	Name     string         `json:"name"`
	Outcome  string         `json:"outcome"` // empty: it is open
	Life     int            `json:"life"`
	Replay   string         `json:"replay,omitempty"`
	Cause    string         `json:"cause,omitempty"`
	Attempts int            `json:"attempts"` // failed, in this life
	Reason   *fanout.Reason `json:"reason,omitempty"`
	History  []run.Attempt  `json:"history"`
}

const deadShowLong = `Show tells all that is known of one task that is dead, or was: what was asked, what
the vendor answered, each failed attempt of each life (the last twenty at least),
and each replay: who, when and why. Secrets are masked where they are recorded.

A task is named as "sluice dead" names it, or by its ID.`

func (a *app) deadShowCommand() *cobra.Command {
	var id string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "show VENDOR|SPEC TASK", Short: "Show one dead task: request, answer, history", Long: deadShowLong,
		Example: "  sluice dead show sim 'datagroups 9007199254740995'",
		Args:    args(2, 2, "VENDOR or SPEC, and TASK: a name that sluice dead shows, or an ID"), ValidArgsFunction: a.completeSpec,
		RunE: func(cmd *cobra.Command, args []string) error {
			return with(a.existing(args[0]), a.soft, func(h place) error {
				vendor, _, err := vendorOf(cmd.Context(), h, args[0])
				if err != nil {
					return err
				}
				runs, err := currentRuns(cmd.Context(), h, vendor, id)
				if err != nil {
					return err
				}
				shown, err := showTask(cmd.Context(), h, vendor, runs, args[1])
				if err != nil {
					return err
				}
				if asJSON {
					return writeJSON(a.Stdout, shown)
				}
				a.printTask(args[0], shown)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&id, "run", "", "of this `RUN` (default: the newest that has such a task)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	_ = cmd.RegisterFlagCompletionFunc("run", a.completeRunFlag) // the flag is there
	return cmd
}

// showTask looks for a task in runs, the newest first.
func showTask(ctx context.Context, h place, vendor string, runs []run.Run, name string) (shownTask, error) {
	for _, r := range runs {
		for _, t := range tasksNamed(r, name) {
			shown, found, err := taskOf(ctx, h, vendor, t)
			if err != nil || found {
				return shown, err
			}
		}
	}
	// A name that cannot be taken apart, or an ID without one: among all there are.
	for _, r := range runs {
		t, found, err := searched(ctx, h, r.ID, name)
		if err != nil {
			return shownTask{}, err
		}
		if !found {
			continue
		}
		if shown, found, err := taskOf(ctx, h, vendor, t); err != nil || found {
			return shown, err
		}
	}
	return shownTask{}, fmt.Errorf("no task %q of vendor %s is or was dead: sluice dead names those that are", name, vendor)
}

// tasksNamed are the tasks that a name may stand for in a run.
func tasksNamed(r run.Run, name string) (out []fanout.Task) {
	tier, keys, _ := strings.Cut(name, " ")
	if !slices.Contains(r.Tiers, tier) {
		return nil
	}
	var path []string
	if keys != "(root)" {
		path = strings.Split(keys, " / ")
	}
	return []fanout.Task{{ID: fanout.TaskID(r.ID, tier, path), Run: r.ID, Tier: tier, Life: 1, Node: fanout.Node{Path: path}}}
}

// searched finds a task by its ID or name, among those that have ended and those
// that were opened again.
func searched(ctx context.Context, h place, id, name string) (t fanout.Task, found bool, err error) {
	enough := errors.New("enough")
	look := func(is fanout.Task) error {
		if is.ID == name || run.Name(is) == name {
			t, found = is, true
			return enough
		}
		return nil
	}
	err = h.Runs().Ends(ctx, id, func(e fanout.Settlement) error { return look(e.Task) })
	if err == nil {
		err = h.Runs().Reopened(ctx, id, look)
	}
	if err != nil && !errors.Is(err, enough) {
		return t, false, fmt.Errorf("reading the ledger of run %s: %w", id, err)
	}
	return t, found, nil
}

// taskOf is what the ledger knows of a task, if it is or was dead.
func taskOf(ctx context.Context, h place, vendor string, t fanout.Task) (s shownTask, found bool, err error) {
	stands, err := h.Ledger(vendor).Look(ctx, []fanout.Task{t})
	if err != nil {
		return s, false, err
	}
	st := stands[0]
	history, err := h.Runs().History(ctx, t.Run, t.ID)
	if err != nil {
		return s, false, err
	}
	dead := st.Outcome == fanout.Dead || st.Outcome == fanout.Discarded
	if !dead && len(history) == 0 {
		return s, false, nil
	}
	s = shownTask{
		Run: t.Run, Task: t.ID, Name: run.Name(t), Outcome: string(st.Outcome), Life: st.Life, Replay: st.Replay, Reason: st.Reason, History: history,
	}
	if s.History == nil {
		s.History = []run.Attempt{}
	}
	for _, h := range history {
		if h.What == run.Failed && h.Life == st.Life {
			s.Attempts++
		}
	}
	if dead && st.Reason != nil {
		s.Cause = run.CauseOf(run.DeadTask{Task: t, Reason: *st.Reason})
	}
	return s, true, nil
}

func (a *app) printTask(name string, s shownTask) {
	outcome := s.Outcome
	if outcome == "" {
		outcome = "open"
	}
	a.print("%s: %s", s.Name, outcome)
	row := func(label, value string) {
		if value != "" {
			a.print("  %-9s %s", label, value)
		}
	}
	row("task", s.Task)
	row("run", s.Run)
	life := fmt.Sprintf("%d, %s in it", s.Life, plural(s.Attempts, "failed attempt"))
	if s.Replay != "" {
		life += ", begun by " + s.Replay
	}
	row("life", life)
	row("cause", s.Cause)
	if r := s.Reason; r != nil {
		row("why", reasonText(*r))
		row("asked", r.Request)
		if r.Page > 1 {
			row("page", fmt.Sprint(r.Page))
		}
		row("answered", strings.TrimSpace(r.Excerpt))
	}
	for i, h := range s.History {
		label := ""
		if i == 0 {
			label = "history"
		}
		a.print("  %-9s %s", label, historyText(h))
	}
	if s.Outcome == string(fanout.Dead) {
		a.print("\nOnce more:    sluice replay %s --task %s%s", quote(name), quote(s.Task), a.homeFlag())
		a.print("Leave it so:  sluice discard %s --task %s --why WHY%s", quote(name), quote(s.Task), a.homeFlag())
	}
}

// historyText is one thing in a task's history.
func historyText(h run.Attempt) string {
	text := fmt.Sprintf("%s  life %d  %s", h.At.UTC().Format(time.DateTime), h.Life, h.What)
	if n := h.Note; n != nil {
		text += " by " + n.By
		if n.Tag != "" {
			text += " (" + n.Tag + ")"
		}
		if n.Why != "" {
			text += ": " + n.Why
		}
		if h.Reason != nil {
			text += "; it was dead of " + reasonText(*h.Reason)
		}
	} else if h.Reason != nil {
		text += ": " + reasonText(*h.Reason)
	}
	return text
}
