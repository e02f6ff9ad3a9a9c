package cli

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/sluicehq/sluice/internal/awsfleet"
	"github.com/sluicehq/sluice/internal/fleet"
	"github.com/sluicehq/sluice/internal/functions"
	"github.com/sluicehq/sluice/internal/landing"
	"github.com/sluicehq/sluice/internal/run"
)

// Where a command looks: --on, or SLUICE_ON.
const (
	onLocal = "local"
	onAWS   = "aws"
)

// stack is the place of one vendor on AWS.
type stack struct {
	*awsfleet.Vendor
	app    *app
	region string
}

// openStack finds the stack of the vendor that a word stands for: a spec, a
// vendor, a run.
func (a *app) openStack(ctx context.Context, word string) (place, error) {
	cloud, err := awsfleet.Open(ctx, awsfleet.Options{Prefix: a.Getenv("SLUICE_PREFIX"), Log: a.log})
	if err != nil {
		return nil, err
	}
	found, err := cloud.Stack(ctx, vendorNamed(word))
	if err != nil {
		return nil, err
	}
	v := cloud.Use(found)
	if err := v.Check(ctx); err != nil {
		return nil, fmt.Errorf("the stack of vendor %s is not whole: %w", found.Vendor, firstOf(err))
	}
	return &stack{v, a, cloud.Region()}, nil
}

// firstOf is the first of several errors, and how many more there are: one
// missing right is one error for each queue.
func firstOf(err error) error {
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) || len(joined.Unwrap()) < 2 {
		return err
	}
	all := joined.Unwrap()
	return fmt.Errorf("%w (and %d more)", all[0], len(all)-1)
}

var runID = regexp.MustCompile(`^(.+)-\d{8}(?:T\d{6})?-[0-9a-v]{6}$`)

// vendorNamed is the vendor that a spec, a vendor's name or a run stands for.
func vendorNamed(word string) string {
	if spec, err := loadSpec(word); err == nil {
		return spec.Name
	}
	if m := runID.FindStringSubmatch(word); m != nil {
		return m[1]
	}
	return word
}

// places are those to be opened to look at the named vendor, or at all: the home,
// or every stack of the account.
func (a *app) places(ctx context.Context, args []string) (opens []func(context.Context) (place, error), err error) {
	if len(args) > 0 || a.on != onAWS {
		return append(opens, a.existing(args...)), nil
	}
	cloud, err := awsfleet.Open(ctx, awsfleet.Options{Prefix: a.Getenv("SLUICE_PREFIX"), Log: a.log})
	if err != nil {
		return nil, err
	}
	vendors, err := cloud.Vendors(ctx)
	if err != nil {
		return nil, err
	}
	if len(vendors) == 0 {
		return nil, fmt.Errorf("there is no stack in region %s (deploy one with make deploy VENDOR=..., or name the right region/profile)", cloud.Region())
	}
	for _, v := range vendors {
		opens = append(opens, a.existing(v))
	}
	return opens, nil
}

// lookAround looks at the place of the named vendor, or at all there are.
func (a *app) lookAround(ctx context.Context, args []string, look func(place) error) error {
	opens, err := a.places(ctx, args)
	if err != nil {
		return err
	}
	for _, open := range opens {
		if err := with(open, ctx, look); err != nil {
			return err
		}
	}
	return nil
}

func (s *stack) Name() string { return "the stack of " + s.Stack().Vendor }

func (s *stack) Data(r run.Run) string {
	return "s3://" + s.Stack().Bucket + "/landing/" + landing.Prefix(r.ID, "")
}

func (s *stack) Tables() (tables, error) {
	store := s.Lake()
	if store == nil {
		return tables{}, fmt.Errorf("the stack of %s has no lake: deploy again (make deploy VENDOR=%[1]s)", s.Stack().Vendor)
	}
	l := s.Stack().Lake
	return tables{
		Store: store, root: "s3://" + l.Bucket + "/" + strings.TrimSuffix(l.Prefix, "/"),
		bucket: l.Bucket, prefix: l.Prefix, region: s.region,
	}, nil
}

func (s *stack) Secret(vendor, name string) (string, error) { return s.Secrets().Secret(vendor, name) }

func (s *stack) Session(ctx context.Context, vendor string, f func(context.Context, []byte) ([]byte, error)) error {
	return s.Secrets().Session(ctx, vendor, f)
}

func (s *stack) SecretPlace(_ string, names []string) string {
	var places []string
	for _, n := range names {
		kind, at, _ := strings.Cut(s.Stack().Secrets[n], ":")
		if kind == "secretsmanager" {
			places = append(places, "the secret "+at+" in Secrets Manager")
		} else {
			places = append(places, "the parameter "+at)
		}
	}
	return list(places)
}

// Options are those of the functions but for the long polls: SQS may yet give
// messages to a poll that a process left open when it ended, and hides them then.
func (s *stack) Options() fleet.Options {
	opt := functions.AWS(s.app.log)
	opt.Engine.LongPoll = time.Second
	return opt
}

func (s *stack) Close() error { return nil }
