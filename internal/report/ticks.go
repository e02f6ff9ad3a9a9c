package report

import (
	"math"
	"time"

	"gonum.org/v1/plot"
)

// valueTicks are at most about n round values from zero to top.
func valueTicks(top float64, n int, text func(float64) string) plot.ConstantTicks {
	if top <= 0 || math.IsInf(top, 0) || math.IsNaN(top) {
		return plot.ConstantTicks{{Value: 0, Label: text(0)}}
	}
	rough := top / float64(n)
	step := math.Pow(10, math.Floor(math.Log10(rough)))
	for _, by := range []float64{1, 2, 2.5, 5, 10} {
		if step*by >= rough {
			step *= by
			break
		}
	}
	var ticks plot.ConstantTicks
	for i := 0; float64(i)*step <= top*(1+1e-9); i++ {
		v := float64(i) * step
		ticks = append(ticks, plot.Tick{Value: v, Label: text(v)})
	}
	return ticks
}

// logTicks are powers of ten, with two steps between them where there are few.
func logTicks(low, top float64, text func(float64) string) plot.ConstantTicks {
	var ticks plot.ConstantTicks
	few := math.Log10(top/low) < 2.5
	for power := math.Pow(10, math.Floor(math.Log10(low))); power <= top; power *= 10 {
		for _, by := range []float64{1, 2, 5} {
			if v := power * by; v >= low*(1-1e-9) && v <= top*(1+1e-9) && (by == 1 || few) {
				ticks = append(ticks, plot.Tick{Value: v, Label: text(v)})
			}
		}
	}
	return ticks
}

// timeSteps are what may lie between two ticks of a time axis.
var timeSteps = []time.Duration{
	5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute,
	15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
}

// timeTicks are round instants of the clock, as many as have room for their
// labels. Those so near to an end of the axis that they would stand over it have
// none.
func timeTicks(from, to time.Time, width float64) plot.ConstantTicks {
	all := to.Sub(from)
	step, layout := timeSteps[0], ""
	for i := 0; ; i++ {
		if i < len(timeSteps) {
			step = timeSteps[i]
		} else {
			step *= 2
		}
		layout = timeLayout(step, all)
		if float64(all/step+1)*(labelWidth(layout)+2*textSize) <= width {
			break
		}
	}
	var ticks plot.ConstantTicks
	for at := from.Truncate(step); !at.After(to); at = at.Add(step) {
		if at.Before(from) {
			continue
		}
		label := at.Format(layout)
		if x, room := width*float64(at.Sub(from))/float64(all), labelWidth(label)/2; x < room || x > width-room {
			label = " "
		}
		ticks = append(ticks, plot.Tick{Value: seconds(at), Label: label})
	}
	return ticks
}

// timeLayout is how instants that lie step apart are told from each other.
func timeLayout(step, all time.Duration) string {
	switch {
	case step < time.Minute:
		return "15:04:05"
	case step >= 24*time.Hour:
		return "Jan 2"
	case all > 24*time.Hour:
		return "Jan 2 15:04"
	}
	return "15:04"
}

// labelWidth is about how wide a label is.
func labelWidth(label string) float64 { return 0.6 * textSize * float64(len(label)) }

// seconds is an instant on a time axis.
func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
