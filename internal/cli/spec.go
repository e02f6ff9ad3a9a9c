package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/run"
	"github.com/sluicehq/sluice/internal/vendorapi"
	"github.com/sluicehq/sluice/vendors"
)

// errNoSpec says that there is no spec of a name.
var errNoSpec = errors.New("there is no spec")

// loadSpec reads a spec: a path, or a name that stands for vendors/NAME.yaml
// here, or else for the shipped one.
func loadSpec(name string) (*vendorapi.Spec, error) {
	if isPath(name) {
		if _, err := os.Stat(name); err != nil {
			return nil, fmt.Errorf("%w at %s: %w", errNoSpec, name, plainFile(err))
		}
		return vendorapi.Load(name)
	}
	local := filepath.Join("vendors", name+".yaml")
	if _, err := os.Stat(local); err == nil {
		return vendorapi.Load(local)
	}
	src, err := vendors.Specs.ReadFile(name + ".yaml")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
		return nil, fmt.Errorf("%w %q: the shipped ones are %s; another is named by its path, as in ./%s.yaml", errNoSpec, name, list(shippedSpecs()), name)
	} else if err != nil {
		return nil, fmt.Errorf("reading the shipped spec %s: %w", name, err)
	}
	return vendorapi.Parse("vendors/"+name+".yaml", src)
}

func isPath(name string) bool {
	ext := filepath.Ext(name)
	return strings.ContainsRune(name, filepath.Separator) || ext == ".yaml" || ext == ".yml"
}

// plainFile is a file error without operation and path.
func plainFile(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// shippedSpecs are the names of the specs that ship.
func shippedSpecs() []string { return specNames(vendors.Specs, ".") }

// knownSpecs are the names that stand for a spec here.
func knownSpecs() []string {
	names := append(shippedSpecs(), specNames(os.DirFS("."), "vendors")...)
	slices.Sort(names)
	return slices.Compact(names)
}

func specNames(in fs.FS, dir string) []string {
	found, _ := fs.Glob(in, path.Join(dir, "*.yaml")) // the pattern is well formed
	for i, f := range found {
		found[i] = strings.TrimSuffix(path.Base(f), ".yaml")
	}
	return found
}

// settings are the flag --set NAME=VALUE.
type settings []string

func (s *settings) flag(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar((*[]string)(s), "set", nil, "a setting of the spec, as `NAME=VALUE` (repeat it for more)")
}

func (s settings) values() (map[string]string, error) {
	out := map[string]string{}
	for _, pair := range s {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("--set %q is no NAME=VALUE", pair)
		}
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("--set %s is given twice", name)
		}
		out[name] = value
	}
	return out, nil
}

// plan reads a spec and binds it to the settings given.
func (s settings) plan(name string) (*vendorapi.Plan, error) {
	spec, err := loadSpec(name)
	if err != nil {
		return nil, err
	}
	values, err := s.values()
	if err != nil {
		return nil, err
	}
	return spec.Bind(values)
}

// looked is a plan that no call is made by: required settings need no value.
func looked(spec *vendorapi.Spec) (*vendorapi.Plan, error) {
	plan, err := spec.Bind(nil)
	for _, stand := range []string{"unset", "http://unset.invalid"} {
		if err == nil {
			break
		}
		values := map[string]string{}
		for _, set := range spec.Settings {
			if set.Required {
				values[set.Name] = stand
			}
		}
		plan, err = spec.Bind(values)
	}
	return plan, err
}

// window is the flags --from and --to.
type window struct{ from, to string }

func (w *window) flags(cmd *cobra.Command) {
	const forms = "2026-01-02, 2026-01-02T15:04 or RFC 3339"
	cmd.Flags().StringVar(&w.from, "from", "", "beginning of the data window: "+forms+" (default: yesterday in the vendor's zone)")
	cmd.Flags().StringVar(&w.to, "to", "", "end of the data window, itself not in it: the same forms")
}

// in is the window that the flags give, in a vendor's zone.
func (w window) in(zone *time.Location) (fanout.Window, error) {
	if w.from == "" && w.to == "" {
		return run.Yesterday(time.Now(), zone), nil
	}
	if w.from == "" || w.to == "" {
		return fanout.Window{}, errors.New("--from and --to go together")
	}
	from, err := parseTime("--from", w.from, zone)
	if err != nil {
		return fanout.Window{}, err
	}
	to, err := parseTime("--to", w.to, zone)
	if err != nil {
		return fanout.Window{}, err
	}
	if !from.Before(to) {
		return fanout.Window{}, fmt.Errorf("--from %s is not before --to %s", w.from, w.to)
	}
	return fanout.Window{From: from.In(zone), To: to.In(zone)}, nil
}

func parseTime(flag, s string, zone *time.Location) (time.Time, error) {
	for _, layout := range []string{time.DateOnly, "2006-01-02T15:04", "2006-01-02T15:04:05"} {
		if t, err := time.ParseInLocation(layout, s, zone); err == nil {
			return t, nil
		}
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return t, fmt.Errorf("%s %q is no time: write 2026-01-02, 2026-01-02T15:04 or 2026-01-02T15:04:05Z", flag, s)
	}
	return t, nil
}

// timeFlag is a time as --from and --to read it back exactly.
func timeFlag(t time.Time) string {
	if midnight(t) {
		return t.Format(time.DateOnly)
	}
	return t.Format(time.RFC3339Nano)
}
