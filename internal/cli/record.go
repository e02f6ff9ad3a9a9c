package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/recording"
	"github.com/sluicehq/sluice/internal/vendorapi"
)

const recordLong = `Record walks some of a vendor's tree and keeps each request with its answer in a
directory of files, and what the spec makes of them: nodes and rows, as text. Then
"sluice vendor test" tells at any time, without the vendor, whether the spec still
makes the same of it: keep the directory beside your spec.

Secrets and sessions are masked wherever they stand, and logins are not kept. What
else the vendor says is kept as it is: look through the files before you show them
to others. The calls count in the vendor's limits like all others.`

type recordFlags struct {
	window   window
	settings settings
	out      string
	bounds   recording.Bounds
	json     bool
}

func (a *app) recordCommand() *cobra.Command {
	var flags recordFlags
	cmd := &cobra.Command{
		Use: "record SPEC", Short: "Keep some answers of a vendor, to test its spec by", Long: recordLong,
		Example: "  sluice vendor record my-vendor.yaml --out my-vendor.recorded\n  sluice vendor test my-vendor.yaml my-vendor.recorded",
		Args:    args(1, 1, "SPEC: a spec's path or name"), ValidArgsFunction: a.completeSpec,
		RunE: func(cmd *cobra.Command, args []string) error {
			spec, err := loadSpec(args[0])
			if err != nil {
				return err
			}
			if flags.out == "" {
				return errors.New("where to? --out DIR")
			}
			if b := flags.bounds; b.Calls < 1 || b.Nodes < 1 || b.Pages < 1 {
				return errors.New("--calls, --nodes and --pages are 1 or more")
			}
			values, err := flags.settings.values()
			if err != nil {
				return err
			}
			plan, err := spec.Bind(values)
			if err != nil {
				return err
			}
			w, err := flags.window.in(plan.Zone)
			if err != nil {
				return err
			}
			head := recording.Head{Vendor: plan.Name, Settings: values, From: w.From.UTC(), To: w.To.UTC(), Bounds: flags.bounds}
			return a.withPreviewHome(plan.Name, func(h place) error { return a.recordAnswers(h, spec, plan, head, flags) })
		},
	}
	flags.window.flags(cmd)
	flags.settings.flag(cmd)
	cmd.Flags().StringVar(&flags.out, "out", "", "the directory to write to, new or empty")
	cmd.Flags().IntVar(&flags.bounds.Calls, "calls", 50, "calls in all, at most")
	cmd.Flags().IntVar(&flags.bounds.Nodes, "nodes", 5, "nodes of each tier that have anything below them")
	cmd.Flags().IntVar(&flags.bounds.Pages, "pages", 3, "pages of each list")
	cmd.Flags().BoolVar(&flags.json, "json", false, "as JSON")
	return cmd
}

// recorded is what there is to say about a recording.
type recorded struct {
	Vendor    string   `json:"vendor"`
	Directory string   `json:"directory"`
	Calls     int      `json:"calls"`
	Files     []string `json:"files"`
	Notes     []string `json:"notes"`
}

func (a *app) recordAnswers(h place, spec *vendorapi.Spec, plan *vendorapi.Plan, head recording.Head, flags recordFlags) error {
	f, err := a.newFleet(plan, h)
	if err != nil {
		return err
	}
	w := head.Window(plan.Zone)
	workers, err := f.Workers(secrets{a, h}, plan.Root("recording", w)[0])
	if err != nil {
		return err
	}
	recorder := workers.Client().Record()
	var tiers []string // of each exchange
	call := a.underPermits(workers.Client(), workers.Governor())
	text, calls, err := recording.Walk(a.soft, plan, w, head.Bounds, func(ctx context.Context, t fanout.Task, cursor string) (fanout.Page, error) {
		defer func() {
			for len(tiers) < recorder.Len() {
				tiers = append(tiers, t.Tier)
			}
		}()
		return call(ctx, t, cursor)
	})
	closing := workers.Close()
	var ce *fanout.CallError
	if errors.As(err, &ce) && ce.Class == fanout.Refused && len(plan.Secrets) > 0 {
		return fmt.Errorf("vendor %s refused the secret: %w. Correct %s", plan.Name, err, a.secretPlaces(plan, h))
	}
	if err != nil {
		return fmt.Errorf("nothing is recorded: %w", err)
	}
	var told []recording.Told
	for i, e := range recorder.Exchanges() {
		told = append(told, recording.Told{Tier: tiers[i], Exchange: e})
	}
	doc := recorded{Vendor: plan.Name, Directory: flags.out, Calls: calls, Notes: []string{}}
	if doc.Files, err = recording.Write(flags.out, head, told); err != nil {
		return err
	}
	r, err := recording.Read(flags.out)
	if err != nil {
		return err
	}
	if _, err := r.Update(a.soft, spec); err != nil {
		return fmt.Errorf("the recording cannot be replayed: %w", err)
	}
	if differs, err := r.Differs(recorder.Mask(text)); err != nil {
		return err
	} else if differs {
		doc.Notes = append(doc.Notes, "masking the secrets has changed what the spec makes of some answers: they stand inside other texts")
	}
	a.printRecorded(doc, flags)
	return closing
}

func (a *app) printRecorded(doc recorded, flags recordFlags) {
	if flags.json {
		if err := writeJSON(a.Stdout, doc); err != nil {
			a.say("%v", err)
		}
		return
	}
	a.print("%s of vendor %s recorded in %s.", plural(doc.Calls, "call"), doc.Vendor, doc.Directory)
	for _, n := range doc.Notes {
		a.print("Note: %s.", n)
	}
	a.print("Secrets are masked; what else the vendor says is there as it is: look through it before you show it to others.")
	a.print("%s/expected.txt is what the spec makes of it: is that right?", strings.TrimRight(doc.Directory, "/"))
}

// underPermits makes a client's calls one by one, each under a permit; a vendor
// whose next permit is far is not waited for.
func (a *app) underPermits(c *vendorapi.Client, g fanout.Governor) recording.Caller {
	take := func(ctx context.Context, what fanout.Call) (fanout.Permit, error) {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		return g.Take(ctx, what)
	}
	once := func(ctx context.Context, t fanout.Task, cursor string) (fanout.Page, error) {
		what := fanout.CallOf(t)
		permit, err := take(ctx, what)
		if err != nil {
			return fanout.Page{}, err
		}
		ctx, permits := fanout.WithPermits(ctx, permit, what, take)
		defer permits.Release()
		return c.Call(ctx, t, cursor)
	}
	return func(ctx context.Context, t fanout.Task, cursor string) (fanout.Page, error) {
		for {
			page, err := once(ctx, t, cursor)
			if !errors.Is(err, fanout.ErrTooLate) || ctx.Err() != nil {
				return page, err
			}
		}
	}
}

const testLong = `Test replays a recording ("sluice vendor record") through a spec, by the same code
that reads the vendor, and compares nodes, rows, pages and errors with what the
recording's expected.txt says. Nothing is called, no secret is needed, nothing is
kept. A request that was not recorded is an error that names it.

After a change that is meant, --update writes expected.txt anew: read its diff.

Exit code 1: the spec makes something else of the answers.`

func (a *app) testCommand() *cobra.Command {
	var update, asJSON bool
	cmd := &cobra.Command{
		Use: "test SPEC DIR", Short: "Test a spec by recorded answers", Long: testLong,
		Example: "  sluice vendor test my-vendor.yaml my-vendor.recorded\n  sluice vendor test my-vendor.yaml my-vendor.recorded --update",
		Args:    args(2, 2, "SPEC and DIR: a spec's path or name, and a recording"), ValidArgsFunction: a.completeSpec,
		RunE: func(cmd *cobra.Command, args []string) error {
			spec, err := loadSpec(args[0])
			if err != nil {
				return err
			}
			r, err := recording.Read(args[1])
			if err != nil {
				return err
			}
			do := r.Test
			if update {
				do = r.Update
			}
			res, err := do(a.soft, spec)
			if err != nil {
				return err
			}
			if asJSON {
				err = writeJSON(a.Stdout, res)
			} else {
				a.printTest(res, update)
			}
			if err == nil && !update && !res.AsExpected {
				err = &exit{code: exitIncomplete}
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&update, "update", false, "expect from now on what the spec makes of the answers")
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

// shownDifferences bounds what is shown of one page.
const shownDifferences = 20

func (a *app) printTest(res recording.Result, update bool) {
	for _, d := range res.Differences {
		a.print("%s", d.At)
		for _, side := range []struct {
			mark  string
			lines []string
		}{{"-", d.Lost}, {"+", d.New}} {
			for _, l := range side.lines[:min(len(side.lines), shownDifferences)] {
				a.print("  %s %s", side.mark, clip(l, 200))
			}
			if more := len(side.lines) - shownDifferences; more > 0 {
				a.print("  %s and %s more", side.mark, number(more))
			}
		}
	}
	for _, f := range res.Unused {
		a.print("%s: nothing asks for it", f)
	}
	switch {
	case update && len(res.Differences) == 0:
		a.print("%s replayed: nothing has changed.", plural(res.Calls, "call"))
	case update:
		a.print("%s replayed; expected.txt is written anew: %s.", plural(res.Calls, "call"), plural(len(res.Differences), "page")+" changed")
	case res.AsExpected:
		a.print("Vendor %s: %s replayed, all as expected.", res.Vendor, plural(res.Calls, "call"))
	default:
		a.print("Vendor %s: %s replayed, not as expected (- expected, + now). If that is meant: --update.", res.Vendor, plural(res.Calls, "call"))
	}
}
