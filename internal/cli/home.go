package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/fleet"
	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/localfleet"
	"github.com/sluicehq/sluice/internal/run"
	"github.com/sluicehq/sluice/internal/vendorapi"
)

// A place is where a fleet keeps everything: a home on this machine, or a
// vendor's stack on AWS.
type place interface {
	fleet.Backend
	Name() string          // as people call it
	Data(r run.Run) string // where a run's results are
	Tables() (tables, error)
	vendorapi.Secrets
	vendorapi.Sessions
	SecretPlace(vendor string, names []string) string // where secrets are put, in words
	Options() fleet.Options                           // what is different about a fleet there
	Close() error
}

// opened opens the place where the named vendors, specs or runs are kept, and
// makes a home if need be.
func (a *app) opened(names ...string) func(context.Context) (place, error) {
	if a.on == onAWS { // the words after the first are tiers and limits
		return func(ctx context.Context) (place, error) { return a.openStack(ctx, names[0]) }
	}
	return a.openHome
}

// existing opens a place that must be there: whoever only looks makes none.
func (a *app) existing(names ...string) func(context.Context) (place, error) {
	if a.on == onAWS {
		return a.opened(names...)
	}
	return a.existingHome
}

// home is a place on this machine.
type home struct {
	*localfleet.Home
	secrets string // the home whose secrets are used
}

func (h home) Name() string { return h.Dir() }

func (h home) Data(r run.Run) string {
	dir := h.LandingDir(r.Vendor, r.ID)
	if abs, err := filepath.Abs(dir); err == nil {
		return abs
	}
	return dir
}

func (h home) Tables() (tables, error) {
	root, err := filepath.Abs(h.LakeDir())
	if err != nil {
		return tables{}, fmt.Errorf("the lake %s: %w", h.LakeDir(), err)
	}
	return tables{Store: h.Lake(), root: root, temp: h.Dir()}, nil
}

func (h home) Secret(vendor, name string) (string, error) {
	return vendorapi.HomeSecrets{Home: h.secrets}.Secret(vendor, name)
}

func (h home) Session(ctx context.Context, vendor string, f func(context.Context, []byte) ([]byte, error)) error {
	return vendorapi.HomeSecrets{Home: h.secrets}.Session(ctx, vendor, f)
}

func (h home) SecretPlace(vendor string, names []string) string {
	lines := make([]string, len(names))
	for i, n := range names {
		lines[i] = n + ":"
	}
	return fmt.Sprintf("the line `%s` of %s", strings.Join(lines, "` and `"), filepath.Join(h.secrets, "secrets", vendor+".yaml"))
}

func (h home) Options() fleet.Options {
	return fleet.Options{Engine: fanout.Config{LongPoll: time.Second}}
}

func (a *app) openHome(ctx context.Context) (place, error) {
	h, err := localfleet.Open(context.WithoutCancel(ctx), a.home)
	if err != nil {
		return nil, err
	}
	return home{h, a.home}, nil
}

func (a *app) existingHome(ctx context.Context) (place, error) {
	if _, err := os.Stat(filepath.Join(a.home, "fleet.db")); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("there is no home at %s: nothing has been run there (is it another? --home DIR)", a.home)
		}
		return nil, fmt.Errorf("home %s: %w (choose another with --home)", a.home, plainFile(err))
	}
	return a.openHome(ctx)
}

// with opens a place, does what is to be done in it, and closes it.
func with(open func(context.Context) (place, error), ctx context.Context, do func(place) error) error {
	h, err := open(ctx)
	if err != nil {
		return err
	}
	err = do(h)
	if closing := h.Close(); closing != nil && err == nil {
		err = fmt.Errorf("closing %s: %w", h.Name(), closing)
	}
	return err
}

// newFleet wires a plan to a place. Its workers wait rather than leave.
func (a *app) newFleet(plan *vendorapi.Plan, h place) (*fleet.Fleet, error) {
	opt := h.Options()
	opt.Engine.Wait, opt.Transport, opt.Log = true, a.Transport, a.log
	return fleet.New(plan, h, opt)
}

// governorOf is what the governor says of a vendor, with the audit log.
func governorOf(ctx context.Context, h place, f *fleet.Fleet) (governor.Report, error) {
	limits, _ := f.Limits()
	return governor.Status(ctx, h.Governor(), f.Plan.Name, limits, h.Options().Spread)
}

// runsOf does what can be done to a vendor's runs without its spec.
func runsOf(h place, vendor string, tiers []string) *run.Runs {
	return &run.Runs{
		Vendor: vendor, Zone: time.UTC, Tiers: tiers, Store: h.Runs(), Ledger: h.Ledger(vendor), Landing: h.Landing(vendor),
		Queue: func(tier string) fanout.Queue { return h.Queue(vendor, tier) },
		Dead:  func(tier string) fanout.Queue { return h.DeadQueue(vendor, tier) },

		Publish: fleet.Publisher(h),
		Ended:   func(ctx context.Context, id string) error { return fleet.FreeBudget(ctx, h.Governor(), vendor, id) },
	}
}

// findRun is the run of an ID; the error for an unknown one names the last ones.
func findRun(ctx context.Context, h place, id string) (run.Run, error) {
	r, err := h.Runs().Get(ctx, id)
	if !errors.Is(err, run.ErrNoRun) {
		return r, err
	}
	all, listErr := h.Runs().List(ctx, "")
	if listErr != nil {
		return r, listErr
	}
	if len(all) == 0 {
		return r, fmt.Errorf("there is no run %q: nothing has been run in %s yet", id, h.Name())
	}
	var last []string
	for _, r := range all[:min(len(all), 5)] {
		last = append(last, r.ID)
	}
	return r, fmt.Errorf("there is no run %q: the last ones are %s", id, list(last))
}

// vendorOf is the vendor that a name or a spec stands for, with its spec if
// there is one. A vendor that has only runs is one as well.
func vendorOf(ctx context.Context, h place, name string) (string, *vendorapi.Spec, error) {
	spec, err := loadSpec(name)
	if err == nil {
		return spec.Name, spec, nil
	}
	if h == nil || isPath(name) || !errors.Is(err, errNoSpec) {
		return "", nil, err
	}
	runs, listErr := h.Runs().List(ctx, name)
	if listErr != nil {
		return "", nil, listErr
	}
	if len(runs) == 0 {
		return "", nil, err
	}
	return name, nil, nil
}

// currentRuns are a vendor's runs, newest first, or the one of an ID. Of a window
// that was read again only the last run is meant: it is what "sluice run" resumes.
func currentRuns(ctx context.Context, h place, vendor, id string) ([]run.Run, error) {
	if id != "" {
		r, err := findRun(ctx, h, id)
		if err == nil && vendor != "" && r.Vendor != vendor {
			err = fmt.Errorf("run %s is one of vendor %s, not of %s", id, r.Vendor, vendor)
		}
		return []run.Run{r}, err
	}
	runs, err := h.Runs().List(ctx, vendor)
	seen := map[string]bool{}
	return slices.DeleteFunc(runs, func(r run.Run) bool {
		window := fmt.Sprint(r.Vendor, r.Window.From.UnixNano(), r.Window.To.UnixNano())
		defer func() { seen[window] = true }()
		return seen[window]
	}), err
}

// checkCurrent makes sure that no newer run has taken the place of r.
func checkCurrent(ctx context.Context, h place, r run.Run) error {
	current, err := currentRuns(ctx, h, r.Vendor, "")
	if err != nil {
		return err
	}
	for _, c := range current {
		if c.Window.From.Equal(r.Window.From) && c.Window.To.Equal(r.Window.To) && c.ID != r.ID {
			return fmt.Errorf("run %s has been replaced by a newer one of the same window: %s", r.ID, c.ID)
		}
	}
	return nil
}

// operator is who types this, for audit logs.
func (a *app) operator() string {
	for _, name := range []string{"SUDO_USER", "USER", "LOGNAME"} {
		if v := a.Getenv(name); v != "" {
			return v
		}
	}
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return "an operator"
}

// secrets are the process's environment, then what the place has.
type secrets struct {
	a *app
	h place
}

// Secret implements vendorapi.Secrets.
func (s secrets) Secret(vendor, name string) (string, error) {
	if v := s.a.Getenv(vendorapi.SecretEnv(vendor, name)); v != "" {
		return v, nil
	}
	return s.h.Secret(vendor, name)
}

// Session implements vendorapi.Sessions.
func (s secrets) Session(ctx context.Context, vendor string, f func(context.Context, []byte) ([]byte, error)) error {
	return s.h.Session(ctx, vendor, f)
}

// secretPlaces says where a vendor's secrets are taken from.
func (a *app) secretPlaces(plan *vendorapi.Plan, h place) string {
	var envs []string
	for _, n := range plan.Secrets {
		env := vendorapi.SecretEnv(plan.Name, n)
		if a.Getenv(env) != "" {
			env += " (in use)"
		}
		envs = append(envs, env)
	}
	return fmt.Sprintf("%s, or %s", list(envs), h.SecretPlace(plan.Name, plan.Secrets))
}

// explain puts errors of the machine into words.
func (a *app) explain(err error) error {
	text := err.Error()
	switch {
	case errors.Is(err, syscall.ENOSPC), strings.Contains(text, "database or disk is full"):
		return fmt.Errorf("the disk that holds %s is full: make room, nothing is lost (%w)", a.home, err)
	case errors.Is(err, syscall.EROFS), strings.Contains(text, "attempt to write a readonly database"):
		return fmt.Errorf("the home %s cannot be written to (%w)", a.home, err)
	}
	return err
}
