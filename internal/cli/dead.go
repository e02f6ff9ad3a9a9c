package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/run"
)

// maxSamples is how many tasks of one cause are named.
const maxSamples = 3

// deadCause is what dead tasks have in common.
type deadCause struct {
	Run     string       `json:"run"`
	Tier    string       `json:"tier"`
	Class   fanout.Class `json:"class"`
	Status  int          `json:"status,omitempty"`
	Message string       `json:"message"`
	Excerpt string       `json:"excerpt,omitempty"` // of the first
	Count   int          `json:"count"`
	First   time.Time    `json:"first"`
	Last    time.Time    `json:"last"`
	Samples []string     `json:"samples"`
}

// deadTask is one dead task as it is listed.
type deadTask struct {
	Run      string        `json:"run"`
	Task     string        `json:"task"`
	Name     string        `json:"name"`
	Attempts int           `json:"attempts"`
	At       time.Time     `json:"at"`
	Reason   fanout.Reason `json:"reason"`
}

const deadLong = `Dead lists the tasks that kept failing, by cause: what the vendor answered, how
many tasks, since when, some of them by name. They stay until they are replayed.
What lies below a dead task was not read.`

func (a *app) deadCommand() *cobra.Command {
	var id string
	var each, asJSON bool
	cmd := &cobra.Command{
		Use: "dead VENDOR|SPEC [TIER]", Short: "List dead tasks by cause", Long: deadLong,
		Example: "  sluice dead sim\n  sluice dead sim data --all\n  sluice dead sim --json",
		Args:    args(1, 2, "VENDOR or SPEC, and perhaps TIER"), ValidArgsFunction: a.completeSpecTier,
		RunE: func(cmd *cobra.Command, args []string) error {
			return with(a.existing(args...), a.soft, func(h place) error {
				found, err := deadOf(cmd.Context(), h, args, id)
				if err != nil {
					return err
				}
				return a.showDead(args[0], found, each, asJSON)
			})
		},
	}
	cmd.Flags().StringVar(&id, "run", "", "only those of this `RUN`")
	cmd.Flags().BoolVar(&each, "all", false, "one by one")
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	_ = cmd.RegisterFlagCompletionFunc("run", a.completeRunFlag) // the flag is there
	return cmd
}

// deadOf collects the dead tasks of a vendor's runs, or of one, and of a tier.
func deadOf(ctx context.Context, h place, args []string, id string) ([]run.DeadTask, error) {
	vendor, _, err := vendorOf(ctx, h, args[0])
	if err != nil {
		return nil, err
	}
	runs, err := currentRuns(ctx, h, vendor, id)
	if err != nil {
		return nil, err
	}
	if err := checkTier(runs, vendor, args); err != nil {
		return nil, err
	}
	var found []run.DeadTask
	for _, r := range runs {
		err := h.Runs().DeadTasks(ctx, r.ID, func(d run.DeadTask) error {
			if len(args) < 2 || d.Task.Tier == args[1] {
				found = append(found, d)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("reading the dead letters of run %s: %w", r.ID, err)
		}
	}
	return found, nil
}

// checkTier makes sure that the tier that is asked for exists.
func checkTier(runs []run.Run, vendor string, args []string) error {
	if len(args) < 2 {
		return nil
	}
	tiers := tiersOf(args[0])
	for _, r := range runs {
		for _, t := range r.Tiers {
			if !slices.Contains(tiers, t) {
				tiers = append(tiers, t)
			}
		}
	}
	if !slices.Contains(tiers, args[1]) {
		return noTier(vendor, args[1], tiers)
	}
	return nil
}

func (a *app) showDead(name string, found []run.DeadTask, each, asJSON bool) error {
	switch causes := byCause(found); {
	case asJSON && each:
		return writeJSON(a.Stdout, oneByOne(found))
	case asJSON:
		return writeJSON(a.Stdout, causes)
	case len(found) == 0:
		a.print("No task of %s is dead.", name)
		return nil
	case each:
		for _, d := range oneByOne(found) {
			a.print("%s  %s: %s (run %s, %s)", instantText(d.At), d.Name, reasonText(d.Reason), d.Run, plural(d.Attempts, "failed attempt"))
		}
	default:
		for _, c := range causes {
			a.printCause(c)
		}
	}
	a.print("\nOnce more: sluice replay %s%s   (first look: --dry-run; one: --task NAME)", quote(name), a.homeFlag())
	return nil
}

func (a *app) printCause(c deadCause) {
	a.print("%s of tier %s in run %s: %s", plural(c.Count, "dead task"), c.Tier, c.Run, reasonText(fanout.Reason{Class: c.Class, Status: c.Status, Message: c.Message}))
	if c.Excerpt != "" {
		a.print("  answered  %s", clip(c.Excerpt, 200))
	}
	if c.First.Equal(c.Last) {
		a.print("  seen      %s", instantText(c.First))
	} else {
		a.print("  seen      %s to %s", instantText(c.First), instantText(c.Last))
	}
	for i, s := range c.Samples {
		label := ""
		if i == 0 {
			label = "such as"
		}
		a.print("  %-8s  %s", label, s)
	}
}

// reasonText is a cause in words.
func reasonText(r fanout.Reason) string {
	s := string(r.Class)
	if r.Status != 0 {
		s += fmt.Sprintf(", status %d", r.Status)
	}
	return s + ": " + r.Message
}

func byCause(found []run.DeadTask) []deadCause {
	out := []deadCause{}
	at := map[string]int{}
	for _, d := range found {
		r := d.Reason
		key := strings.Join([]string{d.Task.Run, d.Task.Tier, string(r.Class), fmt.Sprint(r.Status), r.Message}, "\x00")
		i, known := at[key]
		if !known {
			i = len(out)
			at[key] = i
			out = append(out, deadCause{Run: d.Task.Run, Tier: d.Task.Tier, Class: r.Class, Status: r.Status, Message: r.Message, Excerpt: r.Excerpt, First: d.At})
		}
		c := &out[i]
		c.Count++
		c.Last = d.At
		if len(c.Samples) < maxSamples {
			c.Samples = append(c.Samples, run.Name(d.Task))
		}
	}
	slices.SortStableFunc(out, func(a, b deadCause) int { return b.Count - a.Count })
	return out
}

func oneByOne(found []run.DeadTask) []deadTask {
	out := []deadTask{}
	for _, d := range found {
		out = append(out, deadTask{d.Task.Run, d.Task.ID, run.Name(d.Task), d.Attempts, d.At, d.Reason})
	}
	return out
}

// completeRunFlag completes a flag that takes a run's ID.
func (a *app) completeRunFlag(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	return a.completeRun(cmd, nil, word)
}
