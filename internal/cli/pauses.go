package cli

import (
	"fmt"
	"time"

	"github.com/sluicehq/sluice/internal/fleet"
	"github.com/sluicehq/sluice/internal/run"
)

// pause is a time in which a run waits until a limit's day or hour is over.
type pause struct {
	Limit string    `json:"limit"`
	From  time.Time `json:"from"`
	To    time.Time `json:"to"`
}

// shownPauses is how many are told to people.
const shownPauses = 5

// pausesOf are those that a forecast sees.
func pausesOf(p *fleet.Forecast) (out []pause) {
	for _, w := range p.Pauses {
		out = append(out, pause{w.Limit, p.At.Add(w.From).UTC().Truncate(time.Second), p.At.Add(w.To).UTC().Truncate(time.Second)})
	}
	return out
}

// pauseLines tell of pauses, one line each.
func pauseLines(pauses []pause) (lines []string) {
	for i, w := range pauses {
		if i == shownPauses {
			return append(lines, fmt.Sprintf("and %s more", plural(len(pauses)-i, "pause")))
		}
		lines = append(lines, fmt.Sprintf("limit %s is used up %s: a pause until %s", w.Limit, instantText(w.From), instantText(w.To)))
	}
	return lines
}

// sayPauses says at the start of a run that it does not fit into what is left of a
// day or an hour.
func (j *job) sayPauses(r run.Run) {
	counts, err := j.fleet.Progress(j.soft, r.ID)
	if err != nil {
		return // the run itself will tell
	}
	p, err := j.fleet.ForecastRun(j.soft, r, counts, fleet.Assume{})
	if err != nil || len(p.Pauses) == 0 {
		return
	}
	j.say("this run does not fit into what its limits leave: it waits for their reset and goes on")
	for _, line := range pauseLines(pausesOf(p)) {
		j.say("  %s", line)
	}
}
