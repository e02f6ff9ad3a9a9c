package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/internal/draft"
	"github.com/sluicehq/sluice/internal/vendorapi"
)

const newLong = `New writes the first version of a spec from sample answers: files of JSON, one or
more for each tier, top first. It finds the list in each, what could be its key,
and how its pages go on; from the URLs that the answers came from, how tiers
follow from each other, times, and parameters. What it guessed is said in comments.
It calls nobody; a credential in a URL is left out. A tier is a GET unless --post
or --form names it.

What the vendor allows cannot be seen in samples: limits are unknown (one call a
second) until you say them.`

type newFlags struct {
	samples, urls []string
	posts, forms  []string // tiers
	base, out     string
}

func (a *app) newCommand() *cobra.Command {
	var flags newFlags
	cmd := &cobra.Command{
		Use: "new NAME", Short: "Write a first spec from sample answers", Long: newLong,
		Example: "  sluice vendor new acme --sample groups=groups.json --sample devices=devices.json\n" +
			"  sluice vendor new acme --sample groups=groups.json --url groups=https://api.acme.example/v1/groups?limit=100 \\\n" +
			"    --sample devices=devices.json --url devices=https://api.acme.example/v1/groups/17/devices\n" +
			"  sluice vendor new acme --out vendors/acme.yaml --sample monitors=monitors.json --form monitors \\\n" +
			"    --url monitors=https://api.acme.example/v2/getMonitors?limit=50\\&offset=0",
		Args: args(1, 1, "NAME: the vendor's name"),
		RunE: func(_ *cobra.Command, args []string) error { return a.newSpec(args[0], flags) },
	}
	f := cmd.Flags()
	f.StringArrayVar(&flags.samples, "sample", nil, "an answer, as `TIER=FILE` (repeat it, top tier first)")
	f.StringArrayVar(&flags.urls, "url", nil, "where a tier's first sample came from, as `TIER=URL` (repeat it)")
	f.StringArrayVar(&flags.posts, "post", nil, "the samples of this `TIER` came from a POST (repeat it)")
	f.StringArrayVar(&flags.forms, "form", nil, "so did those of this `TIER`, and the URL's parameters are sent as a form (repeat it)")
	f.StringVar(&flags.base, "base-url", "", "what all URLs are below (default: what they have in common)")
	f.StringVar(&flags.out, "out", "", "the file to write (default NAME.yaml; - is standard output)")
	return cmd
}

// tierValues reads flags of the form TIER=VALUE.
func tierValues(flag string, given []string) (tiers, values []string, err error) {
	for _, g := range given {
		tier, value, ok := strings.Cut(g, "=")
		if !ok || tier == "" || value == "" {
			return nil, nil, fmt.Errorf("--%s %q has no tier: it is TIER=VALUE", flag, g)
		}
		tiers, values = append(tiers, tier), append(values, value)
	}
	return tiers, values, nil
}

func (a *app) newSpec(name string, flags newFlags) error {
	samples, err := newSamples(flags)
	if err != nil {
		return err
	}
	if err := tiersKnown(flags, samples); err != nil {
		return err
	}
	text, err := draft.Spec(name, flags.base, samples)
	if err != nil {
		return err
	}
	out := orElse(flags.out, name+".yaml")
	if _, err := vendorapi.Parse(out, []byte(text)); err != nil {
		return fmt.Errorf("no spec can be made of it: %w", err)
	}
	if out == "-" {
		_, err := a.Stdout.Write([]byte(text))
		return err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return fmt.Errorf("making a place for the spec %s: %w", out, plainFile(err))
	}
	file, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already: remove it, or name another file with --out", out)
	}
	if err != nil {
		return fmt.Errorf("writing the spec %s: %w", out, plainFile(err))
	}
	_, err = file.WriteString(text)
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("writing the spec %s: %w", out, err)
	}
	path := out
	if !isPath(path) || !strings.Contains(path, "/") {
		path = "./" + path
	}
	a.print("%s is written. Its comments say what was guessed, and its limits are still to be said.", out)
	a.print("Then: sluice vendor check %s", path)
	a.print("      sluice vendor preview %s", path)
	return nil
}

// tiersKnown checks that what is said of tiers is said of those that have samples.
func tiersKnown(flags newFlags, samples []draft.Sample) error {
	for flag, tiers := range map[string][]string{"post": flags.posts, "form": flags.forms} {
		for _, tier := range tiers {
			if !slices.ContainsFunc(samples, func(s draft.Sample) bool { return s.Tier == tier }) {
				return fmt.Errorf("--%s %s: there is no --sample of that tier", flag, tier)
			}
		}
	}
	return nil
}

// newSamples reads the files.
func newSamples(flags newFlags) (samples []draft.Sample, err error) {
	tiers, files, err := tierValues("sample", flags.samples)
	if err != nil {
		return nil, err
	}
	if len(tiers) == 0 {
		return nil, errors.New("what does the vendor answer? --sample TIER=FILE.json, top tier first")
	}
	of, urls, err := tierValues("url", flags.urls)
	if err != nil {
		return nil, err
	}
	from := map[string]string{}
	for i, tier := range of {
		from[tier] = urls[i]
	}
	for i, tier := range tiers {
		body, err := os.ReadFile(files[i])
		if err != nil {
			return nil, fmt.Errorf("the sample %s: %w", files[i], plainFile(err))
		}
		samples = append(samples, draft.Sample{Tier: tier, From: from[tier], Body: body, Name: files[i],
			Post: slices.Contains(flags.posts, tier), Form: slices.Contains(flags.forms, tier)})
		delete(from, tier)
	}
	for tier := range from {
		return nil, fmt.Errorf("--url %s=...: there is no --sample of that tier", tier)
	}
	return samples, nil
}
