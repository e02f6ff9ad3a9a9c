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

// timeTicks are at most about n round instants of the clock.
func timeTicks(from, to time.Time, n int) plot.ConstantTicks {
	step := timeSteps[len(timeSteps)-1]
	for i := len(timeSteps) - 1; i >= 0 && to.Sub(from) <= timeSteps[i]*time.Duration(n); i-- {
		step = timeSteps[i]
	}
	for to.Sub(from) > step*time.Duration(n) {
		step *= 2
	}
	layout := "15:04"
	switch {
	case step < time.Minute:
		layout = "15:04:05"
	case step >= 24*time.Hour:
		layout = "Jan 2"
	case to.Sub(from) > 24*time.Hour:
		layout = "Jan 2 15:04"
	}
	var ticks plot.ConstantTicks
	for at := from.Truncate(step); !at.After(to); at = at.Add(step) {
		if !at.Before(from) {
			ticks = append(ticks, plot.Tick{Value: seconds(at), Label: at.Format(layout)})
		}
	}
	return ticks
}

// within takes the labels from ticks so near to an end of the axis that they
// would stand over it, or on the other axis' labels.
func within(ticks plot.ConstantTicks, from, to, width float64) plot.ConstantTicks {
	for i, t := range ticks {
		room := 0.6 * textSize * float64(len(t.Label)) / 2
		if x := width * (t.Value - from) / (to - from); x < room || x > width-room {
			ticks[i].Label = " "
		}
	}
	return ticks
}

// seconds is an instant on a time axis.
func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
