package main

import (
	"cmp"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsdynamodb"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssqs"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
)

// A tierQueues is a tier's queue and where its dead letters are.
type tierQueues struct{ main, dead awssqs.Queue }

const (
	// Both queues keep a message as long as SQS can: a dead letter keeps the
	// time at which it was first sent, so it must not be shorter there.
	retentionDays = 14
	// Workers extend it for what they hold, from 40 seconds on; what a killed
	// worker held shows again after so long.
	visibilitySeconds = 60
)

func (s *vendorStack) addQueues(tier string) tierQueues {
	return s.addQueuePair(s.part("tier-"+tier), tier, visibilitySeconds, s.v.MaxReceives)
}

func (s *vendorStack) addQueuePair(part constructs.Construct, which string, visibility, receives int) tierQueues {
	name, dead := s.v.queue(s.env.Prefix, which), s.v.deadQueue(s.env.Prefix, which)
	props := func(name string) *awssqs.QueueProps {
		return &awssqs.QueueProps{
			QueueName:         jsii.String(name),
			Encryption:        awssqs.QueueEncryption_SQS_MANAGED,
			EnforceSSL:        jsii.Bool(true),
			RetentionPeriod:   days(retentionDays),
			VisibilityTimeout: seconds(visibility),
		}
	}
	// Only the dead-letter queue's own may have its messages moved here. Its ARN is
	// written out, as the two queues cannot both refer to each other.
	deadProps := props(dead)
	source := awssqs.Queue_FromQueueArn(part, jsii.String("Source"), s.arn("sqs", name))
	deadProps.RedriveAllowPolicy = &awssqs.RedriveAllowPolicy{
		RedrivePermission: awssqs.RedrivePermission_BY_QUEUE, SourceQueues: &[]awssqs.IQueue{source},
	}
	q := tierQueues{dead: awssqs.NewQueue(part, jsii.String("Dead"), deadProps)}
	mainProps := props(name)
	mainProps.DeadLetterQueue = &awssqs.DeadLetterQueue{Queue: q.dead, MaxReceiveCount: jsii.Number(receives)}
	q.main = awssqs.NewQueue(part, jsii.String("Queue"), mainProps)
	return q
}

// addTable is the ledger, the runs and the governor's item. It is encrypted
// with a key that DynamoDB owns, as every table is: it holds no secret.
func (s *vendorStack) addTable() awsdynamodb.Table {
	table := awsdynamodb.NewTable(s.stack, jsii.String("Table"), &awsdynamodb.TableProps{
		TableName:           jsii.String(s.v.stack(s.env.Prefix)),
		PartitionKey:        &awsdynamodb.Attribute{Name: jsii.String("pk"), Type: awsdynamodb.AttributeType_STRING},
		SortKey:             &awsdynamodb.Attribute{Name: jsii.String("sk"), Type: awsdynamodb.AttributeType_STRING},
		BillingMode:         awsdynamodb.BillingMode_PAY_PER_REQUEST,
		TimeToLiveAttribute: jsii.String("ttl"),
		DeletionProtection:  jsii.Bool(s.v.Protect),
		RemovalPolicy:       awscdk.RemovalPolicy_RETAIN,
		PointInTimeRecoverySpecification: &awsdynamodb.PointInTimeRecoverySpecification{
			PointInTimeRecoveryEnabled: jsii.Bool(s.v.PointInTime),
		},
	})
	if !s.v.PointInTime {
		accept(table, "AwsSolutions-DDB3", "the operator turned point_in_time_recovery off in the environment file")
	}
	return table
}

// addBucket is the landing, the verdicts and the lake.
//
// It is versioned and not locked. A worker lands an object once (If-None-Match)
// and no function may delete one of those, so versions of them cost nothing as
// long as all goes well, and what a person deletes or replaces can be brought back
// for some days. A lock would also keep what has to go, such as data that a customer
// wants erased.
func (s *vendorStack) addBucket() awss3.Bucket {
	rules := []*awss3.LifecycleRule{
		{Id: jsii.String("landing"), Prefix: jsii.String("landing/"), Expiration: days(cmp.Or(s.v.LandingDays, s.v.KeepDays))},
		{Id: jsii.String("deleted"), NoncurrentVersionExpiration: days(s.v.UndeleteDays), ExpiredObjectDeleteMarker: jsii.Bool(true)},
		{Id: jsii.String("uploads"), AbortIncompleteMultipartUploadAfter: days(1)},
	}
	if s.v.hasLake() && !s.env.SharedLake {
		rules = append(rules, s.v.lakeRules("")...)
	}
	return newBucket(s.stack, s.v.bucket(s.env.Prefix, *s.stack.Account(), *s.stack.Region()), rules)
}

func newBucket(stack awscdk.Stack, name string, rules []*awss3.LifecycleRule) awss3.Bucket {
	bucket := awss3.NewBucket(stack, jsii.String("Bucket"), &awss3.BucketProps{
		BucketName:        jsii.String(name),
		BlockPublicAccess: awss3.BlockPublicAccess_BLOCK_ALL(),
		ObjectOwnership:   awss3.ObjectOwnership_BUCKET_OWNER_ENFORCED,
		Encryption:        awss3.BucketEncryption_S3_MANAGED,
		EnforceSSL:        jsii.Bool(true),
		Versioned:         jsii.Bool(true),
		RemovalPolicy:     awscdk.RemovalPolicy_RETAIN,
		LifecycleRules:    &rules,
	})
	accept(bucket, "AwsSolutions-S1", "nobody but this account's functions and operators reaches the bucket; a log of each request would cost more than the landing, and CloudTrail can be turned on when it is needed")
	return bucket
}

func days(n int) awscdk.Duration    { return awscdk.Duration_Days(jsii.Number(n)) }
func seconds(n int) awscdk.Duration { return awscdk.Duration_Seconds(jsii.Number(n)) }
