package awsfleet

import (
	"context"

	"github.com/sluicehq/sluice/internal/landing"
)

// Objects are the vendor's landed objects.
func Objects(v *Vendor) landing.Store {
	return &objects{cloud: v.cloud, bucket: v.stack.Bucket, prefix: "landing/"}
}

// Patient lets the governor's store take its time: how soon it gives up is not
// what a test on a busy machine is about.
func Patient(v *Vendor) *Vendor {
	v.quick.limit = operationTime
	return v
}

// Each is each.
func Each(ctx context.Context, n int, f func(int) error) error { return each(ctx, n, f) }

// Explain is explain.
func Explain(err error, what string) error { return explain(err, what) }

// ErrNoLake is errNoLake.
var ErrNoLake = errNoLake
