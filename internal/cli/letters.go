package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/internal/run"
)

// letterFlags say which dead tasks are meant.
type letterFlags struct {
	run, task, since string
	causes, statuses []string
	limit            int
	limited          func() bool // a limit was typed
}

func (f *letterFlags) register(a *app, cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.run, "run", "", "only those of this `RUN`")
	cmd.Flags().StringSliceVar(&f.causes, "cause", nil, "only those of this `CAUSE`, as sluice dead names it (repeat it for more)")
	cmd.Flags().StringSliceVar(&f.statuses, "status", nil, "only those that were answered with this `STATUS`: 500, or 5xx (repeat it for more)")
	cmd.Flags().StringVar(&f.task, "task", "", "only those whose `NAME` matches; * stands for anything")
	cmd.Flags().StringVar(&f.since, "since", "", "only those that died since this `TIME`: 2h ago, or 2026-01-02T15:04:05Z")
	_ = cmd.RegisterFlagCompletionFunc("run", a.completeRunFlag) // the flag is there
}

// registerLimit is apart: who only looks sees all.
func (f *letterFlags) registerLimit(cmd *cobra.Command) {
	f.limited = func() bool { return cmd.Flags().Changed("limit") }
	cmd.Flags().IntVar(&f.limit, "limit", 0, "at most `N`, those first that have been dead for longest")
}

// text is the filter as it was typed, for the audit log.
func (f *letterFlags) text(args []string) string {
	words := slices.Clone(args[min(len(args), 1):])
	add := func(flag, value string) {
		if value != "" {
			words = append(words, "--"+flag, quote(value))
		}
	}
	add("run", f.run)
	add("cause", strings.Join(f.causes, ","))
	add("status", strings.Join(f.statuses, ","))
	add("task", f.task)
	add("since", f.since)
	if f.limit > 0 {
		add("limit", fmt.Sprint(f.limit))
	}
	return cmp.Or(strings.Join(words, " "), "all")
}

var (
	causeName  = regexp.MustCompile(`^[0-9a-v]{6}$`)
	statusName = regexp.MustCompile(`^[1-9](\d\d|xx)$`)
)

// called tells whether a dead task is called what --task says: by its name or ID,
// or else by a pattern of names, in which * stands for anything and nothing else
// is special, since keys may hold any sign.
func (f *letterFlags) called() (exactly, like func(run.DeadTask) bool) {
	parts := strings.Split(f.task, "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	pattern := regexp.MustCompile(`^(?s:` + strings.Join(parts, `.*`) + `)$`)
	exactly = func(d run.DeadTask) bool { return f.task == run.Name(d.Task) || f.task == d.Task.ID }
	return exactly, func(d run.DeadTask) bool { return pattern.MatchString(run.Name(d.Task)) }
}

// picker tells which dead tasks are meant, of those that are called as they should.
func (f *letterFlags) picker(args []string, called func(run.DeadTask) bool) (func(run.DeadTask) bool, error) {
	for _, c := range f.causes {
		if !causeName.MatchString(c) {
			return nil, fmt.Errorf("--cause %q is no cause: sluice dead %s names them", c, quote(args[0]))
		}
	}
	for _, s := range f.statuses {
		if !statusName.MatchString(s) {
			return nil, fmt.Errorf("--status %q is no status: write 500, or 5xx", s)
		}
	}
	since, err := sinceWhen(f.since, time.Now())
	if err != nil {
		return nil, err
	}
	if f.limited != nil && f.limited() && f.limit < 1 {
		return nil, errors.New("--limit is how many: not less than 1")
	}
	return func(d run.DeadTask) bool {
		switch {
		case len(args) > 1 && d.Task.Tier != args[1]:
		case d.At.Before(since):
		case f.task != "" && !called(d):
		case len(f.statuses) > 0 && !slices.ContainsFunc(f.statuses, func(s string) bool { return isStatus(s, d.Reason.Status) }):
		case len(f.causes) > 0 && !slices.Contains(f.causes, run.CauseOf(d)):
		default:
			return true
		}
		return false
	}, nil
}

func isStatus(want string, got int) bool {
	text := fmt.Sprint(got)
	return text == want || len(text) == 3 && strings.HasSuffix(want, "xx") && text[0] == want[0]
}

// sinceWhen reads a time, or how long ago it was.
func sinceWhen(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return now.Add(-d), nil
	}
	t, err := parseTime("--since", s, time.UTC)
	if err != nil {
		return t, fmt.Errorf("--since %q is neither how long ago nor a time: write 2h, 2026-01-02 or 2026-01-02T15:04:05Z", s)
	}
	return t, nil
}

// letters are the dead tasks that a command is about.
type letters struct {
	name, vendor string // as typed; of the spec
	runs         []run.Run
	store        run.Store
	meant        func(run.DeadTask) bool
	limit        int
	filtered     bool // some may be left out
}

// find says which dead tasks are meant, in which runs.
func (f *letterFlags) find(ctx context.Context, h place, args []string) (letters, error) {
	l := letters{name: args[0], limit: f.limit, store: h.Runs(), filtered: f.text(args) != "all"}
	if _, err := f.picker(args, nil); err != nil {
		return l, err
	}
	var err error
	if l.vendor, _, err = vendorOf(ctx, h, args[0]); err != nil {
		return l, err
	}
	if l.runs, err = currentRuns(ctx, h, l.vendor, f.run); err != nil {
		return l, err
	}
	if err := checkTier(l.runs, l.vendor, args); err != nil {
		return l, err
	}
	l.runs = mayHaveDead(l.runs)
	l.meant, err = f.meant(ctx, l, args)
	return l, err
}

// meant tells which of these dead tasks are meant. A name that holds a star means
// that task and no other.
func (f *letterFlags) meant(ctx context.Context, l letters, args []string) (func(run.DeadTask) bool, error) {
	called, like := f.called()
	if strings.Contains(f.task, "*") {
		l.meant = called
		if some, err := l.any(ctx); err != nil {
			return nil, err
		} else if !some {
			called = like
		}
	}
	return f.picker(args, called)
}

// mayHaveDead leaves out runs that are closed with none dead, and with none
// missing: that may be what an interrupted replay has left.
func mayHaveDead(runs []run.Run) []run.Run {
	return slices.DeleteFunc(runs, func(r run.Run) bool {
		return r.State == run.Closed && r.Verdict != nil && r.Verdict.Dead == 0 && r.Verdict.Missing == 0
	})
}

// any tells whether any dead task is meant.
func (l letters) any(ctx context.Context) (bool, error) {
	found := errors.New("found")
	err := l.each(ctx, func(run.DeadTask) error { return found })
	if errors.Is(err, found) {
		return true, nil
	}
	return false, err
}

// each calls do for every dead task that is meant. None is held.
func (l letters) each(ctx context.Context, do func(run.DeadTask) error) error {
	for _, r := range l.runs {
		err := l.store.DeadTasks(ctx, r.ID, func(d run.DeadTask) error {
			if !l.meant(d) {
				return nil
			}
			return do(d)
		})
		if err != nil {
			return fmt.Errorf("reading the dead letters of run %s: %w", r.ID, err)
		}
	}
	return nil
}

// picked are dead tasks of one run that something is to be done with.
type picked struct {
	run     run.Run
	letters []run.Letter
	names   []string // of the first
}

// pick names what is meant, by run, the newest first.
func (l letters) pick(ctx context.Context, runs *run.Runs) (out []picked, n int, err error) {
	oldest := func(run.DeadTask) bool { return true }
	if l.limit > 0 {
		if oldest, err = l.oldest(ctx); err != nil {
			return nil, 0, err
		}
	}
	for _, r := range l.runs {
		p := picked{run: r}
		p.letters, err = runs.Pick(ctx, r.ID, func(d run.DeadTask) bool {
			if !l.meant(d) || !oldest(d) {
				return false
			}
			if len(p.names) < maxNamed {
				p.names = append(p.names, run.Name(d.Task))
			}
			return true
		})
		if err != nil {
			return nil, 0, err
		}
		if n += len(p.letters); len(p.letters) > 0 {
			out = append(out, p)
		}
	}
	return out, n, nil
}

// oldest tells which of those that are meant have been dead for longest, as many
// as the limit lets through.
func (l letters) oldest(ctx context.Context) (func(run.DeadTask) bool, error) {
	type since struct {
		at   time.Time
		task string
	}
	before := func(a, b since) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.task, b.task)) }
	var first []since
	cut := func() {
		slices.SortFunc(first, before)
		first = first[:min(len(first), l.limit)]
	}
	err := l.each(ctx, func(d run.DeadTask) error {
		if first = append(first, since{d.At, d.Task.ID}); len(first) >= 2*l.limit+1000 {
			cut()
		}
		return nil
	})
	if cut(); err != nil || len(first) == 0 {
		return func(run.DeadTask) bool { return false }, err
	}
	last := first[len(first)-1]
	return func(d run.DeadTask) bool { return before(since{d.At, d.Task.ID}, last) <= 0 }, nil
}

// runsOf does what is done to these dead letters.
func (l letters) runsOf(h place) *run.Runs {
	var tiers []string
	for _, r := range l.runs {
		for _, t := range r.Tiers {
			if !slices.Contains(tiers, t) {
				tiers = append(tiers, t)
			}
		}
	}
	runs := runsOf(h, l.vendor, tiers)
	s, ok := h.(*stack)
	if !ok {
		return runs
	}
	runs.Tokens = func(ctx context.Context, tier string) (int, error) {
		if _, ok := s.Stack().Queues[tier]; !ok {
			return 0, nil // the spec has lost it since
		}
		_, dead, err := s.Depth(ctx, tier)
		return dead.Visible, err
	}
	return runs
}
