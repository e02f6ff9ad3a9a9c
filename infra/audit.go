package main

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdklabs/cdk-nag-go/cdknag/v2"
)

// audit has cdk-nag look at every resource while the templates are written. It
// leaves its findings in the app's directory, and the cdk command stops at them.
func audit(app awscdk.App) {
	awscdk.Aspects_Of(app).Add(cdknag.NewAwsSolutionsChecks(&cdknag.NagPackProps{Verbose: jsii.Bool(true)}), nil)
}

// accept says why a finding stays. What is given in exactly, as regular
// expressions of cdk-nag's finding, is all that is accepted of it.
func accept(c constructs.Construct, rule, why string, exactly ...string) {
	s := &cdknag.NagPackSuppression{Id: jsii.String(rule), Reason: jsii.String(why)}
	if len(exactly) > 0 {
		var only []any
		for _, e := range exactly {
			only = append(only, &cdknag.RegexAppliesTo{Regex: jsii.String(e)})
		}
		s.AppliesTo = &only
	}
	cdknag.NagSuppressions_AddResourceSuppressions(c, &[]*cdknag.NagPackSuppression{s}, jsii.Bool(true))
}

// acceptStars accepts the three places where a role's resource ends in a star,
// each below one thing of its own.
func acceptStars(role constructs.Construct) {
	const rule = "AwsSolutions-IAM5"
	accept(role, rule, "Lambda names a function's log streams, so they are not known; the log group is the function's own",
		`/^Resource::arn:.*:logs:.*:log-group:\/aws\/lambda\/[a-z0-9_-]+:\*$/`)
	accept(role, rule, "an object's name holds run, tier and batch, so it is not known; the bucket is the vendor's own, the prefix the function's",
		`/^Resource::<Bucket[0-9A-F]+\.Arn>\/(landing|verdicts|lake)\/\*$/`)
	accept(role, rule, "an object's name holds table, day and run, so it is not known; the bucket is that of all vendors' lakes, and there is nothing else in it",
		`/^Resource::arn:.*:s3:::[a-z0-9-]+-shared-.*\/lake\/\*$/`)
}
