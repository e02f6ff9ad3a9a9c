package awsfleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// A run's publication in the lake is asked for before the run is closed, by a
// row that stays until it is published or refused; messages are tokens:
//
//	row => run closed => message sent (again while the row stays) => published, or refused and noted => row removed
//
// so that no crash between any two of these loses it.

// A Publication is asked for: a closed run is to be published in the lake.
type Publication struct {
	Run  string
	Rev  int       // of the run, when that was asked
	At   time.Time // when
	Sent time.Time // when a message was last sent for it; zero: never, or it is to be sent again
}

const publishMark = "publish#"

func publishKey(run string) key { return key{"waiting", publishMark + run} }

func unpackPublication(r row) Publication {
	p := Publication{Run: strings.TrimPrefix(r.str("sk"), publishMark), Rev: r.int("rev"), At: time.Unix(0, r.num("at")).UTC()}
	if sent := r.num("sent"); sent != 0 {
		p.Sent = time.Unix(0, sent).UTC()
	}
	return p
}

// AskPublish notes that a run which is about to be closed at rev is to be
// published. Without a lake there is nothing to note.
func (v *Vendor) AskPublish(ctx context.Context, run string, rev int) error {
	if v.stack.Lake.Queue == "" {
		return nil
	}
	r := publishKey(run).row()
	r["rev"], r["at"], r["ttl"] = num(rev), num(time.Now().UnixNano()), v.ttl()
	_, err := v.table.put(ctx, r, expr{})
	return wrap(err, "noting that run %s is to be published", run)
}

// Asked is what was asked of a run's publication; false: nothing.
func (v *Vendor) Asked(ctx context.Context, run string) (Publication, bool, error) {
	r, err := v.table.get(ctx, publishKey(run))
	if err != nil || r == nil {
		return Publication{}, false, wrap(err, "looking whether run %s is to be published", run)
	}
	return unpackPublication(r), true, nil
}

// SentPublish notes when a message was sent; the zero time: it is to be sent
// again at once. A publication that was asked for anew, or not at all, is left
// alone.
func (v *Vendor) SentPublish(ctx context.Context, p Publication, at time.Time) error {
	e := expr{set: "REMOVE #sent", only: "#at = :at", vals: row{":at": num(p.At.UnixNano())}}
	if !at.IsZero() {
		e.set, e.vals[":sent"] = "SET #sent = :sent", num(at.UnixNano())
	}
	_, _, err := v.table.update(ctx, publishKey(p.Run), e, types.ReturnValueNone)
	return wrap(err, "noting when run %s was sent to be published", p.Run)
}

// Unask ends what was asked, unless it has been asked anew since.
func (v *Vendor) Unask(ctx context.Context, p Publication) error {
	_, err := v.table.remove(ctx, publishKey(p.Run), expr{only: "#at = :at", vals: row{":at": num(p.At.UnixNano())}})
	return wrap(err, "noting that run %s is not to be published any more", p.Run)
}

// A PublishMessage is what the lake's queue carries beside S3's notifications.
type PublishMessage struct {
	Publish string `json:"publish"` // the run
}

// SendPublish sends a run to be published.
func (v *Vendor) SendPublish(ctx context.Context, run string) error {
	body, err := json.Marshal(PublishMessage{run})
	if err != nil {
		return err
	}
	return v.sendOne(ctx, v.stack.Lake.Queue, &sqs.SendMessageInput{MessageBody: aws.String(string(body))})
}

// A Corrupt is a landed object that no repeat can convert.
type Corrupt struct {
	Run, Object, Reason string
	Message             string // by which it was to be converted: sent again it tries once more
}

// Bury puts a landed object that cannot be converted among the dead letters.
func (v *Vendor) Bury(ctx context.Context, c Corrupt) error {
	in := &sqs.SendMessageInput{MessageBody: &c.Message, MessageAttributes: map[string]sqstypes.MessageAttributeValue{}}
	for name, value := range map[string]string{"run": c.Run, "object": c.Object, "reason": c.Reason} {
		if value = plainText(value, mostReason); value != "" { // SQS takes no empty one
			in.MessageAttributes[name] = sqstypes.MessageAttributeValue{DataType: aws.String("String"), StringValue: &value}
		}
	}
	return v.sendOne(ctx, v.stack.Lake.Dead, in)
}

const mostReason = 2 << 10

// plainText is a text as SQS takes it: some bytes of it, without control
// characters.
func plainText(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' && r != '\n' || r == utf8.RuneError || r >= 0xfffe {
			return '?'
		}
		return r
	}, s)
	for len(s) > most {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	return s
}

func (v *Vendor) sendOne(ctx context.Context, url string, in *sqs.SendMessageInput) error {
	if url == "" {
		return v.noLake()
	}
	ctx, cancel := context.WithTimeout(ctx, operationTime)
	defer cancel()
	in.QueueUrl = &url
	if _, err := v.cloud.sqs.SendMessage(ctx, in); err != nil {
		return wrap(explain(err, queueText(url)), "sending to queue %s", queueName(url))
	}
	v.cloud.usage.units(0, 0, 1)
	return nil
}

// ShowAgain lets a message of the lake's queue that could not be worked show
// again after some time, sooner than its queue would by itself.
func (v *Vendor) ShowAgain(ctx context.Context, receipt string, after time.Duration) error {
	url := v.stack.Lake.Queue
	if url == "" {
		return v.noLake()
	}
	ctx, cancel := context.WithTimeout(ctx, operationTime)
	defer cancel()
	_, err := v.cloud.sqs.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{
		QueueUrl: &url, ReceiptHandle: &receipt, VisibilityTimeout: int32(after.Seconds()),
	})
	v.cloud.usage.units(0, 0, 1)
	return wrap(explain(err, queueText(url)), "giving a message back to queue %s", queueName(url))
}

// errNoLake says that the stack has no lake.
var errNoLake = errors.New("the stack has no lake")

func (v *Vendor) noLake() error {
	return fmt.Errorf("stack %s: %w: deploy it with lake: {enabled: true}", v.stack.Vendor, errNoLake)
}
