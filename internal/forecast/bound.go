package forecast

import "time"

// A Bound is a limit beside the rate of all permits: of some tiers' calls, of calls
// that count several times, or of so many in a day or an hour.
type Bound struct {
	Name  string
	Units []float64 // by tier: how much a call counts; 0: it does not. Nil: 1 everywhere

	Every time.Duration // between units; 0: it has no rate

	Count float64                                 // units in a period; 0: it has none
	Left  float64                                 // in the one that has begun
	Reset func(after time.Duration) time.Duration // the first end of a period after that
}

// A Pause is a time in which a run waits for a limit to begin its count anew.
type Pause struct {
	Limit    string
	From, To time.Duration
}

// pot is what there is of a bound.
type pot struct {
	Bound
	left   float64
	reset  time.Duration // of a count
	paused time.Duration // since when it is used up and wanted; < 0: it is not
}

func (b Bound) pot() *pot {
	p := &pot{Bound: b, left: b.Left, paused: -1}
	if b.Count > 0 {
		p.reset = b.Reset(0)
	}
	return p
}

// units is how much a call of a tier counts.
func (b Bound) units(tier int) float64 {
	if b.Units == nil {
		return 1
	}
	return b.Units[tier]
}

// fill adds what a step brings, and begins a new period.
func (s *flow) fill() {
	yield := s.yield()
	for _, p := range s.pots {
		if p.Every > 0 {
			add := float64(s.dt) / float64(p.Every) * yield
			p.left = min(p.left+add, max(2*add, 1+add))
		}
		if p.Count == 0 || s.now < p.reset {
			continue
		}
		p.left = p.Count
		if p.paused >= 0 {
			s.pauses = append(s.pauses, Pause{p.Name, p.paused, p.reset})
			p.paused = -1
		}
		for p.reset <= s.now {
			p.reset = max(p.Reset(p.reset), p.reset+time.Second)
		}
	}
}

// allowed is how many calls of a tier the pots have left, and whether a count is
// what says none.
func (s *flow) allowed(tier int) (n float64, over bool) {
	n = 1e18
	for _, p := range s.pots {
		u := p.units(tier)
		if u == 0 {
			continue
		}
		n = min(n, max(p.left, 0)/u)
		if p.Count > 0 && p.left/u < little {
			over = true
			if p.paused < 0 {
				p.paused = s.now
			}
		}
	}
	return n, over
}

// took takes calls out of the pots.
func (s *flow) took(tier int, calls float64) {
	for _, p := range s.pots {
		p.left -= calls * p.units(tier)
	}
}

// jump goes to the next period if nothing can happen before, and tells whether it
// did.
func (s *flow) jump() bool {
	waits := false
	for i, st := range s.stages {
		if st.inFlight > little || st.batch > little || len(st.settling) > 0 {
			return false
		}
		if st.queue*st.Calls <= little {
			continue
		}
		if _, over := s.allowed(i); !over {
			return false
		}
		waits = true
	}
	to := longest
	for _, p := range s.pots {
		if p.paused >= 0 {
			to = min(to, p.reset)
		}
	}
	if !waits || to <= s.now {
		return false
	}
	s.bound[Rate] += to - s.now
	s.now = to
	return true
}
