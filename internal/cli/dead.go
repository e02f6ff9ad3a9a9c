package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/run"
)

// deadTask is one dead task as it is listed.
type deadTask struct {
	Run      string        `json:"run"`
	Task     string        `json:"task"`
	Name     string        `json:"name"`
	Tier     string        `json:"tier"`
	Path     []string      `json:"path"`
	Life     int           `json:"life"`
	Replay   string        `json:"replay,omitempty"` // that began this life
	Cause    string        `json:"cause"`
	Attempts int           `json:"attempts"`
	At       time.Time     `json:"at"`
	Reason   fanout.Reason `json:"reason"`
}

func listed(d run.DeadTask) deadTask {
	t := d.Task
	return deadTask{t.Run, t.ID, run.Name(t), t.Tier, t.Path, t.Life, t.Replay, run.CauseOf(d), d.Attempts, d.At, d.Reason}
}

const deadLong = `Dead lists the tasks that kept failing, by cause: what the vendor answered, how
many tasks, since when, some of them by name. A cause has a short name that stays
the same, for --cause. Dead tasks stay until they are replayed or discarded. What
lies below a dead task was not read.

To look changes nothing: it hides no dead letter from a replay.`

func (a *app) deadCommand() *cobra.Command {
	var flags letterFlags
	var each, asJSON bool
	cmd := &cobra.Command{
		Use: "dead VENDOR|SPEC [TIER]", Short: "List dead tasks by cause", Long: deadLong,
		Example: "  sluice dead sim\n  sluice dead sim data --all\n  sluice dead sim --json\n  sluice dead show sim 'data 17 / 3'\n  sluice dead export sim > dead.ndjson",
		Args:    args(1, 2, "VENDOR or SPEC, and perhaps TIER"), ValidArgsFunction: a.completeSpecTier,
		RunE: func(cmd *cobra.Command, args []string) error {
			return with(a.existing(args...), a.soft, func(h place) error {
				found, err := flags.find(cmd.Context(), h, args)
				switch {
				case err != nil:
					return err
				case each && asJSON:
					return a.deadArray(cmd.Context(), found)
				case each:
					return a.deadLines(cmd.Context(), found)
				}
				return a.deadCauses(cmd.Context(), found, asJSON)
			})
		},
	}
	flags.register(a, cmd)
	cmd.Flags().BoolVar(&each, "all", false, "one by one")
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	cmd.AddCommand(a.deadShowCommand(), a.deadExportCommand())
	return cmd
}

// checkTier makes sure that the tier that is asked for exists.
func checkTier(runs []run.Run, vendor string, args []string) error {
	if len(args) < 2 {
		return nil
	}
	tiers := tiersOf(args[0], anyTier)
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

// deadCauses lists causes.
func (a *app) deadCauses(ctx context.Context, found letters, asJSON bool) error {
	var causes run.Causes
	if err := found.each(ctx, func(d run.DeadTask) error { causes.Add(d); return nil }); err != nil {
		return err
	}
	all := causes.List()
	if asJSON {
		return writeJSON(a.Stdout, all)
	}
	for _, c := range all {
		a.printCause(c)
	}
	a.deadNext(found, len(all))
	return nil
}

// deadNext says what to type next.
func (a *app) deadNext(found letters, n int) {
	name := found.name
	if n == 0 {
		if found.filtered {
			a.print("No dead task of %s matches (without a filter: sluice dead %s%s).", name, quote(name), a.homeFlag())
		} else {
			a.print("No task of %s is dead.", name)
		}
		return
	}
	a.print("\nOne of them:  sluice dead show %s NAME%s", quote(name), a.homeFlag())
	a.print("Once more:    sluice replay %s%s   (first look: --dry-run; some: --cause CAUSE, --task NAME)", quote(name), a.homeFlag())
}

func (a *app) printCause(c run.Cause) {
	where := "in run " + c.Runs[0]
	if len(c.Runs) > 1 {
		where = fmt.Sprintf("in %d runs, the newest %s", len(c.Runs), c.Runs[0])
	}
	a.print("%s  %s of tier %s %s: %s", c.Name, plural(c.Count, "dead task"), c.Tier, where, reasonText(fanout.Reason{Class: c.Class, Status: c.Status, Message: c.Message}))
	if c.Excerpt != "" {
		a.print("        answered  %s", clip(c.Excerpt, 200))
	}
	if c.First.Equal(c.Last) {
		a.print("        seen      %s", instantText(c.First))
	} else {
		a.print("        seen      %s to %s", instantText(c.First), instantText(c.Last))
	}
	for i, s := range c.Samples {
		label := ""
		if i == 0 {
			label = "such as"
		}
		a.print("        %-8s  %s", label, s)
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

// deadLines lists tasks one by one, as they come.
func (a *app) deadLines(ctx context.Context, found letters) error {
	n := 0
	err := found.each(ctx, func(d run.DeadTask) error {
		n++
		a.print("%s  %s  %s: %s (run %s, %s)", instantText(d.At), run.CauseOf(d), run.Name(d.Task), reasonText(d.Reason), d.Task.Run, plural(d.Attempts, "failed attempt"))
		return nil
	})
	if err == nil {
		a.deadNext(found, n)
	}
	return err
}

// deadArray is deadLines as one JSON document, written as they come.
func (a *app) deadArray(ctx context.Context, found letters) error {
	out := bufio.NewWriter(a.Stdout)
	sep := "[\n"
	err := found.each(ctx, func(d run.DeadTask) error {
		doc, err := json.MarshalIndent(listed(d), "  ", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "%s  %s", sep, doc)
		sep = ",\n"
		return err
	})
	if err != nil {
		return err
	}
	if sep == "[\n" {
		fmt.Fprint(out, "[]\n")
	} else {
		fmt.Fprint(out, "\n]\n")
	}
	return out.Flush()
}

func (a *app) deadExportCommand() *cobra.Command {
	var flags letterFlags
	cmd := &cobra.Command{
		Use: "export VENDOR|SPEC [TIER]", Short: "Write dead tasks, one JSON document a line",
		Long:    "Export writes every dead task with its reason as one line of JSON, as they come, in\nno order.",
		Example: "  sluice dead export sim > dead.ndjson\n  sluice dead export sim data --status 5xx",
		Args:    args(1, 2, "VENDOR or SPEC, and perhaps TIER"), ValidArgsFunction: a.completeSpecTier,
		RunE: func(cmd *cobra.Command, args []string) error {
			return with(a.existing(args...), a.soft, func(h place) error {
				found, err := flags.find(cmd.Context(), h, args)
				if err != nil {
					return err
				}
				return a.exportDead(cmd.Context(), found)
			})
		},
	}
	flags.register(a, cmd)
	return cmd
}

func (a *app) exportDead(ctx context.Context, found letters) error {
	out := bufio.NewWriterSize(a.Stdout, 64<<10)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	n := 0
	err := found.each(ctx, func(d run.DeadTask) error {
		n++
		return enc.Encode(listed(d))
	})
	if err != nil {
		return err
	}
	if n == 0 {
		a.say("no task of %s is dead", found.name)
	}
	return out.Flush()
}

// completeRunFlag completes a flag that takes a run's ID.
func (a *app) completeRunFlag(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	return a.completeRun(cmd, nil, word)
}
