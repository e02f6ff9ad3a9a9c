package lakeworker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"

	"github.com/sluicehq/sluice/internal/awsfleet"
	"github.com/sluicehq/sluice/internal/lake"
	"github.com/sluicehq/sluice/internal/run"
)

// A notice is what a message says.
type notice struct {
	publish string // a run
	objects []landed
}

// landed is one object that S3 tells of.
type landed struct {
	bucket, name string // in the landing
	message      string // that tells of it alone
}

// parse reads a message: S3's notifications, or what close sends. Objects that
// were not landed are left out.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
func parse(body string) (notice, error) {
	var in struct {
		Event   string            `json:"Event"`
		Publish string            `json:"publish"`
		Records []json.RawMessage `json:"Records"`
	}
	if err := json.Unmarshal([]byte(body), &in); err != nil {
		return notice{}, fmt.Errorf("the message is not JSON: %w", err)
	}
	n := notice{publish: in.Publish}
	if in.Event == "s3:TestEvent" { // S3 looks whether it may send here
		return n, nil
	}
	if n.publish == "" && in.Records == nil {
		return n, errors.New("the message is neither a notification of S3 nor a run to be published")
	}
	for _, record := range in.Records {
		o, err := parseRecord(record)
		if err != nil {
			return n, err
		}
		if o.name != "" {
			n.objects = append(n.objects, o)
		}
	}
	return n, nil
}

// parseRecord reads one of a notification's records.
func parseRecord(record json.RawMessage) (landed, error) {
	var in struct {
		EventName string `json:"eventName"`
		S3        struct {
			Bucket struct {
				Name string `json:"name"`
			} `json:"bucket"`
			Object struct {
				Key string `json:"key"`
			} `json:"object"`
		} `json:"s3"`
	}
	if err := json.Unmarshal(record, &in); err != nil {
		return landed{}, fmt.Errorf("a record of the message cannot be read: %w", err)
	}
	key, err := url.QueryUnescape(in.S3.Object.Key) // keys come as in a form
	if err != nil {
		return landed{}, fmt.Errorf("the key %q cannot be read: %w", in.S3.Object.Key, err)
	}
	name, ok := strings.CutPrefix(key, "landing/")
	if !ok || !isLanded(name) || !strings.HasPrefix(in.EventName, "ObjectCreated:") {
		return landed{}, nil
	}
	return landed{in.S3.Bucket.Name, name, `{"Records":[` + string(record) + `]}`}, nil
}

// isLanded tells whether an object's name is run=RUN/tier=TIER/ID.ndjson.zst.
func isLanded(name string) bool {
	parts := strings.Split(name, "/")
	return len(parts) == 3 && strings.HasPrefix(parts[0], "run=") && strings.HasPrefix(parts[1], "tier=") &&
		strings.HasSuffix(parts[2], ".ndjson.zst") && path.Clean(name) == name
}

// convert converts a landed object. One that no repeat can mend goes to the
// dead letters: the lake has noted it, and its run is not published until
// somebody has dealt with it.
func (w *Worker) convert(ctx context.Context, o landed) error {
	err := w.caught(ctx, "converting "+o.name, func() error { return w.Lake.Convert(ctx, o.name) })
	if errors.Is(err, lake.ErrCorrupt) || errors.Is(err, run.ErrNoRun) || errors.Is(err, errPanic) {
		return w.bury(ctx, o, err)
	}
	return err
}

// bury puts a message to the dead letters with its reason.
func (w *Worker) bury(ctx context.Context, o landed, why error) error {
	of, _, _ := strings.Cut(strings.TrimPrefix(o.name, "run="), "/")
	if err := w.Vendor.Bury(ctx, awsfleet.Corrupt{Run: of, Object: o.name, Reason: why.Error(), Message: o.message}); err != nil {
		return errors.Join(why, err)
	}
	w.Log.ErrorContext(ctx, "cannot be converted, and is among the dead letters", "object", o.name, "run", of, "err", why)
	return nil
}
