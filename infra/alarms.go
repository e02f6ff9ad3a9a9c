package main

import (
	"fmt"
	"slices"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatch"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
)

// A metric is one of CloudWatch's: each in an alarm costs $0.10 a month.
type metric struct{ namespace, name, dimension, value string }

// An alarm watches an expression over metrics.
type alarm struct {
	id, name, about string
	metrics         []metric
	stat            string // of each metric over the period
	combine         string // the expression; each metric is m0, m1, ...
	minutes         int    // the period
	threshold       float64
	silence         bool // it is an alarm to be below the threshold, or to say nothing
}

const (
	sumOf     = "SUM(FILL(METRICS(), 0))"
	largestOf = "MAX(FILL(METRICS(), 0))"

	// CloudWatch takes no more metrics in one alarm.
	metricsPerAlarm = 10
)

// addAlarms watches what Sluice promises about a vendor. Where nothing is
// said nothing is wrong, since the metrics of an idle fleet are missing; only
// a seeder that is silent for a day is.
func (s *vendorStack) addAlarms() {
	var dead, waiting, failed, throttled []metric
	for _, t := range s.v.tiers() {
		dead = append(dead, metric{"AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", s.v.deadQueue(s.env.Prefix, t)})
		waiting = append(waiting, metric{"AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", s.v.queue(s.env.Prefix, t)})
	}
	for _, f := range s.functions {
		name := s.v.function(s.env.Prefix, f.name)
		failed = append(failed, metric{"AWS/Lambda", "Errors", "FunctionName", name})
		// One tick of seed and close more or less is nothing, and the lake's queue
		// calls no more at once than is reserved.
		if f.name != "seed" && f.name != "close" && f.name != "lake" {
			throttled = append(throttled, metric{"AWS/Lambda", "Throttles", "FunctionName", name})
		}
	}
	own := func(name string) []metric { return []metric{{"Sluice", name, "Vendor", s.v.name}} }
	of, a := " of "+s.v.name, s.v.Alarms
	all := []alarm{
		{"DeadLetters", "dead-letters", "Tasks" + of + " ended dead: sluice dead lists them by cause, sluice replay gives them another life.",
			dead, "Maximum", sumOf, 5, 1, false},
		{"OldestMessage", "oldest-message", fmt.Sprintf("A task%s has waited for %d hours: is the fleet held, are the ticks going on?", of, a.OldestMessageHours),
			waiting, "Maximum", largestOf, 5, float64(a.OldestMessageHours * 3600), false},
		{"VerdictMissing", "verdict-missing", fmt.Sprintf("A run%s has no verdict at %d o'clock (%s): sluice status says what is left.", of, s.v.VerdictHour, s.v.zone()),
			own("VerdictMissing"), "Maximum", "", 5, 1, false},
		{"Held", "held", fmt.Sprintf("A brake or the breaker has held back all calls%s for %d minutes: sluice limits says why.", of, a.HeldMinutes),
			own("Held"), "Maximum", "", 5, float64(a.HeldMinutes), false},
		{"Errors", "errors", "Functions" + of + " failed: their log groups say why. Nothing is lost; what they held comes back.",
			failed, "Sum", sumOf, 15, float64(a.Errors), false},
		{"Throttles", "throttles", "Lambda refused to start functions" + of + ": is a drain hanging, is the account's concurrency used up?",
			throttled, "Sum", sumOf, 15, float64(a.Throttles), false},
	}
	if s.v.hasLake() {
		all = append(all, s.lakeAlarms()...)
	}
	// The cron has been checked with the rest of the environment file.
	if c, err := parseCron(s.v.Seed.Cron); err == nil && s.v.Schedules && c.daily() {
		seeder := []metric{{"AWS/Lambda", "Invocations", "FunctionName", s.v.function(s.env.Prefix, "seed")}}
		all = append(all, alarm{"NotSeeded", "not-seeded", "No run" + of + " was begun for a day: is the seed's schedule there and enabled?",
			seeder, "Sum", "", 24 * 60, 1, true})
	}
	for _, al := range all {
		al.name = s.v.stack(s.env.Prefix) + "-" + al.name
		addAlarm(s.stack, al, topicArn(s.stack, s.env))
	}
}

// addAlarm adds an alarm, or several where there are more metrics than one
// may have. Who is told of trouble is told of its end.
func addAlarm(scope constructs.Construct, a alarm, topic *string) {
	part := 0
	for some := range slices.Chunk(a.metrics, metricsPerAlarm) {
		part++
		suffix := ""
		if part > 1 {
			suffix = fmt.Sprintf("-%d", part)
		}
		comparison, missing := "GreaterThanOrEqualToThreshold", "notBreaching"
		if a.silence {
			comparison, missing = "LessThanThreshold", "breaching"
		}
		awscloudwatch.NewCfnAlarm(scope, jsii.String("Alarm"+a.id+suffix), &awscloudwatch.CfnAlarmProps{
			AlarmName:          jsii.String(a.name + suffix),
			AlarmDescription:   jsii.String(a.about),
			Metrics:            a.queries(some),
			ComparisonOperator: jsii.String(comparison),
			Threshold:          jsii.Number(a.threshold),
			EvaluationPeriods:  jsii.Number(1),
			TreatMissingData:   jsii.String(missing),
			AlarmActions:       &[]any{topic},
			OkActions:          &[]any{topic},
		})
	}
}

// queries are the metrics and, unless there is one metric only, what combines
// them.
func (a alarm) queries(metrics []metric) []any {
	var out []any
	for i, m := range metrics {
		q := &awscloudwatch.CfnAlarm_MetricDataQueryProperty{
			Id: jsii.String(fmt.Sprintf("m%d", i)), ReturnData: jsii.Bool(a.combine == ""),
			MetricStat: &awscloudwatch.CfnAlarm_MetricStatProperty{
				Metric: &awscloudwatch.CfnAlarm_MetricProperty{Namespace: jsii.String(m.namespace), MetricName: jsii.String(m.name)},
				Period: jsii.Number(a.minutes * 60), Stat: jsii.String(a.stat),
			},
		}
		if m.dimension != "" {
			q.MetricStat.(*awscloudwatch.CfnAlarm_MetricStatProperty).Metric.(*awscloudwatch.CfnAlarm_MetricProperty).Dimensions = &[]any{
				&awscloudwatch.CfnAlarm_DimensionProperty{Name: jsii.String(m.dimension), Value: jsii.String(m.value)},
			}
		}
		out = append(out, q)
	}
	if a.combine != "" {
		out = append(out, &awscloudwatch.CfnAlarm_MetricDataQueryProperty{
			Id: jsii.String("all"), Expression: jsii.String(a.combine), Label: jsii.String(a.name), ReturnData: jsii.Bool(true),
		})
	}
	return out
}

// topicArn is where alarms go. It is written out rather than exported, so that
// the shared stack can change without the vendors'.
func topicArn(stack awscdk.Stack, env *environment) *string {
	return arnIn(stack, "sns", env.topic())
}

func (e *environment) topic() string { return e.Prefix + "-alarms" }
