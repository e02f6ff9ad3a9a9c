// Package price says what a fleet on AWS costs: it multiplies counted work by
// list prices. It estimates nothing; whoever calls it has counted.
package price

import (
	"fmt"
	"time"
)

// Prices are list prices in US dollars, without free tiers and discounts.
type Prices struct {
	Region string
	AsOf   time.Time // when they were looked up

	SQSRequest        float64 // per request of 64 KB
	DynamoWrite       float64 // per write unit of 1 KB, on demand
	DynamoRead        float64 // per read unit of 4 KB, on demand
	DynamoGBMonth     float64
	DynamoBackupMonth float64 // point-in-time recovery, per GB-month
	S3Put             float64 // PUT, POST, LIST
	S3Get             float64
	S3GBMonth         float64
	LambdaRequest     float64
	LambdaGBSecond    float64 // arm64
	SchedulerInvoke   float64
	LogsGB            float64 // ingested
	LogsGBMonth       float64 // kept
	MetricMonth       float64 // custom, by the hours in which it is seen
	AlarmMonth        float64 // standard resolution, for each metric it looks at
	KeyMonth          float64 // KMS, of one's own
	SecretsCall       float64 // Secrets Manager; Parameter Store is free
}

// USEast1 are the prices of the region that AWS quotes first. Sources, each
// looked up on the date given:
//
//	https://aws.amazon.com/sqs/pricing/
//	https://aws.amazon.com/dynamodb/pricing/on-demand/
//	https://aws.amazon.com/s3/pricing/
//	https://aws.amazon.com/lambda/pricing/
//	https://aws.amazon.com/eventbridge/pricing/
//	https://aws.amazon.com/cloudwatch/pricing/
//	https://aws.amazon.com/secrets-manager/pricing/
//	https://aws.amazon.com/kms/pricing/
var USEast1 = Prices{
	Region: "us-east-1", AsOf: time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC),
	SQSRequest: 0.40e-6, DynamoWrite: 0.625e-6, DynamoRead: 0.125e-6, DynamoGBMonth: 0.25, DynamoBackupMonth: 0.20,
	S3Put: 5e-6, S3Get: 0.4e-6, S3GBMonth: 0.023,
	LambdaRequest: 0.20e-6, LambdaGBSecond: 0.0000133334, SchedulerInvoke: 1e-6,
	LogsGB: 0.50, LogsGBMonth: 0.03, MetricMonth: 0.30, AlarmMonth: 0.10, KeyMonth: 1, SecretsCall: 0.05e-4,
}

const (
	daysMonth  = 30.0
	hoursMonth = 24 * daysMonth
)

// Work is what a run used.
type Work struct {
	SQSRequests                   float64 // in units of 64 KB
	DynamoWrites, DynamoReads     float64 // in units
	S3Puts, S3Gets                float64
	LambdaRequests, LambdaSeconds float64
	LambdaMB                      float64 // memory of the functions that used the seconds
	LakeSeconds, LakeMB           float64 // of the lake's function, which has more memory
	Ticks                         float64 // invocations by the scheduler
	LogBytes                      float64
	SecretsCalls                  float64
}

// Standing is what is there whether a run goes on or not.
type Standing struct {
	MetricHours  float64 // metrics times the hours of a day in which each is seen
	AlarmMetrics float64 // metrics that alarms look at
	QueuePolls   float64 // requests by which Lambda looks at the lake's queues, a day
	Keys         float64 // of one's own, in KMS
	TableGB      float64
	BucketGB     float64
	LogsGB       float64
	IdleTicks    float64 // invocations that find nothing to do, a day
	IdleSeconds  float64 // that those take, a day
	IdleMB       float64
	IdleReads    float64 // DynamoDB read units of those, a day
}

// A Line is one line of a bill.
type Line struct {
	Service, What string
	Amount        float64
	Unit          string
	USD           float64
}

func (l Line) String() string {
	return fmt.Sprintf("%-10s %-34s %14.1f %-12s $%.4f", l.Service, l.What, l.Amount, l.Unit, l.USD)
}

// Run prices a run.
func (p Prices) Run(w Work) []Line {
	gbs := w.LambdaSeconds * w.LambdaMB / 1024
	return []Line{
		{"SQS", "requests", w.SQSRequests, "requests", w.SQSRequests * p.SQSRequest},
		{"DynamoDB", "writes", w.DynamoWrites, "units", w.DynamoWrites * p.DynamoWrite},
		{"DynamoDB", "reads", w.DynamoReads, "units", w.DynamoReads * p.DynamoRead},
		{"S3", "landed objects", w.S3Puts, "puts", w.S3Puts * p.S3Put},
		{"S3", "read back", w.S3Gets, "gets", w.S3Gets * p.S3Get},
		{"Lambda", "invocations", w.LambdaRequests, "requests", w.LambdaRequests * p.LambdaRequest},
		{"Lambda", "time", gbs, "GB-s", gbs * p.LambdaGBSecond},
		{"Lambda", "time of the lake", w.LakeSeconds * w.LakeMB / 1024, "GB-s", w.LakeSeconds * w.LakeMB / 1024 * p.LambdaGBSecond},
		{"Scheduler", "ticks", w.Ticks, "invocations", w.Ticks * p.SchedulerInvoke},
		{"CloudWatch", "logs", w.LogBytes / 1e6, "MB", w.LogBytes / 1e9 * p.LogsGB},
		{"Secrets", "reads (Secrets Manager only)", w.SecretsCalls, "calls", w.SecretsCalls * p.SecretsCall},
	}
}

// Day prices a day of what stands.
func (p Prices) Day(s Standing) []Line {
	return []Line{
		{"CloudWatch", "metrics", s.MetricHours, "metric hours", s.MetricHours / hoursMonth * p.MetricMonth},
		{"CloudWatch", "alarms", s.AlarmMetrics, "metrics", s.AlarmMetrics * p.AlarmMonth / daysMonth},
		{"SQS", "polls of the lake's queues", s.QueuePolls, "requests", s.QueuePolls * p.SQSRequest},
		{"KMS", "the alarms' key", s.Keys, "keys", s.Keys * p.KeyMonth / daysMonth},
		{"CloudWatch", "logs kept", s.LogsGB, "GB", s.LogsGB * p.LogsGBMonth / daysMonth},
		{"DynamoDB", "table", s.TableGB, "GB", s.TableGB * p.DynamoGBMonth / daysMonth},
		{"DynamoDB", "point-in-time recovery", s.TableGB, "GB", s.TableGB * p.DynamoBackupMonth / daysMonth},
		{"DynamoDB", "reads of idle ticks", s.IdleReads, "units", s.IdleReads * p.DynamoRead},
		{"S3", "bucket", s.BucketGB, "GB", s.BucketGB * p.S3GBMonth / daysMonth},
		{"Lambda", "idle ticks", s.IdleTicks, "requests", s.IdleTicks * p.LambdaRequest},
		{"Lambda", "time of idle ticks", s.IdleSeconds * s.IdleMB / 1024, "GB-s", s.IdleSeconds * s.IdleMB / 1024 * p.LambdaGBSecond},
		{"Scheduler", "idle ticks", s.IdleTicks, "invocations", s.IdleTicks * p.SchedulerInvoke},
	}
}

// Sum adds up lines.
func Sum(lines []Line) (usd float64) {
	for _, l := range lines {
		usd += l.USD
	}
	return usd
}
