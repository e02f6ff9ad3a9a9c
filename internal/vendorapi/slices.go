package vendorapi

import (
	"errors"
	"fmt"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// slicePages cuts the run's window in half-open slices, one call for each.
type slicePages struct{ step, resolution time.Duration }

// slice is the i-th slice of w; last tells that none follows.
func (p *slicePages) slice(w fanout.Window, i int) (out fanout.Window, last bool, err error) {
	if !w.From.Before(w.To) {
		return out, false, errors.New("the run's window is empty: there is nothing to slice")
	}
	n := int((w.To.Sub(w.From) + p.step - 1) / p.step)
	if i >= n {
		return out, false, fmt.Errorf("the window has %d slices: there is no slice %d", n, i)
	}
	out.From = w.From.Add(time.Duration(i) * p.step)
	out.To = out.From.Add(p.step)
	if out.To.After(w.To) {
		out.To = w.To
	}
	return out, i == n-1, nil
}

func (*slicePages) ask(*call, *draft) error { return nil }
func (*slicePages) queries() []*query       { return nil }

// next does not know the window; the client ends the list at its last slice.
func (*slicePages) next(s state, _ pageResult) (state, bool, error) {
	s.Slice++
	return s, true, nil
}

func (d *decoder) slices(s *slicesField) *slicePages {
	if s.Step.d == 0 {
		d.errorf(s.At, "slices need step, the length of a slice")
	}
	if s.Resolution.d >= s.Step.d && s.Step.d > 0 {
		d.errorf(s.Resolution.at, "the resolution must be below the step")
	}
	return &slicePages{s.Step.d, s.Resolution.d}
}
