package series

import (
	"context"
	"fmt"
	"time"
)

// A Sum is what a fleet did from an instant to another.
type Sum struct {
	From, To time.Time // To is zero: nothing was done
	Tiers    map[string]*Tier
	Used     map[string]float64
	Holds    []Hold // brakes and outages, in the order in which they were heard of
	// Allowed is how many calls each limit would have allowed in the slices in
	// which somebody worked.
	Allowed map[string]float64
	Slices  int // in which somebody worked
	// Went is where the clock's time went: in each slice the processes' time, and
	// where they worked side by side their parts of it. Idle is the time in which
	// they were there and had nothing to do.
	Went map[string]time.Duration
	Idle time.Duration
}

// All adds up all tiers.
func (s *Sum) All() (all Tier) {
	for _, t := range s.Tiers {
		all.Add(*t)
	}
	return all
}

// Summing adds samples up one by one, oldest first, and keeps none.
type Summing struct {
	Sum
	slice  time.Time
	rates  map[string]float64
	lost   map[string]time.Duration // in the present slice
	worked time.Duration            // by the process that worked longest in it
}

// Add adds a sample.
func (s *Summing) Add(sample Sample) {
	if s.Tiers == nil {
		s.Sum = Sum{From: sample.At, Tiers: map[string]*Tier{}, Used: map[string]float64{}, Allowed: map[string]float64{}}
	}
	for name, t := range sample.Tiers {
		if s.Tiers[name] == nil {
			s.Tiers[name] = &Tier{}
		}
		s.Tiers[name].Add(t)
	}
	for what, n := range sample.Used {
		s.Used[what] += n
	}
	s.hold(sample)
	if !sample.At.Equal(s.slice) {
		s.fold()
		s.slice, s.rates = sample.At, nil
		s.Slices++
	}
	if s.lost == nil {
		s.lost = map[string]time.Duration{}
	}
	for what, d := range sample.Lost {
		s.lost[what] += d
	}
	s.worked = max(s.worked, sample.Worked)
	if s.rates == nil && sample.Rates != nil { // of a slice that several processes report the rates count once
		s.rates = sample.Rates
		for limit, r := range sample.Rates {
			s.Allowed[limit] += r * Slice.Seconds()
		}
	}
	s.To = sample.At.Add(Slice)
}

// fold books the present slice.
func (s *Summing) fold() {
	if s.Went == nil {
		s.Went = map[string]time.Duration{}
	}
	sum := time.Duration(0)
	for _, d := range s.lost {
		sum += d
	}
	there := min(max(s.worked, sum), Slice)
	part := min(1, float64(there)/float64(max(sum, 1)))
	for what, d := range s.lost {
		s.Went[what] += time.Duration(part * float64(d))
	}
	s.Idle += max(0, there-sum)
	s.lost, s.worked = nil, 0
}

// Done is the sum of all that was added.
func (s *Summing) Done() Sum {
	s.fold()
	return s.Sum
}

// Over adds up what a vendor's fleet did in the slices that began from an
// instant on, and before another.
func Over(ctx context.Context, store Store, vendor string, from, to time.Time) (Sum, error) {
	var s Summing
	err := store.Read(ctx, vendor, from, to, func(sample Sample) error { s.Add(sample); return nil })
	if err != nil {
		return Sum{}, fmt.Errorf("reading what the fleet of %s did: %w", vendor, err)
	}
	return s.Done(), nil
}
