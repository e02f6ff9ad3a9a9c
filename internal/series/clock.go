package series

import (
	"slices"
	"time"
)

// What a sample's Lost may say besides a limit ("limit NAME", "in flight NAME"),
// the vendor and us; and what Clock adds.
const (
	Braked  = "brake"
	Outage  = "outage"
	Paused  = "pause"                                   // by an operator
	Waiting = "waiting for tasks or their next attempt" // workers were there
	Nobody  = "nobody at work"
)

// A Hold is a time in which nobody called.
type Hold struct {
	Kind     string // Braked, Outage, Paused, or why else the vendor was stopped
	From, To time.Time
	Why      string
}

// within is how much of the hold lies between two instants.
func (h Hold) within(from, to time.Time) time.Duration {
	if h.From.After(from) {
		from = h.From
	}
	if h.To.Before(to) {
		to = h.To
	}
	return max(0, to.Sub(from))
}

// hold notes brakes, which every process reports, and outages, which last until
// the end of the slice in which they were heard of last.
func (s *Summing) hold(sample Sample) {
	if b := sample.Brake; b != nil {
		h := Hold{Braked, b.Set.UTC(), b.Until.UTC(), b.Why}
		known := slices.IndexFunc(s.Holds, func(o Hold) bool { return o.Kind == Braked && o.From.Sub(h.From).Abs() < time.Millisecond })
		if known < 0 {
			s.Holds = append(s.Holds, h)
		} else if h.To.After(s.Holds[known].To) {
			s.Holds[known].To = h.To
		}
	}
	if sample.Down == "" {
		return
	}
	end := sample.At.Add(Slice)
	for i := len(s.Holds) - 1; i >= 0; i-- {
		if h := &s.Holds[i]; h.Kind == Outage {
			if sample.At.After(h.To) {
				break
			}
			if end.After(h.To) {
				h.To = end
			}
			return
		}
	}
	s.Holds = append(s.Holds, Hold{Outage, sample.At.UTC(), end.UTC(), sample.Down})
}

// Clock tells where the time between two instants went, all of it. Of what no
// process tells, as much as a hold lasted went to that: who is held for long may
// have left.
func (s Sum) Clock(from, to time.Time, holds []Hold) map[string]time.Duration {
	out := map[string]time.Duration{}
	took, told := to.Sub(from), s.Idle
	for _, d := range s.Went {
		told += d
	}
	part := min(1, float64(took)/float64(max(told, 1))) // slices are whole, and the time may begin or end within one
	for what, d := range s.Went {
		out[what] = time.Duration(part * float64(d))
	}
	if s.Idle > 0 {
		out[Waiting] = time.Duration(part * float64(s.Idle))
	}
	rest := max(0, took-told)
	for _, h := range holds {
		more := min(rest, max(0, h.within(from, to)-out[h.Kind]))
		if more > 0 {
			out[h.Kind] += more
			rest -= more
		}
	}
	if rest > 0 {
		out[Nobody] = rest
	}
	return out
}

// Trim leaves out of a whole run's Clock what comes of the edges alone: the run
// begins and ends within a slice, and samples are written a moment later.
func Trim(went map[string]time.Duration) {
	if went[Nobody] <= Slice {
		delete(went, Nobody)
	}
	if went[Waiting] <= Slice/20 {
		delete(went, Waiting)
	}
}
