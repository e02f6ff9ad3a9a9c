package report_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"html"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/report"
	"github.com/sluicehq/sluice/internal/run"
	"github.com/sluicehq/sluice/internal/series"
)

// kept is a series.Store of some samples, oldest first.
type kept []series.Sample

func (k kept) Add(context.Context, string, series.Sample) error { panic("a report writes nothing") }

func (k kept) Read(_ context.Context, _ string, from, to time.Time, each func(series.Sample) error) error {
	for _, s := range k {
		if s.At.Before(from) || !s.At.Before(to) {
			continue
		}
		if err := each(s); err != nil {
			return err
		}
	}
	return nil
}

var opened = time.Date(2026, 1, 2, 3, 0, 4, 0, time.UTC)

// at is the slice n slices after the one in which the run was opened.
func at(n int) time.Time { return opened.Truncate(series.Slice).Add(time.Duration(n) * series.Slice) }

const id = "acme-20260101-aaaaaa"

func left(top, leaves int, ended ...int) map[string]map[string]series.Left {
	return map[string]map[string]series.Left{id: {"groups": {Known: top, Ended: ended[0]}, "data": {Known: leaves, Ended: ended[1]}}}
}

func took(ms ...int) fanout.Latencies {
	l := fanout.Latencies{}
	for _, n := range ms {
		l.Add(time.Duration(n) * time.Millisecond)
	}
	return l
}

// aRun is a closed run of two tiers that took so long.
func aRun(d time.Duration) run.Run {
	return run.Run{
		ID: id, Vendor: "acme", Tiers: []string{"groups", "data"}, Opened: opened, State: run.Closed, Closed: opened.Add(d), Seeds: make([]fanout.Task, 1),
		Verdict: &run.Verdict{Seeds: 1, Known: 101, Done: 98, Dead: 3, Rows: 970, DeadNames: []string{"data 1", "data 2", "data 3"}, Hidden: -1, Tiers: []run.TierSum{
			{Tier: "groups", Known: 1, Done: 1}, {Tier: "data", Known: 100, Done: 97, Dead: 3, Rows: 970},
		}},
	}
}

func facts(r run.Run) report.Facts {
	return report.Facts{Run: r, Window: "2026-01-01 UTC", Made: opened.Add(48 * time.Hour), Again: "sluice repair " + id}
}

func gather(t *testing.T, f report.Facts, samples ...series.Sample) *report.Doc {
	t.Helper()
	d, err := report.Gather(t.Context(), f, kept(samples))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func write(t *testing.T, d *report.Doc) string {
	t.Helper()
	var b bytes.Buffer
	if err := report.Write(&b, d); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func near(got, want float64) bool { return math.Abs(got-want) <= 1e-6*math.Max(1, math.Abs(want)) }

// eventful is a run of 36 s in which two processes work, one is braked, and an
// operator changes a limit.
func eventful() (report.Facts, []series.Sample) {
	rates := map[string]float64{"calls": 5, "day": 50}
	brake := &series.Brake{Set: at(1).Add(5 * time.Second), Until: at(2).Add(5 * time.Second), Why: "the vendor answered 429"}
	f := facts(aRun(36 * time.Second))
	f.Log = []governor.Entry{
		{At: opened.Add(-time.Hour), By: "kim", What: "limit calls", New: "long ago"},
		{At: opened.Add(10 * time.Second), By: "kim", What: "limit calls", Old: "as in the spec", New: "2 per 1s", Why: "their release night"},
		{At: opened.Add(12 * time.Second), By: "p1", What: "brake"},
		{At: at(3).Add(2 * time.Second), By: "kim", What: "stop", New: "operator", Why: "a call"},
		{At: at(3).Add(4 * time.Second), By: "kim", What: "resume", Old: "operator"},
		{At: opened.Add(time.Hour), By: "kim", What: "limit calls", New: "long after"},
	}
	last := aRun(time.Minute)
	last.ID, last.Verdict = "acme-20251231-bbbbbb", &run.Verdict{Seeds: 1, Known: 81, Tiers: []run.TierSum{{Tier: "groups", Known: 1}, {Tier: "data", Known: 80}}}
	f.Last = &last
	return f, []series.Sample{
		{At: at(0), Process: "p0", Tiers: map[string]series.Tier{"data": {Calls: 1000}}}, // of the run before, which ended in this slice
		{At: at(0), Process: "p1", Tiers: map[string]series.Tier{"groups": {Calls: 1, Took: took(100)}, "data": {Calls: 29, Took: took(200)}}, Rates: rates,
			Worked: 6 * time.Second, Lost: map[string]time.Duration{"limit calls": 4500 * time.Millisecond, "vendor": 1500 * time.Millisecond}, Runs: left(1, 100, 1, 20)},
		{At: at(0), Process: "p2", Tiers: map[string]series.Tier{"data": {Calls: 6}}, Rates: rates, Runs: left(1, 90, 0, 25)},
		{At: at(1), Process: "p1", Tiers: map[string]series.Tier{"data": {Calls: 20, Throttled: 2, Took: took(200, 200, 800)}}, Rates: rates, Brake: brake,
			Worked: series.Slice, Lost: map[string]time.Duration{"limit calls": 5 * time.Second, "brake": 5 * time.Second}, Runs: left(1, 100, 1, 45)},
		{At: at(1), Process: "p2", Tiers: map[string]series.Tier{"data": {Calls: 4, Failed: 1}}, Rates: rates, Brake: brake, Runs: left(1, 100, 1, 40)},
		{At: at(3), Process: "p1", Tiers: map[string]series.Tier{"data": {Calls: 45, Took: took(150)}}, Rates: map[string]float64{"calls": 2, "day": 50},
			Worked: series.Slice, Lost: map[string]time.Duration{"us": 8 * time.Second, "pause": 2 * time.Second}, Runs: map[string]map[string]series.Left{"other": {}}},
	}
}

func TestFigures(t *testing.T) {
	f, samples := eventful()
	d := gather(t, f, samples...)
	if d.Calls != 105 || d.Throttled != 2 || d.Failed != 1 {
		t.Errorf("%d calls, %d throttled, %d failed; want 105, 2, 1", d.Calls, d.Throttled, d.Failed)
	}
	var depths []string
	for _, p := range d.Points {
		depths = append(depths, fmt.Sprint(p.Depth))
	}
	// Of two processes the one that knows more counts; nobody says anything of the
	// third slice; at the end the verdict does.
	if got, want := strings.Join(depths, " "), "[0 75] [0 55] [0 55] [0 0]"; got != want {
		t.Errorf("depths %s, want %s", got, want)
	}
	if d.Tiers[1].Peak != 75 || d.Tiers[0].Peak != 1 {
		t.Errorf("deepest: %d and %d, want 1 and 75", d.Tiers[0].Peak, d.Tiers[1].Peak)
	}
	if len(d.Limits) != 2 || d.Limits[0].Name != "calls" || !near(d.Limits[0].Allowed, 5*16+2*10) || !near(d.Limits[0].Share, 1.05) {
		t.Errorf("limits %+v: 16 s at 5/s and 10 s at 2/s were worked", d.Limits)
	}
	if p := d.Points[3]; p.Allowed != 2 || p.P50 < 0.13 || p.P50 > 0.17 {
		t.Errorf("the last point %+v", p)
	}
	want := []report.Band{{report.Brake, at(1).Add(5 * time.Second), at(2).Add(5 * time.Second), "the vendor answered 429"},
		{report.Pause, at(3).Add(2 * time.Second), at(3).Add(4 * time.Second), "a call"}}
	if fmt.Sprint(d.Bands) != fmt.Sprint(want) {
		t.Errorf("bands %v, want %v", d.Bands, want)
	}
	if len(d.Changes) != 3 || d.Changes[0].New != "2 per 1s" || d.Changes[2].What != "resume" || d.Changes[2].N != 3 {
		t.Errorf("changes %+v", d.Changes)
	}
	if fmt.Sprint(d.Trees) != "[{groups 1 1} {data 80 100}]" || d.Last != "acme-20251231-bbbbbb" {
		t.Errorf("trees %v against %s", d.Trees, d.Last)
	}
	if len(d.Notes) != 1 || !strings.Contains(d.Notes[0], "1 other run") {
		t.Errorf("notes %q", d.Notes)
	}
}

// TestWent: what held the fleet held it as long as it did, told by workers that
// stayed or by nobody; the rest is by what was waited for; and every second went
// somewhere.
func TestWent(t *testing.T) {
	f, samples := eventful()
	d := gather(t, f, samples...)
	all := 0.0
	for _, s := range d.Went {
		all += s
	}
	want := map[string]float64{report.Brake: 10, report.Pause: 2, "limit calls": 6*0.75 + 5, "vendor": 6 * 0.25, "us": 8}
	for what, s := range want {
		if !near(d.Went[what], s) {
			t.Errorf("%s took %v s, want %v", what, d.Went[what], s)
		}
	}
	if !near(all, 31) { // 5 s in which nobody was at work are less than a slice
		t.Errorf("%v s went somewhere, want 31: %v", all, d.Went)
	}
}

func TestOutageIsOneBand(t *testing.T) {
	var samples []series.Sample
	for i := range 4 {
		for _, p := range []string{"p1", "p2"} {
			s := series.Sample{At: at(i), Process: p, Tiers: map[string]series.Tier{"data": {Calls: 1}}, Runs: left(1, 1, 0, 0)}
			if i == 1 || i == 2 {
				s.Down = "503"
			}
			samples = append(samples, s)
		}
	}
	d := gather(t, facts(aRun(40*time.Second)), samples...)
	if len(d.Bands) != 1 || d.Bands[0].Kind != report.Outage || d.Bands[0].To.Sub(d.Bands[0].From) != 2*series.Slice {
		t.Errorf("bands %v, want one outage of 20 s", d.Bands)
	}
}

// TestLong: a run of days is drawn with few points, and none of its calls is
// lost on the way.
func TestLong(t *testing.T) {
	const slices = 3 * 24 * 360
	var samples []series.Sample
	for i := 1; i <= slices; i++ {
		samples = append(samples, series.Sample{At: at(i), Process: "p", Tiers: map[string]series.Tier{"data": {Calls: 3, Took: took(20)}},
			Rates: map[string]float64{"calls": 1}, Lost: map[string]time.Duration{"limit calls": time.Second}, Runs: left(1, slices, 1, i)})
	}
	d := gather(t, facts(aRun((slices+1)*series.Slice)), samples...)
	sum := 0
	for _, p := range d.Points {
		sum += p.Calls[1]
	}
	if len(d.Points) > 360 || len(d.Points) < 180 || sum != 3*slices || d.Calls != 3*slices {
		t.Errorf("%d points hold %d calls of %d", len(d.Points), sum, d.Calls)
	}
	page := write(t, d)
	if len(page) > 1<<20 {
		t.Errorf("the page has %d bytes", len(page))
	}
	if !strings.Contains(page, "each point of the charts stands for") {
		t.Error("the page does not say what a point stands for")
	}
}

func TestOpenAndOld(t *testing.T) {
	r := aRun(0)
	r.State, r.Closed, r.Verdict = run.Open, time.Time{}, nil
	f := facts(r)
	f.Made, f.Counts = opened.Add(20*time.Second), map[string]run.Count{"groups": {Known: 1, Done: 1}, "data": {Known: 100, Done: 40, Rows: 400}}
	d := gather(t, f, series.Sample{At: at(0), Process: "p", Tiers: map[string]series.Tier{"data": {Calls: 41}}, Runs: left(1, 100, 1, 40)})
	page := write(t, d)
	for _, want := range []string{"Still open", "41 of 101 known tasks have ended", "the verdict is still to come", "<svg"} {
		if !strings.Contains(page, want) {
			t.Errorf("an open run's page does not say %q", want)
		}
	}
	if last := d.Points[len(d.Points)-1]; fmt.Sprint(last.Depth) != "[0 60]" || strings.Contains(page, "Complete") {
		t.Errorf("the last point is %+v", last)
	}
	d, err := report.Gather(t.Context(), facts(aRun(time.Minute)), nil)
	if err != nil {
		t.Fatal(err)
	}
	page = write(t, d)
	if !strings.Contains(page, "the charts are missing") || strings.Contains(page, "<svg") || !strings.Contains(html.UnescapeString(page), "98 done + 0 gone + 3 dead") {
		t.Error("a run without samples has its verdict, and a word about the charts")
	}
}

// TestReplaced: a run whose place a newer one took ends there, not today.
func TestReplaced(t *testing.T) {
	r := aRun(0)
	r.State, r.Closed, r.Verdict = run.Superseded, time.Time{}, nil
	f := facts(r)
	f.Until = opened.Add(time.Minute)
	d := gather(t, f)
	if d.Seconds != 60 || len(d.Cost.Lines) != 0 {
		t.Errorf("it took %v s, want 60; cost %+v of nothing counted", d.Seconds, d.Cost)
	}
	if page := write(t, d); !strings.Contains(page, "Replaced") || !strings.Contains(page, "Nothing was counted") {
		t.Error("the page does not say that the run was replaced, or prices nothing")
	}
}

// hostile is what a vendor may call things.
const hostile = `<script>alert(1)</script>"'><img src=x onerror=alert(2)>]]>&amp;</title></style>{{.}}`

// TestHostile: nothing that a vendor says becomes part of the page's markup.
func TestHostile(t *testing.T) {
	r := aRun(36 * time.Second)
	r.Verdict.DeadNames = []string{hostile}
	r.Verdict.Problems = []string{hostile}
	r.Tiers = []string{"groups", hostile}
	r.Verdict.Tiers[1].Tier = hostile
	f := facts(r)
	f.Causes = []run.Cause{{Name: "abcdef", Tier: hostile, Message: hostile, Excerpt: hostile, Count: 3, Samples: []string{hostile}}}
	f.Log = []governor.Entry{{At: opened, By: hostile, What: hostile, Old: hostile, New: hostile, Why: hostile}}
	runs := map[string]map[string]series.Left{id: {hostile: {Known: 10}}}
	d := gather(t, f, series.Sample{
		At: at(1), Process: "p", Tiers: map[string]series.Tier{hostile: {Calls: 9, Took: took(10)}}, Rates: map[string]float64{hostile: 2}, Runs: runs,
		Lost: map[string]time.Duration{"limit " + hostile: time.Second}, Brake: &series.Brake{Set: at(1), Until: at(2), Why: hostile}, Down: hostile,
	})
	page := write(t, d)
	for _, bad := range []string{"<script", "<img", "onerror=alert(2)>", "{{.}}</style", "ZgotmplZ"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
	if n := strings.Count(page, "&lt;script&gt;alert(1)"); n < 12 {
		t.Errorf("the vendor's words are shown %d times", n)
	}
	if strings.Count(page, "</style>") != 1 || strings.Count(page, "</title>") != 1+strings.Count(page, "<rect ") {
		t.Error("the vendor's words close an element")
	}
}

var (
	loads  = regexp.MustCompile(`(?i)(src|href|srcset|action|data|poster)\s*=\s*["']?([^"'\s>]*)|url\(|@import`)
	number = regexp.MustCompile(`var\(--([a-z0-9-]+)\)`)
)

// TestSelfContained: the page asks for nothing, each chart is there in each
// layout with something drawn in it, and each colour has a value by day and by
// night.
func TestSelfContained(t *testing.T) {
	f, samples := eventful()
	page := write(t, gather(t, f, samples...))
	for _, m := range loads.FindAllStringSubmatch(page, -1) {
		if m[2] != "data:," {
			t.Errorf("the page refers to %q", m[0])
		}
	}
	if strings.Contains(page, "http://") || strings.Contains(page, "https://") {
		t.Error("the page names an address")
	}
	if !strings.Contains(page, `content="default-src 'none'; style-src 'unsafe-inline'; img-src data:"`) {
		t.Error("the page has no policy")
	}
	charts := regexp.MustCompile(`(?s)<svg class="chart (\w+)".*?</svg>`).FindAllStringSubmatch(page, -1)
	if len(charts) != 4*3 {
		t.Fatalf("%d charts, want 4 in 3 layouts", len(charts))
	}
	style := page[strings.Index(page, "<style>"):strings.Index(page, "</style>")]
	for i, c := range charts {
		if n := strings.Count(c[0], "<path"); n < 8 {
			t.Errorf("chart %d (%s) has %d paths", i, c[1], n)
		}
		if strings.Contains(c[0], "#FE") || strings.Contains(c[0], "NaN") || strings.Contains(c[0], "Inf") {
			t.Errorf("chart %d (%s) has a colour without a name, or a point nowhere", i, c[1])
		}
		for _, m := range number.FindAllStringSubmatch(c[0], -1) {
			if n := strings.Count(style, "--"+m[1]+":"); n != 2 {
				t.Errorf("chart %d: the colour %s has %d values, want one by day and one by night", i, m[1], n)
			}
		}
	}
	for _, want := range []string{"Not complete", "98 done + 0 gone + 3 dead = 1 seed(s) + 100 distinct children", "sluice repair " + id, "105 %", "+20 (+25.0 %)", "their release night"} {
		if !strings.Contains(html.UnescapeString(page), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

// TestCost: what was counted is priced; what is not counted here is taken as a
// forecast takes it.
func TestCost(t *testing.T) {
	f, samples := eventful()
	here := gather(t, f, samples...)
	if here.Cost.Real || here.Cost.USD <= 0 {
		t.Errorf("cost %+v", here.Cost)
	}
	f.OnAWS = true
	samples[1].Used = map[string]float64{"sqs": 700_000, "writes": 10}
	samples[3].Used = map[string]float64{"sqs": 300_000, "reads": 10}
	there := gather(t, f, samples...)
	for _, l := range there.Cost.Lines {
		if l.Service == "SQS" && (!near(l.Amount, 1e6) || !near(l.USD, 0.4)) {
			t.Errorf("a million requests: %+v", l)
		}
	}
	if !there.Cost.Real || there.Cost.USD < 0.4 || there.Cost.USD > 0.41 {
		t.Errorf("cost %+v", there.Cost)
	}
}

// TestJSON: the figures can be read back.
func TestJSON(t *testing.T) {
	f, samples := eventful()
	d := gather(t, f, samples...)
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	var back report.Doc
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(back.Points) != fmt.Sprint(d.Points) || back.Verdict.Dead != 3 {
		t.Error("the figures are not as they were")
	}
}
