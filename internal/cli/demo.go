package cli

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/fleet"
	"github.com/sluicehq/sluice/internal/lake"
	"github.com/sluicehq/sluice/internal/run"
	"github.com/sluicehq/sluice/internal/vendorapi"
	"github.com/sluicehq/sluice/internal/vendorsim"
)

const (
	demoRate  = 1000 // calls a second that the demo's vendor allows
	specBurst = 50   // calls at once that the spec counts on
	// demoBurst is what the vendor allows at once. It runs in this process: when
	// the machine stalls, so does its clockwork, and calls that were sent apart
	// arrive together. The rest is room for a quarter of a second of that.
	demoBurst = 250
)

const demoLong = `Demo shows the whole of it on this machine alone: it starts a simulated vendor with
400 groups, 5,000 devices and 25,000 data groups that allows 1,000 calls a second
and counts every window, walks it to a verdict, reads the results back, also
from the tables that are made of them, and compares every row with what the vendor
has. The home is kept, to look around in.`

func (a *app) demoCommand() *cobra.Command {
	var scale, burst int
	cmd := &cobra.Command{
		Use: "demo", Short: "Walk a simulated vendor, from seed to proof", Long: demoLong,
		Example: "  sluice demo\n  sluice demo --scale 20 --home ./demo", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if scale < 1 || burst < specBurst {
				return fmt.Errorf("--scale is 1 or more, and --burst %d or more, which the spec counts on", specBurst)
			}
			if !cmd.Flags().Changed("home") {
				dir, err := os.MkdirTemp("", "sluice-demo-")
				if err != nil {
					return fmt.Errorf("making a home for the demo: %w", err)
				}
				a.home = dir
			} else if _, err := os.Stat(filepath.Join(a.home, "fleet.db")); err == nil {
				return fmt.Errorf("there is a home at %s already: the demo wants a fresh one", a.home)
			}
			return a.demo(vendorsim.Scaled(scale), burst)
		},
	}
	cmd.Flags().IntVar(&scale, "scale", 1, "1/`N` of the tree")
	cmd.Flags().IntVar(&burst, "burst", demoBurst, "calls that the vendor takes at once; the spec counts on 50, the rest is room for a machine that stalls")
	return cmd
}

// fixedSecret is a secret that is nowhere but here.
type fixedSecret string

// Secret implements vendorapi.Secrets.
func (s fixedSecret) Secret(string, string) (string, error) { return string(s), nil }

func (a *app) demo(tree vendorsim.Tree, burst int) error {
	token := rand.Text()
	sim, err := vendorsim.Serve("127.0.0.1:0", vendorsim.Config{
		Tree: tree, Token: token, Latency: 2 * time.Millisecond,
		Limits: []vendorsim.Limit{{Kind: vendorsim.Bucket, N: demoRate, Per: time.Second, Burst: burst}},
	})
	if err != nil {
		return err
	}
	a.print("A simulated vendor at %s: %s groups, %s devices, %s data groups. It allows %s calls a second, burst %d; its spec counts on a burst of %d.",
		sim.URL, number(tree.Groups), number(tree.Devices), number(tree.Datagroups), number(demoRate), burst, specBurst)
	a.print("The home is %s.\n", a.home)
	err = with(a.openHome, a.soft, func(h place) error { return a.demoRun(h, sim, tree, token, burst) })
	return errors.Join(err, sim.Close())
}

func (a *app) demoRun(h place, sim *vendorsim.Server, tree vendorsim.Tree, token string, burst int) error {
	spec, err := loadSpec("sim")
	if err != nil {
		return err
	}
	plan, err := spec.Bind(map[string]string{"base": sim.URL})
	if err != nil {
		return err
	}
	f, err := a.newFleet(plan, h)
	if err != nil {
		return err
	}
	f.Runs.Origin = run.Origin{Spec: "sim", Settings: []string{"base=" + sim.URL}}
	r, err := f.Runs.Seed(a.soft, run.Yesterday(time.Now(), plan.Zone), false)
	if err != nil {
		return err
	}
	workers, err := f.Workers(fixedSecret(token), r.Seeds[0])
	if err != nil {
		return err
	}
	j := &job{app: a, fleet: f, home: h, demo: true, flags: runFlags{spec: "sim"}}
	err = j.work(workers, r)
	if err != nil && !isIncomplete(err) {
		return err
	}
	return a.demoProof(h, f, r, sim.Stats(), tree, burst, err)
}

// demoProof compares what was promised with what the vendor saw and what can be
// read back.
func (a *app) demoProof(h place, f *fleet.Fleet, r run.Run, s vendorsim.Stats, tree vendorsim.Tree, burst int, verdict error) error {
	a.print("\nWhat the vendor saw:")
	var broken []string
	promise := func(kept bool, format string, args ...any) {
		line := fmt.Sprintf(format, args...)
		mark := "as promised"
		if !kept {
			mark = "NOT AS PROMISED"
			broken = append(broken, line)
		}
		a.print("  %-72s %s", line, mark)
	}
	worst := s.Worst[time.Second.String()]
	promise(s.Calls == tree.Calls(), "%s for %s", plural(s.Calls, "call"), plural(tree.Calls(), "task"))
	promise(s.Refused == 0, "%s refused", plural(s.Refused, "call"))
	promise(worst <= demoRate+burst, "%s in the worst second (%s and a burst of %d are allowed)", plural(worst, "call"), number(demoRate), burst)
	if took := s.Last.Sub(s.First); took > 2*time.Second {
		got := float64(s.Calls) / took.Seconds()
		a.print("  %s on average, %.1f %% of the limit", rate(got), 100*got/demoRate)
	}
	a.print("\nWhat can be read back:")
	back, err := readDemo(a.soft, f, r)
	if err != nil {
		return err
	}
	rows, leaves, wrong := back.compare(tree, r.Window)
	promise(wrong == 0 && back.rows == rows, "%s rows of %s leaves, each exactly once", number(back.rows), number(leaves))
	promise(verdict == nil, "the verdict: complete")
	a.print("\nThe tables:")
	var all lakeStatus
	if err := all.add(a.soft, h, r.Vendor); err != nil {
		return err
	}
	a.printTables(all)
	if back, err = tabledDemo(a.soft, h, r); err != nil {
		return err
	}
	rows, _, wrong = back.compare(tree, r.Window)
	promise(wrong == 0 && back.rows == rows, "%s rows of table metrics, each exactly once", number(back.rows))
	if len(broken) > 0 {
		return &exit{code: exitIncomplete, err: fmt.Errorf("not as promised: %s", strings.Join(broken, "; "))}
	}
	a.print("\nLook around:\n  sluice status%s\n  sluice read %s%s | head\n  %s", a.homeFlag(), r.ID, a.homeFlag(), a.readTables(r.Vendor))
	return nil
}

// demoRows is how often each row was read back.
type demoRows struct {
	seen map[string]int
	rows int
}

func readDemo(ctx context.Context, f *fleet.Fleet, r run.Run) (demoRows, error) {
	back := demoRows{seen: map[string]int{}}
	_, err := f.Runs.ReadBack(ctx, r.ID, "data", func(rec *fanout.Record) error {
		for row, err := range f.Plan.Rows(ctx, rec.Task, rec.Cursor, rec.Body) {
			if err != nil {
				return err
			}
			key, err := demoKey(row)
			if err != nil {
				return err
			}
			back.seen[key]++
			back.rows++
		}
		return nil
	})
	if err != nil {
		return back, fmt.Errorf("reading run %s back: %w", r.ID, err)
	}
	return back, nil
}

// tabledDemo counts the rows of the published table.
func tabledDemo(ctx context.Context, h place, r run.Run) (demoRows, error) {
	back := demoRows{seen: map[string]int{}}
	c, t, err := catalogOf(ctx, h, r.Vendor)
	if err != nil {
		return back, err
	}
	table, err := c.Find("metrics")
	if err != nil {
		return back, err
	}
	err = lake.Rows(ctx, t.Store, table, nil, func(names []string, values []any) error {
		of := map[string]any{}
		for i, name := range names {
			of[name] = values[i]
		}
		at, _ := of["time"].(time.Time)
		// A double has no zeros at its end: the vendor's are three places.
		percent, _ := of["percent"].(float64)
		back.seen[fmt.Sprintf("%v|%v|%d|%.3f|%v", of["device"], of["datagroup"], at.Unix(), percent, of["bytes"])]++
		back.rows++
		return nil
	})
	if err != nil {
		return back, fmt.Errorf("reading the tables of run %s: %w", r.ID, err)
	}
	return back, nil
}

// demoKey is all of a row, to the digit.
func demoKey(row json.RawMessage) (string, error) {
	var x struct {
		Device, Datagroup string
		Time              int64
		Percent, Bytes    json.RawMessage
	}
	if err := json.Unmarshal(row, &x); err != nil {
		return "", fmt.Errorf("a row that is no row: %w", err)
	}
	return demoRowKey(x.Device, x.Datagroup, x.Time, string(x.Percent), string(x.Bytes)), nil
}

func demoRowKey(device, datagroup string, at int64, percent, bytes string) string {
	return fmt.Sprintf("%s|%s|%d|%s|%s", device, datagroup, at, percent, bytes)
}

// compare counts the vendor's rows, and those that were not read exactly once.
func (d demoRows) compare(tree vendorsim.Tree, w fanout.Window) (rows, leaves, wrong int) {
	for leaf := range tree.Leaves(w.From.Unix(), w.To.Unix()) {
		leaves++
		for _, row := range leaf.Rows {
			rows++
			if d.seen[demoRowKey(leaf.Device, leaf.Datagroup, row.Time, row.Percent, row.Bytes)] != 1 {
				wrong++
			}
		}
	}
	return rows, leaves, wrong
}

var _ vendorapi.Secrets = fixedSecret("")
