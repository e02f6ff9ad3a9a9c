package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sluicehq/sluice/internal/vendorapi"
)

// governed finds a vendor's spec and does something about its limits. A vendor that
// is called like no spec here has the one of its last run.
func (a *app) governed(name string, open func(context.Context) (place, error), do func(place, *vendorapi.Plan) error) error {
	spec, err := loadSpec(name)
	find := func(place) (*vendorapi.Spec, error) { return spec, nil }
	switch {
	case errors.Is(err, errNoSpec) && !isPath(name) && a.settled():
		missing := err
		open, find = a.existing(name), func(h place) (*vendorapi.Spec, error) { return specOfRuns(a.soft, h, name, missing) }
	case err != nil:
		return err
	}
	return with(open, a.soft, func(h place) error {
		spec, err := find(h)
		if err != nil {
			return err
		}
		plan, err := looked(spec)
		if err != nil {
			return err
		}
		return do(h, plan)
	})
}

// settled tells whether there is a place that may have runs.
func (a *app) settled() bool {
	_, err := os.Stat(filepath.Join(a.home, "fleet.db"))
	return a.on == onAWS || !errors.Is(err, fs.ErrNotExist)
}

// specOfRuns is the spec that a vendor's last run was seeded with; without a run
// none is missing but the one that was asked for.
func specOfRuns(ctx context.Context, h place, vendor string, missing error) (*vendorapi.Spec, error) {
	runs, err := h.Runs().List(ctx, vendor)
	if err != nil {
		return nil, err
	}
	if len(runs) == 0 {
		return nil, missing
	}
	spec, err := loadSpec(runs[0].Origin.Spec)
	if err == nil && spec.Name != vendor {
		err = fmt.Errorf("it is one of vendor %s by now", spec.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("no spec here is called %s, and that of run %s cannot be used: %w", vendor, runs[0].ID, err)
	}
	return spec, nil
}
