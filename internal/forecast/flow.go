package forecast

import (
	"slices"
	"time"
)

// stage is a tier on the way.
type stage struct {
	Tier
	fan      float64 // children of a task
	queue    float64 // tasks that wait for their first call
	ended    float64 // tasks
	sent     float64 // tasks ever put on the queue
	flying   []flight
	inFlight float64 // calls
	batch    float64 // tasks that wait for the commit
	since    time.Duration
	touched  time.Duration
	settling []flight      // batches being committed: tasks
	awake    time.Duration // begins at; < 0: never had work
	res      TierResult
}

// flight is so much that is there at an instant.
type flight struct {
	at time.Duration
	n  float64
}

type flow struct {
	f       Fleet
	stages  []*stage
	now, dt time.Duration
	permits float64 // left over from the steps before
	pots    []*pot
	pauses  []Pause
	bound   map[string]time.Duration
	depth   []Point
	every   int // keep each so manieth step's depth
	steps   int
}

func newFlow(tiers []Tier, f Fleet) *flow {
	s := &flow{f: f, bound: map[string]time.Duration{}, every: 1}
	calls, slowest := 0.0, time.Duration(0)
	quickest := time.Hour
	for i, t := range tiers {
		st := &stage{Tier: t, awake: -1, ended: float64(t.Ended), sent: float64(max(t.Known, t.Ended))}
		if t.Calls <= 0 {
			st.Tier.Calls = 1
		}
		st.queue = st.sent - st.ended
		st.res = TierResult{Name: t.Name, Tasks: t.Tasks, boundTimes: map[string]time.Duration{}, From: -1}
		if i+1 < len(tiers) {
			below := tiers[i+1]
			if left := float64(t.Tasks - t.Ended); left > 0 {
				st.fan = max(0, float64(below.Tasks-max(below.Known, below.Ended))) / left
			}
		}
		left := max(0, float64(t.Tasks)-st.ended) * st.Calls
		st.res.Calls = left
		calls += left
		slowest = saturated(float64(slowest) + left*float64(t.Latency))
		if t.Latency > 0 {
			quickest = min(quickest, t.Latency)
		}
		s.stages = append(s.stages, st)
	}
	// Twenty thousand steps, at most, for the time that the tightest bound takes.
	least := saturated(calls * float64(f.Every))
	if n := s.atOnce(); n > 0 {
		least = max(least, saturated(float64(slowest)/n))
	}
	for _, b := range f.Bounds {
		s.pots = append(s.pots, b.pot())
		units := 0.0
		for i, st := range s.stages {
			units += st.res.Calls * b.units(i)
		}
		least = max(least, saturated(units*float64(b.Every)))
	}
	s.dt = min(max(least/20000, time.Millisecond), time.Second)
	s.dt = max(min(s.dt, quickest/4), least/100000, time.Millisecond)
	s.now = f.Start
	return s
}

// saturated is a duration from a number that may be too large for one.
func saturated(ns float64) time.Duration {
	if !(ns < float64(longest)) {
		return longest
	}
	return time.Duration(ns)
}

// atOnce is how many calls can be under way in the whole fleet; 0: any number.
func (s *flow) atOnce() float64 {
	n := s.own()
	if s.f.Apart {
		n *= float64(len(s.stages))
	}
	if s.f.InFlight > 0 && (n == 0 || float64(s.f.InFlight) < n) {
		n = float64(s.f.InFlight)
	}
	return n
}

// little is less than any task.
const little = 1e-6

func (s *flow) over() bool {
	for _, st := range s.stages {
		if st.queue*st.Calls > little || st.inFlight+st.batch > little || len(st.settling) > 0 {
			return false
		}
	}
	return true
}

// step is one dt: answers arrive, batches are committed, calls begin.
func (s *flow) step() {
	s.keepDepth()
	busy := false
	for i, st := range s.stages {
		s.arrive(st)
		s.commit(st, i)
		busy = busy || st.inFlight > 0
	}
	what := s.call(busy)
	s.bound[what] += s.dt
	s.now += s.dt
	s.steps++
}

// arrive takes answers. The last call of a task ends it.
func (s *flow) arrive(st *stage) {
	n := 0
	for _, fl := range st.flying {
		if fl.at > s.now {
			break
		}
		n++
		st.inFlight -= fl.n
		if st.batch < little {
			st.since = s.now
		}
		st.batch += fl.n / st.Calls
		st.touched = s.now
	}
	if st.flying = st.flying[n:]; len(st.flying) == 0 {
		st.inFlight = 0
	}
}

// commit ends batches that are due: their children are sent.
func (s *flow) commit(st *stage, i int) {
	if st.batch > little {
		full := s.f.FlushSize > 0 && st.batch >= float64(s.f.FlushSize)
		idle := st.inFlight < little && st.queue < little && s.now-st.touched >= idleFlush
		if full || idle || s.now-st.since >= s.f.Flush {
			st.settling = append(st.settling, flight{s.now + s.f.Settle, st.batch})
			st.batch = 0
		}
	}
	for len(st.settling) > 0 && st.settling[0].at <= s.now {
		n := st.settling[0].n
		st.settling = st.settling[1:]
		st.ended += n
		st.res.To = s.now
		if i+1 < len(s.stages) {
			below := s.stages[i+1]
			below.queue += n * st.fan
			below.sent += n * st.fan
		}
	}
}

// call begins calls, as many as bounds allow, in equal parts for all tiers that
// have work. It tells what keeps more from being made.
func (s *flow) call(busy bool) (bound string) {
	var ready []*stage
	for _, st := range s.stages {
		if st.queue*st.Calls <= little {
			st.queue = 0
			continue
		}
		if st.awake < 0 {
			st.awake = s.now + s.f.Wake
			if st == s.stages[0] { // whoever seeds it works it at once
				st.awake = s.now
			}
		}
		if s.now >= st.awake {
			ready = append(ready, st)
			if st.res.From < 0 {
				st.res.From = s.now
			}
		}
	}
	bound = Us
	if busy {
		bound = Vendor
	}
	if len(ready) == 0 {
		s.permits = min(s.permits, 1)
		return bound
	}
	s.grant()
	s.fill()
	room, why := s.room(ready)
	demand := 0.0
	held := false
	for _, st := range ready {
		n, _ := s.allowed(s.index(st))
		held = held || n < st.queue*st.Calls
		demand += st.queue * st.Calls
	}
	give := min(demand, s.permits, room)
	switch {
	case give >= demand:
	case s.permits <= room:
		bound = Rate
	default:
		bound = why
	}
	if s.share(ready, give) > little && bound != Rate {
		if bound = Own; held {
			bound = Rate
		}
	}
	for _, st := range ready {
		st.res.boundTimes[bound] += s.dt
	}
	return bound
}

// grant adds the permits of this step. What a step cannot use is lost, but for
// the fraction of a permit that is under way.
func (s *flow) grant() {
	if s.f.Every <= 0 {
		s.permits = 1e18
		return
	}
	add := float64(s.dt) / float64(s.f.Every) * s.yield()
	s.permits = min(s.permits+add, max(2*add, 1+add))
}

func (s *flow) yield() float64 {
	if s.f.Yield <= 0 {
		return 1
	}
	return s.f.Yield
}

func (s *flow) index(st *stage) int { return slices.Index(s.stages, st) }

// crowd is how much of a step a call of the tier is under way.
func (s *flow) crowd(st *stage) float64 { return min(1, float64(st.Latency)/float64(s.dt)) }

// room is how many more calls can begin in this step, and what says so.
func (s *flow) room(ready []*stage) (n float64, why string) {
	flying, each := 0.0, 1.0
	for _, st := range s.stages {
		flying += st.inFlight * s.crowd(st)
	}
	for _, st := range ready {
		each = min(each, max(s.crowd(st), little))
	}
	n, why = 1e18, Own
	if own := s.own(); own > 0 && !s.f.Apart {
		n = max(0, own-flying) / each
	}
	if s.f.InFlight > 0 {
		if left := max(0, float64(s.f.InFlight)-flying) / each; left < n {
			n, why = left, InFlight
		}
	}
	return n, why
}

// own is how many calls the processes of a tier, or all of them, make at once.
func (s *flow) own() float64 { return float64(s.f.Own * max(s.f.Workers, 1)) }

// share gives each tier an equal part of what there is, and what one cannot use
// to the others. It tells what nobody could use.
func (s *flow) share(ready []*stage, give float64) (left float64) {
	left = give
	for n := len(ready); n > 0 && left > little; {
		each, used := left/float64(n), 0.0
		n = 0
		for _, st := range ready {
			k := min(each, st.queue*st.Calls)
			if s.f.Apart && s.f.Own > 0 {
				k = min(k, max(0, s.own()/max(s.crowd(st), little)-st.inFlight))
			}
			if len(s.pots) > 0 {
				n, _ := s.allowed(s.index(st))
				k = min(k, n)
			}
			if k <= little {
				continue
			}
			s.took(s.index(st), k)
			st.start(s.now, k)
			used += k
			if st.queue > little {
				n++
			}
		}
		left -= used
		if used <= little {
			break
		}
	}
	s.permits -= give - left
	return left
}

// start begins so many calls.
func (st *stage) start(now time.Duration, calls float64) {
	st.queue = max(0, st.queue-calls/st.Calls)
	st.inFlight += calls
	at := now + st.Latency
	if last := len(st.flying) - 1; last >= 0 && st.flying[last].at == at {
		st.flying[last].n += calls
		return
	}
	st.flying = append(st.flying, flight{at, calls})
}

// keepDepth keeps a point, and thins them out when there are too many.
func (s *flow) keepDepth() {
	if s.steps%s.every != 0 {
		return
	}
	p := Point{At: s.now, Queued: make([]int, len(s.stages))}
	for i, st := range s.stages {
		p.Queued[i] = int(st.sent - st.ended + 0.5)
	}
	if s.depth = append(s.depth, p); len(s.depth) > 2*points {
		for i := range s.depth[:points] {
			s.depth[i] = s.depth[2*i]
		}
		s.depth = s.depth[:points]
		s.every *= 2
	}
}

func (s *flow) result() Result {
	r := Result{Duration: s.now + s.f.End, Bound: s.bound, Depth: s.depth, Pauses: s.pauses}
	r.Bound[Us] += s.f.Start + s.f.End
	for _, st := range s.stages {
		most := time.Duration(-1)
		for _, what := range []string{Rate, InFlight, Own, Vendor, Us} {
			if d := st.res.boundTimes[what]; d > most && d > 0 {
				st.res.Bound, most = what, d
			}
		}
		st.res.From = max(st.res.From, 0)
		r.Calls += st.res.Calls
		r.Tiers = append(r.Tiers, st.res)
	}
	return r
}
