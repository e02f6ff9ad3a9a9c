package lakeworker

import (
	"context"
	"errors"
	"time"

	"github.com/sluicehq/sluice/internal/awsfleet"
	"github.com/sluicehq/sluice/internal/lake"
	"github.com/sluicehq/sluice/internal/run"
)

// An order is a run that is to be published.
type order struct {
	run.Run
	asked awsfleet.Publication
	found bool // it was asked for; else the message was sent twice, or by hand
}

// publish publishes a run, or goes on with that. The row that asks for it is
// ended when that is done or refused; a row that was written after this one was
// read stays, and so does that of a run which is open: it would be refused for
// being open, and may be closed the next moment.
func (w *Worker) publish(ctx context.Context, id string, soft time.Time, again time.Duration) (err error) {
	o := order{Run: run.Run{ID: id}}
	if o.asked, o.found, err = w.Vendor.Asked(ctx, id); err != nil {
		return err
	}
	o.Run, err = w.Vendor.Runs().Get(ctx, id)
	switch {
	case errors.Is(err, run.ErrNoRun):
		w.refused(ctx, id, err.Error())
		return w.end(ctx, o)
	case err != nil:
		return err
	case !time.Now().Before(soft):
		w.Log.InfoContext(ctx, "there was no time left for a publication, which goes on with the next message", "run", id)
		return w.next(ctx, o)
	case o.State == run.Open:
		w.Log.InfoContext(ctx, "the run is open, and will be published when it is closed", "run", id)
		return w.next(ctx, o)
	}
	began := time.Now()
	var done lake.Publication
	err = w.caught(ctx, "publishing run "+id, func() (err error) { done, err = w.Lake.Publish(ctx, id, soft); return err })
	if err != nil {
		return w.failed(ctx, o, err, again)
	}
	rows := map[string]int{}
	for _, t := range done.Tables {
		rows[t.Table] = t.Rows
	}
	w.Log.InfoContext(ctx, "published", "run", id, "rows", rows, "pages", done.Pages, "waste", done.Waste, "unchanged", done.Unchanged,
		"notes", done.Notes, "seconds", time.Since(began).Seconds())
	return w.end(ctx, o)
}

// failed says what becomes of a publication that has not come to its end.
func (w *Worker) failed(ctx context.Context, o order, err error, again time.Duration) error {
	var refused *lake.Refused
	switch {
	case errors.Is(err, lake.ErrUnfinished):
		w.Log.InfoContext(ctx, "a publication goes on with the next message", "run", o.ID)
		return w.next(ctx, o)
	case errors.As(err, &refused):
		w.refused(ctx, o.ID, refused.Error())
		if _, err := w.Vendor.Runs().Mark(ctx, o.ID, clip(refused.Error())); err != nil {
			return err
		}
		return w.end(ctx, o)
	case o.found: // this message comes again: close need not send another
		return errors.Join(err, w.Vendor.SentPublish(ctx, o.asked, time.Now().Add(again)))
	}
	return err
}

// end notes that nothing is asked for any more.
func (w *Worker) end(ctx context.Context, o order) error {
	if !o.found {
		return nil
	}
	return w.Vendor.Unask(ctx, o.asked)
}

// next has the run sent again with the next look; close does that.
func (w *Worker) next(ctx context.Context, o order) error {
	if !o.found {
		return w.Vendor.AskPublish(ctx, o.ID, o.Rev)
	}
	return w.Vendor.SentPublish(ctx, o.asked, time.Time{})
}

// clip bounds what is noted with a run.
func clip(s string) string {
	const most = 500
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "..."
	}
	return s
}

// refused says that a run is not published, as a metric too (the embedded
// metric format, see functions).
func (w *Worker) refused(ctx context.Context, id, why string) {
	w.Log.WarnContext(ctx, "a run is not published", "run", id, "why", why,
		"Vendor", w.Vendor.Stack().Vendor, "LakeRefused", 1,
		"_aws", map[string]any{
			"Timestamp": time.Now().UnixMilli(),
			"CloudWatchMetrics": []any{map[string]any{
				"Namespace": "Sluice", "Dimensions": [][]string{{"Vendor"}},
				"Metrics": []any{map[string]string{"Name": "LakeRefused", "Unit": "Count"}},
			}},
		})
}
