package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestLakeQueue: one queue calls the lake's function, with what failed of a batch
// only coming again, no more at once than is reserved, and messages hidden for
// longer than six invocations may take.
func TestLakeQueue(t *testing.T) {
	for v, stack := range vendors(t) {
		f := stack.named(t, "AWS::Lambda::Function", "FunctionName", "sluice-"+v.name+"-lake")
		q := stack.named(t, "AWS::SQS::Queue", "QueueName", "sluice-"+v.name+"-lake")
		dead := stack.named(t, "AWS::SQS::Queue", "QueueName", "sluice-"+v.name+"-lake-dead")
		all := stack.of("AWS::Lambda::EventSourceMapping")
		if len(all) != 1 || all[0].text("EventSourceArn") != stack.attribute(q.id, "Arn") {
			t.Fatalf("%s: each mapping is polled at a price: %v", stack.name, all)
		}
		m := all[0]
		if m.text("FunctionName") != "arn:aws:lambda:"+testRegion+":"+testAccount+":function:"+f.text("FunctionName")+":live" || !slices.Equal(many(m.get("FunctionResponseTypes")), []string{"ReportBatchItemFailures"}) {
			t.Errorf("%v: %v", m, m.Properties)
		}
		want := [4]float64{10, 20, float64(v.Lake.AtOnce), float64(v.Lake.AtOnce)}
		if got := [4]float64{m.number("BatchSize"), m.number("MaximumBatchingWindowInSeconds"), m.number("ScalingConfig", "MaximumConcurrency"), f.number("ReservedConcurrentExecutions")}; got != want {
			t.Errorf("%v: batch, window, concurrency and what is reserved are %v, want %v", m, got, want)
		}
		if least := 6*f.number("Timeout") + want[1]; q.number("VisibilityTimeout") < least || q.number("VisibilityTimeout") > 43200 {
			t.Errorf("%v hides messages for %v s, at least %v", q, q.number("VisibilityTimeout"), least)
		}
		const fortnight = 14 * 24 * 3600
		if q.text("RedrivePolicy", "deadLetterTargetArn") != stack.attribute(dead.id, "Arn") || q.number("RedrivePolicy", "maxReceiveCount") != 20 ||
			q.number("MessageRetentionPeriod") != fortnight || dead.number("MessageRetentionPeriod") != fortnight {
			t.Errorf("%v: %v, %v", q, q.Properties, dead.Properties)
		}
		if got := many(dead.get("RedriveAllowPolicy", "sourceQueueArns")); dead.text("RedriveAllowPolicy", "redrivePermission") != "byQueue" || !slices.Equal(got, []string{stack.attribute(q.id, "Arn")}) {
			t.Errorf("%v takes dead letters of %v", dead, got)
		}
		for _, r := range []resource{q, dead} {
			if r.get("SqsManagedSseEnabled") != true {
				t.Errorf("%v is not encrypted", r)
			}
		}
	}
}

// told is whom a bucket tells of what.
func told(bucket resource) (out []string) {
	all, _ := bucket.get("NotificationConfiguration", "QueueConfigurations").([]any)
	for i := range all {
		at := func(path ...any) string {
			return bucket.text(append([]any{"NotificationConfiguration", "QueueConfigurations", i}, path...)...)
		}
		rule := func(n int) string {
			return at("Filter", "S3Key", "Rules", n, "Name") + " " + at("Filter", "S3Key", "Rules", n, "Value")
		}
		out = append(out, strings.Join([]string{at("Event"), rule(0), rule(1), at("Queue")}, ", "))
	}
	return out
}

// TestNotifications: S3 tells the lake's queue of landed objects and Snowflake's of
// what is published, if it has one; prefixes do not overlap; and the queue takes
// that from this bucket of this account only, before the bucket is told to send.
func TestNotifications(t *testing.T) {
	for v, stack := range vendors(t) {
		bucket := stack.of("AWS::S3::Bucket")[0]
		want := []string{"s3:ObjectCreated:*, prefix landing/, suffix .ndjson.zst, arn:aws:sqs:" + testRegion + ":" + testAccount + ":sluice-" + v.name + "-lake"}
		if q := v.Lake.Snowflake.QueueARN; q != "" {
			want = append(want, "s3:ObjectCreated:*, prefix lake/tables/, suffix .parquet, "+q, "s3:ObjectCreated:*, prefix lake/published/, suffix .ndjson, "+q)
		}
		if got := told(bucket); !slices.Equal(got, want) {
			t.Errorf("%v tells\n%s, want\n%s", bucket, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		for i, a := range want {
			for j, b := range want {
				if i != j && strings.HasPrefix(strings.Split(a, ", ")[1], strings.Split(b, ", ")[1]) {
					t.Errorf("S3 refuses two prefixes that overlap: %s, %s", a, b)
				}
			}
		}
		checkQueuePolicy(t, stack, bucket)
	}
}

func checkQueuePolicy(t *testing.T, stack *template, bucket resource) {
	t.Helper()
	src, err := os.ReadFile(filepath.Join(cdkOut(t), stack.name+".template.json"))
	if err != nil {
		t.Fatal(err)
	}
	var raw struct {
		Resources map[string]struct{ DependsOn any }
	}
	if err := json.Unmarshal(src, &raw); err != nil {
		t.Fatal(err)
	}
	for _, p := range stack.of("AWS::SQS::QueuePolicy") {
		for i := range p.get("PolicyDocument", "Statement").([]any) {
			at := func(path ...any) string { return p.text(append([]any{"PolicyDocument", "Statement", i}, path...)...) }
			if at("Effect") != "Allow" {
				continue
			}
			if at("Principal", "Service") != "s3.amazonaws.com" || at("Action") != "sqs:SendMessage" || !strings.HasSuffix(at("Resource"), "-lake") ||
				at("Condition", "ArnEquals", "aws:SourceArn") != "arn:aws:s3:::"+bucket.text("BucketName") || at("Condition", "StringEquals", "aws:SourceAccount") != testAccount {
				t.Errorf("%v allows %v", p, p.get("PolicyDocument", "Statement", i))
			}
			if !slices.Contains(many(raw.Resources[bucket.id].DependsOn), p.id) {
				t.Errorf("%v may be told to send before it may: it does not wait for %v", bucket, p)
			}
			return
		}
	}
	t.Errorf("nobody lets %v send", bucket)
}

// TestLakeLifecycle: raw and processed objects go by keys of their own.
func TestLakeLifecycle(t *testing.T) {
	want := map[string]map[string]float64{
		"sluice-sim":        {"landing/": 90, "lake/staged/": 14, "lake/work/": 14},
		"sluice-prometheus": {"landing/": 45, "lake/staged/": 30, "lake/work/": 30, "lake/tables/": 800},
	}
	for _, stack := range vendors(t) {
		if got := expirations(stack.of("AWS::S3::Bucket")[0]); fmt.Sprint(got) != fmt.Sprint(want[stack.name]) {
			t.Errorf("%s: objects go after %v days, want %v", stack.name, got, want[stack.name])
		}
	}
}

func expirations(bucket resource) map[string]float64 {
	got := map[string]float64{}
	for i := range bucket.get("LifecycleConfiguration", "Rules").([]any) {
		at := []any{"LifecycleConfiguration", "Rules", i}
		if d := bucket.number(append(at, "ExpirationInDays")...); d > 0 {
			got[bucket.text(append(at, "Prefix")...)] = d
		}
	}
	return got
}

// TestReader: Snowflake may read tables and index and nothing else, and only
// those who know the external ID.
func TestReader(t *testing.T) {
	for v, stack := range vendors(t) {
		var role resource
		for _, r := range stack.of("AWS::IAM::Role") {
			if strings.HasSuffix(r.text("RoleName"), "-snowflake") {
				role = r
			}
		}
		sf := v.Lake.Snowflake
		if (role.id != "") != (sf.UserARN != "") {
			t.Fatalf("%s: Snowflake's role is there: %v", stack.name, role.id != "")
		}
		if role.id != "" {
			checkReader(t, role, "arn:aws:s3:::"+stack.of("AWS::S3::Bucket")[0].text("BucketName"), v)
		}
	}
}

func checkReader(t *testing.T, role resource, bucket string, v *vendor) {
	t.Helper()
	sf := v.Lake.Snowflake
	trust := role.get("AssumeRolePolicyDocument", "Statement", 0)
	said, _ := json.Marshal(trust)
	if role.text("AssumeRolePolicyDocument", "Statement", 0, "Principal", "AWS") != sf.UserARN || !strings.Contains(string(said), `"sts:ExternalId":"`+sf.ExternalID+`"`) {
		t.Errorf("%v trusts %s", role, said)
	}
	want := []grant{
		{"kms:Decrypt", v.Lake.KMSKey}, {"s3:GetBucketLocation", bucket},
		{"s3:GetObject", bucket + "/lake/published/*"}, {"s3:GetObjectVersion", bucket + "/lake/published/*"},
		{"s3:GetObject", bucket + "/lake/tables/*"}, {"s3:GetObjectVersion", bucket + "/lake/tables/*"},
		{"s3:ListBucket", bucket},
	}
	var got []grant
	for _, g := range grants(t, role) {
		if g.action != "sts:AssumeRole" {
			got = append(got, g)
		}
	}
	slices.SortStableFunc(got, func(a, b grant) int {
		return cmp.Or(cmp.Compare(a.action[:10], b.action[:10]), cmp.Compare(a.resource, b.resource), cmp.Compare(a.action, b.action))
	})
	if !slices.Equal(got, want) {
		t.Errorf("%v may %v, want %v", role, got, want)
	}
	if rights, _ := json.Marshal(role.get("Policies")); !strings.Contains(string(rights), `"s3:prefix":["lake/tables/*","lake/published/*"]`) {
		t.Errorf("%v may list more than tables and index: %s", role, rights)
	}
}

// TestSharedLake: one bucket holds the lakes of all vendors: theirs are told only
// of what lands, and each vendor's function may write there.
func TestSharedLake(t *testing.T) {
	src, err := os.ReadFile("testdata/environment.yaml")
	if err != nil {
		t.Fatal(err)
	}
	pwd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	all := synthesized(t, "shared_lake: true\n"+strings.ReplaceAll(string(src), "../../vendors", filepath.Join(pwd, "..", "vendors")))
	const name = "sluice-shared-" + testAccount + "-" + testRegion
	shared := all["sluice-shared"].named(t, "AWS::S3::Bucket", "BucketName", name)
	want := map[string]float64{"lake/staged/sim/": 14, "lake/work/sim/": 14, "lake/staged/prometheus/": 30, "lake/work/prometheus/": 30, "lake/tables/prometheus/": 800}
	if got := expirations(shared); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v: objects go after %v days, want %v", shared, got, want)
	}
	if got := told(shared); len(got) != 2 || !strings.Contains(got[0], "lake/tables/") || !strings.Contains(got[1], "lake/published/") {
		t.Errorf("%v tells %v", shared, got)
	}
	if shared.DeletionPolicy != "Retain" || shared.get("PublicAccessBlockConfiguration", "BlockPublicPolicy") != true {
		t.Errorf("%v: %v", shared, shared.Properties)
	}
	if roles := all["sluice-shared"].of("AWS::IAM::Role"); len(roles) != 1 || roles[0].text("RoleName") != "sluice-shared-snowflake" {
		t.Errorf("who reads: %v", roles)
	}
	for _, vendor := range []string{"sim", "prometheus"} {
		stack := all["sluice-"+vendor]
		if got := told(stack.of("AWS::S3::Bucket")[0]); len(got) != 1 || !strings.Contains(got[0], "prefix landing/") {
			t.Errorf("%s: its own bucket tells %v", stack.name, got)
		}
		var f fleet
		if err := json.Unmarshal([]byte(stack.named(t, "AWS::SSM::Parameter", "Name", "/sluice/"+vendor+"/stack").text("Value")), &f); err != nil || f.Lake.Bucket != name || f.Lake.Prefix != "lake/" {
			t.Errorf("%s: %+v %v", stack.name, f.Lake, err)
		}
		fn := stack.named(t, "AWS::Lambda::Function", "FunctionName", "sluice-"+vendor+"-lake")
		got := grants(t, stack.Resources[strings.TrimPrefix(fn.text("Role"), "arn of ")])
		for _, g := range []grant{{"s3:PutObject", "arn:aws:s3:::" + name + "/lake/*"}, {"s3:ListBucket", "arn:aws:s3:::" + name}, {"s3:GetObject", "arn:aws:s3:::" + f.Bucket + "/landing/*"}} {
			if !slices.Contains(got, g) {
				t.Errorf("%v may not %v", fn, g)
			}
		}
		for _, g := range got {
			if strings.HasPrefix(g.resource, "arn:aws:s3:::"+f.Bucket) && strings.HasSuffix(g.resource, "/lake/*") {
				t.Errorf("%v may %v, and the lake is elsewhere", fn, g)
			}
		}
	}
}

// TestNoLake: turned off, there is nothing of it.
func TestNoLake(t *testing.T) {
	all := synthesized(t, "vendors: {sim: {settings: {base: \"https://x.example.com\"}, lake: {enabled: false}}}\n")
	stack := all["sluice-sim"]
	for _, r := range stack.Resources {
		if strings.Contains(strings.ToLower(r.id), "lake") {
			t.Errorf("%v", r)
		}
	}
	if got := told(stack.of("AWS::S3::Bucket")[0]); len(got) > 0 || strings.Contains(stack.named(t, "AWS::SSM::Parameter", "Name", "/sluice/sim/stack").text("Value"), "lake") {
		t.Errorf("%v", got)
	}
}
