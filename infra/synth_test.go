package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const (
	testAccount = "123456789012"
	testRegion  = "eu-central-1"
)

// A template is a synthesized one: what is deployed.
type template struct {
	name      string
	Resources map[string]resource
}

type resource struct {
	id             string
	stack          *template
	Type           string
	Properties     map[string]any
	DeletionPolicy string
}

// out is where the templates of testdata/environment.yaml are, written once.
var out = sync.OnceValues(func() (dir string, err error) {
	defer func() { // what the CDK does not like, it panics about
		if r := recover(); r != nil {
			err = fmt.Errorf("synth: %v", r)
		}
	}()
	base, err := os.MkdirTemp("", "sluice-infra-")
	if err != nil {
		return "", err
	}
	env, err := loadEnvironment("testdata/environment.yaml")
	if err != nil {
		return base, err
	}
	built, err := placeholders(base)
	if err != nil {
		return base, err
	}
	app := newApp(filepath.Join(base, "cdk.out"))
	if err := addStacks(app, env, built, ""); err != nil {
		return base, err
	}
	app.Synth(nil)
	return base, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if base, _ := out(); base != "" {
		os.RemoveAll(base)
	}
	os.Exit(code)
}

// placeholders are programs that never run: what they are made of does not
// matter to a template.
func placeholders(base string) (bootstraps, error) {
	b := bootstraps{dir: filepath.Join(base, "functions"), arch: "arm64", out: filepath.Join(base, "build")}
	for p := range programs {
		if err := os.MkdirAll(filepath.Join(b.dir, p), 0o755); err != nil {
			return b, err
		}
		if err := os.WriteFile(filepath.Join(b.dir, p, "bootstrap"), []byte(p), 0o755); err != nil {
			return b, err
		}
	}
	return b, nil
}

// cdkOut is the directory of the synthesized templates.
func cdkOut(t *testing.T) string {
	t.Helper()
	base, err := out()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(base, "cdk.out")
}

// templates are all stacks: sluice-shared, sluice-sim, sluice-prometheus.
func templates(t *testing.T) map[string]*template {
	t.Helper()
	all := readTemplates(t, cdkOut(t))
	if len(all) != 3 {
		t.Fatalf("%d templates, want three", len(all))
	}
	return all
}

// synthesized are the stacks of another environment. They pass the audit and the
// schemas as those of the first do.
func synthesized(t *testing.T, environment string) map[string]*template {
	t.Helper()
	env, err := loadEnvironment(write(t, environment))
	if err != nil {
		t.Fatal(err)
	}
	env.Account, env.Region = testAccount, testRegion
	base := t.TempDir()
	built, err := placeholders(base)
	if err != nil {
		t.Fatal(err)
	}
	app := newApp(filepath.Join(base, "out"))
	if err := addStacks(app, env, built, ""); err != nil {
		t.Fatal(err)
	}
	app.Synth(nil)
	all := readTemplates(t, filepath.Join(base, "out"))
	checkNag(t, filepath.Join(base, "out"), all)
	if said, err := checkSchema(t, filepath.Join(base, "out")); err != nil {
		t.Errorf("%v\n%s", err, said)
	}
	return all
}

func readTemplates(t *testing.T, dir string) map[string]*template {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.template.json"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*template{}
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		tmpl := &template{name: strings.TrimSuffix(filepath.Base(f), ".template.json")}
		if err := json.Unmarshal(src, tmpl); err != nil {
			t.Fatal(err)
		}
		for id, r := range tmpl.Resources {
			r.id, r.stack = id, tmpl
			tmpl.Resources[id] = r
		}
		all[tmpl.name] = tmpl
	}
	return all
}

// vendors are the vendors of the test's environment, with their stacks.
func vendors(t *testing.T) map[*vendor]*template {
	t.Helper()
	env, err := loadEnvironment("testdata/environment.yaml")
	if err != nil {
		t.Fatal(err)
	}
	all, found := templates(t), map[*vendor]*template{}
	for _, v := range env.Vendors {
		found[v] = all[v.stack(env.Prefix)]
	}
	return found
}

// of lists the resources of a type, in order of their IDs.
func (tm *template) of(kind string) []resource {
	var found []resource
	for _, id := range sortedKeys(tm.Resources) {
		if tm.Resources[id].Type == kind {
			found = append(found, tm.Resources[id])
		}
	}
	return found
}

// named is the one resource of a type that has a name.
func (tm *template) named(t *testing.T, kind, property, name string) resource {
	t.Helper()
	for _, r := range tm.of(kind) {
		if r.text(property) == name {
			return r
		}
	}
	t.Fatalf("%s has no %s with %s %s", tm.name, kind, property, name)
	return resource{}
}

// get is the value at a path of properties, as it will be once deployed.
func (r resource) get(path ...any) any {
	var at any = r.Properties
	if len(path) == 0 {
		return r.stack.deployed(at)
	}
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := at.(map[string]any)
			at = m[p]
		case int:
			l, _ := at.([]any)
			if p >= len(l) {
				return nil
			}
			at = l[p]
		}
		at = r.stack.deployed(at)
	}
	return at
}

func (r resource) text(path ...any) string {
	if v := r.get(path...); v != nil {
		return fmt.Sprint(v)
	}
	return ""
}

func (r resource) number(path ...any) float64 {
	n, _ := r.get(path...).(float64)
	return n
}

func (r resource) String() string { return r.stack.name + "/" + r.id + " (" + r.Type + ")" }

// deployed replaces what only a deployment knows, at any depth, by what it
// would be.
func (tm *template) deployed(v any) any {
	switch v := v.(type) {
	case []any:
		all := make([]any, len(v))
		for i, e := range v {
			all[i] = tm.deployed(e)
		}
		return all
	case map[string]any:
		if ref, ok := v["Ref"].(string); ok && len(v) == 1 {
			return tm.ref(ref)
		}
		if att, ok := v["Fn::GetAtt"].([]any); ok {
			return tm.attribute(att[0].(string), att[1].(string))
		}
		if join, ok := v["Fn::Join"].([]any); ok {
			var parts []string
			for _, p := range join[1].([]any) {
				parts = append(parts, fmt.Sprint(tm.deployed(p)))
			}
			return strings.Join(parts, join[0].(string))
		}
		if split, ok := v["Fn::Split"].([]any); ok {
			var parts []any
			for p := range strings.SplitSeq(fmt.Sprint(tm.deployed(split[1])), split[0].(string)) {
				parts = append(parts, p)
			}
			return parts
		}
		if sel, ok := v["Fn::Select"].([]any); ok {
			return tm.deployed(sel[1]).([]any)[int(sel[0].(float64))]
		}
		all := map[string]any{}
		for k, e := range v {
			all[k] = tm.deployed(e)
		}
		return all
	}
	return v
}

func (tm *template) ref(to string) string {
	switch to {
	case "AWS::Partition":
		return "aws"
	case "AWS::AccountId":
		return testAccount
	case "AWS::Region":
		return testRegion
	case "AWS::URLSuffix":
		return "amazonaws.com"
	}
	r := tm.Resources[to]
	switch r.Type {
	case "AWS::SQS::Queue":
		return "https://sqs." + testRegion + ".amazonaws.com/" + testAccount + "/" + r.text("QueueName")
	case "AWS::Lambda::Alias":
		return "arn:aws:lambda:" + testRegion + ":" + testAccount + ":function:" + r.text("FunctionName") + ":" + r.text("Name")
	case "AWS::SNS::Topic":
		return "arn:aws:sns:" + testRegion + ":" + testAccount + ":" + r.text("TopicName")
	}
	for _, name := range []string{"TableName", "BucketName", "FunctionName", "LogGroupName", "RoleName"} {
		if n := r.text(name); n != "" {
			return n
		}
	}
	return to
}

func (tm *template) attribute(of, attribute string) string {
	r := tm.Resources[of]
	if attribute != "Arn" {
		return of + "." + attribute
	}
	arn := func(service, rest string) string {
		return "arn:aws:" + service + ":" + testRegion + ":" + testAccount + ":" + rest
	}
	switch r.Type {
	case "AWS::SQS::Queue":
		return arn("sqs", r.text("QueueName"))
	case "AWS::DynamoDB::Table":
		return arn("dynamodb", "table/"+r.text("TableName"))
	case "AWS::S3::Bucket":
		return "arn:aws:s3:::" + r.text("BucketName")
	}
	return "arn of " + of
}

// many is a value that may be one or a list, as policies have it.
func many(v any) []string {
	var all []string
	switch v := v.(type) {
	case string:
		all = []string{v}
	case []any:
		for _, e := range v {
			all = append(all, fmt.Sprint(e))
		}
	}
	slices.Sort(all)
	return all
}
