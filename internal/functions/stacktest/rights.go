package stacktest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sluicehq/sluice/internal/awsfleet/awstest"
)

// A Right is one action on one resource, as a policy allows it or a request
// needs it. A resource that ends in * stands for what begins like it.
type Right struct{ Action, Resource string }

func (r Right) String() string { return r.Action + " on " + r.Resource }

// covers tells whether r allows what is needed.
func (r Right) covers(need Right) bool {
	prefix, open := strings.CutSuffix(r.Resource, "*")
	return r.Action == need.Action && (r.Resource == need.Resource || open && strings.HasPrefix(need.Resource, prefix))
}

// Allowed are the rights that the template gives a function, but for its log.
func (t *Template) Allowed(function string) (out []Right, err error) {
	for _, id := range t.Of("AWS::Lambda::Function") {
		if name, err := t.name(id); err != nil || name != function {
			continue
		}
		ref, _ := t.Resources[id].Properties["Role"].(map[string]any)
		parts, _ := ref["Fn::GetAtt"].([]any)
		if len(parts) != 2 {
			return nil, fmt.Errorf("function %s: its role is not of this stack", function)
		}
		return t.rightsOf(fmt.Sprint(parts[0]))
	}
	return nil, fmt.Errorf("there is no function %s", function)
}

func (t *Template) rightsOf(role string) (out []Right, err error) {
	v, err := t.at(role, "Policies")
	if err != nil {
		return nil, err
	}
	policies, _ := v.([]any)
	for _, p := range policies {
		doc, _ := p.(map[string]any)["PolicyDocument"].(map[string]any)
		statements, _ := doc["Statement"].([]any)
		for _, s := range statements {
			m := s.(map[string]any)
			for _, action := range listOf(m["Action"]) {
				if strings.HasPrefix(action, "logs:") {
					continue
				}
				for _, resource := range listOf(m["Resource"]) {
					out = append(out, Right{action, resource})
				}
			}
		}
	}
	return out, nil
}

func listOf(v any) (out []string) {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		for _, e := range v {
			out = append(out, fmt.Sprint(e))
		}
	}
	return out
}

// needs says which action a request needs where a policy calls it otherwise
// than the operation.
// https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
var needs = map[string]string{
	"sqs:SendMessageBatch": "sqs:SendMessage", "sqs:DeleteMessageBatch": "sqs:DeleteMessage", "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
	"s3:HeadObject": "s3:GetObject", "s3:ListObjectsV2": "s3:ListBucket",
	"s3:CreateMultipartUpload": "s3:PutObject", "s3:UploadPart": "s3:PutObject", "s3:CompleteMultipartUpload": "s3:PutObject",
}

// Needed are the rights that a function's requests need.
func Needed(requests []awstest.Request, function string) (out []Right) {
	for _, r := range requests {
		if r.Key != function {
			continue
		}
		right := Right{Action: r.Service + ":" + r.Action}
		if action, ok := needs[right.Action]; ok {
			right.Action = action
		}
		here := region + ":" + account + ":"
		switch r.Service {
		case "sqs":
			right.Resource = "arn:aws:sqs:" + here + r.Resource
		case "dynamodb":
			right.Resource = "arn:aws:dynamodb:" + here + "table/" + r.Resource
		case "ssm":
			right.Resource = "arn:aws:ssm:" + here + "parameter" + r.Resource
		case "s3":
			right.Resource = "arn:aws:s3:::" + r.Resource
			if right.Action == "s3:ListBucket" {
				right.Resource, _, _ = strings.Cut(right.Resource, "/")
			}
		}
		if !slices.Contains(out, right) {
			out = append(out, right)
		}
	}
	return out
}

// Denied are the needed rights that no allowed one covers.
func Denied(needed, allowed []Right) (out []Right) {
	for _, n := range needed {
		if !slices.ContainsFunc(allowed, func(a Right) bool { return a.covers(n) }) {
			out = append(out, n)
		}
	}
	return out
}

// Unused are the allowed rights that no need uses.
func Unused(needed, allowed []Right) (out []Right) {
	for _, a := range allowed {
		if !slices.ContainsFunc(needed, a.covers) {
			out = append(out, a)
		}
	}
	return out
}
