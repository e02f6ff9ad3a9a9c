package main

import (
	"slices"
	"time"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
)

// What a reader of the lake sees: the tables, and the index that says which of
// their rows count.
const (
	tablesPrefix    = lakePrefix + "tables/"
	publishedPrefix = lakePrefix + "published/"
)

// addSharedLake adds the bucket of all vendors' lakes.
func addSharedLake(stack awscdk.Stack, env *environment) {
	var rules []*awss3.LifecycleRule
	undelete, sf := 1, snowflake{}
	var feeding []*vendor
	for _, name := range sortedKeys(env.Vendors) {
		v := env.Vendors[name]
		if !v.hasLake() {
			continue
		}
		feeding = append(feeding, v)
		rules = append(rules, v.lakeRules(name)...)
		undelete = max(undelete, v.UndeleteDays)
		if v.Lake.Snowflake != (snowflake{}) {
			sf = v.Lake.Snowflake // they are all the same: see checkShared
		}
	}
	rules = append(rules,
		&awss3.LifecycleRule{Id: jsii.String("deleted"), NoncurrentVersionExpiration: days(undelete), ExpiredObjectDeleteMarker: jsii.Bool(true)},
		&awss3.LifecycleRule{Id: jsii.String("uploads"), AbortIncompleteMultipartUploadAfter: days(1)})
	bucket := newBucket(stack, env.sharedBucket(*stack.Account(), *stack.Region()), rules)
	notify(bucket.Node().DefaultChild().(awss3.CfnBucket), sf.told())
	addReader(stack, env.Prefix+"-shared", *bucket.BucketArn(), sf, keysOf(feeding...))
}

// keysOf are the keys that vendors' lakes are under, each once.
func keysOf(vendors ...*vendor) (keys []string) {
	for _, v := range vendors {
		if k := v.Lake.KMSKey; k != "" && !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	return keys
}

// told is what Snowflake's queue is told of, if there is one.
func (sf snowflake) told() []awss3.CfnBucket_QueueConfigurationProperty {
	if sf.QueueARN == "" {
		return nil
	}
	return []awss3.CfnBucket_QueueConfigurationProperty{
		createdUnder(tablesPrefix, ".parquet", jsii.String(sf.QueueARN)),
		createdUnder(publishedPrefix, ".ndjson", jsii.String(sf.QueueARN)),
	}
}

// addReader is the role by which Snowflake reads tables and index, and nothing
// else, if it is to. The external ID keeps other customers of Snowflake out.
// https://docs.snowflake.com/en/user-guide/data-load-s3-config-storage-integration
func addReader(stack awscdk.Stack, name, bucket string, sf snowflake, keys []string) {
	if sf.UserARN == "" {
		return
	}
	read := awsiam.NewPolicyDocument(nil)
	allow := func(conditions *map[string]any, to []string, may ...string) {
		read.AddStatements(awsiam.NewPolicyStatement(&awsiam.PolicyStatementProps{Actions: jsii.Strings(may...), Resources: jsii.Strings(to...), Conditions: conditions}))
	}
	allow(nil, []string{bucket + "/" + tablesPrefix + "*", bucket + "/" + publishedPrefix + "*"}, "s3:GetObject", "s3:GetObjectVersion")
	allow(&map[string]any{"StringLike": map[string]any{"s3:prefix": []string{tablesPrefix + "*", publishedPrefix + "*"}}}, []string{bucket}, "s3:ListBucket")
	allow(nil, []string{bucket}, "s3:GetBucketLocation")
	if len(keys) > 0 {
		allow(nil, keys, "kms:Decrypt")
	}
	role := awsiam.NewRole(stack, jsii.String("Snowflake"), &awsiam.RoleProps{
		RoleName:       jsii.String(name + "-snowflake"),
		Description:    jsii.String("what Snowflake may read"),
		AssumedBy:      awsiam.NewArnPrincipal(jsii.String(sf.UserARN)),
		ExternalIds:    jsii.Strings(sf.ExternalID),
		InlinePolicies: &map[string]awsiam.PolicyDocument{"rights": read},
	})
	acceptReading(role)
}

// acceptReading accepts the two places where the reader's resource ends in a
// star.
func acceptReading(role constructs.Construct) {
	accept(role, "AwsSolutions-IAM5", "a table's file is named after its day and run, so it is not known; the reader sees tables and their index only",
		`/^Resource::<Bucket[0-9A-F]+\.Arn>\/lake\/(tables|published)\/\*$/`)
}

// checkLake looks at the section of the lake.
func (v *vendor) checkLake(m *mistakes, at, region string) {
	l := v.Lake
	between(m, at+"memory_mb", l.MemoryMB, 256, 10240)
	between(m, at+"at_once", l.AtOnce, 2, 500)
	between(m, at+"tables_days", l.TablesDays, 0, 36500)
	between(m, at+"staged_days", l.StagedDays, 3, 365)
	if _, err := time.Parse(time.DateOnly, l.FirstDay); err != nil {
		m.add(at+"first_day", "%q is no day such as 2026-01-01", l.FirstDay)
	}
	if l.KMSKey != "" && !keyARNForm.MatchString(l.KMSKey) {
		m.add(at+"kms_key", "%q is no ARN of a key (arn:aws:kms:REGION:ACCOUNT:key/ID); leave it empty for the bucket's own", l.KMSKey)
	}
	sf := l.Snowflake
	if arn := queueForm.FindStringSubmatch(sf.QueueARN); sf.QueueARN != "" && arn == nil {
		m.add(at+"snowflake.queue_arn", "%q is no ARN of an SQS queue: SHOW PIPES says it as notification_channel", sf.QueueARN)
	} else if arn != nil && region != "" && arn[1] != region {
		m.add(at+"snowflake.queue_arn", "the queue is in %s and the bucket in %s: S3 tells only queues of its own region", arn[1], region)
	}
	if (sf.UserARN == "") != (sf.ExternalID == "") {
		m.add(at+"snowflake", "user_arn and external_id belong together: DESC INTEGRATION says both")
	}
	if sf.UserARN != "" && !userForm.MatchString(sf.UserARN) {
		m.add(at+"snowflake.user_arn", "%q is no ARN of a user or a role: DESC INTEGRATION says it as STORAGE_AWS_IAM_USER_ARN", sf.UserARN)
	}
	if sf.ExternalID != "" && !externalID.MatchString(sf.ExternalID) {
		m.add(at+"snowflake.external_id", "%q is no external ID: DESC INTEGRATION says it as STORAGE_AWS_EXTERNAL_ID", sf.ExternalID)
	}
}

// checkShared finds vendors of one lake that want different things of it.
func (e *environment) checkShared(m *mistakes) {
	if !e.SharedLake {
		return
	}
	first := ""
	for _, name := range sortedKeys(e.Vendors) {
		v := e.Vendors[name]
		if !v.hasLake() || v.Lake.Snowflake == (snowflake{}) {
			continue
		}
		if first == "" {
			first = name
		} else if v.Lake.Snowflake != e.Vendors[first].Lake.Snowflake {
			m.add("vendors."+name+".lake.snowflake", "it differs from that of %s, and the lakes are in one bucket (shared_lake): write the same, or none", first)
		}
	}
	const longest = "ap-southeast-2" // of all regions
	if n := e.sharedBucket("123456789012", longest); len(n) > 63 {
		m.add("prefix", "the bucket %s would be longer than 63 characters: shorten prefix", n)
	}
}
