package main

import (
	"fmt"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awskms"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssns"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
)

// addShared adds what vendors share: where alarms go, and the alarms that are
// about the account.
func addShared(app constructs.Construct, env *environment) awscdk.Stack {
	stack := newStack(app, env, env.Prefix+"-shared", "Sluice: where the alarms of all vendors go")
	key := awskms.NewCfnKey(stack, jsii.String("TopicKey"), &awskms.CfnKeyProps{
		Description:       jsii.String("what alarms are encrypted with on their way"),
		EnableKeyRotation: jsii.Bool(true),
		// Each of the first two rotations adds $1 a month.
		RotationPeriodInDays: jsii.Number(2560),
		PendingWindowInDays:  jsii.Number(7),
		KeyPolicy:            keyPolicy(stack),
	})
	topic := awssns.NewCfnTopic(stack, jsii.String("Topic"), &awssns.CfnTopicProps{
		TopicName: jsii.String(env.topic()), DisplayName: jsii.String("Sluice"), KmsMasterKeyId: key.Ref(),
	})
	awssns.NewCfnTopicPolicy(stack, jsii.String("TopicPolicy"), &awssns.CfnTopicPolicyProps{
		Topics: &[]*string{topic.Ref()}, PolicyDocument: topicPolicy(stack, topic.Ref()),
	})
	if env.Alarms.Email != "" {
		awssns.NewCfnSubscription(stack, jsii.String("Email"), &awssns.CfnSubscriptionProps{
			TopicArn: topic.Ref(), Protocol: jsii.String("email"), Endpoint: jsii.String(env.Alarms.Email),
		})
	}
	all := []metric{{"AWS/Lambda", "Invocations", "", ""}, {"AWS/Lambda", "Errors", "", ""}}
	addAlarm(stack, alarm{"Invocations", env.Prefix + "-account-invocations",
		"Functions of this account and region, Sluice's and others, run far more often than usual: does one call itself?",
		all[:1], "Sum", "", 5, float64(env.Alarms.Invocations), false}, topic.Ref())
	addAlarm(stack, alarm{"ErrorRate", env.Prefix + "-account-error-rate",
		fmt.Sprintf("More than %v %% of all invocations in this account and region fail.", env.Alarms.ErrorPercent),
		// Of a handful of invocations any share may fail.
		all, "Sum", "IF(m0 >= 20, 100 * m1 / m0, 0)", 15, env.Alarms.ErrorPercent, false}, topic.Ref())
	if env.SharedLake {
		addSharedLake(stack, env)
	}
	return stack
}

// keyPolicy lets CloudWatch publish, which it cannot with the key that SNS
// owns, and the account's own policies govern the rest. In a key's policy the
// resource * means this key.
func keyPolicy(stack awscdk.Stack) any {
	return document(
		map[string]any{
			"Sid": "AccountAdministers", "Effect": "Allow", "Resource": "*",
			"Principal": map[string]any{"AWS": fmt.Sprintf("arn:%s:iam::%s:root", *stack.Partition(), *stack.Account())},
			"Action": []string{
				"kms:CancelKeyDeletion", "kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:DisableKey", "kms:DisableKeyRotation", "kms:EnableKey",
				"kms:EnableKeyRotation", "kms:GenerateDataKey", "kms:GetKeyPolicy", "kms:GetKeyRotationStatus", "kms:ListGrants",
				"kms:ListKeyPolicies", "kms:ListKeyRotations", "kms:ListResourceTags", "kms:PutKeyPolicy", "kms:RevokeGrant", "kms:RotateKeyOnDemand",
				"kms:ScheduleKeyDeletion", "kms:TagResource", "kms:UntagResource", "kms:UpdateKeyDescription",
			},
		},
		map[string]any{
			"Sid": "AlarmsPublish", "Effect": "Allow", "Resource": "*",
			"Principal": map[string]any{"Service": "cloudwatch.amazonaws.com"},
			"Action":    []string{"kms:Decrypt", "kms:GenerateDataKey"},
			"Condition": ofAccount(stack),
		},
	)
}

func topicPolicy(stack awscdk.Stack, topic *string) any {
	return document(
		map[string]any{
			"Sid": "AlarmsPublish", "Effect": "Allow", "Resource": topic, "Action": "sns:Publish",
			"Principal": map[string]any{"Service": "cloudwatch.amazonaws.com"},
			"Condition": ofAccount(stack),
		},
		map[string]any{
			"Sid": "TLSOnly", "Effect": "Deny", "Resource": topic, "Action": "sns:Publish", "Principal": "*",
			"Condition": map[string]any{"Bool": map[string]any{"aws:SecureTransport": "false"}},
		},
	)
}

func document(statements ...any) any {
	return map[string]any{"Version": "2012-10-17", "Statement": statements}
}

func ofAccount(stack awscdk.Stack) any {
	return map[string]any{"StringEquals": map[string]any{"aws:SourceAccount": stack.Account()}}
}
