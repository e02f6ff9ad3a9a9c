package main

import (
	"fmt"
	"maps"
	"strconv"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslogs"
	"github.com/aws/jsii-runtime-go"
)

// A function is one Lambda function with its alias.
type function struct {
	name  string // seed, close, lake or tier-TIER
	alias awslambda.Alias
}

// A job is what a function is made for.
type job struct {
	name     string // seed, close, lake or tier-TIER
	program  string
	about    string
	atOnce   int // reserved concurrency
	rights   []right
	arns     arns
	env      map[string]string
	retries  int // of an invocation that failed
	eventAge int // seconds for which an invocation waits to be started
}

// liveAlias is what schedules call. A bad deployment is taken back by moving it.
const liveAlias = "live"

// drainSeconds is how long one drain may go on: what Lambda allows.
const drainSeconds = 900

func (s *vendorStack) addFunctions() {
	tiers := s.v.tiers()
	s.addFunction(s.seedJob(tiers))
	for i, t := range tiers {
		below := ""
		if i+1 < len(tiers) {
			below = tiers[i+1]
		}
		s.addFunction(s.tierJob(t, below))
	}
	s.addFunction(s.closeJob())
	if s.v.hasLake() {
		s.addFunction(s.lakeJob())
		s.addMapping()
		if s.v.Lake.Glue {
			s.addGlue()
		}
	}
}

func (s *vendorStack) seedJob(tiers []string) job {
	below := ""
	if len(tiers) > 1 {
		below = tiers[1]
	}
	return job{
		name: "seed", program: "seed", about: "starts the daily run of " + s.v.name,
		atOnce: 1, rights: seedRights, arns: s.drainArns(tiers[0], below),
		env: map[string]string{"SLUICE_WHEN_OPEN": s.v.Seed.WhenOpen},
		// The same window again resumes the run, so trying again is harmless.
		retries: 2, eventAge: 3600,
	}
}

func (s *vendorStack) tierJob(tier, below string) job {
	workers := s.v.workers(tier)
	return job{
		name: "tier-" + tier, program: "tier", about: "drains the queue of " + s.v.name + "'s tier " + tier,
		// One more than drain: whoever stands by to take over.
		atOnce: workers + 1, rights: tierRights, arns: s.drainArns(tier, below),
		env: map[string]string{"SLUICE_TIER": tier, "SLUICE_WORKERS": strconv.Itoa(workers)},
		// The next tick comes within a minute; kept ones would pile up.
		retries: 0, eventAge: 60,
	}
}

func (s *vendorStack) closeJob() job {
	a := arns{theTable: {*s.table.TableArn()}}
	for _, t := range s.v.tiers() {
		a[allQueues] = append(a[allQueues], *s.queues[t].main.QueueArn())
		a[allDead] = append(a[allDead], *s.queues[t].dead.QueueArn())
	}
	a[landedObjects] = []string{*s.bucket.BucketArn() + "/landing/*"}
	a[landedNames] = []string{*s.bucket.BucketArn()}
	a[verdicts] = []string{*s.bucket.BucketArn() + "/verdicts/*"}
	if s.v.hasLake() {
		a[lakeQueue] = []string{*s.lake.queues.main.QueueArn()}
	}
	schedule, err := parseCron(s.v.Seed.Cron)
	if err != nil {
		panic(err) // it was checked when the file was read
	}
	return job{
		name: "close", program: "close", about: "computes the verdict of " + s.v.name + "'s runs",
		atOnce: 1, rights: closeRights, arns: a,
		env: map[string]string{
			"SLUICE_REPAIR":        strconv.FormatBool(s.v.Repair),
			"SLUICE_VERDICT_AFTER": schedule.until(s.v.VerdictHour).String(),
		},
		retries: 0, eventAge: 60,
	}
}

// drainArns are the things of a function that drains a tier.
func (s *vendorStack) drainArns(tier, below string) arns {
	a := arns{
		ownQueue:      {*s.queues[tier].main.QueueArn()},
		ownDead:       {*s.queues[tier].dead.QueueArn()},
		theTable:      {*s.table.TableArn()},
		landedObjects: {*s.bucket.BucketArn() + "/landing/*"},
	}
	if below != "" {
		a[nextQueue] = []string{*s.queues[below].main.QueueArn()}
	}
	for _, secret := range s.v.plan.Secrets {
		kind, arn := s.secretArn(secret)
		a[kind] = append(a[kind], arn)
	}
	if session := s.v.session(s.env.Prefix); session != "" {
		a[ssmSession] = []string{*s.arn("ssm", "parameter"+session)}
	}
	if s.v.Secrets.KMSKey != "" && len(s.v.plan.Secrets) > 0 {
		a[secretsKey] = []string{s.v.Secrets.KMSKey}
	}
	return a
}

// addFunction makes a function with its own role and log group, a version of
// what it is now, and the alias that says which version is live.
func (s *vendorStack) addFunction(j job) {
	part, name := s.part(j.name), s.v.function(s.env.Prefix, j.name)
	logs := awslogs.NewLogGroup(part, jsii.String("Logs"), &awslogs.LogGroupProps{
		LogGroupName: jsii.String("/aws/lambda/" + name), RemovalPolicy: awscdk.RemovalPolicy_DESTROY,
	})
	logs.Node().DefaultChild().(awslogs.CfnLogGroup).SetRetentionInDays(jsii.Number(s.v.LogDays))
	j.arns[ownLogs] = []string{*s.arn("logs", "log-group:/aws/lambda/"+name+":*")}
	role := awsiam.NewRole(part, jsii.String("Role"), &awsiam.RoleProps{
		AssumedBy:      awsiam.NewServicePrincipal(jsii.String("lambda.amazonaws.com"), nil),
		Description:    jsii.String("what the function " + name + " may do"),
		InlinePolicies: &map[string]awsiam.PolicyDocument{"rights": j.arns.policy(j.rights)},
	})
	acceptStars(role)
	fn := awslambda.NewFunction(part, jsii.String("Function"), s.functionProps(j, name, role, logs))
	alias := awslambda.NewAlias(part, jsii.String("Live"), &awslambda.AliasProps{
		AliasName: jsii.String(liveAlias), Version: fn.CurrentVersion(),
		// A schedule's call is queued by Lambda, which has its own retries.
		RetryAttempts: jsii.Number(j.retries), MaxEventAge: seconds(j.eventAge),
	})
	s.functions = append(s.functions, function{j.name, alias})
}

func (s *vendorStack) functionProps(j job, name string, role awsiam.IRole, logs awslogs.LogGroup) *awslambda.FunctionProps {
	memory := s.v.memory(j.name)
	variables := map[string]string{
		"SLUICE_STACK":    s.fleet,
		"SLUICE_SPEC":     "vendor.yaml",
		"SLUICE_SETTINGS": text(s.v.settings()),
		"SLUICE_SCHEDULE": text(map[string]string{"zone": s.v.zone()}),
		"GOMEMLIMIT":      fmt.Sprintf("%dMiB", (memory*7+5)/10),
	}
	maps.Copy(variables, j.env)
	return &awslambda.FunctionProps{
		FunctionName:                 jsii.String(name),
		Description:                  jsii.String(j.about),
		Runtime:                      awslambda.Runtime_PROVIDED_AL2023(),
		Architecture:                 s.arch,
		Handler:                      jsii.String("bootstrap"),
		Code:                         awslambda.Code_FromAsset(jsii.String(s.assets[j.program]), nil),
		MemorySize:                   jsii.Number(memory),
		Timeout:                      seconds(drainSeconds),
		ReservedConcurrentExecutions: jsii.Number(j.atOnce),
		Role:                         role,
		LogGroup:                     logs,
		Environment:                  pointers(variables),
		// Without the versions before there is nothing to go back to.
		CurrentVersionOptions: &awslambda.VersionOptions{RemovalPolicy: awscdk.RemovalPolicy_RETAIN},
	}
}

func (v *vendor) workers(tier string) int {
	if n, ok := v.WorkersByTier[tier]; ok {
		return n
	}
	return v.Workers
}

func (v *vendor) memory(function string) int {
	if function == "lake" {
		return v.Lake.MemoryMB
	}
	if n, ok := v.MemoryByFunc[function]; ok {
		return n
	}
	return v.MemoryMB
}

// zone is the time zone of all hours in the vendor's section.
func (v *vendor) zone() string {
	if v.Seed.Zone != "" {
		return v.Seed.Zone
	}
	return v.plan.Zone.String()
}

func pointers(m map[string]string) *map[string]*string {
	out := map[string]*string{}
	for k, v := range m {
		out[k] = jsii.String(v)
	}
	return &out
}
