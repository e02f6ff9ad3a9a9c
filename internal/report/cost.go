package report

import (
	"fmt"
	"slices"
	"time"

	"github.com/sluicehq/sluice/internal/forecast"
	"github.com/sluicehq/sluice/internal/price"
	"github.com/sluicehq/sluice/internal/series"
)

// cost prices what was counted. What a fleet elsewhere has no count of is taken
// as a forecast takes it; where nothing was counted nothing is said.
func (g *gathering) cost() {
	d := g.doc
	if !d.charted() {
		d.Cost = Cost{Real: g.f.OnAWS, Lines: []CostLine{}}
		return
	}
	took := forecast.Result{Duration: d.End.Sub(d.Opened), Calls: float64(d.Calls)}
	tree := forecast.Tree{Tiers: len(d.Tiers)}
	for i, t := range d.Tiers {
		active := time.Duration(len(g.active[i])) * series.Slice
		took.Tiers = append(took.Tiers, forecast.TierResult{Name: t.Name, To: min(active, took.Duration)})
		tree.Tasks += float64(t.Known)
		if i == len(d.Tiers)-1 && g.f.Lake {
			tree.Rows = float64(t.Known)
		}
		if i < len(d.Tiers)-1 {
			tree.Lists += float64(t.Known)
		}
		if i > 0 && slices.Contains(g.f.Unique, d.Tiers[i-1].Name) {
			tree.Unique += float64(t.Known)
		}
	}
	mb := forecast.Memory(took.Calls / max(took.Duration.Seconds(), 1))
	d.Cost = Cost{
		Real: g.f.OnAWS, MemoryMB: mb, Lines: []CostLine{},
		Prices: fmt.Sprintf("list prices of %s on %s", price.USEast1.Region, price.USEast1.AsOf.Format(time.DateOnly)),
	}
	lines := price.USEast1.Run(took.Scaled(g.sum.Used, took.Calls, tree, mb))
	for _, l := range lines {
		if l.Amount > 0 {
			d.Cost.Lines = append(d.Cost.Lines, CostLine{l.Service, l.What, l.Amount, l.Unit, l.USD})
		}
	}
	d.Cost.USD = price.Sum(lines)
}
