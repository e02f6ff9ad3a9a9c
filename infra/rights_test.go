package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// A grant is one action on one resource, as a template gives it.
type grant struct{ action, resource string }

// grants are all that policies in a resource allow, statement by statement.
func grants(t *testing.T, r resource) []grant {
	t.Helper()
	var all []grant
	each(r.get(), func(m map[string]any) {
		if m["Effect"] != "Allow" {
			return
		}
		resources := many(m["Resource"])
		if m["Resource"] == nil {
			resources = []string{"who may assume it"}
		}
		for _, a := range many(m["Action"]) {
			for _, to := range resources {
				all = append(all, grant{a, to})
			}
		}
		if m["NotAction"] != nil || m["NotResource"] != nil {
			t.Errorf("%v allows all but something", r)
		}
	})
	return all
}

// each calls f with every object in v.
func each(v any, f func(map[string]any)) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			each(e, f)
		}
	case map[string]any:
		f(v)
		for _, e := range v {
			each(e, f)
		}
	}
}

// TestNoWildcards: no action has a star, and no resource but three kinds of
// names that AWS makes up: log streams, objects, the ends of secrets' ARNs.
func TestNoWildcards(t *testing.T) {
	seen := 0
	for _, stack := range templates(t) {
		for _, id := range sortedKeys(stack.Resources) {
			r := stack.Resources[id]
			for _, g := range grants(t, r) {
				seen++
				if strings.ContainsAny(g.action, "*?") {
					t.Errorf("%v may do %s", r, g.action)
				}
				if strings.ContainsAny(g.resource, "*?") && !needed(r, g) {
					t.Errorf("%v may do %s to %s", r, g.action, g.resource)
				}
			}
		}
		if managed := stack.of("AWS::IAM::ManagedPolicy"); len(managed) > 0 {
			t.Errorf("%v: rights belong to one function", managed)
		}
		for _, role := range stack.of("AWS::IAM::Role") {
			if role.get("ManagedPolicyArns") != nil {
				t.Errorf("%v has rights that AWS writes: %v", role, role.get("ManagedPolicyArns"))
			}
		}
	}
	if seen < 100 {
		t.Errorf("only %d grants were looked at", seen)
	}
}

func needed(r resource, g grant) bool {
	service, _, _ := strings.Cut(g.action, ":")
	switch service {
	case "logs": // a stream's name is Lambda's choice
		return strings.HasSuffix(g.resource, ":*") && strings.Count(g.resource, "*") == 1
	case "s3": // an object's name has run and batch in it
		ends := func(end string) bool { return strings.HasSuffix(g.resource, end) }
		return slices.ContainsFunc([]string{"/landing/*", "/verdicts/*", "/lake/*", "/lake/tables/*", "/lake/published/*"}, ends) && strings.Count(g.resource, "*") == 1
	case "secretsmanager": // six characters are Secrets Manager's choice
		return strings.HasSuffix(g.resource, "-??????") && strings.Count(g.resource, "?") == 6 && !strings.Contains(g.resource, "*")
	case "kms": // in a key's own policy: this key
		return r.Type == "AWS::KMS::Key" && g.resource == "*"
	}
	return false
}

// TestRights: each function reaches its own things and nobody else's.
func TestRights(t *testing.T) {
	const aws = testRegion + ":" + testAccount + ":"
	for v, stack := range vendors(t) {
		tiers := v.tiers()
		base := "arn:aws:sqs:" + aws + "sluice-" + v.name + "-"
		for _, f := range stack.of("AWS::Lambda::Function") {
			kind, tier, _ := strings.Cut(strings.TrimPrefix(f.text("FunctionName"), "sluice-"+v.name+"-"), "-")
			role := stack.Resources[strings.TrimPrefix(f.text("Role"), "arn of ")]
			if role.Type != "AWS::IAM::Role" || role.get("AssumeRolePolicyDocument", "Statement", 0, "Principal", "Service") != "lambda.amazonaws.com" {
				t.Fatalf("%v: role %v", f, role)
			}
			var sends, receives []string
			for _, g := range grants(t, role) {
				if !strings.HasPrefix(g.resource, "arn:aws:s3:::sluice-"+v.name+"-") && !strings.Contains(g.resource, ":"+aws) && g.action != "sts:AssumeRole" {
					t.Errorf("%v may do %s to %s", f, g.action, g.resource)
				}
				switch g.action {
				case "sqs:SendMessage":
					sends = append(sends, strings.TrimPrefix(g.resource, base))
				case "sqs:ReceiveMessage":
					receives = append(receives, strings.TrimPrefix(g.resource, base))
				case "logs:PutLogEvents":
					if want := "arn:aws:logs:" + aws + "log-group:/aws/lambda/" + f.text("FunctionName") + ":*"; g.resource != want {
						t.Errorf("%v writes to %s", f, g.resource)
					}
				case "s3:DeleteObject":
					if kind != "lake" || !strings.HasSuffix(g.resource, "/lake/*") {
						t.Errorf("%v may delete %s", f, g.resource)
					}
				}
			}
			wantSends, wantReceives := queuesOf(kind, tier, tiers)
			if slices.Sort(sends); !slices.Equal(sends, wantSends) {
				t.Errorf("%v may send to %v, want %v", f, sends, wantSends)
			}
			if slices.Sort(receives); !slices.Equal(receives, wantReceives) {
				t.Errorf("%v may receive from %v, want %v", f, receives, wantReceives)
			}
		}
	}
}

func queuesOf(kind, tier string, tiers []string) (sends, receives []string) {
	at := max(slices.Index(tiers, tier), 0)
	switch kind {
	case "close":
		for _, t := range tiers {
			sends, receives = append(sends, t), append(receives, t+"-dead")
		}
		sends = append(sends, "lake")
	case "lake":
		sends, receives = []string{"lake-dead"}, []string{"lake"}
	case "seed":
		sends, receives = []string{tiers[0], tiers[0] + "-dead", tiers[1]}, []string{tiers[0]}
	default:
		sends, receives = []string{tier + "-dead"}, []string{tier}
		if at+1 < len(tiers) {
			sends = append(sends, tiers[at+1])
		}
	}
	slices.Sort(sends)
	slices.Sort(receives)
	return sends, receives
}

// TestSecrets: exactly the named ones may be read, by those who call.
func TestSecrets(t *testing.T) {
	const prefix = ":" + testRegion + ":" + testAccount + ":"
	want := map[string][]grant{
		"sim": {{"ssm:GetParameter", "arn:aws:ssm" + prefix + "parameter/sluice/sim/secrets/token"}},
		"prometheus": {
			{"kms:Decrypt", "arn:aws:kms" + prefix + "key/11111111-2222-3333-4444-555555555555"},
			{"secretsmanager:GetSecretValue", "arn:aws:secretsmanager" + prefix + "secret:prom/password-AbCdEf"},
			{"secretsmanager:GetSecretValue", "arn:aws:secretsmanager" + prefix + "secret:sluice/prometheus/secrets/user-??????"},
		},
	}
	for v, stack := range vendors(t) {
		for _, f := range stack.of("AWS::Lambda::Function") {
			var got []grant
			for _, g := range grants(t, stack.Resources[strings.TrimPrefix(f.text("Role"), "arn of ")]) {
				if strings.HasPrefix(g.action, "ssm:") || strings.HasPrefix(g.action, "secretsmanager:") || strings.HasPrefix(g.action, "kms:") {
					got = append(got, g)
				}
			}
			slices.SortFunc(got, func(a, b grant) int { return strings.Compare(a.action+a.resource, b.action+b.resource) })
			expect := want[v.name]
			if strings.HasSuffix(f.text("FunctionName"), "-close") || strings.HasSuffix(f.text("FunctionName"), "-lake") {
				expect = nil // they call no vendor
			}
			if key := v.Lake.KMSKey; key != "" && strings.HasSuffix(f.text("FunctionName"), "-lake") {
				expect = []grant{{"kms:Decrypt", key}, {"kms:GenerateDataKey", key}}
			}
			if !slices.Equal(got, expect) {
				t.Errorf("%v may read %v, want %v", f, got, expect)
			}
		}
	}
}

// TestSchedulerRole: this vendor's schedules, and only they, may call exactly
// the live aliases.
func TestSchedulerRole(t *testing.T) {
	for v, stack := range vendors(t) {
		var want, got []string
		for _, a := range stack.of("AWS::Lambda::Alias") {
			if strings.HasSuffix(a.text("FunctionName"), "-lake") { // its queues call it
				continue
			}
			want = append(want, stack.ref(a.id))
		}
		i := slices.IndexFunc(stack.of("AWS::IAM::Role"), func(r resource) bool { return strings.HasPrefix(r.id, "SchedulerRole") })
		role := stack.of("AWS::IAM::Role")[i]
		for _, g := range grants(t, role) {
			if g.action == "lambda:InvokeFunction" {
				got = append(got, g.resource)
			} else if g.action != "sts:AssumeRole" {
				t.Errorf("%v may do %s", role, g.action)
			}
		}
		slices.Sort(want)
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%v may call %v, want %v", role, got, want)
		}
		trust, _ := json.Marshal(role.get("AssumeRolePolicyDocument", "Statement", 0))
		for _, part := range []string{"scheduler.amazonaws.com", `"aws:SourceAccount":"` + testAccount + `"`, `:schedule-group/sluice-` + v.name + `"`} {
			if !strings.Contains(string(trust), part) {
				t.Errorf("%v trusts %s, want %s in it", role, trust, part)
			}
		}
	}
}
