package awsfleet

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/sluicehq/sluice/internal/series"
)

// Series keeps what the vendor's fleet did over time.
func (v *Vendor) Series() series.Store { return samples{v} }

// samples implements series.Store: a row for each sample, compressed, so that
// most cost one write unit.
type samples struct{ v *Vendor }

// Add implements series.Store.
func (s samples) Add(ctx context.Context, vendor string, sample series.Sample) error {
	if err := s.v.mine(vendor); err != nil {
		return err
	}
	doc, err := json.Marshal(sample)
	if err != nil {
		return fmt.Errorf("packing a sample of %s: %w", vendor, err)
	}
	small, err := deflate(doc)
	if err != nil {
		return fmt.Errorf("packing a sample of %s: %w", vendor, err)
	}
	s.v.cloud.usage.count("series.write", 1)
	r := key{"samples", sample.At.UTC().Format(stamp) + "#" + sample.Process}.row()
	r["doc"], r["ttl"] = &types.AttributeValueMemberB{Value: small}, s.v.ttl()
	_, err = s.v.table.put(ctx, r, expr{})
	return wrap(err, "keeping a sample of %s", vendor)
}

// Read implements series.Store.
func (s samples) Read(ctx context.Context, vendor string, from, to time.Time, each func(series.Sample) error) error {
	if err := s.v.mine(vendor); err != nil {
		return err
	}
	span := scan{pk: "samples", from: from.UTC().Format(stamp), to: to.UTC().Format(stamp)}
	return s.v.table.query(ctx, span, func(r row) error {
		b, _ := r["doc"].(*types.AttributeValueMemberB)
		if b == nil {
			return fmt.Errorf("the sample %s cannot be read: it is empty", r.str("sk"))
		}
		text, err := inflate(b.Value)
		var sample series.Sample
		if err == nil {
			err = json.NewDecoder(strings.NewReader(text)).Decode(&sample)
		}
		if err != nil {
			return fmt.Errorf("the sample %s cannot be read: %w", r.str("sk"), err)
		}
		return each(sample)
	})
}

// Used is what has been asked of AWS so far, by what AWS bills.
func (v *Vendor) Used() map[string]float64 {
	u := v.cloud.Usage()
	out := map[string]float64{"sqs": float64(u.SQSUnits), "writes": u.WriteUnits, "reads": u.ReadUnits}
	for what, n := range u.Calls {
		switch what {
		case "s3.PutObject", "s3.CreateMultipartUpload", "s3.UploadPart", "s3.CompleteMultipartUpload", "s3.ListObjectsV2":
			out["puts"] += float64(n)
		case "s3.GetObject", "s3.HeadObject":
			out["gets"] += float64(n)
		}
	}
	return out
}
