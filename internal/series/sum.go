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
	Lost     map[string]time.Duration
	Worked   time.Duration // summed over processes
	Used     map[string]float64
	Last     Sample // the latest
	Brakes   []Brake
	// Allowed is how many calls each limit would have allowed in the slices in
	// which somebody worked.
	Allowed map[string]float64
	Slices  int // in which somebody worked
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
	slice time.Time
	rates map[string]float64
}

// Add adds a sample.
func (s *Summing) Add(sample Sample) {
	if s.Tiers == nil {
		s.Sum = Sum{From: sample.At, Tiers: map[string]*Tier{}, Lost: map[string]time.Duration{}, Used: map[string]float64{}, Allowed: map[string]float64{}}
	}
	for name, t := range sample.Tiers {
		if s.Tiers[name] == nil {
			s.Tiers[name] = &Tier{}
		}
		s.Tiers[name].Add(t)
	}
	for what, d := range sample.Lost {
		s.Lost[what] += d
	}
	for what, n := range sample.Used {
		s.Used[what] += n
	}
	if b := sample.Brake; b != nil && (len(s.Brakes) == 0 || b.Set.After(s.Brakes[len(s.Brakes)-1].Set)) {
		s.Brakes = append(s.Brakes, *b)
	}
	s.Worked += sample.Worked
	if !sample.At.Equal(s.slice) {
		s.slice, s.rates = sample.At, nil
		s.Slices++
	}
	if s.rates == nil && sample.Rates != nil { // of a slice that several processes report the rates count once
		s.rates = sample.Rates
		for limit, r := range sample.Rates {
			s.Allowed[limit] += r * Slice.Seconds()
		}
	}
	s.To, s.Last = sample.At.Add(Slice), sample
}

// Over adds up what a vendor's fleet did in the slices that began from an
// instant on, and before another.
func Over(ctx context.Context, store Store, vendor string, from, to time.Time) (Sum, error) {
	var s Summing
	err := store.Read(ctx, vendor, from, to, func(sample Sample) error { s.Add(sample); return nil })
	if err != nil {
		return Sum{}, fmt.Errorf("reading what the fleet of %s did: %w", vendor, err)
	}
	return s.Sum, nil
}
