package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestQueues(t *testing.T) {
	for v, stack := range vendors(t) {
		if got, want := len(stack.of("AWS::SQS::Queue")), 2*len(v.tiers())+2; got != want {
			t.Errorf("%s has %d queues, want %d", stack.name, got, want)
		}
		for _, tier := range v.tiers() {
			q := stack.named(t, "AWS::SQS::Queue", "QueueName", "sluice-"+v.name+"-"+tier)
			dead := stack.named(t, "AWS::SQS::Queue", "QueueName", "sluice-"+v.name+"-"+tier+"-dead")
			arn := func(r resource) string { return stack.attribute(r.id, "Arn") }
			if got := q.text("RedrivePolicy", "deadLetterTargetArn"); got != arn(dead) {
				t.Errorf("%v sends its dead letters to %s, want %s", q, got, arn(dead))
			}
			if got := q.number("RedrivePolicy", "maxReceiveCount"); got != float64(v.MaxReceives) || got <= 5*10 {
				t.Errorf("%v gives a message up after %v receives, want %d, far above five attempts", q, got, v.MaxReceives)
			}
			if got := many(dead.get("RedriveAllowPolicy", "sourceQueueArns")); dead.text("RedriveAllowPolicy", "redrivePermission") != "byQueue" || !slices.Equal(got, []string{arn(q)}) {
				t.Errorf("%v takes dead letters of %v, want only %s", dead, got, arn(q))
			}
			const fortnight = 14 * 24 * 3600
			if q.number("MessageRetentionPeriod") != fortnight || dead.number("MessageRetentionPeriod") != fortnight {
				t.Errorf("%v and its dead letters do not keep messages for 14 days", q)
			}
			// Heartbeats begin at 40 s and extend by as much again.
			if q.number("VisibilityTimeout") != 60 || q.number("DelaySeconds") != 0 || q.number("ReceiveMessageWaitTimeSeconds") != 0 {
				t.Errorf("%v: want 60 s of visibility, no delay, short polls unless asked", q)
			}
			for _, r := range []resource{q, dead} {
				if r.get("SqsManagedSseEnabled") != true {
					t.Errorf("%v is not encrypted", r)
				}
			}
		}
	}
}

func TestTableAndBucket(t *testing.T) {
	for v, stack := range vendors(t) {
		table, bucket := stack.of("AWS::DynamoDB::Table")[0], stack.of("AWS::S3::Bucket")[0]
		for _, c := range []struct {
			of   resource
			want any
			path []any
		}{
			{table, "sluice-" + v.name, []any{"TableName"}},
			{table, "PAY_PER_REQUEST", []any{"BillingMode"}},
			{table, "pk", []any{"KeySchema", 0, "AttributeName"}},
			{table, "HASH", []any{"KeySchema", 0, "KeyType"}},
			{table, "sk", []any{"KeySchema", 1, "AttributeName"}},
			{table, "S", []any{"AttributeDefinitions", 0, "AttributeType"}},
			{table, "S", []any{"AttributeDefinitions", 1, "AttributeType"}},
			{table, "ttl", []any{"TimeToLiveSpecification", "AttributeName"}},
			{table, true, []any{"TimeToLiveSpecification", "Enabled"}},
			{table, v.PointInTime, []any{"PointInTimeRecoverySpecification", "PointInTimeRecoveryEnabled"}},
			{table, v.Protect, []any{"DeletionProtectionEnabled"}},
			{bucket, "sluice-" + v.name + "-" + testAccount + "-" + testRegion, []any{"BucketName"}},
			{bucket, "AES256", []any{"BucketEncryption", "ServerSideEncryptionConfiguration", 0, "ServerSideEncryptionByDefault", "SSEAlgorithm"}},
			{bucket, "Enabled", []any{"VersioningConfiguration", "Status"}},
			{bucket, true, []any{"PublicAccessBlockConfiguration", "BlockPublicPolicy"}},
			{bucket, true, []any{"PublicAccessBlockConfiguration", "RestrictPublicBuckets"}},
			{bucket, true, []any{"PublicAccessBlockConfiguration", "BlockPublicAcls"}},
			{bucket, true, []any{"PublicAccessBlockConfiguration", "IgnorePublicAcls"}},
			{bucket, "landing/", []any{"LifecycleConfiguration", "Rules", 0, "Prefix"}},
			{bucket, map[string]float64{"sim": 90, "prometheus": 45}[v.name], []any{"LifecycleConfiguration", "Rules", 0, "ExpirationInDays"}},
			{bucket, float64(v.UndeleteDays), []any{"LifecycleConfiguration", "Rules", 1, "NoncurrentVersionExpiration", "NoncurrentDays"}},
			{bucket, 1.0, []any{"LifecycleConfiguration", "Rules", 2, "AbortIncompleteMultipartUpload", "DaysAfterInitiation"}},
		} {
			if got := c.of.get(c.path...); got != c.want {
				t.Errorf("%v: %v is %v, want %v", c.of, c.path, got, c.want)
			}
		}
		if table.DeletionPolicy != "Retain" || bucket.DeletionPolicy != "Retain" {
			t.Errorf("%s takes its data along when it goes", stack.name)
		}
	}
}

// TestTLSOnly: whatever has a policy of its own refuses plain connections.
func TestTLSOnly(t *testing.T) {
	targets := map[string]string{"AWS::SQS::Queue": "AWS::SQS::QueuePolicy", "AWS::S3::Bucket": "AWS::S3::BucketPolicy", "AWS::SNS::Topic": "AWS::SNS::TopicPolicy"}
	for _, stack := range templates(t) {
		for kind, policy := range targets {
			for _, r := range stack.of(kind) {
				refuses := slices.ContainsFunc(stack.of(policy), func(p resource) bool {
					src, _ := json.Marshal(p.Properties)
					return strings.Contains(string(src), `"`+r.id+`"`) && strings.Contains(string(src), `"aws:SecureTransport":"false"`) && strings.Contains(string(src), `"Effect":"Deny"`)
				})
				if !refuses {
					t.Errorf("%v takes plain connections", r)
				}
			}
		}
	}
	for _, topic := range templates(t)["sluice-shared"].of("AWS::SNS::Topic") {
		if topic.text("KmsMasterKeyId") == "" {
			t.Errorf("%v is not encrypted", topic)
		}
	}
}

func TestFunctions(t *testing.T) {
	for v, stack := range vendors(t) {
		want := map[string]float64{"seed": 1, "close": 1, "lake": float64(v.Lake.AtOnce)}
		for _, tier := range v.tiers() {
			want["tier-"+tier] = float64(v.workers(tier) + 1)
		}
		if got := len(stack.of("AWS::Lambda::Function")); got != len(want) {
			t.Errorf("%s has %d functions, want %d", stack.name, got, len(want))
		}
		for name, atOnce := range want {
			f := stack.named(t, "AWS::Lambda::Function", "FunctionName", "sluice-"+v.name+"-"+name)
			if got := f.number("ReservedConcurrentExecutions"); got != atOnce {
				t.Errorf("%v may run %v times at once, want %v", f, got, atOnce)
			}
			if f.text("Runtime") != "provided.al2023" || f.text("Architectures", 0) != "arm64" || f.text("Handler") != "bootstrap" || f.number("Timeout") != 900 {
				t.Errorf("%v: not what the programs are built for: %v", f, f.Properties)
			}
			if got := f.number("MemorySize"); got != float64(v.memory(name)) {
				t.Errorf("%v has %v MB, want %d", f, got, v.memory(name))
			}
			logs := stack.named(t, "AWS::Logs::LogGroup", "LogGroupName", "/aws/lambda/"+f.text("FunctionName"))
			if f.text("LoggingConfig", "LogGroup") != logs.text("LogGroupName") || logs.number("RetentionInDays") != float64(v.LogDays) {
				t.Errorf("%v: %v keeps its log for %v days, want %d", f, logs, logs.number("RetentionInDays"), v.LogDays)
			}
			checkAlias(t, stack, f, name == "seed")
		}
	}
}

// checkAlias: schedules call an alias; versions stay, so that it can go back.
func checkAlias(t *testing.T, stack *template, f resource, retried bool) {
	t.Helper()
	alias := stack.named(t, "AWS::Lambda::Alias", "FunctionName", f.text("FunctionName"))
	version := stack.named(t, "AWS::Lambda::Version", "FunctionName", f.text("FunctionName"))
	if alias.text("Name") != "live" || alias.text("FunctionVersion") != version.id+".Version" || version.DeletionPolicy != "Retain" {
		t.Errorf("%v: alias %v, version %v %s", f, alias.Properties, version, version.DeletionPolicy)
	}
	async := stack.named(t, "AWS::Lambda::EventInvokeConfig", "FunctionName", f.text("FunctionName"))
	if async.text("Qualifier") != "live" {
		t.Errorf("%v is not about the alias", async)
	}
	if retries, age := async.number("MaximumRetryAttempts"), async.number("MaximumEventAgeInSeconds"); retried && (retries != 2 || age != 3600) || !retried && (retries != 0 || age != 60) {
		t.Errorf("%v: %v retries within %v s", async, retries, age)
	}
}

func TestSchedules(t *testing.T) {
	whens := map[string]string{
		"sim seed":   "cron(0 2 * * ? *) UTC FLEXIBLE ENABLED",
		"sim close":  "cron(* * * * ? *) UTC OFF ENABLED",
		"sim tier":   "cron(* 2,3,4,5,6,7,8,9,10,11,12,13 * * ? *) UTC OFF ENABLED",
		"prometheus": "cron(* 0,1,22,23 * * ? *) Europe/Berlin OFF DISABLED", "prometheus seed": "cron(30 22 * * ? *) Europe/Berlin OFF DISABLED",
		"prometheus close": "cron(* * * * ? *) Europe/Berlin OFF DISABLED", "prometheus tier": "cron(* 0,1,22,23 * * ? *) Europe/Berlin OFF DISABLED",
	}
	for v, stack := range vendors(t) {
		for _, f := range stack.of("AWS::Lambda::Function") {
			name := f.text("FunctionName")
			short := strings.TrimPrefix(name, "sluice-"+v.name+"-")
			kind, _, _ := strings.Cut(short, "-")
			if kind == "lake" { // its queue calls it
				continue
			}
			s := stack.named(t, "AWS::Scheduler::Schedule", "Name", name)
			got := strings.Join([]string{s.text("ScheduleExpression"), s.text("ScheduleExpressionTimezone"), s.text("FlexibleTimeWindow", "Mode"), s.text("State")}, " ")
			if want := whens[v.name+" "+kind]; got != want {
				t.Errorf("%v: %s, want %s", s, got, want)
			}
			if got, want := s.text("Target", "Arn"), "arn:aws:lambda:"+testRegion+":"+testAccount+":function:"+name+":live"; got != want {
				t.Errorf("%v calls %s, want %s", s, got, want)
			}
			policy, input := fmt.Sprint(s.number("Target", "RetryPolicy", "MaximumRetryAttempts"), s.number("Target", "RetryPolicy", "MaximumEventAgeInSeconds")), "{}"
			want := "0 60" // the next tick comes anyway
			if kind == "seed" {
				want, input = "3 3600", `{"at":"<aws.scheduler.scheduled-time>"}`
			}
			if policy != want || s.text("Target", "Input") != input {
				t.Errorf("%v: retries and age are %s, want %s; input %s, want %s", s, policy, want, s.text("Target", "Input"), input)
			}
		}
	}
}

// TestFunctionEnvironment: each function gets all that its program reads, and
// no more than Lambda takes.
func TestFunctionEnvironment(t *testing.T) {
	common := []string{"SLUICE_STACK", "SLUICE_SPEC", "SLUICE_SETTINGS", "SLUICE_SCHEDULE", "GOMEMLIMIT"}
	own := map[string][]string{"seed": {"SLUICE_WHEN_OPEN"}, "tier": {"SLUICE_TIER", "SLUICE_WORKERS"}, "close": {"SLUICE_REPAIR", "SLUICE_VERDICT_AFTER"}}
	for v, stack := range vendors(t) {
		parameter := stack.named(t, "AWS::SSM::Parameter", "Name", "/sluice/"+v.name+"/stack").text("Value")
		for _, f := range stack.of("AWS::Lambda::Function") {
			kind, tier, _ := strings.Cut(strings.TrimPrefix(f.text("FunctionName"), "sluice-"+v.name+"-"), "-")
			vars, size := f.get("Environment", "Variables").(map[string]any), 0
			for k, val := range vars {
				size += len(k) + len(fmt.Sprint(val))
			}
			if size >= 4096 {
				t.Errorf("%v: %d bytes of environment", f, size)
			}
			if want := slices.Sorted(slices.Values(append(slices.Clone(common), own[kind]...))); !slices.Equal(slices.Sorted(maps.Keys(vars)), want) {
				t.Errorf("%v has %v, want %v", f, slices.Sorted(maps.Keys(vars)), want)
			}
			if vars["SLUICE_STACK"] != parameter {
				t.Errorf("%v: SLUICE_STACK %v is not the parameter %s", f, vars["SLUICE_STACK"], parameter)
			}
			if kind == "tier" && (vars["SLUICE_TIER"] != tier || vars["SLUICE_WORKERS"] != fmt.Sprint(v.workers(tier))) {
				t.Errorf("%v: %v", f, vars)
			}
		}
		checkFleet(t, v, parameter)
	}
	sim, prom := templates(t)["sluice-sim"], templates(t)["sluice-prometheus"]
	for _, c := range []struct {
		stack                *template
		function, name, want string
	}{
		{sim, "seed", "SLUICE_SETTINGS", `{"base":"https://sim.example.com"}`}, {sim, "seed", "SLUICE_SCHEDULE", `{"zone":"UTC"}`},
		{sim, "seed", "SLUICE_WHEN_OPEN", "queue"}, {sim, "close", "SLUICE_REPAIR", "true"}, {sim, "close", "SLUICE_VERDICT_AFTER", "12h0m0s"},
		{sim, "tier-data", "GOMEMLIMIT", "90MiB"}, {sim, "tier-data", "SLUICE_SPEC", "vendor.yaml"},
		{prom, "seed", "SLUICE_WHEN_OPEN", "refuse"}, {prom, "close", "SLUICE_REPAIR", "false"}, {prom, "close", "SLUICE_VERDICT_AFTER", "7h30m0s"},
		{prom, "tier-samples", "GOMEMLIMIT", "358MiB"}, {prom, "tier-jobs", "SLUICE_SCHEDULE", `{"zone":"Europe/Berlin"}`},
	} {
		if got := c.stack.named(t, "AWS::Lambda::Function", "FunctionName", c.stack.name+"-"+c.function).text("Environment", "Variables", c.name); got != c.want {
			t.Errorf("%s %s: %s is %s, want %s", c.stack.name, c.function, c.name, got, c.want)
		}
	}
}

func checkFleet(t *testing.T, v *vendor, src string) {
	t.Helper()
	var got fleet
	if err := json.Unmarshal([]byte(src), &got); err != nil {
		t.Fatalf("SLUICE_STACK of %s: %v: %s", v.name, err, src)
	}
	host := "https://sqs." + testRegion + ".amazonaws.com/" + testAccount + "/sluice-" + v.name + "-"
	want := fleet{v.name, "sluice-" + v.name, "sluice-" + v.name + "-" + testAccount + "-" + testRegion, map[string]fleetQueue{}, map[string]string{}, "", v.KeepDays, nil}
	want.Lake = &fleetLake{want.Bucket, "lake/", v.Lake.KMSKey, host + "lake", host + "lake-dead"}
	for _, tier := range v.tiers() {
		want.Queues[tier] = fleetQueue{host + tier, host + tier + "-dead"}
	}
	switch v.name {
	case "sim":
		want.Secrets["token"] = "ssm:/sluice/sim/secrets/token"
	case "prometheus":
		want.Secrets["user"] = "secretsmanager:sluice/prometheus/secrets/user"
		want.Secrets["password"] = "secretsmanager:arn:aws:secretsmanager:eu-central-1:123456789012:secret:prom/password-AbCdEf"
	}
	if text(got) != text(want) {
		t.Errorf("SLUICE_STACK is\n%s, want\n%s", text(got), text(want))
	}
}

// TestAssets: a zip holds the program and the spec, and is the same whenever
// it is put together.
func TestAssets(t *testing.T) {
	zips := map[string]bool{}
	for v, stack := range vendors(t) {
		for _, f := range stack.of("AWS::Lambda::Function") {
			key := strings.TrimSuffix(f.text("Code", "S3Key"), ".zip")
			zips[key] = true
			dir := filepath.Join(cdkOut(t), "asset."+key)
			info, err := os.Stat(filepath.Join(dir, "bootstrap"))
			if err != nil || info.Mode().Perm()&0o111 != 0o111 {
				t.Errorf("%v: bootstrap cannot be run: %v %v", f, info, err)
			}
			got, err := os.ReadFile(filepath.Join(dir, "vendor.yaml"))
			want, _ := os.ReadFile(v.specFile)
			if err != nil || string(got) != string(want) {
				t.Errorf("%v: vendor.yaml is not %s: %v", f, v.specFile, err)
			}
		}
	}
	if len(zips) != 2*len(programs) {
		t.Errorf("%d different zips, want one for each vendor and program: all tiers share one", len(zips))
	}
}
