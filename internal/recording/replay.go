package recording

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/vendorapi"
)

// A Result is what a replay found.
type Result struct {
	Vendor      string       `json:"vendor"`
	Calls       int          `json:"calls"`
	AsExpected  bool         `json:"as_expected"`
	Differences []Difference `json:"differences"`
	Unused      []string     `json:"unused"` // files that nothing asked for
}

// A Difference is one page of which the spec makes something else than expected.
type Difference struct {
	At   string   `json:"at"`   // the page
	Lost []string `json:"lost"` // what was expected and is not there
	New  []string `json:"new"`  // what is there and was not expected
}

// Test replays a recording through a spec and compares.
func (r *Recording) Test(ctx context.Context, spec *vendorapi.Spec) (Result, error) {
	want, err := r.expected()
	if err != nil {
		return Result{}, err
	}
	got, calls, err := r.replay(ctx, spec)
	if err != nil {
		return Result{}, err
	}
	res := Result{Vendor: spec.Name, Calls: calls, Differences: differ(want, got), Unused: r.unused()}
	res.AsExpected = len(res.Differences) == 0 && len(res.Unused) == 0
	if res.Differences == nil {
		res.Differences = []Difference{}
	}
	if res.Unused == nil {
		res.Unused = []string{}
	}
	return res, nil
}

// Update replays a recording through a spec, and expects from now on what that
// gives. It tells what has changed; of a new recording all has.
func (r *Recording) Update(ctx context.Context, spec *vendorapi.Spec) (Result, error) {
	got, calls, err := r.replay(ctx, spec)
	if err != nil {
		return Result{}, err
	}
	before, _ := r.expected() // there may be none yet
	res := Result{Vendor: spec.Name, Calls: calls, Differences: differ(before, got), Unused: r.unused()}
	return res, r.expect(got)
}

// replay walks the recording as it was walked before.
func (r *Recording) replay(ctx context.Context, spec *vendorapi.Spec) (text string, calls int, err error) {
	if spec.Name != r.Vendor {
		return "", 0, fmt.Errorf("%s is a recording of vendor %s, not of %s", r.dir, r.Vendor, spec.Name)
	}
	plan, err := spec.Bind(r.Settings)
	if err != nil {
		return "", 0, fmt.Errorf("the settings of %s: %w", r.dir, err)
	}
	tier := ""
	client, err := vendorapi.Replay(plan, func(asked vendorapi.Asked) (vendorapi.Answered, error) { return r.answer(tier, asked) })
	if err != nil {
		return "", 0, err
	}
	defer client.Close()
	text, calls, err = Walk(ctx, plan, r.Window(plan.Zone), r.Bounds, func(ctx context.Context, t fanout.Task, cursor string) (fanout.Page, error) {
		tier = t.Tier
		free := func(context.Context, fanout.Call) (fanout.Permit, error) {
			return fanout.Permit{Release: func() {}}, nil
		}
		permit, _ := free(ctx, fanout.CallOf(t))
		ctx, permits := fanout.WithPermits(ctx, permit, fanout.CallOf(t), free)
		defer permits.Release()
		return client.Call(ctx, t, cursor)
	})
	if unknown := (*UnknownRequest)(nil); errors.As(err, &unknown) {
		err = fmt.Errorf("tier %s: %w", unknown.Tier, unknown)
	}
	return text, calls, err
}

// differ compares two texts page by page.
func differ(want, got string) (out []Difference) {
	before, order := pages(want)
	after, others := pages(got)
	for _, at := range others {
		if _, ok := before[at]; !ok {
			order = append(order, at)
		}
	}
	for _, at := range order {
		if slices.Equal(before[at], after[at]) {
			continue
		}
		d := Difference{At: at, Lost: without(before[at], after[at]), New: without(after[at], before[at])}
		if len(d.Lost)+len(d.New) == 0 {
			d.Lost, d.New = []string{}, []string{"the same in another order"}
		}
		out = append(out, d)
	}
	return out
}

// pages are the lines of each page, by its title.
func pages(text string) (lines map[string][]string, order []string) {
	lines = make(map[string][]string)
	at := ""
	for l := range strings.Lines(text) {
		l = strings.TrimSuffix(l, "\n")
		if !strings.HasPrefix(l, "  ") {
			at = l
			order, lines[at] = append(order, at), []string{}
			continue
		}
		lines[at] = append(lines[at], strings.TrimSpace(l))
	}
	return lines, order
}

// without is a less b, each line as often as it is there.
func without(a, b []string) []string {
	n := make(map[string]int)
	for _, l := range b {
		n[l]++
	}
	out := []string{}
	for _, l := range a {
		if n[l]--; n[l] < 0 {
			out = append(out, l)
		}
	}
	return out
}

// Differs tells whether text, what a walk has given, is other than expected.
func (r *Recording) Differs(text string) (bool, error) {
	want, err := r.expected()
	return want != text, err
}
