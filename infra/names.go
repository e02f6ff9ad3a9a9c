package main

import (
	"encoding/json"
	"strings"
)

// What things are called. An operator meets these names in the console, in
// bills and in alarms; sluice --on aws finds the rest through the parameter.

func (v *vendor) stack(prefix string) string           { return prefix + "-" + v.name }
func (v *vendor) queue(prefix, tier string) string     { return v.stack(prefix) + "-" + tier }
func (v *vendor) deadQueue(prefix, tier string) string { return v.queue(prefix, tier) + "-dead" }
func (v *vendor) parameter(prefix string) string       { return "/" + prefix + "/" + v.name + "/stack" }

// function is the name of seed, close, lake or tier-TIER.
func (v *vendor) function(prefix, which string) string { return v.stack(prefix) + "-" + which }

func (v *vendor) bucket(prefix, account, region string) string {
	return v.stack(prefix) + "-" + account + "-" + region
}

// lakeName is the last part of the names of the lake's function and queue.
const lakeName = "lake"

// sharedBucket holds all vendors' lakes, if they are to be in one. No vendor is
// called shared.
func (e *environment) sharedBucket(account, region string) string {
	return e.Prefix + "-shared-" + account + "-" + region
}

// secret is where a secret of the spec is, in the form that workers read:
// ssm:NAME or secretsmanager:NAME-OR-ARN.
func (v *vendor) secret(prefix, secret string) string {
	name, ok := v.Secrets.Names[secret]
	if !ok {
		name = "/" + prefix + "/" + v.name + "/secrets/" + secret
		if v.Secrets.Store == "secretsmanager" {
			name = strings.TrimPrefix(name, "/") // a name there has no leading slash by custom
		}
	}
	return v.Secrets.Store + ":" + name
}

// session is the parameter that keeps what a login yields, for vendors that want
// one; else empty.
func (v *vendor) session(prefix string) string {
	if !v.plan.Session {
		return ""
	}
	return "/" + prefix + "/" + v.name + "/secrets/.session" // no secret has such a name
}

func (v *vendor) tiers() []string {
	var out []string
	for _, t := range v.plan.Tiers {
		out = append(out, t.Name)
	}
	return out
}

// A fleet is what a worker must know of its stack: the variable SLUICE_STACK,
// and the parameter by which the operator's command finds it.
type fleet struct {
	Vendor   string                `json:"vendor"`
	Table    string                `json:"table"`
	Bucket   string                `json:"bucket"`
	Queues   map[string]fleetQueue `json:"queues"`
	Secrets  map[string]string     `json:"secrets"`
	Session  string                `json:"session,omitempty"`
	KeepDays int                   `json:"keep_days"`
	Lake     *fleetLake            `json:"lake,omitempty"`
}

type fleetLake struct {
	Bucket string `json:"bucket"`
	Prefix string `json:"prefix"`
	KMSKey string `json:"kms_key,omitempty"`
	Queue  string `json:"queue"`
	Dead   string `json:"dead"`
}

type fleetQueue struct {
	URL  string `json:"url"`
	Dead string `json:"dead"`
}

// text is the value as it stands in a template. A reference survives JSON, as
// it is a plain text until the template is written.
func text(value any) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // EventBridge looks for its <...> as they are
	if err := enc.Encode(value); err != nil {
		panic(err) // maps of texts always encode
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// checkNames finds names that AWS would refuse in the middle of a deployment,
// and texts that would not fit where they go.
func (v *vendor) checkNames(m *mistakes, at, prefix string) {
	if v.name == "shared" {
		m.add(strings.TrimSuffix(at, "."), "the stack %s-shared is what vendors share: call this vendor otherwise, in its spec too", prefix)
	}
	account, region := strings.Repeat("1", 12), "ap-southeast-2" // none is longer
	host := "https://sqs." + region + ".amazonaws.com.cn/" + account + "/"
	long := fleet{v.name, v.stack(prefix), v.bucket(prefix, account, region), map[string]fleetQueue{}, map[string]string{}, v.session(prefix), v.KeepDays, nil}
	fits := func(what, name string, most int) {
		if len(name) > most {
			m.add("prefix", "the %s %s would be longer than %d characters: shorten prefix, or the names in the spec of %s", what, name, most, v.name)
		}
	}
	fits("bucket", long.Bucket, 63)
	for _, t := range v.tiers() {
		fits("queue", v.deadQueue(prefix, t), 80)
		fits("function", v.function(prefix, "tier-"+t), 64)
		long.Queues[t] = fleetQueue{host + v.queue(prefix, t), host + v.deadQueue(prefix, t)}
	}
	if v.hasLake() {
		fits("queue", v.deadQueue(prefix, lakeName), 80)
		long.Lake = &fleetLake{long.Bucket, lakePrefix, v.Lake.KMSKey, host + v.queue(prefix, lakeName), host + v.deadQueue(prefix, lakeName)}
	}
	for _, s := range v.plan.Secrets {
		long.Secrets[s] = v.secret(prefix, s)
	}
	// Names, the other variables and their quoting take less than 400 bytes.
	size := len(text(long)) + len(text(v.settings())) + 400
	if size > 4096 {
		m.add(at+"settings", "a function's environment would take %d bytes, and Lambda allows 4096: fewer or shorter settings, tiers or names of secrets", size)
	}
}

// settings are the settings, never nil.
func (v *vendor) settings() map[string]string {
	if v.Settings == nil {
		return map[string]string{}
	}
	return v.Settings
}

// checkTwice finds names that two things would have: dashes are in names too.
func (e *environment) checkTwice(m *mistakes) {
	owners := map[string]string{}
	claim := func(kind, name, owner string) bool {
		other, taken := owners[kind+name]
		if taken {
			m.add("vendors", "%s and %s would share the %s %s: rename a vendor or a tier", other, owner, kind, name)
		}
		owners[kind+name] = owner
		return !taken
	}
	for _, name := range sortedKeys(e.Vendors) {
		v := e.Vendors[name]
		if v.plan == nil {
			continue
		}
		for _, f := range []string{"seed", "close"} {
			claim("function", v.function(e.Prefix, f), name)
		}
		if v.hasLake() {
			claim("function", v.function(e.Prefix, lakeName), name)
			claim("queue", v.queue(e.Prefix, lakeName), name+"'s lake")
			claim("queue", v.deadQueue(e.Prefix, lakeName), name+"'s lake")
		}
		for _, t := range v.tiers() {
			claim("function", v.function(e.Prefix, "tier-"+t), name+"."+t)
			if claim("queue", v.queue(e.Prefix, t), name+"."+t) { // once is enough to say
				claim("queue", v.deadQueue(e.Prefix, t), name+"."+t)
			}
		}
	}
}
