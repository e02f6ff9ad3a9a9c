package functions

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sluicehq/sluice/internal/awsfleet"
	"github.com/sluicehq/sluice/internal/run"
)

// sendAgain is after how long a publication that was sent and has not ended is
// sent again: longer than one invocation of the lake's function may take. What
// that leaves unfinished it has sent with the next look.
const sendAgain = 16 * time.Minute

// publish sends closed runs to be published. Each stays asked for until it has
// been, so that neither a crash nor a lost message loses it; one that is sent
// twice is published once. Runs that are open are left for later.
func (f *Function) publish(ctx context.Context, asked []awsfleet.Publication, open []run.Run, out *Closing) error {
	var errs []error
	asked = slices.DeleteFunc(asked, func(p awsfleet.Publication) bool {
		return slices.ContainsFunc(open, func(r run.Run) bool { return r.ID == p.Run }) && !out.closed(p.Run)
	})
	for _, p := range asked {
		if time.Since(p.Sent) < sendAgain {
			continue
		}
		err := f.vendor.SendPublish(ctx, p.Run)
		if err == nil {
			out.Sent = append(out.Sent, p.Run)
			err = f.vendor.SentPublish(ctx, p, time.Now())
		}
		errs = append(errs, err)
	}
	if len(out.Sent) > 0 {
		f.log.InfoContext(ctx, "sent to be published", "runs", out.Sent)
	}
	return errors.Join(append(errs, f.stuck(ctx, asked))...)
}

// stuck says which closed runs have waited for too long, with a metric that is
// only there while it is so: whatever keeps the lake from working ends in that.
func (f *Function) stuck(ctx context.Context, asked []awsfleet.Publication) error {
	after, err := f.duration("SLUICE_PUBLISH_AFTER", 24*time.Hour)
	if err != nil {
		return err
	}
	var late []string
	for _, p := range asked {
		if time.Since(p.At) > after {
			late = append(late, p.Run)
		}
	}
	if len(late) > 0 {
		f.log.WarnContext(ctx, "closed runs wait to be published", append([]any{
			"runs", late, "for_hours_over", after.Hours(), "why", "the lake's function says more, if it is called at all",
		}, f.metrics(map[string]float64{"LakeRefused": float64(len(late))})...)...)
	}
	return nil
}

// closed tells whether a look has closed a run.
func (c Closing) closed(id string) bool {
	return slices.ContainsFunc(c.Runs, func(l Looked) bool { return l.Run == id && l.Verdict != nil && l.Verdict.Settled() })
}
