package stacktest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A Template is one synthesized stack.
type Template struct {
	Name      string
	Resources map[string]Resource

	dir    string            // of the assembly
	assets map[string]string // by the key in the assets' bucket: a directory
	refs   map[string]string // by logical ID: what Ref gives, once it is made
}

// A Resource is one resource of a template.
type Resource struct {
	Type       string
	Properties map[string]any
}

// What a template's pseudo parameters stand for here.
const (
	account = "123456789012"
	region  = "eu-central-1"
)

// Load reads a stack of a cloud assembly (cdk.out).
func Load(dir, stack string) (*Template, error) {
	t := &Template{Name: stack, dir: dir, assets: map[string]string{}, refs: map[string]string{
		"AWS::AccountId": account, "AWS::Region": region, "AWS::Partition": "aws", "AWS::URLSuffix": "amazonaws.com",
		"AWS::StackName": stack, "AWS::NoValue": "",
	}}
	if err := readJSON(filepath.Join(dir, stack+".template.json"), t); err != nil {
		return nil, err
	}
	var assets struct {
		Files map[string]struct {
			Source       struct{ Path string }
			Destinations map[string]struct{ ObjectKey string }
		}
	}
	if err := readJSON(filepath.Join(dir, stack+".assets.json"), &assets); err != nil {
		return nil, err
	}
	for _, f := range assets.Files {
		for _, d := range f.Destinations {
			t.assets[d.ObjectKey] = filepath.Join(dir, f.Source.Path)
		}
	}
	return t, nil
}

func readJSON(path string, v any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// Of lists the logical IDs of a type, in order.
func (t *Template) Of(kind string) (ids []string) {
	for id, r := range t.Resources {
		if r.Type == kind {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Resolve gives a property's value with its intrinsic functions carried out.
func (t *Template) Resolve(v any) (any, error) {
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			var err error
			if out[i], err = t.Resolve(e); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		if len(v) == 1 {
			for name, arg := range v {
				if name == "Ref" || strings.HasPrefix(name, "Fn::") {
					return t.intrinsic(name, arg)
				}
			}
		}
		out := make(map[string]any, len(v))
		for k, e := range v {
			var err error
			if out[k], err = t.Resolve(e); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return v, nil
}

func (t *Template) intrinsic(name string, arg any) (any, error) {
	switch name {
	case "Ref":
		id, _ := arg.(string)
		return t.ref(id)
	case "Fn::GetAtt":
		parts, _ := arg.([]any)
		if len(parts) != 2 || parts[1] != "Arn" {
			return nil, fmt.Errorf("of Fn::GetAtt only Arn is known here, not %v", arg)
		}
		id, _ := parts[0].(string)
		return t.arn(id)
	case "Fn::Join":
		parts, _ := arg.([]any)
		if len(parts) != 2 {
			return nil, fmt.Errorf("the arguments of Fn::Join are not two: %v", arg)
		}
		list, err := t.Resolve(parts[1])
		if err != nil {
			return nil, err
		}
		var words []string
		for _, w := range list.([]any) {
			words = append(words, fmt.Sprint(w))
		}
		return strings.Join(words, fmt.Sprint(parts[0])), nil
	}
	return nil, fmt.Errorf("%s is not known here", name)
}

// ref is what Ref gives for a resource.
func (t *Template) ref(id string) (string, error) {
	if v, ok := t.refs[id]; ok {
		return v, nil
	}
	r, ok := t.Resources[id]
	if !ok {
		return "", fmt.Errorf("a Ref to %q, which is no resource", id)
	}
	switch r.Type {
	case "AWS::Lambda::Alias", "AWS::Lambda::Version":
		return t.arn(id)
	case "AWS::SQS::Queue": // its URL is known when it has been made
		return "", fmt.Errorf("queue %s is not made yet", id)
	}
	return t.name(id)
}

// named says under which property a type has its name.
var named = map[string]string{
	"AWS::SQS::Queue": "QueueName", "AWS::DynamoDB::Table": "TableName", "AWS::S3::Bucket": "BucketName", "AWS::Lambda::Function": "FunctionName",
	"AWS::SSM::Parameter": "Name", "AWS::Lambda::Alias": "FunctionName", "AWS::Lambda::Version": "FunctionName",
}

// name is a resource's physical name.
func (t *Template) name(id string) (string, error) {
	r := t.Resources[id]
	v, err := t.Resolve(r.Properties[named[r.Type]])
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", r.Type, id, err)
	}
	s, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("%s %s has no name of its own", r.Type, id)
	}
	return s, nil
}

// arn is a resource's ARN.
func (t *Template) arn(id string) (string, error) {
	r := t.Resources[id]
	name, err := t.name(id)
	if err != nil {
		return "", err
	}
	switch r.Type {
	case "AWS::SQS::Queue":
		return "arn:aws:sqs:" + region + ":" + account + ":" + name, nil
	case "AWS::DynamoDB::Table":
		return "arn:aws:dynamodb:" + region + ":" + account + ":table/" + name, nil
	case "AWS::S3::Bucket":
		return "arn:aws:s3:::" + name, nil
	case "AWS::Lambda::Function":
		return "arn:aws:lambda:" + region + ":" + account + ":function:" + name, nil
	case "AWS::Lambda::Alias":
		return fmt.Sprintf("arn:aws:lambda:%s:%s:function:%s:%v", region, account, name, r.Properties["Name"]), nil
	case "AWS::Lambda::Version":
		return fmt.Sprintf("arn:aws:lambda:%s:%s:function:%s:1", region, account, name), nil
	}
	return "", fmt.Errorf("the ARN of a %s is not known here", r.Type)
}

// text is a property that must be a string.
func (t *Template) text(id string, path ...string) (string, error) {
	v, err := t.at(id, path...)
	if err != nil {
		return "", err
	}
	s, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("%s: %s is no string: %v", id, strings.Join(path, "."), v)
	}
	return s, nil
}

// number is a property that must be a number.
func (t *Template) number(id string, path ...string) (int, error) {
	v, err := t.at(id, path...)
	if err != nil {
		return 0, err
	}
	n, ok := v.(float64)
	if !ok {
		return 0, fmt.Errorf("%s: %s is no number: %v", id, strings.Join(path, "."), v)
	}
	return int(n), nil
}

func (t *Template) at(id string, path ...string) (any, error) {
	var v any = t.Resources[id].Properties
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	out, err := t.Resolve(v)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", id, strings.Join(path, "."), err)
	}
	return out, nil
}

// AlarmMetrics is how many metrics the stack's alarms look at: what each alarm is
// billed by.
func (t *Template) AlarmMetrics() (n int) {
	for _, id := range t.Of("AWS::CloudWatch::Alarm") {
		queries, several := t.Resources[id].Properties["Metrics"].([]any)
		if !several {
			n++
			continue
		}
		for _, q := range queries {
			if m, _ := q.(map[string]any); m["MetricStat"] != nil {
				n++
			}
		}
	}
	return n
}
