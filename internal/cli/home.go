package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/fleet"
	"github.com/sluicehq/sluice/internal/localfleet"
	"github.com/sluicehq/sluice/internal/run"
	"github.com/sluicehq/sluice/internal/vendorapi"
)

// openHome opens the home, and makes it if need be.
func (a *app) openHome(ctx context.Context) (*localfleet.Home, error) {
	return localfleet.Open(context.WithoutCancel(ctx), a.home)
}

// existingHome opens a home that must be there: whoever only looks makes none.
func (a *app) existingHome(ctx context.Context) (*localfleet.Home, error) {
	if _, err := os.Stat(filepath.Join(a.home, "fleet.db")); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("there is no home at %s: nothing has been run there (is it another? --home DIR)", a.home)
		}
		return nil, fmt.Errorf("home %s: %w (choose another with --home)", a.home, plainFile(err))
	}
	return a.openHome(ctx)
}

// with opens a home, does what is to be done in it, and closes it.
func with(open func(context.Context) (*localfleet.Home, error), ctx context.Context, do func(*localfleet.Home) error) error {
	h, err := open(ctx)
	if err != nil {
		return err
	}
	err = do(h)
	if closing := h.Close(); closing != nil && err == nil {
		err = fmt.Errorf("closing the home %s: %w", h.Dir(), closing)
	}
	return err
}

// newFleet wires a plan to a home.
func (a *app) newFleet(plan *vendorapi.Plan, h *localfleet.Home) (*fleet.Fleet, error) {
	return fleet.New(plan, h, fleet.Options{
		Engine:    fanout.Config{Wait: true, LongPoll: time.Second},
		Transport: a.Transport, Log: a.log,
	})
}

// runsOf does what can be done to a vendor's runs without its spec.
func runsOf(h *localfleet.Home, vendor string, tiers []string) *run.Runs {
	return &run.Runs{
		Vendor: vendor, Zone: time.UTC, Tiers: tiers, Store: h.Runs(), Ledger: h.Ledger(vendor), Landing: h.Landing(vendor),
		Queue: func(tier string) fanout.Queue { return h.Queue(vendor, tier) },
		Dead:  func(tier string) fanout.Queue { return h.DeadQueue(vendor, tier) },
	}
}

// findRun is the run of an ID; the error for an unknown one names the last ones.
func findRun(ctx context.Context, h *localfleet.Home, id string) (run.Run, error) {
	r, err := h.Runs().Get(ctx, id)
	if !errors.Is(err, run.ErrNoRun) {
		return r, err
	}
	all, listErr := h.Runs().List(ctx, "")
	if listErr != nil {
		return r, listErr
	}
	if len(all) == 0 {
		return r, fmt.Errorf("there is no run %q: nothing has been run in %s yet", id, h.Dir())
	}
	var last []string
	for _, r := range all[:min(len(all), 5)] {
		last = append(last, r.ID)
	}
	return r, fmt.Errorf("there is no run %q: the last ones are %s", id, list(last))
}

// vendorOf is the vendor that a name or a spec stands for, with its spec if
// there is one. A vendor that has only runs is one as well.
func vendorOf(ctx context.Context, h *localfleet.Home, name string) (string, *vendorapi.Spec, error) {
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
func currentRuns(ctx context.Context, h *localfleet.Home, vendor, id string) ([]run.Run, error) {
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
func checkCurrent(ctx context.Context, h *localfleet.Home, r run.Run) error {
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
	return "an operator"
}

// secrets are the process's environment, then the home's files.
type secrets struct{ a *app }

// Secret implements vendorapi.Secrets.
func (s secrets) Secret(vendor, name string) (string, error) {
	if v := s.a.Getenv(vendorapi.SecretEnv(vendor, name)); v != "" {
		return v, nil
	}
	return vendorapi.HomeSecrets{Home: s.a.home}.Secret(vendor, name)
}

// secretPlaces says where a vendor's secrets are taken from.
func (a *app) secretPlaces(plan *vendorapi.Plan) string {
	var envs, names []string
	for _, n := range plan.Secrets {
		env := vendorapi.SecretEnv(plan.Name, n)
		if a.Getenv(env) != "" {
			env += " (in use)"
		}
		envs, names = append(envs, env), append(names, n+":")
	}
	return fmt.Sprintf("%s, or the line `%s` of %s", list(envs), strings.Join(names, "` and `"),
		filepath.Join(a.home, "secrets", plan.Name+".yaml"))
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
