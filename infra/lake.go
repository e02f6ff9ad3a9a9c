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
	// lakeBatch messages at most, or what came in lakeWindow seconds, make one
	// invocation.
	lakeBatch  = 10
	lakeWindow = 20
	// A message of the lake is received so often before SQS gives it up: over four
	// hours, as its function gives it back.
	lakeReceives = 20
	// Six times as long as an invocation may take, and the window.
	// https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
	lakeVisibility = 6*drainSeconds + lakeWindow
)

// hasLake tells whether tables are made: where the spec names none there are
// none to be made.
func (v *vendor) hasLake() bool {
	return v.Lake.Enabled && v.plan != nil && len(v.plan.Lake.Tables) > 0
}

// lakeParts is what the lake has in a vendor's stack.
type lakeParts struct {
	queues      tierQueues
	bucket, arn string // where it is
}

// addLake adds the lake's queue, and has S3 tell it of landed objects. Close sends
// closed runs there, too: Lambda asks each queue for messages all day, at a price.
func (s *vendorStack) addLake() {
	s.lake.queues = s.addQueuePair(s.part(lakeName), lakeName, lakeVisibility, lakeReceives)
	s.lake.bucket, s.lake.arn = *s.bucket.BucketName(), *s.bucket.BucketArn()
	if s.env.SharedLake {
		// Written out rather than exported, so that each stack can change without the other.
		s.lake.bucket = s.env.sharedBucket(*s.stack.Account(), *s.stack.Region())
		s.lake.arn = bucketArn(s.stack, s.lake.bucket)
	}
	told := []awss3.CfnBucket_QueueConfigurationProperty{createdUnder("landing/", ".ndjson.zst", s.lake.queues.main.QueueArn())}
	if !s.env.SharedLake {
		told = append(told, s.v.Lake.Snowflake.told()...)
		addReader(s.stack, s.v.stack(s.env.Prefix), *s.bucket.BucketArn(), s.v.Lake.Snowflake, keysOf(s.v))
	}
	bucket := s.bucket.Node().DefaultChild().(awss3.CfnBucket)
	notify(bucket, told)
	// S3 looks at once whether it may send.
	allowS3(s.stack, s.lake.queues.main, s.v.bucket(s.env.Prefix, *s.stack.Account(), *s.stack.Region()))
	bucket.AddResourceDependency(s.lake.queues.main.Node().FindChild(jsii.String("Policy")).Node().DefaultChild().(awscdk.CfnResource), nil)
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
		lakeQueue:     {*s.lake.queues.main.QueueArn()},
		lakeDead:      {*s.lake.queues.dead.QueueArn()},
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
		name: lakeName, program: "lake", about: "makes tables of what " + s.v.name + " landed",
		atOnce: s.v.Lake.AtOnce, rights: lakeRights, arns: a, retries: 0, eventAge: 60,
	}
}

// addMapping has Lambda call the lake's function with the messages of its queue.
// What fails of a batch comes again; the rest is done.
func (s *vendorStack) addMapping() {
	live := s.functions[len(s.functions)-1].alias
	awslambda.NewCfnEventSourceMapping(s.part(lakeName), jsii.String("Mapping"), &awslambda.CfnEventSourceMappingProps{
		FunctionName: live.FunctionArn(), EventSourceArn: s.lake.queues.main.QueueArn(), BatchSize: jsii.Number(lakeBatch),
		MaximumBatchingWindowInSeconds: jsii.Number(lakeWindow), FunctionResponseTypes: jsii.Strings("ReportBatchItemFailures"),
		ScalingConfig: &awslambda.CfnEventSourceMapping_ScalingConfigProperty{MaximumConcurrency: jsii.Number(s.v.Lake.AtOnce)},
	})
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

// lakeAlarms watch the lake. One that is stuck has its function fail, and is told
// by close when a run has waited for a day: the age of its queue's oldest message
// would be one more metric that says the same.
func (s *vendorStack) lakeAlarms() []alarm {
	of := " of " + s.v.name
	return []alarm{
		{"LakeDeadLetters", "lake-dead-letters", "Landed objects" + of + " could not be converted, or runs not be published: sluice lake dead says why.",
			[]metric{{"AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", s.v.deadQueue(s.env.Prefix, lakeName)}}, "Maximum", "", 5, 1, false},
		{"LakeRefused", "lake-refused", "A closed run" + of + " was not published in the lake, or has waited for a day to be: sluice lake tables says why, or the function's log group.",
			[]metric{{"Sluice", "LakeRefused", "Vendor", s.v.name}}, "Maximum", "", 5, 1, false},
	}
}
