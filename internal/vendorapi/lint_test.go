package vendorapi

import (
	"path/filepath"
	"slices"
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

const branchedLintSpec = `
name: acme
base_url: https://acme.example
limits: [{name: calls, window: 5/s}]
auth: {bearer: "Token token={secret.token}"}
tiers:
  - {name: services, get: /services, items: ".[]", key: {team: .t, id: .id}, carry: {title: .title}}
  - {name: monitors, get: "/services/{services.id}", items: ".[]", key: .id, carry: {label: .label}}
  - name: details
    for: {market: [us, de], slices: {step: 6h}}
    batch: {size: 50, join: "-"}
    branches:
      - {name: logs, post: "/logs/{market}", form: {ids: "{monitors}", from: "{slice.from.epoch}"}, items: ".[]", pages: {offset: {param: offset}}, rows: '.[] | {m: $market, team: $services, l: $batch[.id].label} + .', table: logs}
      - {name: times, post: "/times/{market}", json: {from: "{slice.from.epoch}"}, items: ".[]", pages: {offset: {param: offset, in: query}}, rows: '.[] | {t: .t}', table: times}
`

// TestLintOfBranches: samples of a tier with branches, constants, slices and a batch
// below a key of two parts; what a request does not use; a bearer that is none.
func TestLintOfBranches(t *testing.T) {
	p := testPlan(t, branchedLintSpec, nil)
	want := []string{
		`auth: the bearer has a space, and is sent as "Authorization: Bearer Token token={secret.token}". If the vendor wants no "Bearer ", say api_key: {header: Authorization, value: "Token token={secret.token}"}`,
		"tier details/logs sends a body, and its pages go by the query: is that so? Say in: form, in: json or in: query",
		"tier details/times uses nothing of its node, such as {monitors}: it makes the same call for every node",
	}
	if got := p.Lint(); !slices.Equal(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
	for _, c := range []struct{ tier, body, want string }{
		{"services", `[{"t":"a","id":1}]`, ""},
		{"monitors", `[{"id":1}]`, ""},
		{"details", `[{"id":"7","label":"x"}]`, ""},
		{"details/logs", `[{"id":"7"}]`, ""},
		{"details/logs", `[]`, "tier details/logs: items find nothing in the sample\ntier details/logs: the sample gives its table no rows"},
		{"details/times", `[{"t":1}]`, ""},
		{"details/times", `[7]`, "tier details/times: rows fail on the sample"},
		{"details/tims", `[]`, `ERROR tier details of vendor acme has no branch "tims"`},
		{"services/x", `[]`, `ERROR tier services of vendor acme has no branch "x"`},
	} {
		found, err := p.LintSample(t.Context(), c.tier, []byte(c.body))
		got := strings.Join(found, "\n")
		if err != nil {
			got = "ERROR " + err.Error()
		}
		if c.want == "" && got != "" || !strings.HasPrefix(got, c.want) {
			t.Errorf("%s %s: got %q, want %q", c.tier, c.body, got, c.want)
		}
	}
}

// The specs that ship are meant as they are.
func TestLintOfShipped(t *testing.T) {
	files, err := filepath.Glob("../../vendors/*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d specs: %v", len(files), err)
	}
	for _, file := range files {
		spec, err := Load(file)
		if err != nil {
			t.Fatal(err)
		}
		values := make(map[string]string)
		for _, s := range spec.Settings {
			if s.Required {
				values[s.Name] = "x"
			}
		}
		p, err := spec.Bind(values)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Lint(); len(got) > 0 {
			t.Errorf("%s: %s", file, strings.Join(got, "\n"))
		}
	}
}
