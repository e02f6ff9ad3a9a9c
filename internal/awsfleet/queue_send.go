package awsfleet

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/sluicehq/sluice/internal/fanout"
)

// A parcel is a message ready to be sent. The entry's ID is given by its place.
type parcel struct {
	entry types.SendMessageBatchRequestEntry
	size  int // as SQS counts: body and attributes
}

// Send implements fanout.Queue.
func (q *queue) Send(ctx context.Context, tasks []fanout.Task) error {
	if q.broken != nil {
		return q.broken
	}
	parcels := make([]parcel, len(tasks))
	for i, t := range tasks {
		var err error
		if parcels[i], err = q.pack(t); err != nil {
			return err
		}
	}
	cuts := split(parcels)
	return each(ctx, len(cuts)-1, func(b int) error {
		some := parcels[cuts[b]:cuts[b+1]]
		return resend(ctx, len(some), func(ctx context.Context, at []int) ([]types.BatchResultErrorEntry, error) {
			entries, size := make([]types.SendMessageBatchRequestEntry, len(at)), 0
			for i, n := range at {
				entries[i], size = some[n].entry, size+some[n].size
				entries[i].Id = entryID(n)
			}
			out, err := q.cloud.sqs.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: &q.url, Entries: entries})
			if err != nil {
				return nil, q.failed(err, "sending %d tasks to queue %s", len(tasks), queueName(q.url))
			}
			q.cloud.usage.units(0, 0, billed(size))
			return out.Failed, nil
		}, func(int, types.BatchResultErrorEntry) bool { return false }, "sending to", queueName(q.url))
	})
}

func (q *queue) pack(t fanout.Task) (parcel, error) {
	body, err := json.Marshal(t)
	if err != nil {
		return parcel{}, fmt.Errorf("packing task %s: %w", t.ID, err)
	}
	body = escape(body)
	p := parcel{size: len(body)}
	p.entry.MessageBody = aws.String(string(body))
	p.entry.MessageAttributes = map[string]types.MessageAttributeValue{}
	add := func(name, kind, value string) {
		if value == "" {
			return
		}
		p.size += len(name) + len(kind) + len(value)
		p.entry.MessageAttributes[name] = types.MessageAttributeValue{DataType: aws.String(kind), StringValue: aws.String(value)}
	}
	add("vendor", "String", q.vendor)
	add("tier", "String", t.Tier)
	add("run", "String", t.Run)
	add("life", "Number", strconv.Itoa(t.Life))
	if p.size > largestBatch {
		return parcel{}, fmt.Errorf("task %s of tier %s makes a message of %d bytes; SQS takes %d: let the tier above carry less", t.ID, t.Tier, p.size, largestBatch)
	}
	return p, nil
}

// escape writes the characters from U+FFFE on as JSON's escapes. SQS takes no
// message with the first two of them; the others it does take, but not every
// server that speaks its protocol.
func escape(doc []byte) []byte {
	if !bytes.ContainsFunc(doc, high) {
		return doc
	}
	var out []byte
	for _, r := range string(doc) {
		switch {
		case !high(r):
			out = utf8.AppendRune(out, r)
		case r < 0x10000:
			out = fmt.Appendf(out, `\u%04x`, r)
		default:
			a, b := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, a, b)
		}
	}
	return out
}

func high(r rune) bool { return r >= 0xfffe }

// split says where to cut messages into requests, at 0 first and at the end
// last: the cheapest way, and of those the one with the fewest requests. SQS
// bills a request by every 64 KB that it begins, so ten messages of 8 KB are
// cheaper in a request of eight than with the next two, while ten of 33 KB are
// cheaper together.
func split(parcels []parcel) []int {
	type plan struct{ units, requests, from int }
	best := make([]plan, len(parcels)+1)
	for end := 1; end <= len(parcels); end++ {
		for from, size := end-1, 0; from >= 0 && end-from <= batchSize; from-- {
			if size += parcels[from].size; size > largestBatch {
				break
			}
			p := plan{best[from].units + billed(size), best[from].requests + 1, from}
			if b := best[end]; b.requests == 0 || p.units < b.units || p.units == b.units && p.requests < b.requests {
				best[end] = p
			}
		}
	}
	cuts := []int{len(parcels)}
	for at := len(parcels); at > 0; {
		at = best[at].from
		cuts = append(cuts, at)
	}
	for i, j := 0, len(cuts)-1; i < j; i, j = i+1, j-1 {
		cuts[i], cuts[j] = cuts[j], cuts[i]
	}
	return cuts
}

// entryID names an entry by its place in its request.
func entryID(i int) *string { return aws.String(strconv.Itoa(i % batchSize)) }

func pick[E any](all []E, at []int) []E {
	out := make([]E, len(at))
	for i, n := range at {
		out[i] = all[n]
	}
	return out
}

// tries is how often the entries that failed are sent again.
const tries = 5

// resend makes one request of n entries, and again of those that SQS failed to
// take for its own trouble. passed says that a failed entry is all right.
func resend(ctx context.Context, n int, do func(ctx context.Context, at []int) ([]types.BatchResultErrorEntry, error),
	passed func(i int, e types.BatchResultErrorEntry) bool, doing, queue string) error {
	ctx, cancel := context.WithTimeout(ctx, operationTime)
	defer cancel()
	at := make([]int, n)
	for i := range at {
		at[i] = i
	}
	for try := 0; ; try++ {
		failed, err := do(ctx, at)
		if err != nil {
			return err
		}
		at = at[:0]
		var last types.BatchResultErrorEntry
		for _, e := range failed {
			i, err := strconv.Atoi(aws.ToString(e.Id))
			if err != nil || i < 0 || i >= n {
				return fmt.Errorf("%s queue %s: SQS answers about an entry %q that was not in the request", doing, queue, aws.ToString(e.Id))
			}
			if passed(i, e) {
				continue
			}
			if e.SenderFault {
				return fmt.Errorf("%s queue %s: %w: %s: %s", doing, queue, errPartly, aws.ToString(e.Code), aws.ToString(e.Message))
			}
			at, last = append(at, i), e
		}
		if len(at) == 0 {
			return nil
		}
		if try == tries {
			return fmt.Errorf("%s queue %s: %w: %d entries, after %d tries: %s: %s", doing, queue, errPartly, len(at), try+1, aws.ToString(last.Code), aws.ToString(last.Message))
		}
		if err := pause(ctx, try+1); err != nil {
			return fmt.Errorf("%s queue %s: %w: %s: %w", doing, queue, errPartly, aws.ToString(last.Code), err)
		}
	}
}
