package main

import "strings"

// secretArn is the ARN of one of the spec's secrets, and its kind. The secrets
// themselves are put in place by the operator: a template is no place for them.
func (s *vendorStack) secretArn(secret string) (things, string) {
	store, name, _ := strings.Cut(s.v.secret(s.env.Prefix, secret), ":")
	switch {
	case store == "ssm":
		return ssmSecrets, *s.arn("ssm", "parameter/"+strings.TrimPrefix(name, "/"))
	case strings.HasPrefix(name, "arn:"):
		return smSecrets, name
	default:
		// Secrets Manager ends its ARNs with a dash and six characters of its
		// own choice: each stands for exactly one.
		return smSecrets, *s.arn("secretsmanager", "secret:"+name+"-??????")
	}
}
