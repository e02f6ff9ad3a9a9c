package main

import (
	"fmt"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsdynamodb"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsssm"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
)

// A vendorStack is one vendor's stack while it is made.
type vendorStack struct {
	stack  awscdk.Stack
	env    *environment
	v      *vendor
	arch   awslambda.Architecture
	assets map[string]string // program: its directory

	queues map[string]tierQueues
	lake   lakeParts
	table  awsdynamodb.Table
	bucket awss3.Bucket
	fleet  string // SLUICE_STACK

	parts     map[string]constructs.Construct
	functions []function // as they were added
}

// addVendor adds a vendor's stack.
func addVendor(app constructs.Construct, env *environment, v *vendor, built bootstraps, assets map[string]string) awscdk.Stack {
	s := &vendorStack{env: env, v: v, arch: awslambda.Architecture_ARM_64(), assets: assets, queues: map[string]tierQueues{}, parts: map[string]constructs.Construct{}}
	if built.arch == "amd64" {
		s.arch = awslambda.Architecture_X86_64()
	}
	s.stack = newStack(app, env, v.stack(env.Prefix), "Sluice: all that the vendor "+v.name+" takes")
	awscdk.Tags_Of(s.stack).Add(jsii.String(env.VendorTag), jsii.String(v.name), nil)
	for _, t := range v.tiers() {
		s.queues[t] = s.addQueues(t)
	}
	s.table, s.bucket = s.addTable(), s.addBucket()
	if v.hasLake() {
		s.addLake()
	}
	s.fleet = text(s.describe())
	awsssm.NewCfnParameter(s.stack, jsii.String("Parameter"), &awsssm.CfnParameterProps{
		Name:        jsii.String(v.parameter(env.Prefix)),
		Type:        jsii.String("String"),
		Value:       jsii.String(s.fleet),
		Description: jsii.String("where Sluice finds what it needs for " + v.name),
	})
	s.addFunctions()
	s.addSchedules()
	s.addAlarms()
	if v.Dashboard {
		s.addDashboard()
	}
	return s.stack
}

// newStack is a stack of the environment's account and region.
func newStack(app constructs.Construct, env *environment, name, about string) awscdk.Stack {
	where := &awscdk.Environment{}
	if env.Account != "" {
		where.Account = jsii.String(env.Account)
	}
	if env.Region != "" {
		where.Region = jsii.String(env.Region)
	}
	stack := awscdk.NewStack(app, jsii.String(name), &awscdk.StackProps{Env: where, StackName: jsii.String(name), Description: jsii.String(about)})
	for _, k := range sortedKeys(env.Tags) {
		awscdk.Tags_Of(stack).Add(jsii.String(k), jsii.String(env.Tags[k]), nil)
	}
	return stack
}

// describe is what workers and the operator's command must know.
func (s *vendorStack) describe() fleet {
	f := fleet{
		Vendor: s.v.name, Table: *s.table.TableName(), Bucket: *s.bucket.BucketName(),
		Queues: map[string]fleetQueue{}, Secrets: map[string]string{}, Session: s.v.session(s.env.Prefix), KeepDays: s.v.KeepDays,
	}
	for t, q := range s.queues {
		f.Queues[t] = fleetQueue{URL: *q.main.QueueUrl(), Dead: *q.dead.QueueUrl()}
	}
	if s.v.hasLake() {
		f.Lake = &fleetLake{
			Bucket: s.lake.bucket, Prefix: lakePrefix, KMSKey: s.v.Lake.KMSKey,
			Queue: *s.lake.queues.main.QueueUrl(), Dead: *s.lake.queues.dead.QueueUrl(),
		}
	}
	for _, name := range s.v.plan.Secrets {
		f.Secrets[name] = s.v.secret(s.env.Prefix, name)
	}
	return f
}

// arn is the ARN of a thing of this account and region: service, and what
// stands after the account.
func (s *vendorStack) arn(service, rest string) *string { return arnIn(s.stack, service, rest) }

func arnIn(stack awscdk.Stack, service, rest string) *string {
	return jsii.String(fmt.Sprintf("arn:%s:%s:%s:%s:%s", *stack.Partition(), service, *stack.Region(), *stack.Account(), rest))
}

// part is the scope of what belongs together: seed, close, lake or tier-TIER. Its
// name is in the logical IDs of what is in it.
func (s *vendorStack) part(name string) constructs.Construct {
	if s.parts[name] == nil {
		s.parts[name] = constructs.NewConstruct(s.stack, jsii.String(name))
	}
	return s.parts[name]
}
