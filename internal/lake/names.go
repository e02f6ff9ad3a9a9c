package lake

import (
	"fmt"
	"path"
	"strings"

	"github.com/sluicehq/sluice/internal/landing"
	"github.com/sluicehq/sluice/internal/run"
)

// common owns the tables that several vendors feed.
const common = "common"

// date is the day that a run's rows are kept under: the first of its window.
func (l *Lake) date(r run.Run) string { return r.Window.From.In(l.Plan.Zone).Format("2006-01-02") }

// landed takes the name of a landed object apart: run=R/tier=T/ID.ndjson.zst.
func landed(object string) (run, tier, id string, err error) {
	parts := strings.Split(object, "/")
	if len(parts) == 3 {
		run, okRun := strings.CutPrefix(parts[0], "run=")
		tier, okTier := strings.CutPrefix(parts[1], "tier=")
		id, okID := strings.CutSuffix(parts[2], ".ndjson.zst")
		if okRun && okTier && okID && run != "" && tier != "" && id != "" && path.Clean(object) == object {
			return run, tier, id, nil
		}
	}
	return "", "", "", fmt.Errorf("%q is no landed object's name: run=RUN/tier=TIER/ID.ndjson.zst", object)
}

func (l *Lake) staged() string { return "staged/" + l.Plan.Name + "/spec=" + l.specID() + "/" }

func (l *Lake) partName(table string, r run.Run, id string, n int) string {
	return fmt.Sprintf("%stable=%s/date=%s/run=%s/%s-%03d.parquet", l.staged(), table, l.date(r), r.ID, id, n)
}

func (l *Lake) markers(run, tier string) string { return l.staged() + landing.Prefix(run, tier) }

func (l *Lake) markerName(run, tier, id string) string { return l.markers(run, tier) + id + ".json" }

func (l *Lake) deadPrefix(run string) string { return "dead/" + l.Plan.Name + "/run=" + run + "/" }

func (l *Lake) indexName() string { return "published/" + l.Plan.Name + ".ndjson" }

func (l *Lake) refusedName(run string) string {
	return "refused/" + l.Plan.Name + "/run=" + run + ".json"
}

func (l *Lake) manifestName(run, gen string) string {
	return "manifests/" + l.Plan.Name + "/run=" + run + "/" + gen + ".json"
}

func (l *Lake) workPrefix(run string) string { return "work/" + l.Plan.Name + "/run=" + run + "/" }

// owner is who a table belongs to.
func (l *Lake) owner(table string) string {
	if l.table(table).Common {
		return common
	}
	return l.Plan.Name
}

// prefix is what the names of a table's published files of a run begin with.
func (l *Lake) prefix(table string, r run.Run) string {
	date := l.date(r)
	place := strings.NewReplacer(
		"{table}", table, "{source}", l.Plan.Name, "{date}", date, "{run}", r.ID,
		"{year}", date[:4], "{month}", date[5:7], "{day}", date[8:],
	).Replace(l.Plan.Lake.PathOf(l.table(table)))
	return "tables/" + l.owner(table) + "/" + place + "/"
}
