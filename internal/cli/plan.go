package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/internal/fleet"
	"github.com/sluicehq/sluice/internal/forecast"
	"github.com/sluicehq/sluice/internal/price"
)

// planDoc is a forecast for scripts. Times are seconds.
type planDoc struct {
	Vendor   string             `json:"vendor"`
	Run      string             `json:"run,omitempty"`  // the open run that it is of
	Last     string             `json:"last,omitempty"` // the run whose tree it takes
	Calls    int                `json:"calls"`
	Seconds  float64            `json:"seconds"`
	Finish   time.Time          `json:"finish"`           // if it began now
	Pauses   []pause            `json:"pauses,omitempty"` // for limits that count by the day or the hour
	Tiers    []planTier         `json:"tiers"`
	Bound    map[string]float64 `json:"bound_seconds"` // where the time goes
	What     []planWhat         `json:"what_if"`
	Depth    []planPoint        `json:"queued"` // over time, tiers as above
	MemoryMB int                `json:"memory_mb"`
	Cost     []planCost         `json:"cost"`
	USD      float64            `json:"usd"`
	Prices   string             `json:"prices"`

	limit map[string]string // what binds -> the limit's name
}

type planTier struct {
	Tier      string  `json:"tier"`
	Tasks     int     `json:"tasks"`
	Source    string  `json:"tasks_from"` // run (exact), last run, so far (of this one), given
	Calls     int     `json:"calls"`      // still to be made
	LatencyMS float64 `json:"latency_ms"`
	From      float64 `json:"from"`
	To        float64 `json:"to"`
	Binds     string  `json:"binds"`
}

type planWhat struct {
	If      string  `json:"if"`
	Seconds float64 `json:"seconds"`
	USD     float64 `json:"usd"`
}

type planPoint struct {
	At     float64 `json:"at"`
	Queued []int   `json:"queued"`
}

type planCost struct {
	Service string  `json:"service"`
	What    string  `json:"what"`
	Amount  float64 `json:"amount"`
	Unit    string  `json:"unit"`
	USD     float64 `json:"usd"`
}

const planLong = `Plan tells what a run will take before it begins: calls for each tier, how long
it takes at the limits in force, which limit binds where, what more limit or more
workers would give, how the queues fill, and what it costs on AWS at list price.

The tree is that of the vendor's last run, as are pages and answer times. Before
the first run say what you know: --tasks for each tier below the first, and
--latency. Brakes and outages are not foreseen.`

const planExample = `  sluice plan my-vendor.yaml
  sluice plan my-vendor.yaml --tasks devices=400 --tasks data=25000 --calls data=2.4 --latency 150ms
  sluice plan sim --workers 2 --json`

func (a *app) planCommand() *cobra.Command {
	var asJSON bool
	var tasks, calls []string
	var assume fleet.Assume
	var set settings
	cmd := &cobra.Command{
		Use: "plan SPEC", Short: "Tell beforehand how long a run takes and what it costs", Long: planLong, Example: planExample,
		Args: args(1, 1, "SPEC: a spec's path or name"), ValidArgsFunction: a.completeSpec,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			plan, err := set.plan(args[0])
			if err != nil {
				return err
			}
			var tiers []string
			for _, t := range plan.Tiers {
				tiers = append(tiers, t.Name)
			}
			if assume.Calls, err = assumed("--calls", calls, tiers); err != nil {
				return err
			}
			counts, err := assumed("--tasks", tasks, tiers)
			if err != nil {
				return err
			}
			assume.Tasks = map[string]int{}
			for tier, n := range counts {
				assume.Tasks[tier] = int(n)
			}
			if assume.Latency < 0 || assume.Latency > time.Hour || assume.Workers < 1 || assume.Workers > 1000 {
				return errors.New("--latency is from 0 to 1h, --workers from 1 to 1000")
			}
			return with(a.planning(args[0]), a.soft, func(h place) error {
				f, err := fleet.New(plan, h, h.Options())
				if err != nil {
					return err
				}
				return a.plan(cmd.Context(), f, assume, asJSON)
			})
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&tasks, "tasks", nil, "how many tasks a tier has, as `TIER=N`: one for each node that the tier above finds (default: as in the last run)")
	f.StringArrayVar(&calls, "calls", nil, "calls for each task of a tier, as `TIER=N`: its pages (default: as in the last run, or 1)")
	f.DurationVar(&assume.Latency, "latency", 0, "how long a call takes (default: as in the last run, or 200ms)")
	f.IntVar(&assume.Workers, "workers", 1, "processes that work, on aws for each tier")
	f.BoolVar(&asJSON, "json", false, "as JSON")
	set.flag(cmd)
	return cmd
}

// mostAssumed is more tasks, or pages of one, than anybody has.
const mostAssumed = 1_000_000_000

// assumed reads TIER=N.
func assumed(flag string, words, tiers []string) (map[string]float64, error) {
	out := map[string]float64{}
	for _, w := range words {
		tier, n, ok := strings.Cut(w, "=")
		v, err := strconv.ParseFloat(n, 64)
		if !ok || err != nil || !(v >= 0 && v <= mostAssumed) {
			return nil, fmt.Errorf("%s %q: write it as TIER=N, with N from 0 to %s", flag, w, number(mostAssumed))
		}
		if !slices.Contains(tiers, tier) {
			return nil, fmt.Errorf("%s %q: there is no tier %s (there are %s)", flag, w, tier, list(tiers))
		}
		out[tier] = v
	}
	return out, nil
}

// planning opens the place that is planned for. A machine without a home has
// none yet: then nothing is known of earlier runs.
func (a *app) planning(name string) func(context.Context) (place, error) {
	if a.on != onAWS {
		if _, err := os.Stat(filepath.Join(a.home, "fleet.db")); errors.Is(err, os.ErrNotExist) {
			return func(context.Context) (place, error) { return blank{dir: a.home}, nil }
		}
	}
	return a.existing(name)
}

func (a *app) plan(ctx context.Context, f *fleet.Fleet, assume fleet.Assume, asJSON bool) error {
	p, err := f.Forecast(ctx, assume)
	if err != nil {
		return err
	}
	if err := p.Complete(); err != nil {
		var say []string
		for _, tier := range p.Unknown {
			say = append(say, "--tasks "+tier+"=N")
		}
		return fmt.Errorf("%w: say %s", err, strings.Join(say, " "))
	}
	doc := planOf(f.Plan.Name, p)
	if asJSON {
		return writeJSON(a.Stdout, doc)
	}
	a.printPlan(doc, p)
	return nil
}

// planOf makes the figures of a forecast.
func planOf(vendor string, p *fleet.Forecast) planDoc {
	rateBy, flightBy := fleet.Binding(p.Limits)
	doc := planDoc{
		Vendor: vendor, Run: p.Run, Last: p.Last, Calls: int(p.Calls + 0.5), Seconds: p.Duration.Seconds(), Finish: p.At.Add(p.Duration).UTC().Truncate(time.Second), Pauses: pausesOf(p),
		Bound: map[string]float64{}, limit: map[string]string{
			forecast.Rate: "limit " + rateBy, forecast.InFlight: "in flight " + flightBy,
			forecast.Own: "our workers", forecast.Vendor: "the vendor's time", forecast.Us: "batches and wake-ups", "": "-",
		},
	}
	for what, d := range p.Bound {
		doc.Bound[doc.limit[what]] += d.Seconds()
	}
	for _, t := range p.Tiers {
		doc.Tiers = append(doc.Tiers, planTier{
			Tier: t.Name, Tasks: t.Tasks, Source: t.Source, Calls: int(t.Went.Calls + 0.5), LatencyMS: float64(t.Latency.Microseconds()) / 1000,
			From: t.Went.From.Seconds(), To: t.Went.To.Seconds(), Binds: doc.limit[t.Went.Bound],
		})
	}
	for _, point := range p.Depth {
		doc.Depth = append(doc.Depth, planPoint{point.At.Seconds(), point.Queued})
	}
	var lines []price.Line
	lines, doc.MemoryMB = bill(p)
	for _, l := range lines {
		doc.Cost = append(doc.Cost, planCost{l.Service, l.What, l.Amount, l.Unit, l.USD})
	}
	doc.USD = price.Sum(lines)
	doc.Prices = fmt.Sprintf("list prices of %s on %s", price.USEast1.Region, price.USEast1.AsOf.Format(time.DateOnly))
	doc.What = whatIf(p, doc.limit)
	return doc
}

// bill prices a forecast on AWS, with the smallest memory that carries it.
func bill(p *fleet.Forecast) (lines []price.Line, mb int) {
	mb = forecast.Memory(p.Calls / max(p.Duration.Seconds(), 1))
	var used []price.Line
	for _, l := range price.USEast1.Run(p.Scaled(p.Used, p.Made, p.Tree, mb)) {
		if l.Amount > 0 {
			used = append(used, l)
		}
	}
	return used, mb
}

// whatIf is what more of each bound would give.
func whatIf(p *fleet.Forecast, names map[string]string) (out []planWhat) {
	m := p.Fleet()
	add := func(text string, q *fleet.Forecast) {
		lines, _ := bill(q)
		out = append(out, planWhat{text, q.Duration.Seconds(), price.Sum(lines)})
	}
	if m.Every > 0 {
		add(names[forecast.Rate]+" doubled", p.With(m.Every/2, 0, 0))
		add(names[forecast.Rate]+" halved", p.With(m.Every*2, 0, 0))
	}
	if m.InFlight > 0 {
		add(names[forecast.InFlight]+" doubled", p.With(0, m.InFlight*2, 0))
	}
	add("workers doubled", p.With(0, 0, 2*max(m.Workers, 1)))
	return out
}

func (a *app) printPlan(doc planDoc, p *fleet.Forecast) {
	head := "Vendor " + doc.Vendor
	switch {
	case doc.Run != "":
		head += ": what is left of run " + doc.Run
	case doc.Last != "":
		head += ", by the tree of run " + doc.Last
	default:
		head += ", by what was given"
	}
	m := p.Fleet()
	took := time.Duration(doc.Seconds * float64(time.Second))
	a.print("%s: %s calls in %s; begun now, it ends %s.\n", head, number(doc.Calls), span(took), p.At.Add(took).Local().Format("2006-01-02 15:04:05 MST"))
	t := newTable("tier", ">tasks", "from", ">calls", ">a call takes", ">begins", ">ends", "what binds")
	for _, s := range doc.Tiers {
		t.add(s.Tier, s.Tasks, s.Source, s.Calls, fmt.Sprintf("%.0f ms", s.LatencyMS), "+"+span(seconds(s.From)), "+"+span(seconds(s.To)), s.Binds)
	}
	t.write(a.Stdout, "  ")
	if len(doc.Pauses) > 0 {
		a.print("\nIt does not fit into what is left of its limits:")
		for _, line := range pauseLines(doc.Pauses) {
			a.print("  %s", line)
		}
	}
	a.print("\nWhere the time goes: %s", shares(doc.Bound))
	if m.Every > 0 {
		a.print("Calls at %s, by %s.", rate(1/m.Every.Seconds()), doc.limit[forecast.Rate])
	}
	a.print("\nQueued over time, up to %s (each line to its own height):", span(took))
	for i, s := range doc.Tiers {
		values, most := make([]int, 0, len(doc.Depth)), 0
		for _, point := range doc.Depth {
			values = append(values, point.Queued[i])
			most = max(most, point.Queued[i])
		}
		a.print("  %-*s %s %s", widest(doc.Tiers), s.Tier, spark(values, 60), number(most))
	}
	a.print("\nWhat would change it:")
	w := newTable("if", ">it takes", ">and costs")
	for _, x := range doc.What {
		w.add(x.If, span(seconds(x.Seconds)), dollars(x.USD))
	}
	w.write(a.Stdout, "  ")
	a.print("\nOn AWS it costs %s (%s; functions of %d MB):", dollars(doc.USD), doc.Prices, doc.MemoryMB)
	c := newTable("service", "what", ">amount", "", ">$")
	for _, l := range doc.Cost {
		c.add(l.Service, l.What, number(int(l.Amount+0.5)), l.Unit, fmt.Sprintf("%.4f", l.USD))
	}
	c.write(a.Stdout, "  ")
}

func widest(tiers []planTier) (n int) {
	for _, t := range tiers {
		n = max(n, len(t.Tier))
	}
	return n
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func dollars(usd float64) string { return fmt.Sprintf("$%.3f", usd) }

// shares are seconds, and what part of their sum they are, the largest first.
func shares(of map[string]float64) string {
	text := parts(of, func(what string, s, share float64) string {
		return fmt.Sprintf("%s %s (%.0f %%)", span(seconds(s)), what, 100*share)
	})
	return cmp.Or(text, "nowhere")
}

// parts are seconds, the largest first, without what is next to nothing of their
// sum.
func parts(of map[string]float64, text func(what string, seconds, share float64) string) string {
	sum := 1e-9
	for _, s := range of {
		sum += s
	}
	var out []string
	for _, what := range slices.SortedFunc(maps.Keys(of), func(x, y string) int { return cmp.Or(cmp.Compare(of[y], of[x]), cmp.Compare(x, y)) }) {
		if share := of[what] / sum; share >= 0.005 {
			out = append(out, text(what, of[what], share))
		}
	}
	return strings.Join(out, ", ")
}

// spark is a line of blocks of some width, as high as the values.
func spark(values []int, width int) string {
	blocks := []rune(" ▁▂▃▄▅▆▇█")
	most := 1
	for _, v := range values {
		most = max(most, v)
	}
	width = min(width, max(len(values), 1))
	line := make([]rune, width)
	for x := range line {
		high := 0
		for i := x * len(values) / width; i < max((x+1)*len(values)/width, x*len(values)/width+1) && i < len(values); i++ {
			high = max(high, values[i])
		}
		line[x] = blocks[(high*(len(blocks)-1)+most-1)/most]
	}
	return string(line)
}
