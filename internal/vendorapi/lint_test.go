package vendorapi

import (
	"strings"
	"testing"
)

const lintSpec = `
name: acme
base_url: https://acme.example
limits: [{name: lists, window: 5/s, tiers: [groups]}]
tiers:
  - {name: groups, get: /groups, items: ".items[]", key: .id}
  - {name: devices, get: "/groups/{groups}", items: ".devices[]", key: .serial, unique: true}
  - {name: data, get: "/devices/{devices}", rows: ".points[] | {v}", table: points}
`

func TestLint(t *testing.T) {
	lines := func(l []string) string { return strings.Join(l, "\n") }
	p := testPlan(t, lintSpec, nil)
	if got, want := lines(p.Lint()), "tier devices: no limit binds its calls\ntier data: no limit binds its calls"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := lines(testPlan(t, strings.NewReplacer("[{name: lists, window: 5/s, tiers: [groups]}]", "unknown", ", rows: \".points[] | {v}\", table: points", "").Replace(lintSpec), nil).Lint()); !strings.Contains(got, "limits are unknown") || !strings.Contains(got, "tier data is the last and has no table") {
		t.Error(got)
	}
	for _, c := range []struct{ tier, body, want string }{
		{"groups", `{"items":[{"id":1},{"id":2}]}`, ""},
		{"groups", `{"items":[]}`, "tier groups: items find nothing in the sample"},
		{"groups", `{"items":[{"id":1},{"id":1}]}`, "tier groups: the key is never unique: all 2 items of the sample have the same"},
		{"groups", `{"items":[{"id":1},{"id":1},{"id":2}]}`, "tier groups: the key is not unique: 3 items of the sample have 2 keys"},
		{"groups", `{"items":[{"id":null},{}]}`, "tier groups: no item of the sample has a key"},
		{"groups", `{"items":[{"id":null},{"id":7}]}`, "tier groups: 1 of the sample's 2 items have no usable key"},
		{"groups", `{"items":[{"id":{}}]}`, "tier groups: the sample breaks the spec: "},
		{"groups", `{"things":[]}`, "tier groups: the sample breaks the spec: "},
		{"devices", `{"devices":[{"serial":"x"}]}`, ""},
		{"data", `{"points":[{"v":1}]}`, ""},
		{"data", `{"points":[]}`, "tier data: the sample gives its table no rows"},
		{"data", `{"points":[7]}`, "tier data: rows fail on the sample (carried fields are null in it): "},
		{"nosuch", `{}`, "ERROR vendor acme has no tier \"nosuch\""},
		{"data", `<html>`, "ERROR the sample of tier data: the answer is a page of HTML"},
		{"data", `{"points"`, "ERROR the sample of tier data is malformed"},
	} {
		found, err := p.LintSample(t.Context(), c.tier, []byte(c.body))
		got := lines(found)
		if err != nil {
			got = "ERROR " + err.Error()
		}
		if c.want == "" && got != "" || !strings.HasPrefix(got, c.want) || len(found) > 1 {
			t.Errorf("%s %s: got %q, want %q", c.tier, c.body, got, c.want)
		}
	}
}
