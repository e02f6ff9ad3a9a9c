package main

import (
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/jsii-runtime-go"
)

// A right is what a function may do to some things.
type right struct {
	may []string
	to  things
}

// things are what rights are about; ARNs of them are in arns.
type things string

const (
	ownQueue      things = "the queue that it drains"
	ownDead       things = "the dead-letter queue of that"
	nextQueue     things = "the queue of the tier below"
	allQueues     things = "every queue of the vendor"
	allDead       things = "every dead-letter queue of the vendor"
	theTable      things = "the vendor's table"
	landedObjects things = "objects under landing/"
	verdicts      things = "objects under verdicts/"
	landedNames   things = "the bucket, for names under landing/"
	ssmSecrets    things = "the secrets in Parameter Store"
	smSecrets     things = "the secrets in Secrets Manager"
	ssmSession    things = "what a login yielded, in Parameter Store"
	secretsKey    things = "the key that the secrets are under"
	lakeQueue     things = "the queue of what is to get into the lake"
	lakeDead      things = "the dead-letter queue of that"
	lakeObjects   things = "objects under lake/"
	lakeNames     things = "the buckets, for names of what is landed and in the lake"
	lakeKey       things = "the key that the lake's objects are under"
	ownLogs       things = "the streams of its own log group"
)

// What the functions do, action by action. It is compared with what they are
// seen to call: nothing is called that is not here, nothing is here that is
// never called.
var (
	drains = []right{
		{[]string{"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"}, ownQueue},
		{[]string{"sqs:SendMessage"}, ownDead},
		{[]string{"sqs:SendMessage"}, nextQueue},
	}
	keepsLedger = []right{
		{[]string{"dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:Query", "dynamodb:UpdateItem", "dynamodb:PutItem", "dynamodb:DeleteItem"}, theTable},
	}
	lands = []right{
		{[]string{"s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload"}, landedObjects},
	}
	readsSecrets = []right{
		{[]string{"ssm:GetParameter"}, ssmSecrets},
		{[]string{"secretsmanager:GetSecretValue"}, smSecrets},
		{[]string{"kms:Decrypt"}, secretsKey},
	}
	logsIn = []right{
		{[]string{"ssm:GetParameter", "ssm:PutParameter"}, ssmSession},
	}
	logs = []right{
		{[]string{"logs:CreateLogStream", "logs:PutLogEvents"}, ownLogs},
	}

	tierRights = concat(drains, keepsLedger, lands, readsSecrets, logsIn, logs)

	// The seeder drains the first tier at once.
	seedRights = concat([]right{{[]string{"sqs:SendMessage"}, ownQueue}}, tierRights)

	closeRights = concat([]right{
		{[]string{"sqs:SendMessage", "sqs:GetQueueAttributes"}, allQueues},
		{[]string{"sqs:ReceiveMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"}, allDead},
		{[]string{"s3:GetObject"}, landedObjects},
		{[]string{"s3:ListBucket"}, landedNames},
		{[]string{"s3:PutObject"}, verdicts},
		{[]string{"sqs:SendMessage"}, lakeQueue},
	}, keepsLedger, logs)

	// What Lambda does with a queue in the function's name, and that a message
	// which failed shows again soon.
	isCalled = []string{"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ChangeMessageVisibility"}

	lakeRights = concat([]right{
		{isCalled, lakeQueue},
		{[]string{"sqs:SendMessage"}, lakeDead},
		{[]string{"s3:GetObject"}, landedObjects},
		{[]string{"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"}, lakeObjects},
		// Without it S3 says "forbidden" of what is not there. A condition on the
		// prefix would do the same: such a request names none.
		{[]string{"s3:ListBucket"}, lakeNames},
		{[]string{"kms:GenerateDataKey", "kms:Decrypt"}, lakeKey},
		{[]string{"dynamodb:GetItem", "dynamodb:Query", "dynamodb:UpdateItem", "dynamodb:PutItem", "dynamodb:DeleteItem"}, theTable},
	}, logs)
)

func concat(parts ...[]right) []right {
	var all []right
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// arns are what the things are for one function. Things that are not there,
// such as a queue below the last tier, make no statement.
type arns map[things][]string

// policy writes rights out.
func (a arns) policy(rights []right) awsiam.PolicyDocument {
	doc := awsiam.NewPolicyDocument(nil)
	for _, r := range rights {
		if len(a[r.to]) == 0 {
			continue
		}
		props := &awsiam.PolicyStatementProps{Actions: jsii.Strings(r.may...), Resources: jsii.Strings(a[r.to]...)}
		if r.to == landedNames {
			props.Conditions = &map[string]any{"StringLike": map[string]any{"s3:prefix": "landing/*"}}
		}
		doc.AddStatements(awsiam.NewPolicyStatement(props))
	}
	return doc
}
