package main

import (
	"encoding/csv"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/logical-ids.golden anew")

// A version's ID has a digest of the function in it, and is to change with it.
var versionDigest = regexp.MustCompile(`(CurrentVersion[0-9A-F]{8})[0-9a-f]{32}$`)

// TestLogicalIDs holds still what CloudFormation knows things by, and what they
// are called.
func TestLogicalIDs(t *testing.T) {
	var got strings.Builder
	all := templates(t)
	for _, name := range sortedKeys(all) {
		for _, id := range sortedKeys(all[name].Resources) {
			r := all[name].Resources[id]
			fmt.Fprintln(&got, name, versionDigest.ReplaceAllString(id, "$1*"), r.Type, physicalName(r))
		}
	}
	const golden = "testdata/logical-ids.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	was, is := lines(string(want)), lines(got.String())
	for _, line := range sortedKeys(was) {
		if !is[line] {
			t.Errorf("gone: %s", line)
		}
	}
	for _, line := range sortedKeys(is) {
		if !was[line] {
			t.Errorf("new: %s", line)
		}
	}
	if t.Failed() {
		t.Log("CloudFormation replaces what changes its ID or its name: a queue or a table with data in it would be " +
			"deleted or left behind, an empty one put in its place. If this is meant, say in the changelog what " +
			"operators have to do, and run: go -C infra test -run TestLogicalIDs . -update")
	}
}

func physicalName(r resource) string {
	for _, p := range []string{"QueueName", "TableName", "BucketName", "FunctionName", "LogGroupName", "TopicName", "AlarmName", "DashboardName", "Name"} {
		if n := r.text(p); n != "" {
			return n
		}
	}
	return "-"
}

func lines(s string) map[string]bool {
	all := map[string]bool{}
	for line := range strings.Lines(s) {
		all[strings.TrimSpace(line)] = true
	}
	return all
}

// TestNag: cdk-nag's AwsSolutions rules find nothing that is not explained.
func TestNag(t *testing.T) {
	checkNag(t, cdkOut(t), templates(t))
}

func checkNag(t *testing.T, dir string, all map[string]*template) {
	t.Helper()
	for _, name := range sortedKeys(all) {
		f, err := os.Open(filepath.Join(dir, "AwsSolutions-"+name+"-NagReport.csv"))
		if err != nil {
			t.Fatalf("the audit did not run: %v", err)
		}
		defer f.Close()
		rows, err := csv.NewReader(f).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) < 2 || strings.Join(rows[0][:4], ",") != "Rule ID,Resource ID,Compliance,Exception Reason" {
			t.Fatalf("%s: the audit looked at nothing: %v", name, rows)
		}
		for _, r := range rows[1:] {
			switch r[2] {
			case "Compliant", "N/A":
			case "Suppressed":
				if len(r[3]) < 40 {
					t.Errorf("%s %s is suppressed without an explanation: %q", r[0], r[1], r[3])
				}
			default: // Non-Compliant, UNKNOWN, an error of the rule itself
				t.Errorf("%s %s: %s: %s", r[0], r[1], r[2], r[len(r)-1])
			}
		}
	}
}

// checkSchema runs node/check.mjs over the templates in a directory. What it
// needs is installed if it is missing.
func checkSchema(t *testing.T, dir string) (string, error) {
	t.Helper()
	if _, err := os.Stat("node/node_modules/@aws-cdk/aws-service-spec"); err != nil {
		if out, err := exec.Command("npm", "ci", "--prefix", "node", "--no-audit", "--no-fund").CombinedOutput(); err != nil {
			t.Fatalf("npm ci: %v\n%s", err, out)
		}
	}
	out, err := exec.Command("node", "node/check.mjs", dir).CombinedOutput()
	return string(out), err
}

// TestSchema holds the templates against CloudFormation's resource schemas.
func TestSchema(t *testing.T) {
	said, err := checkSchema(t, cdkOut(t))
	if err != nil {
		t.Errorf("%v\n%s", err, said)
	}
	var looked int
	if _, err := fmt.Sscanf(strings.TrimSpace(said), "properties looked at: %d", &looked); err != nil || looked < 1000 {
		t.Errorf("%d properties were looked at: %v\n%s", looked, err, said)
	}
}

// TestSchemaSeesMistakes breaks a template in every way that is checked.
func TestSchemaSeesMistakes(t *testing.T) {
	src, err := os.ReadFile(filepath.Join(cdkOut(t), "sluice-sim.template.json"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var tmpl struct{ Resources map[string]map[string]any }
	if err := json.Unmarshal(src, &tmpl); err != nil {
		t.Fatal(err)
	}
	properties := func(kind string) map[string]any {
		for _, id := range sortedKeys(tmpl.Resources) {
			if r := tmpl.Resources[id]; r["Type"] == kind {
				return r["Properties"].(map[string]any)
			}
		}
		t.Fatal("no " + kind)
		return nil
	}
	properties("AWS::SQS::Queue")["VisibilityTimout"] = 60
	properties("AWS::DynamoDB::Table")["BillingMode"] = 7
	properties("AWS::Scheduler::Schedule")["State"] = "ON"
	delete(properties("AWS::Scheduler::Schedule"), "FlexibleTimeWindow")
	properties("AWS::S3::Bucket")["LifecycleConfiguration"] = map[string]any{"Rules": []any{map[string]any{"Id": "x"}}}
	properties("AWS::Lambda::Alias")["FunctionName"] = map[string]any{"Ref": "nobody"}
	tmpl.Resources["Odd"] = map[string]any{"Type": "AWS::SQS::Queu"}
	broken, err := json.Marshal(tmpl)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "broken.template.json"), broken, 0o644); err != nil {
		t.Fatal(err)
	}
	said, err := checkSchema(t, dir)
	if err == nil {
		t.Error("a broken template is taken")
	}
	for _, want := range []string{
		"VisibilityTimout: there is no such property", "BillingMode: 7 is no string", `State: "ON" is none of ENABLED, DISABLED`,
		"FlexibleTimeWindow: is required", "Rules[0].Status: is required", "refers to nobody, which is not there", "(AWS::SQS::Queu): there is no such type",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("nobody says %q:\n%s", want, said)
		}
	}
}
