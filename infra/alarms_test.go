package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/jsii-runtime-go"
)

// TestAlarms: each promise has its alarm, which looks at all that it is about
// and tells whoever listens to the topic.
func TestAlarms(t *testing.T) {
	all := templates(t)
	topic := "arn:aws:sns:" + testRegion + ":" + testAccount + ":" + all["sluice-shared"].of("AWS::SNS::Topic")[0].text("TopicName")
	for v, stack := range vendors(t) {
		var queues, deads, functions, drains []string
		for _, tier := range v.tiers() {
			queues, deads = append(queues, "sluice-"+v.name+"-"+tier), append(deads, "sluice-"+v.name+"-"+tier+"-dead")
		}
		for _, f := range stack.of("AWS::Lambda::Function") {
			functions = append(functions, f.text("FunctionName"))
			if strings.Contains(f.text("FunctionName"), "-tier-") {
				drains = append(drains, f.text("FunctionName"))
			}
		}
		own := []string{v.name}
		for _, want := range []struct {
			name, metric, stat, expression string
			over                           []string
			seconds, threshold             float64
		}{
			{"dead-letters", "AWS/SQS ApproximateNumberOfMessagesVisible QueueName", "Maximum", sumOf, deads, 300, 1},
			{"oldest-message", "AWS/SQS ApproximateAgeOfOldestMessage QueueName", "Maximum", largestOf, queues, 300, float64(v.Alarms.OldestMessageHours * 3600)},
			{"verdict-missing", "Sluice VerdictMissing Vendor", "Maximum", "", own, 300, 1},
			{"held", "Sluice Held Vendor", "Maximum", "", own, 300, float64(v.Alarms.HeldMinutes)},
			{"errors", "AWS/Lambda Errors FunctionName", "Sum", sumOf, functions, 900, float64(v.Alarms.Errors)},
			{"throttles", "AWS/Lambda Throttles FunctionName", "Sum", sumOf, drains, 900, float64(v.Alarms.Throttles)},
			{"lake-dead-letters", "AWS/SQS ApproximateNumberOfMessagesVisible QueueName", "Maximum", "", []string{"sluice-" + v.name + "-lake-dead"}, 300, 1},
			{"lake-refused", "Sluice LakeRefused Vendor", "Maximum", "", own, 300, 1},
			{"not-seeded", "AWS/Lambda Invocations FunctionName", "Sum", "", []string{"sluice-" + v.name + "-seed"}, 86400, 1},
		} {
			if want.name == "not-seeded" && !v.Schedules {
				continue
			}
			a := stack.named(t, "AWS::CloudWatch::Alarm", "AlarmName", "sluice-"+v.name+"-"+want.name)
			metric, over, expression := watched(t, a, want.stat, want.seconds)
			slices.Sort(want.over)
			if metric != want.metric || expression != want.expression || !slices.Equal(over, want.over) || a.number("Threshold") != want.threshold {
				t.Errorf("%v: %s over %v by %q from %v, want %s over %v by %q from %v", a, metric, over, expression, a.number("Threshold"), want.metric, want.over, want.expression, want.threshold)
			}
		}
		want := 8
		if v.Schedules { // a seeder that is not to run may be silent
			want = 9
		}
		if got := len(stack.of("AWS::CloudWatch::Alarm")); got != want {
			t.Errorf("%s has %d alarms, want %d", stack.name, got, want)
		}
	}
	for _, stack := range all {
		for _, a := range stack.of("AWS::CloudWatch::Alarm") {
			if !slices.Equal(many(a.get("AlarmActions")), []string{topic}) || !slices.Equal(many(a.get("OKActions")), []string{topic}) {
				t.Errorf("%v tells %v and %v, want %s", a, a.get("AlarmActions"), a.get("OKActions"), topic)
			}
			missing, comparison := "notBreaching", "GreaterThanOrEqualToThreshold"
			if strings.HasSuffix(a.text("AlarmName"), "-not-seeded") {
				missing, comparison = "breaching", "LessThanThreshold"
			}
			if a.text("TreatMissingData") != missing || a.text("ComparisonOperator") != comparison || a.text("AlarmDescription") == "" {
				t.Errorf("%v: an idle fleet is no alarm, and an alarm says what to do: %v", a, a.Properties)
			}
		}
	}
}

// watched is what an alarm looks at: the metric, the values of its dimension,
// and the expression that combines them.
func watched(t *testing.T, a resource, stat string, seconds float64) (metric string, over []string, expression string) {
	t.Helper()
	returned := 0
	for i := range a.get("Metrics").([]any) {
		if a.get("Metrics", i, "ReturnData") == true {
			returned++
		}
		if e := a.text("Metrics", i, "Expression"); e != "" {
			expression = e
			continue
		}
		m := func(path ...any) string { return a.text(append([]any{"Metrics", i, "MetricStat"}, path...)...) }
		metric = strings.Join([]string{m("Metric", "Namespace"), m("Metric", "MetricName"), m("Metric", "Dimensions", 0, "Name")}, " ")
		over = append(over, m("Metric", "Dimensions", 0, "Value"))
		if m("Stat") != stat || m("Period") != fmt.Sprint(seconds) {
			t.Errorf("%v: %s over %s s, want %s over %v s", a, m("Stat"), m("Period"), stat, seconds)
		}
	}
	if returned != 1 {
		t.Errorf("%v has %d results, want one", a, returned)
	}
	slices.Sort(over)
	return metric, over, expression
}

func TestSharedStack(t *testing.T) {
	shared := templates(t)["sluice-shared"]
	inv := shared.named(t, "AWS::CloudWatch::Alarm", "AlarmName", "sluice-account-invocations")
	if inv.number("Threshold") != 20_000 || inv.text("Metrics", 0, "MetricStat", "Metric", "MetricName") != "Invocations" || inv.get("Metrics", 0, "MetricStat", "Metric", "Dimensions") != nil {
		t.Errorf("%v: %v", inv, inv.Properties)
	}
	rate := shared.named(t, "AWS::CloudWatch::Alarm", "AlarmName", "sluice-account-error-rate")
	if rate.number("Threshold") != 10 || rate.text("Metrics", 2, "Expression") != "IF(m0 >= 20, 100 * m1 / m0, 0)" {
		t.Errorf("%v: %v", rate, rate.Properties)
	}
	mail := shared.of("AWS::SNS::Subscription")
	if len(mail) != 1 || mail[0].text("Endpoint") != "operators@example.com" {
		t.Errorf("who is told: %v", mail)
	}
	// The topic's key must let CloudWatch publish, or alarms are lost silently.
	key, _ := json.Marshal(shared.of("AWS::KMS::Key")[0].get("KeyPolicy"))
	for _, part := range []string{"cloudwatch.amazonaws.com", "kms:GenerateDataKey", "kms:Decrypt"} {
		if !strings.Contains(string(key), part) {
			t.Errorf("the topic's key says nothing of %s: %s", part, key)
		}
	}
}

// TestManyTiers: an alarm takes ten metrics; what is more gets another alarm.
func TestManyTiers(t *testing.T) {
	app := newApp(t.TempDir())
	stack := awscdk.NewStack(app, jsii.String("many"), nil)
	var metrics []metric
	for i := range 23 {
		metrics = append(metrics, metric{"AWS/SQS", "X", "QueueName", fmt.Sprint(i)})
	}
	addAlarm(stack, alarm{"Many", "many", "many", metrics, "Sum", sumOf, 5, 1, false}, jsii.String("arn:aws:sns:eu-central-1:123456789012:t"))
	app.Synth(nil)
	src, err := os.ReadFile(filepath.Join(*app.Outdir(), "many.template.json"))
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &template{name: "many"}
	if err := json.Unmarshal(src, tmpl); err != nil {
		t.Fatal(err)
	}
	var sizes []int
	for _, a := range tmpl.of("AWS::CloudWatch::Alarm") {
		sizes = append(sizes, len(a.Properties["Metrics"].([]any))-1)
	}
	if !slices.Equal(sizes, []int{10, 10, 3}) {
		t.Errorf("23 metrics in alarms of %v", sizes)
	}
}

func TestDashboard(t *testing.T) {
	all := templates(t)
	if len(all["sluice-sim"].of("AWS::CloudWatch::Dashboard")) != 0 {
		t.Error("a dashboard that nobody asked for")
	}
	board := all["sluice-prometheus"].named(t, "AWS::CloudWatch::Dashboard", "DashboardName", "sluice-prometheus")
	var body struct {
		Widgets []struct {
			X, Y, Width, Height int
			Properties          struct {
				Title, Region string
				Metrics       [][]any
			}
		}
	}
	if err := json.Unmarshal([]byte(board.text("DashboardBody")), &body); err != nil {
		t.Fatal(err)
	}
	if len(body.Widgets) != 4 || body.Widgets[0].Properties.Title != "Waiting and held, by tier" || len(body.Widgets[0].Properties.Metrics) != 8 || body.Widgets[0].Width != 24 {
		t.Errorf("the first graph is not queue depth by tier: %+v", body.Widgets)
	}
	for _, w := range body.Widgets {
		if w.Properties.Region != testRegion || w.X+w.Width > 24 || len(w.Properties.Metrics) == 0 {
			t.Errorf("%+v", w)
		}
	}
}

// TestStandingCosts: the README's table counts what is there.
func TestStandingCosts(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	all := templates(t)
	for stack, want := range map[string]string{"sluice-sim": "| alarms, for each vendor | %d metrics", "sluice-shared": "| alarms, shared | %d metrics"} {
		n := 0
		for _, a := range all[stack].of("AWS::CloudWatch::Alarm") {
			for i := range a.get("Metrics").([]any) {
				if a.get("Metrics", i, "MetricStat") != nil {
					n++
				}
			}
		}
		if row := fmt.Sprintf(want, n); !strings.Contains(string(readme), row) {
			t.Errorf("README.md has no row %q", row)
		}
	}
}
