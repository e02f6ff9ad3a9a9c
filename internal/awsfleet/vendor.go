package awsfleet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/landing"
	"github.com/sluicehq/sluice/internal/run"
)

// Vendor is one vendor's stack in use. It is safe for concurrent use.
type Vendor struct {
	cloud *Cloud
	stack Stack
	table *table
	quick *table // without retries, answers soon
	tiers *tierMemory
}

// Stack is what was deployed for the vendor.
func (v *Vendor) Stack() Stack { return v.stack }

// Queue is the queue of one tier.
func (v *Vendor) Queue(vendor, tier string) fanout.Queue {
	return v.queue(vendor, tier, v.stack.Queues[tier].URL)
}

// DeadQueue is the dead-letter queue of one tier.
func (v *Vendor) DeadQueue(vendor, tier string) fanout.Queue {
	return v.queue(vendor, tier, v.stack.Queues[tier].Dead)
}

func (v *Vendor) queue(vendor, tier, url string) fanout.Queue {
	q := &queue{cloud: v.cloud, url: url, vendor: vendor}
	if err := v.mine(vendor); err != nil {
		q.broken = err
	} else if url == "" {
		q.broken = v.noTier(tier)
	}
	return q
}

func (v *Vendor) noTier(tier string) error {
	return fmt.Errorf("stack %s has no tier %s (it has %v): deploy it with the vendor's present spec",
		v.stack.Vendor, tier, slices.Sorted(maps.Keys(v.stack.Queues)))
}

func (v *Vendor) mine(vendor string) error {
	if vendor != v.stack.Vendor {
		return fmt.Errorf("this is the stack of vendor %s, not of %s", v.stack.Vendor, vendor)
	}
	return nil
}

// Ledger is the vendor's ledger.
func (v *Vendor) Ledger(string) fanout.Ledger { return &ledger{v} }

// Landing is where the vendor's results land.
func (v *Vendor) Landing(string) *landing.Landing {
	return landing.New(&objects{cloud: v.cloud, bucket: v.stack.Bucket, prefix: "landing/"})
}

// Runs keeps the vendor's runs.
func (v *Vendor) Runs() run.Store { return &runs{v} }

// Governor keeps the governor's item.
func (v *Vendor) Governor() governor.Store { return &governorStore{v} }

// PutVerdict puts a run's verdict beside its data, in the place of an earlier one.
func (v *Vendor) PutVerdict(ctx context.Context, run string, doc []byte) error {
	o := &objects{cloud: v.cloud, bucket: v.stack.Bucket, prefix: "verdicts/"}
	return o.replace(ctx, run+".json", doc, "application/json")
}

// A Depth tells how many messages a queue holds. SQS counts roughly: the
// figures may lag by a minute.
type Depth struct{ Visible, Hidden, Delayed int }

// Depth looks at a tier's queue and at its dead-letter queue.
func (v *Vendor) Depth(ctx context.Context, tier string) (work, dead Depth, err error) {
	urls, ok := v.stack.Queues[tier]
	if !ok {
		return work, dead, v.noTier(tier)
	}
	if work, err = v.cloud.depth(ctx, urls.URL); err != nil {
		return work, dead, err
	}
	dead, err = v.cloud.depth(ctx, urls.Dead)
	return work, dead, err
}

func (c *Cloud) depth(ctx context.Context, url string) (d Depth, err error) {
	ctx, cancel := context.WithTimeout(ctx, operationTime)
	defer cancel()
	out, err := c.sqs.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []sqstypes.QueueAttributeName{
		sqstypes.QueueAttributeNameApproximateNumberOfMessages,
		sqstypes.QueueAttributeNameApproximateNumberOfMessagesNotVisible,
		sqstypes.QueueAttributeNameApproximateNumberOfMessagesDelayed,
	}})
	if err != nil {
		return d, wrap(explain(err, queueText(url)), "looking at queue %s", queueName(url))
	}
	c.usage.units(0, 0, 1)
	for name, to := range map[string]*int{
		"ApproximateNumberOfMessages": &d.Visible, "ApproximateNumberOfMessagesNotVisible": &d.Hidden, "ApproximateNumberOfMessagesDelayed": &d.Delayed,
	} {
		if _, err := fmt.Sscan(out.Attributes[name], to); err != nil {
			return d, fmt.Errorf("looking at queue %s: SQS did not say %s", queueName(url), name)
		}
	}
	return d, nil
}

// Check looks, at little cost, whether all of the stack is there and may be
// used. It reports all that is wrong.
func (v *Vendor) Check(ctx context.Context) error {
	looks := []func() error{
		func() error {
			_, err := v.table.get(ctx, openRow)
			return wrap(err, "reading the ledger")
		},
		func() error {
			ctx, cancel := context.WithTimeout(ctx, operationTime)
			defer cancel()
			one := int32(1)
			_, err := v.cloud.s3.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &v.stack.Bucket, Prefix: given("landing/"), MaxKeys: &one})
			return wrap(explain(err, "bucket "+v.stack.Bucket), "looking at the landing")
		},
	}
	for _, tier := range slices.Sorted(maps.Keys(v.stack.Queues)) {
		for _, url := range []string{v.stack.Queues[tier].URL, v.stack.Queues[tier].Dead} {
			looks = append(looks, func() error { _, err := v.cloud.depth(ctx, url); return err })
		}
	}
	if l := v.stack.Lake; l.Bucket != "" {
		for _, url := range []string{l.Queue, l.Dead} {
			looks = append(looks, func() error { _, err := v.cloud.depth(ctx, url); return err })
		}
		looks = append(looks, func() error {
			_, _, err := v.Lake().Open(ctx, "published/"+v.stack.Vendor+".ndjson")
			if errors.Is(err, fs.ErrNotExist) {
				return nil // nothing is published yet
			}
			return wrap(err, "looking at the lake")
		})
	}
	errs := make([]error, len(looks))
	_ = each(ctx, len(looks), func(i int) error { errs[i] = looks[i](); return nil })
	return errors.Join(append(errs, ctx.Err())...)
}
