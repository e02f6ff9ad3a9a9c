package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/sluicehq/sluice/internal/run"
)

//go:embed page.html
var pageText string

//go:embed page.css
var pageStyle string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"number": number, "decimal": decimal, "span": span, "instant": instant, "percent": percent, "dollars": dollars, "bound": bound,
	"clock": func(t time.Time) string { return t.UTC().Format("15:04:05") }, "plural": plural, "ink": tierInk, "lasted": lasted,
	"hold": func(kind string) string { return kind + "-band" }, "signed": signed, "names": namesOf, "heldKinds": heldKinds,
}).Parse(pageText))

// A view is a Doc with its charts, as the page shows it.
type view struct {
	*Doc
	Style                     template.CSS
	Charted                   bool
	Depth, CallsPic           template.HTML
	Latency, WentPic          template.HTML
	LimitAbove, LogLatency    bool
	WentParts                 []wentPart
	Sampled                   []Point // some points, evenly, for the tables
	Verdicted, Complete, Open bool
	Headline, Sentence        string
	HasDiscarded              bool
	Binding                   Limit
	Ended, Known, Dead        int
	Total                     int // rows
}

// Write makes the page.
func Write(w io.Writer, d *Doc) error {
	v := view{Doc: d, Style: template.CSS(pageStyle), Charted: d.charted(), Total: d.Rows(), Open: d.State == run.Open}
	v.Verdicted = d.Verdict != nil
	if v.Charted {
		v.WentParts = d.wentParts()
		v.Depth, v.WentPic = d.depthChart(), d.wentChart(v.WentParts)
		v.CallsPic, v.LimitAbove = d.callsChart()
		v.Latency, v.LogLatency = d.latencyChart()
		v.Sampled = sampled(d.Points)
	}
	if len(d.Limits) > 0 {
		v.Binding = d.Limits[0]
	}
	for _, t := range d.Tiers {
		v.Known += t.Known
		v.Dead += t.Dead
		v.Ended += t.Done + t.Gone + t.Dead + t.Discarded
		v.HasDiscarded = v.HasDiscarded || t.Discarded > 0
	}
	v.Complete = v.Verdicted && d.Verdict.Complete()
	v.Headline, v.Sentence = headline(d, v.Ended, v.Known)
	if err := page.Execute(w, v); err != nil {
		return fmt.Errorf("writing the report of run %s: %w", d.Run, err)
	}
	return nil
}

// headline is the verdict in two words and in a sentence.
func headline(d *Doc, ended, known int) (head, sentence string) {
	v := d.Verdict
	switch {
	case v == nil && d.State == run.Superseded:
		return "Replaced", "A newer run of the same window took this one's place before it had a verdict."
	case v == nil:
		return "Still open", fmt.Sprintf("%s of %s have ended so far.", number(ended), plural(known, "known task"))
	case v.Complete():
		var left []string
		if v.Gone > 0 {
			left = append(left, number(v.Gone)+" gone at the vendor")
		}
		if v.Discarded > 0 {
			left = append(left, number(v.Discarded)+" discarded by an operator")
		}
		if left == nil {
			return "Complete", fmt.Sprintf("Every one of the %s that this run knew of is landed.", plural(v.Known, "task"))
		}
		return "Complete", fmt.Sprintf("Every one of the %s that this run knew of is landed, or settled otherwise: %s.", plural(v.Known, "task"), strings.Join(left, ", "))
	}
	var wrong []string
	if v.Dead > 0 {
		wrong = append(wrong, plural(v.Dead, "task")+" dead")
	}
	if v.Missing > 0 {
		wrong = append(wrong, plural(v.Missing, "task")+" missing")
	}
	if v.Strays > 0 {
		wrong = append(wrong, plural(v.Strays, "task")+" in no recorded list")
	}
	if n := len(v.Problems); n > 0 {
		wrong = append(wrong, plural(n, "problem"))
	}
	sentence = fmt.Sprintf("Of %s: %s.", plural(v.Known, "known task"), strings.Join(wrong, ", "))
	if v.Hidden > 0 {
		sentence += fmt.Sprintf(" What lies below the dead was not read: %s in the last run.", plural(v.Hidden, "task"))
	}
	return "Not complete", sentence
}

// named are the first tasks of a kind, by name.
type named struct {
	Title       string
	Count, More int
	Names       []string
}

func namesOf(title string, count int, names []string) named {
	return named{title, count, max(0, count-len(names)), names}
}

// heldKinds are the kinds of band that there are, for the legend.
func heldKinds(bands []Band) (kinds []string) {
	for _, kind := range []string{Brake, Outage, Pause} {
		if slices.ContainsFunc(bands, func(b Band) bool { return b.Kind == kind }) {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

// maxSampled is how many rows the tables under the charts have.
const maxSampled = 24

// sampled are some of the points, evenly; a report's JSON has them all.
func sampled(points []Point) (out []Point) {
	n := min(len(points), maxSampled)
	for i := range n {
		out = append(out, points[i*len(points)/n])
	}
	return out
}

// lasted is how long a band was.
func lasted(b Band) string { return span(b.To.Sub(b.From).Seconds()) }

// signed is a difference with its sign.
func signed(t Tree) string {
	diff := t.Now - t.Last
	sign := "+"
	if diff <= 0 {
		sign = ""
	}
	text := sign + number(diff)
	if t.Last > 0 && diff != 0 {
		text += fmt.Sprintf(" (%s%s)", sign, strings.Replace(fmt.Sprintf("%.1f %%", 100*float64(diff)/float64(t.Last)), "-", "−", 1))
	}
	return text
}
