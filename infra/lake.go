package main

import (
	"fmt"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssqs"
	"github.com/aws/jsii-runtime-go"
)

// lakePrefix is what the lake's names begin with in its bucket.
const lakePrefix = "lake/"

const (
	// convertBatch messages at most, or what came in convertWindow seconds, make one
	// invocation.
	convertBatch  = 10
	convertWindow = 20
	// publishAtOnce runs are published at once: the fewest that Lambda allows.
	publishAtOnce = 2
	// A message of the lake is received so often before SQS gives it up: over four
	// hours, as its function gives it back.
	lakeReceives = 20
	// Six times as long as an invocation may take, and the window.
	// https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
	lakeVisibility = 6*drainSeconds + convertWindow
)

// hasLake tells whether tables are made: where the spec names none there are
// none to be made.
func (v *vendor) hasLake() bool {
	return v.Lake.Enabled && v.plan != nil && len(v.plan.Lake.Tables) > 0
}

// lakeParts is what the lake has in a vendor's stack.
type lakeParts struct {
	convert, publish tierQueues
	bucket, arn      string // where it is
}

// addLake adds the lake's queues, and has S3 tell the one of landed objects.
func (s *vendorStack) addLake() {
	s.lake.convert = s.addQueuePair(s.part(convertName), convertName, lakeVisibility, lakeReceives)
	s.lake.publish = s.addQueuePair(s.part(publishName), publishName, lakeVisibility, lakeReceives)
	s.lake.bucket, s.lake.arn = *s.bucket.BucketName(), *s.bucket.BucketArn()
	if s.env.SharedLake {
		// Written out rather than exported, so that each stack can change without the other.
		s.lake.bucket = s.env.sharedBucket(*s.stack.Account(), *s.stack.Region())
		s.lake.arn = bucketArn(s.stack, s.lake.bucket)
	}
	told := []awss3.CfnBucket_QueueConfigurationProperty{createdUnder("landing/", ".ndjson.zst", s.lake.convert.main.QueueArn())}
	if !s.env.SharedLake {
		told = append(told, s.v.Lake.Snowflake.told()...)
		addReader(s.stack, s.v.stack(s.env.Prefix), *s.bucket.BucketArn(), s.v.Lake.Snowflake, keysOf(s.v))
	}
	bucket := s.bucket.Node().DefaultChild().(awss3.CfnBucket)
	notify(bucket, told)
	// S3 looks at once whether it may send.
	allowS3(s.stack, s.lake.convert.main, s.v.bucket(s.env.Prefix, *s.stack.Account(), *s.stack.Region()))
	bucket.AddResourceDependency(s.lake.convert.main.Node().FindChild(jsii.String("Policy")).Node().DefaultChild().(awscdk.CfnResource), nil)
}

// createdUnder tells a queue of new objects under a prefix. Prefixes of one
// bucket must not overlap: S3 refuses them.
func createdUnder(prefix, suffix string, queue *string) awss3.CfnBucket_QueueConfigurationProperty {
	rule := func(name, value string) any {
		return &awss3.CfnBucket_FilterRuleProperty{Name: jsii.String(name), Value: jsii.String(value)}
	}
	return awss3.CfnBucket_QueueConfigurationProperty{
		Event: jsii.String("s3:ObjectCreated:*"), Queue: queue,
		Filter: &awss3.CfnBucket_NotificationFilterProperty{S3Key: &awss3.CfnBucket_S3KeyFilterProperty{
			Rules: &[]any{rule("prefix", prefix), rule("suffix", suffix)},
		}},
	}
}

// notify sets whom a bucket tells. The construct's own way would add a function
// with wide rights.
func notify(bucket awss3.CfnBucket, told []awss3.CfnBucket_QueueConfigurationProperty) {
	var queues []any
	for i := range told {
		queues = append(queues, &told[i])
	}
	if len(queues) > 0 {
		bucket.SetNotificationConfiguration(&awss3.CfnBucket_NotificationConfigurationProperty{QueueConfigurations: &queues})
	}
}

// allowS3 lets a queue take what S3 tells of one bucket of this account. Its ARN
// is written out, as queue and bucket cannot both refer to each other.
func allowS3(stack awscdk.Stack, q awssqs.Queue, bucket string) {
	q.AddToResourcePolicy(awsiam.NewPolicyStatement(&awsiam.PolicyStatementProps{
		Sid: jsii.String("Landed"), Actions: jsii.Strings("sqs:SendMessage"), Resources: &[]*string{q.QueueArn()},
		Principals: &[]awsiam.IPrincipal{awsiam.NewServicePrincipal(jsii.String("s3.amazonaws.com"), nil)},
		Conditions: &map[string]any{
			"ArnEquals":    map[string]any{"aws:SourceArn": bucketArn(stack, bucket)},
			"StringEquals": map[string]any{"aws:SourceAccount": stack.Account()},
		},
	}))
}

func bucketArn(stack awscdk.Stack, name string) string {
	return fmt.Sprintf("arn:%s:s3:::%s", *stack.Partition(), name)
}

// lakeJob converts landed objects and publishes closed runs.
func (s *vendorStack) lakeJob() job {
	a := arns{
		theTable:      {*s.table.TableArn()},
		convertQueue:  {*s.lake.convert.main.QueueArn()},
		convertDead:   {*s.lake.convert.dead.QueueArn()},
		publishQueue:  {*s.lake.publish.main.QueueArn()},
		landedObjects: {*s.bucket.BucketArn() + "/landing/*"},
		lakeObjects:   {s.lake.arn + "/" + lakePrefix + "*"},
		lakeNames:     {*s.bucket.BucketArn()},
	}
	if s.env.SharedLake {
		a[lakeNames] = append(a[lakeNames], s.lake.arn)
	}
	if s.v.Lake.KMSKey != "" {
		a[lakeKey] = []string{s.v.Lake.KMSKey}
	}
	return job{
		name: "lake", program: "lake", about: "makes tables of what " + s.v.name + " landed",
		atOnce: s.v.Lake.Converts + publishAtOnce, rights: lakeRights, arns: a, retries: 0, eventAge: 60,
	}
}

// addMappings has Lambda call the lake's function with the messages of its two
// queues. What fails of a batch comes again; the rest is done.
func (s *vendorStack) addMappings() {
	live := s.functions[len(s.functions)-1].alias
	for _, m := range []struct {
		which         string
		from          awssqs.Queue
		batch, window int
		atOnce        int
	}{
		{convertName, s.lake.convert.main, convertBatch, convertWindow, s.v.Lake.Converts},
		{publishName, s.lake.publish.main, 1, 0, publishAtOnce},
	} {
		awslambda.NewCfnEventSourceMapping(s.part(m.which), jsii.String("Mapping"), &awslambda.CfnEventSourceMappingProps{
			FunctionName: live.FunctionArn(), EventSourceArn: m.from.QueueArn(), BatchSize: jsii.Number(m.batch),
			MaximumBatchingWindowInSeconds: jsii.Number(m.window), FunctionResponseTypes: jsii.Strings("ReportBatchItemFailures"),
			ScalingConfig: &awslambda.CfnEventSourceMapping_ScalingConfigProperty{MaximumConcurrency: jsii.Number(m.atOnce)},
		})
	}
}

// lakeRules are how long the lake's objects stay: all of them, or a vendor's.
func (v *vendor) lakeRules(of string) (rules []*awss3.LifecycleRule) {
	id := func(what string) *string {
		if of != "" {
			what += "-" + of
		}
		return jsii.String(what)
	}
	under := func(what string) *string {
		if of != "" {
			what += of + "/"
		}
		return jsii.String(lakePrefix + what)
	}
	for _, what := range []string{"staged", "work"} {
		rules = append(rules, &awss3.LifecycleRule{Id: id(what), Prefix: under(what + "/"), Expiration: days(v.Lake.StagedDays)})
	}
	if v.Lake.TablesDays > 0 {
		rules = append(rules, &awss3.LifecycleRule{Id: id("tables"), Prefix: under("tables/"), Expiration: days(v.Lake.TablesDays)})
	}
	return rules
}

// lakeAlarms watch the lake.
func (s *vendorStack) lakeAlarms() []alarm {
	queue := func(which string) []metric {
		return []metric{{"AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", s.v.queue(s.env.Prefix, which)}}
	}
	dead := func(which string) []metric {
		return []metric{{"AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", s.v.deadQueue(s.env.Prefix, which)}}
	}
	of := " of " + s.v.name
	return []alarm{
		{"LakeDeadLetters", "lake-dead-letters", "Landed objects" + of + " could not be converted, or runs not be published: sluice lake dead says why.",
			append(dead(convertName), dead(publishName)...), "Maximum", sumOf, 5, 1, false},
		{"LakeOldestMessage", "lake-oldest-message", fmt.Sprintf("A landed object or a closed run%s has waited for %d hours to get into the lake: the function's log group says why.", of, s.v.Alarms.OldestMessageHours),
			append(queue(convertName), queue(publishName)...), "Maximum", largestOf, 5, float64(s.v.Alarms.OldestMessageHours * 3600), false},
		{"LakeRefused", "lake-refused", "A closed run" + of + " was not published in the lake: sluice lake tables says why.",
			[]metric{{"Sluice", "LakeRefused", "Vendor", s.v.name}}, "Maximum", "", 5, 1, false},
	}
}
