package functions

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/sluicehq/sluice/internal/awsfleet"
	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/fleet"
	"github.com/sluicehq/sluice/internal/vendorapi"
)

// A Function is one of the fleet's functions in this process. It is used for
// one invocation at a time, as Lambda does.
type Function struct {
	log     *slog.Logger
	vendor  *awsfleet.Vendor
	cloud   *awsfleet.Cloud
	spec    string // path
	set     map[string]string
	tier    string
	workers int
	env     func(string) string

	plan    *vendorapi.Plan    // read when there is work
	secrets map[string]secret  // as last read
	kept    *fleet.Fleet       // close: see keptFleet
	looked  map[string]look    // close: by run
	letters map[string]letters // close: by tier
}

// Open reads the environment that the stack gives a function. It calls nobody:
// a mistake there is one line, before the first invocation.
//
//	SLUICE_STACK          what the vendor has in this account (JSON, see awsfleet.Stack)
//	SLUICE_SPEC           the spec's file, beside the program (vendor.yaml)
//	SLUICE_SETTINGS       the spec's settings, a JSON object
//	SLUICE_TIER           tier: the tier that it drains
//	SLUICE_WORKERS        tier: how many drains of it may be at work at once (1)
//	SLUICE_WHEN_OPEN      seed: "queue" or "refuse" a window while a run is open (queue)
//	SLUICE_REPAIR         close: "false": do not send again what is missing (true)
//	SLUICE_VERDICT_AFTER  close: a run that is open for longer raises VerdictMissing (20h)
//	SLUICE_PUBLISH_AFTER  close: a closed run that waits for longer to be published raises LakeRefused (24h)
func Open(ctx context.Context, getenv func(string) string, log *slog.Logger) (*Function, error) {
	stack, err := awsfleet.ParseStack(getenv("SLUICE_STACK"))
	if err != nil {
		return nil, fmt.Errorf("SLUICE_STACK: %w", err)
	}
	cloud, err := awsfleet.Open(ctx, awsfleet.Options{Log: log})
	if err != nil {
		return nil, err
	}
	f := &Function{
		log: log.With("vendor", stack.Vendor), cloud: cloud, vendor: cloud.Use(stack), env: getenv,
		spec: filepath.Join(getenv("LAMBDA_TASK_ROOT"), cmp.Or(getenv("SLUICE_SPEC"), "vendor.yaml")),
		tier: getenv("SLUICE_TIER"), workers: 1, looked: map[string]look{}, letters: map[string]letters{}, secrets: map[string]secret{},
	}
	if text := getenv("SLUICE_SETTINGS"); text != "" {
		if err := json.Unmarshal([]byte(text), &f.set); err != nil {
			return nil, fmt.Errorf("SLUICE_SETTINGS is no JSON object of strings: %w", err)
		}
	}
	if text := getenv("SLUICE_WORKERS"); text != "" {
		if f.workers, err = strconv.Atoi(text); err != nil || f.workers < 1 {
			return nil, fmt.Errorf("SLUICE_WORKERS is %q: it must be a number from 1 on", text)
		}
	}
	return f, nil
}

// fleet reads the spec, once, and wires it to the vendor's stack.
// keptFleet is the fleet of the looks at open runs, which remembers what it has
// read of earlier ones.
func (f *Function) keptFleet() (*fleet.Fleet, error) {
	if f.kept == nil {
		fl, err := f.fleet()
		if err != nil {
			return nil, err
		}
		f.kept = fl
	}
	f.kept.Runs.Tail = ""
	return f.kept, nil
}

func (f *Function) fleet() (*fleet.Fleet, error) {
	if f.plan == nil {
		text, err := os.ReadFile(f.spec)
		if err != nil {
			return nil, fmt.Errorf("reading the spec: %w", err)
		}
		spec, err := vendorapi.Parse(filepath.Base(f.spec), text)
		if err != nil {
			return nil, err
		}
		if f.plan, err = spec.Bind(f.set); err != nil {
			return nil, err
		}
		if have := f.vendor.Stack().Vendor; f.plan.Name != have {
			f.plan = nil
			return nil, fmt.Errorf("the spec is of vendor %s, the stack of %s: deploy again", spec.Name, have)
		}
	}
	return fleet.New(f.plan, f.vendor, AWS(f.log))
}

// AWS is how a fleet works there: its clocks are kept within some milliseconds
// of each other, the governor's item is polled twice a second, each look costs a
// request, and a drain that has nothing to do leaves rather than sleeps. What
// SQS counts may be behind by a minute.
func AWS(log *slog.Logger) fleet.Options {
	return fleet.Options{
		Engine: fanout.Config{LongPoll: 20 * time.Second, FlushEvery: 10 * time.Second},
		Poll:   500 * time.Millisecond, Spread: 10 * time.Millisecond, Slow: time.Second, Idle: time.Second, Tick: time.Minute, Lag: time.Minute, Log: log,
	}
}

// duration reads a duration from the environment.
func (f *Function) duration(name string, otherwise time.Duration) (time.Duration, error) {
	text := f.env(name)
	if text == "" {
		return otherwise, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%s is %q: it must be a duration such as 20h", name, text)
	}
	return d, nil
}

// errNoDeadline is a programming error of whoever calls a handler.
var errNoDeadline = errors.New("an invocation has a deadline")

// bounds are the instants after which an invocation starts nothing and does
// nothing more: calls under way at soft have time to end, and what they
// brought to be landed and settled.
func (f *Function) bounds(ctx context.Context, call time.Duration) (soft, hard time.Time, err error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return soft, hard, errNoDeadline
	}
	left := time.Until(deadline)
	return deadline.Add(-min(call+15*time.Second, left/4)), deadline.Add(-min(3*time.Second, left/20)), nil
}
