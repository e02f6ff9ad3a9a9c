package lakeworker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/sluicehq/sluice/internal/awsfleet"
	"github.com/sluicehq/sluice/internal/lake"
	"github.com/sluicehq/sluice/internal/vendorapi"
)

// Open reads the environment that the stack gives the function, as it gives
// it to the others:
//
//	SLUICE_STACK     what the vendor has in this account (JSON, see awsfleet.Stack)
//	SLUICE_SPEC      the spec's file, beside the program (vendor.yaml)
//	SLUICE_SETTINGS  the spec's settings, a JSON object
//	SLUICE_SETTLE    from the last file to the switch: longer than readers take from listing files to reading the index (10s)
//
// It calls nobody: a mistake there is one line, before the first invocation.
func Open(ctx context.Context, getenv func(string) string, log *slog.Logger) (*Worker, error) {
	stack, err := awsfleet.ParseStack(getenv("SLUICE_STACK"))
	if err != nil {
		return nil, fmt.Errorf("SLUICE_STACK: %w", err)
	}
	plan, err := readPlan(getenv)
	if err != nil {
		return nil, err
	}
	if plan.Name != stack.Vendor {
		return nil, fmt.Errorf("the spec is of vendor %s, the stack of %s: deploy again", plan.Name, stack.Vendor)
	}
	cloud, err := awsfleet.Open(ctx, awsfleet.Options{Log: log})
	if err != nil {
		return nil, err
	}
	vendor := cloud.Use(stack)
	store := vendor.Lake()
	if store == nil {
		return nil, errors.New("SLUICE_STACK names no lake: deploy again")
	}
	settle, err := time.ParseDuration(cmp.Or(getenv("SLUICE_SETTLE"), "10s"))
	if err != nil || settle < 0 {
		return nil, fmt.Errorf("SLUICE_SETTLE is %q: it must be a duration such as 10s", getenv("SLUICE_SETTLE"))
	}
	log = log.With("vendor", stack.Vendor)
	return &Worker{
		Lake:   &lake.Lake{Plan: plan, Store: store, Landing: vendor.Landing(plan.Name), Runs: vendor.Runs(), Temp: os.TempDir(), Settle: settle, Log: log},
		Vendor: vendor, Log: log,
	}, nil
}

func readPlan(getenv func(string) string) (*vendorapi.Plan, error) {
	spec, err := vendorapi.Load(filepath.Join(getenv("LAMBDA_TASK_ROOT"), cmp.Or(getenv("SLUICE_SPEC"), "vendor.yaml")))
	if err != nil {
		return nil, fmt.Errorf("reading the spec: %w", err)
	}
	var set map[string]string
	if text := getenv("SLUICE_SETTINGS"); text != "" {
		if err := json.Unmarshal([]byte(text), &set); err != nil {
			return nil, fmt.Errorf("SLUICE_SETTINGS is no JSON object of strings: %w", err)
		}
	}
	return spec.Bind(set)
}

// Start serves the function's invocations until Lambda ends the process.
func Start(ctx context.Context, w *Worker) {
	lambda.StartWithOptions(w.Handle, lambda.WithContext(ctx))
}
