package functions

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/sluicehq/sluice/internal/awsfleet"
	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/fleet"
)

// drainReport is one drain and what is said of it.
type drainReport struct {
	f       *Function
	fleet   *fleet.Fleet
	workers *fleet.Workers // nil: it did not get as far
	tier    string
	began   time.Time
	before  awsfleet.Usage // of the stores, when it began
}

// idle tells whether the drain found nothing at all: there is nothing to say.
func (r *drainReport) idle() bool {
	if r.workers == nil {
		return true
	}
	sum := r.workers.Report()
	return sum.Calls == 0 && len(sum.Outcomes) == 0
}

// emit writes the one log line of a drain. The few metrics in it are for
// alarms and graphs; everything else is a field, to be asked for with Logs
// Insights.
func (r *drainReport) emit(ctx context.Context, over bool, err error) {
	took := time.Since(r.began)
	attrs := []any{"tier", r.tier, "ended", left(over, err), "seconds", took.Seconds()}
	var sum fanout.Report
	if r.workers != nil {
		sum = r.workers.Report()
		attrs = append(attrs, reportFields(sum)...)
		st := r.workers.Governor().Stats()
		attrs = append(attrs, slog.Group("permits", "booked", st.Booked, "used", st.Used, "forfeited", st.Forfeited, "voided", st.Voided, "blind", st.Blind,
			"reads", st.Reads, "writes", st.Writes))
	}
	attrs = append(attrs, "requests", r.f.cloud.Usage().Since(r.before).Calls)
	attrs = append(attrs, r.progress(ctx)...)
	used := 0.0
	if rep, statusErr := r.fleet.GovernorStatus(ctx); statusErr == nil && rep.Interval > 0 {
		used = 100 * float64(sum.Calls) * rep.Interval.Seconds() / took.Seconds()
	}
	attrs = append(attrs, r.f.metrics(map[string]float64{
		"Calls": float64(sum.Calls), "Throttled": float64(sum.Failed[fanout.Throttled]), "LimitUsed": used,
		"Settled": float64(sum.Settled()), "Dead": float64(sum.Outcomes[fanout.Dead]),
	})...)
	level := slog.LevelInfo
	if err != nil {
		level, attrs = slog.LevelError, append(attrs, "err", err.Error())
	}
	r.f.log.Log(ctx, level, "drain", attrs...)
}

// reportFields are the counts of a report by their names.
func reportFields(r fanout.Report) []any {
	return []any{
		"outcomes", names(r.Outcomes), "failed", names(r.Failed), "calls", r.Calls, "probes", r.Probes, "too_late", r.TooLate,
		"pages", r.Pages, "rows", r.Rows, "children", r.Children, "objects", r.Objects,
		slog.Group("waited", "permits_s", r.Limited.Seconds(), "vendor_s", r.Called.Seconds(), "us_s", r.Ours.Seconds()),
	}
}

func names[K ~string](m map[K]int) map[string]int {
	out := make(map[string]int, len(m))
	for k, n := range m {
		out[string(k)] = n
	}
	return out
}

// progress is how far the open runs are in this tier.
func (r *drainReport) progress(ctx context.Context) []any {
	runs, err := r.f.vendor.OpenRuns(ctx)
	if err != nil || len(runs) == 0 {
		return nil
	}
	known, settled := 0, 0
	for _, open := range runs {
		counts, err := r.f.vendor.Progress(ctx, open.ID)
		if err != nil {
			return nil
		}
		c := counts[r.tier]
		known, settled = known+c.Known, settled+c.Settled()
	}
	return []any{"run", runs[0].ID, "known", known, "left", max(0, known-settled)}
}

// metrics are log fields that CloudWatch turns into metrics of the vendor (the
// embedded metric format). There is no dimension but the vendor: each metric
// costs $0.30 a month, by the hours in which it is seen.
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
func (f *Function) metrics(values map[string]float64) []any {
	if len(values) == 0 {
		return nil
	}
	units := map[string]string{"LimitUsed": "Percent"}
	type metric struct{ Name, Unit string }
	var defs []metric
	attrs := []any{"Vendor", f.vendor.Stack().Vendor}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		unit := units[name]
		if unit == "" {
			unit = "Count"
		}
		defs = append(defs, metric{name, unit})
		attrs = append(attrs, name, values[name])
	}
	return append(attrs, slog.Any("_aws", map[string]any{
		"Timestamp": time.Now().UnixMilli(),
		"CloudWatchMetrics": []any{map[string]any{
			"Namespace": "Sluice", "Dimensions": [][]string{{"Vendor"}}, "Metrics": defs,
		}},
	}))
}
