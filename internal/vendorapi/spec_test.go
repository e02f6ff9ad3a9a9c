package vendorapi

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"
)

const header = `name: v
base_url: http://h.example
limits: unknown
`

func mustParse(t *testing.T, src string) *Spec {
	t.Helper()
	s, err := Parse("v.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestShippedSpecs(t *testing.T) {
	for file, settings := range map[string]map[string]string{
		"../../vendors/sim.yaml":        nil,
		"../../vendors/prometheus.yaml": nil,
		"testdata/logicmonitor.yaml":    {"account": "acme"},
	} {
		s, err := Load(file)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		p, err := s.Bind(settings)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		if len(p.Tiers) < 4 || p.Hash == "" || len(p.Limits) == 0 {
			t.Errorf("%s: %+v", file, p)
		}
	}
}

func TestLogicMonitorPlan(t *testing.T) {
	s, err := Load("testdata/logicmonitor.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Bind(map[string]string{"account": "acme"})
	if err != nil {
		t.Fatal(err)
	}
	if want := "https://acme.logicmonitor.com/santaba/rest"; p.BaseURL != want {
		t.Errorf("base URL %s, want %s", p.BaseURL, want)
	}
	want := []Limit{{Name: "get", Kind: Sliding, N: 500, Per: time.Minute, InFlight: 16}}
	if !reflect.DeepEqual(p.Limits, want) {
		t.Errorf("limits %+v", p.Limits)
	}
	last := p.Tiers[4]
	if !slices.Equal(last.Path, []string{"devices", "sources", "instances"}) || strings.Join(last.Tables, ",") != "metrics" || last.Key {
		t.Errorf("last tier %+v", last)
	}
	if !p.Tiers[1].Unique || p.Below("groups") != "devices" || p.Below("data") != "" {
		t.Errorf("tiers %+v", p.Tiers)
	}
}

// Each spec has one mistake or more; each must be told with its place.
func TestSpecErrors(t *testing.T) {
	tiers := func(s string) string { return header + "tiers:\n" + s }
	two := func(first, second string) string {
		return tiers("  - {name: a, get: /a, items: '.[]', key: .id" + first + "}\n  - {name: b, get: '/b/{a}'" + second + "}\n")
	}
	for _, tt := range []struct{ name, src, want string }{
		{"empty", "", "v.yaml:1:1: the spec is empty"},
		{"syntax", "name: [v\nlimits: 1\n", "v.yaml:2:1: not YAML"},
		{"typo", "name: v\nlimts: unknown\n", `v.yaml:2:1: unknown field "limts": did you mean "limits"?`},
		{"twice", "name: v\nname: w\n", `v.yaml:2:1: field "name" is already given in line 1`},
		{"two documents", "name: v\n---\nname: w\n", "v.yaml:"},
		{"loop", "tiers: &a [*a]\n", "v.yaml:1:"},
		{"no limits", "name: v\nbase_url: http://h\ntiers: [{name: a, get: /a}]\n", "v.yaml:1:1: limits are missing"},
		{"empty limits", "name: v\nbase_url: http://h\nlimits: []\ntiers: [{name: a, get: /a}]\n", "v.yaml:3:9: no limit is given"},
		{"two kinds", "name: v\nbase_url: http://h\nlimits: [{name: x, bucket: 1/s, window: 5/m}]\ntiers: [{name: a, get: /a}]\n", "3:10: one of bucket, window and spacing"},
		{"bad rate", "name: v\nlimits: [{name: x, bucket: 1/fortnight}]\n", `v.yaml:2:28: a rate such as 200/s`},
		{"zero rate", "name: v\nlimits: [{name: x, bucket: 0/s}]\n", "v.yaml:2:28: a rate"},
		{"rate of centuries", "name: v\nlimits: [{name: x, window: 1/999999h}]\n", `v.yaml:2:28: "1/999999h" is no rate that can be kept: its time is at most 400 days`},
		{"spacing of centuries", "name: v\nbase_url: http://h\nlimits: [{name: x, spacing: 2562047h}]\ntiers: [{name: a, get: /a}]\n", "v.yaml:3:29: 2562047h0m0s is longer than any time of a limit"},
		{"jitter of centuries", "name: v\nbase_url: http://h\nlimits: [{name: x, bucket: 1/s, jitter: 9601h}]\ntiers: [{name: a, get: /a}]\n", "v.yaml:3:41: 9601h0m0s is longer"},
		{"recovers in centuries", "name: v\nbase_url: http://h\nlimits: [{name: x, bucket: 1/s, recover: 9601h}]\ntiers: [{name: a, get: /a}]\n", "v.yaml:3:42: 9601h0m0s is longer"},
		{"limit of nothing", "name: v\nbase_url: http://h\nlimits: [{name: x}]\ntiers: [{name: a, get: /a}]\n", `limit "x" says nothing`},
		{"nothing to recover", "name: v\nbase_url: http://h\nlimits: [{name: x, in_flight: 1, recover: 1m}]\ntiers: [{name: a, get: /a}]\n", "3:43: recover goes with a rate"},
		{"recovers at once", "name: v\nbase_url: http://h\nlimits: [{name: x, bucket: 1/s, recover: 10ms}]\ntiers: [{name: a, get: /a}]\n", "a rate recovers in a second at least"},
		{"header of spacing", "name: v\nbase_url: http://h\nlimits: [{name: x, spacing: 1s, header: X-A}]\ntiers: [{name: a, get: /a}]\n", "header goes with bucket or window"},
		{"private header", "name: v\nbase_url: http://h\nlimits: [{name: x, bucket: 1/s, header: Set-Cookie}]\ntiers: [{name: a, get: /a}]\n", `"Set-Cookie" is no header that could say`},
		{"no header", "name: v\nbase_url: http://h\nlimits: [{name: x, bucket: 1/s, header: 'a b'}]\ntiers: [{name: a, get: /a}]\n", `"a b" is no header`},
		{"base with user", "name: v\nbase_url: http://u:p@h\nlimits: unknown\ntiers: [{name: a, get: /a}]\n", "v.yaml:2:11: base_url of host"},
		{"the lake's own name", "# no vendor\nname: common\nbase_url: http://h\nlimits: unknown\ntiers: [{name: a, get: /a}]\n", `v.yaml:2:7: name "common" is taken: in the lake it owns the tables that several vendors feed`},
		{"zone", header + "zone: Mars/Olympus\ntiers: [{name: a, get: /a}]\n", "v.yaml:4:7: zone"},
		{"jq", tiers("  - name: a\n    get: /a\n    table: t\n    rows: '.x['\n"), "v.yaml:8:11: rows: jq:"},
		{"jq undefined", tiers("  - {name: a, get: /a, table: t, rows: '$nope'}\n"), "rows: jq: variable not defined: $nope"},
		{"jq input", tiers("  - {name: a, get: /a, table: t, rows: 'input'}\n"), "input(s)/0 is not allowed"},
		{"unknown variable", two("", "") + "  - {name: c, get: '/c/{bb}'}\n", `{bb}: unknown variable: did you mean "b"?`},
		{"own key", tiers("  - {name: a, get: '/{a}', items: '.[]', key: .}\n  - {name: b, get: '/{a}'}\n"), "{a}: unknown variable"},
		{"above unique", two(", carry: {x: .x}", ", items: '.[]', key: .k, unique: true, headers: {X: '{x}'}") + "  - {name: c, get: '/{a}/{b}'}\n", "it comes from above the unique tier b"},
		{"carry above unique", two(", carry: {x: .x}", ", items: '.[]', key: .k, unique: true, headers: {X: '{x}'}") + "  - {name: c, get: '/{b}', headers: {X: '{x}'}}\n", "{x}: it comes from above the unique tier b"},
		{"jq above unique", two("", ", items: '.[]', key: '.k + $a', unique: true") + "  - {name: c, get: '/{b}'}\n", "variable not defined: $a: it comes from above"},
		{"carry in last", two("", ", carry: {x: .x}"), "tier b is the last: there is no tier below to carry x to"},
		{"unique in last", two("", ", unique: true"), "tier b is the last: unique"},
		{"key in last", two("", ", key: .x"), "tier b is the last: key"},
		{"useless carry", two(", carry: {x: .x}", ""), `carried field "x" is of no use`},
		{"no key", tiers("  - {name: a, get: /a, items: '.[]'}\n  - {name: b, get: /b}\n"), "tier a: key is missing"},
		{"no items", tiers("  - {name: a, get: /a, key: .id}\n  - {name: b, get: /b}\n"), "tier a: items is missing"},
		{"items unused", tiers("  - {name: a, get: /a, items: '.[]'}\n"), "items are used by nothing"},
		{"rows without table", tiers("  - {name: a, get: /a, rows: .}\n"), "rows without table"},
		{"tier twice", tiers("  - {name: a, get: /a, items: '.[]', key: .}\n  - {name: a, get: /b}\n"), `the name "a" is a tier's already`},
		{"tier name", tiers("  - {name: A b, get: /a}\n"), "a tier's name must be like devices"},
		{"reserved", tiers("  - {name: window, get: /a}\n"), `"window" is a reserved word, and a tier cannot be called that (nor slice, batch, branch, secret, env, status, headers, token)`},
		{"secret in query", tiers("  - {name: a, get: /a, query: {k: '{secret.token}'}}\n"), "secrets are for auth and headers only"},
		{"secret in path", tiers("  - {name: a, get: '/{secret.token}'}\n"), "secrets are for auth and headers only"},
		{"slice without slices", tiers("  - {name: a, get: /a, query: {k: '{slice.to.ms}'}}\n"), "this tier has no pages: {slices: ...}"},
		{"slices unused", tiers("  - {name: a, get: /a, pages: {slices: {step: 2h}}}\n"), "every call would be the same"},
		{"two pagings", tiers("  - {name: a, get: /a, pages: {next_query: .n, cursor: {from: .c, param: c}}}\n"), "pages is one of"},
		{"with unused", tiers("  - {name: a, get: /a, with: {x: '1'}}\n"), `with: "x" is used by nothing`},
		{"setting unused", header + "settings: {x: {default: y}}\ntiers: [{name: a, get: /a}]\n", `setting "x" is used nowhere`},
		{"setting of nothing", header + "settings: {x: {about: y}}\ntiers: [{name: a, get: '/{x}'}]\n", "needs required: true or a default"},
		{"relative get", tiers("  - {name: a, get: a}\n"), "must start with /"},
		{"raw umlaut", tiers("  - {name: a, get: /ä}\n"), "a URL cannot hold"},
		{"explode", tiers("  - {name: a, get: '/a{?window.from.ms*}'}\n"), "modifiers"},
		{"scopes of a refresh token", header + "auth: {oauth2: {token_url: /t, client_id: c, refresh_token: r, scopes: [s]}}\ntiers: [{name: a, get: /a}]\n", "they would not be sent"},
		{"auth twice", header + "auth: {bearer: x, basic: {user: u, password: p}}\ntiers: [{name: a, get: /a}]\n", "auth is one of bearer, basic, api_key, oauth2, login and lmv1"},
		{"a rule's $status", header + "answers: [{when: $status == 409, means: gone}]\ntiers: [{name: a, get: /a}]\n", "4:18: answers: a rule without status is about 2xx answers only"},
		{"a rule's class", header + "answers: [{status: [403, 6xx], means: gone}]\ntiers: [{name: a, get: /a}]\n", `4:26: a status from 200 to 599 such as 403, or a class such as 4xx, is expected, not "6xx"`},
		{"a rule's status", header + "answers: [{status: 99, means: gone}]\ntiers: [{name: a, get: /a}]\n", `4:20: a status from 200 to 599`},
		{"a rule of no status", header + "answers: [{status: [], when: .x, means: gone}]\ntiers: [{name: a, get: /a}]\n", "4:20: no status is given"},
		{"reserved setting", header + "settings: {token: {default: x}}\ntiers: [{name: a, get: /a}]\n", `4:12: "token" is a reserved word, and a setting cannot be called that (nor window,`},
		{"reserved with", tiers("  - {name: a, get: /a, with: {status: x}}\n"), `"status" is a reserved word, and a variable cannot`},
		{"reserved carry", two(", carry: {headers: .x}", ""), `"headers" is a reserved word, and a carried field cannot`},
		{"carry's name", two(", carry: {a-b: .x}", ""), "a carried field's name must be like source"},
		{"taken with", two("", ", with: {a: x}"), `with: the name "a" is taken`},
		{"unquoted in query", two("", ", query: {x: {a}}"), `a text is expected, and YAML takes {a} for fields: quote it: "{a}"`},
		{"unquoted in a path", tiers("  - {name: a, get: {window.from.ms}}\n"), `quote it: "{window.from.ms}"`},
		{"unquoted in a list", two("", ", query: {x: [y, {a}]}"), `quote it: "{a}"`},
		{"unquoted in json", tiers("  - {name: a, post: /a, json: {x: [{window.to.ms}]}}\n"), `YAML takes {window.to.ms} for fields: quote it: "{window.to.ms}"`},
		{"secret in form", tiers("  - {name: a, post: /a, form: {k: '{secret.token}'}}\n"), `auth: {api_key: {value: "{secret.token}", body: NAME}} sends it in a form`},
		{"days", tiers("  - {name: a, get: '/a{?slice.from.ms}', pages: {slices: {step: 7days}}}\n"), `a duration such as 200ms, 15s, 2h or 7d is expected, not "7days"`},
		{"items of rows", tiers("  - {name: a, get: /a, table: t, rows: '{x: .y}', pages: {page: {param: p}}}\n"), "tier a: items is missing: pages of this kind count them, and rows do not begin with a list's path"},
		{"repeated in a path", tiers("  - {name: a, get: /a, items: '.[]', key: .}\n  - {name: b, batch: {size: 2, join: repeat}, get: '/b{?a}'}\n"), "get: {a}: with join: repeat it is the whole value of a query's or form's parameter"},
		{"repeated within", tiers("  - {name: a, get: /a, items: '.[]', key: .}\n  - {name: b, batch: {size: 2, join: repeat}, get: /b, query: {x: 'ids:{a}'}}\n"), "{a}: with join: repeat it is the whole value"},
		{"tables and rows", tiers("  - {name: a, get: /a, rows: '.[]', tables: {x: '.[]'}}\n"), "tables stand in the place of table and rows"},
		{"a table's name", tiers("  - {name: a, get: /a, tables: {X: '.[]'}}\n"), "a table's name must be like metrics"},
		{"tables of a table", tiers("  - {name: a, get: /a, tables: {x: '.['}}\n"), "tables x: jq:"},
		{"items of tables", tiers("  - {name: a, get: /a, tables: {x: '.x[]', y: '.y[]'}, pages: {page: {param: p}}}\n"), "items is missing: pages of this kind count them"},
		{"short_ends", tiers("  - {name: a, get: /a, items: '.[]', pages: {offset: {param: o, short_ends: true}}}\n"), "short_ends needs size"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("v.yaml", []byte(tt.src))
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
			for line := range strings.Lines(err.Error()) {
				if !regexp.MustCompile(`^(v\.yaml:\d+:\d+: |\.\.\. and \d+ more)`).MatchString(line) {
					t.Errorf("line without a place: %s", line)
				}
			}
		})
	}
}

func TestSpecErrorsAreBounded(t *testing.T) {
	src := "name: v\n"
	for i := range 30 {
		src += strings.Repeat("x", i+1) + ": 1\n"
	}
	_, err := Parse("v.yaml", []byte(src))
	if err == nil || len(strings.Split(err.Error(), "\n")) != maxSpecErrors+1 || !strings.HasSuffix(err.Error(), "and 20 more") {
		t.Errorf("%v", err)
	}
}

func TestLimits(t *testing.T) {
	s := mustParse(t, `name: v
base_url: http://h
limits:
  - {name: a, bucket: 200/s, burst: 5}
  - {name: b, window: 500/60s}
  - {name: c, window: 10/1s, in_flight: 3, jitter: 5ms}
  - {name: d, spacing: 200ms}
  - {name: e, in_flight: 4}
  - {name: f, bucket: 1/2h}
  - {name: g, bucket: 9/s, recover: 10m, header: x-ratelimit-limit}
tiers: [{name: a, get: /a}]
`)
	want := []Limit{
		{Name: "a", Kind: Bucket, N: 200, Per: time.Second, Burst: 5},
		{Name: "b", Kind: Sliding, N: 500, Per: time.Minute},
		{Name: "c", Kind: Sliding, N: 10, Per: time.Second, InFlight: 3, Jitter: 5 * time.Millisecond},
		{Name: "d", Kind: Spacing, Spacing: 200 * time.Millisecond},
		{Name: "e", InFlight: 4},
		{Name: "f", Kind: Bucket, N: 1, Per: 2 * time.Hour, Burst: 1},
		{Name: "g", Kind: Bucket, N: 9, Per: time.Second, Burst: 1, Recover: 10 * time.Minute, Said: SaidIn{Limit: "X-Ratelimit-Limit"}},
	}
	if !reflect.DeepEqual(s.limits, want) {
		t.Errorf("got  %+v\nwant %+v", s.limits, want)
	}
	if s := mustParse(t, header+"tiers: [{name: a, get: /a}]\n"); !reflect.DeepEqual(s.limits, unknownLimits) {
		t.Errorf("unknown: %+v", s.limits)
	}
}

func TestBind(t *testing.T) {
	s := mustParse(t, `name: v
base_url: "{base}/x/"
limits: unknown
settings: {base: {default: "http://a"}, acc: {about: the account, required: true}}
tiers: [{name: a, get: "/{acc}"}]
`)
	for _, tt := range []struct {
		settings map[string]string
		want     string
	}{
		{nil, `setting "acc" is missing (the account)`},
		{map[string]string{"acc": "1", "bse": "2"}, `unknown setting "bse": did you mean "base"?`},
		{map[string]string{"acc": "1", "base": "ftp://a"}, "is no URL"},
	} {
		if _, err := s.Bind(tt.settings); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: got %v, want %s", tt.settings, err, tt.want)
		}
	}
	one, err := s.Bind(map[string]string{"acc": "1"})
	if err != nil || one.BaseURL != "http://a/x" {
		t.Fatalf("%v %v", one, err)
	}
	two, err := s.Bind(map[string]string{"acc": "2"})
	if err != nil || one.Hash == two.Hash {
		t.Errorf("settings are not in the hash (%v)", err)
	}
}

// The schema for editors and the decoder must know the same fields.
func TestSchemaNamesTheSameFields(t *testing.T) {
	schema := loadSchema(t)
	defs := schema["$defs"].(map[string]any)
	seen := map[string]bool{"pages": true, "status": true}
	for _, x := range []any{
		document{}, settingField{}, authField{}, basicField{}, apiKeyField{}, lmv1Field{}, oauth2Field{}, loginField{}, tlsField{}, ruleField{}, limitField{}, weightFromField{}, saidHeadersField{}, throttledField{}, timeoutsField{},
		boundsField{}, driftField{}, budgetField{}, defaultsField{}, lakeField{}, lakeTableField{}, tierField{}, pagesKinds{}, offsetField{}, pageField{}, cursorField{}, slicesField{}, expiredField{}, batchField{},
	} {
		typ := reflect.TypeOf(x)
		name := strings.TrimSuffix(typ.Name(), "Field")
		def, _ := defs[name].(map[string]any)
		if name == "document" {
			def = schema
		}
		seen[name] = true
		if def == nil {
			t.Errorf("the schema has no %s", name)
			continue
		}
		var got []string
		for n := range def["properties"].(map[string]any) {
			got = append(got, n)
		}
		want := fieldNames(typ)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) || def["additionalProperties"] != false {
			t.Errorf("%s: the schema has %v, the decoder %v", name, got, want)
		}
	}
	for name := range defs {
		if !seen[name] {
			t.Errorf("the schema's %s is no type of the decoder", name)
		}
	}
}

func loadSchema(t *testing.T) map[string]any {
	t.Helper()
	src, err := os.ReadFile("../../vendors/schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(src, &schema); err != nil {
		t.Fatal(err)
	}
	return schema
}

func TestSchemaJudgesAsTheDecoderDoes(t *testing.T) {
	schema := loadSchema(t)
	good, err := filepath.Glob("../../vendors/*.yaml")
	if err != nil || len(good) < 2 {
		t.Fatal(good, err)
	}
	more, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(more) == 0 {
		t.Fatal(more, err)
	}
	for _, f := range append(good, more...) {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkSchema(t, schema, src); err != "" {
			t.Errorf("%s: %s", f, err)
		}
	}
	bad, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(bad) < 5 {
		t.Fatal(bad, err)
	}
	for _, f := range bad {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkSchema(t, schema, src); err == "" {
			t.Errorf("%s: the schema accepts it", f)
		}
		if _, err := Parse(f, src); err == nil {
			t.Errorf("%s: Parse accepts it", f)
		}
	}
}

func checkSchema(t *testing.T, schema map[string]any, src []byte) string {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(src, &v); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var plain any
	if err := json.Unmarshal(b, &plain); err != nil {
		t.Fatal(err)
	}
	return validate(schema, schema, plain, "$")
}

// validate knows as much of JSON Schema as schema.json uses.
func validate(root, s map[string]any, v any, at string) string {
	if ref, ok := s["$ref"].(string); ok {
		return validate(root, root["$defs"].(map[string]any)[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any), v, at)
	}
	for _, key := range []string{"oneOf", "anyOf"} {
		alts, ok := s[key].([]any)
		if !ok {
			continue
		}
		fits, why := 0, ""
		for _, a := range alts {
			if e := validate(root, a.(map[string]any), v, at); e == "" {
				fits++
			} else {
				why += " / " + e
			}
		}
		if fits == 0 || key == "oneOf" && fits > 1 {
			return at + ": " + key + why
		}
	}
	if c, ok := s["const"]; ok && c != v {
		return at + ": not the constant"
	}
	if e := validateType(s, v); e != "" {
		return at + ": " + e
	}
	switch v := v.(type) {
	case map[string]any:
		return validateObject(root, s, v, at)
	case []any:
		if m, ok := s["minItems"].(float64); ok && len(v) < int(m) {
			return at + ": too few"
		}
		if items, ok := s["items"].(map[string]any); ok {
			for _, x := range v {
				if e := validate(root, items, x, at+"[]"); e != "" {
					return e
				}
			}
		}
	case string:
		if p, ok := s["pattern"].(string); ok && !regexp.MustCompile(p).MatchString(v) {
			return at + ": does not match " + p
		}
		if _, ok := s["minLength"]; ok && v == "" {
			return at + ": empty"
		}
	case float64:
		if m, ok := s["minimum"].(float64); ok && v < m {
			return at + ": too small"
		}
		if m, ok := s["maximum"].(float64); ok && v > m {
			return at + ": too large"
		}
	}
	return ""
}

func validateType(s map[string]any, v any) string {
	var types []any
	switch x := s["type"].(type) {
	case nil:
		return ""
	case string:
		types = []any{x}
	case []any:
		types = x
	}
	is := "null"
	switch x := v.(type) {
	case map[string]any:
		is = "object"
	case []any:
		is = "array"
	case string:
		is = "string"
	case bool:
		is = "boolean"
	case float64:
		is = "number"
		if x == float64(int64(x)) && slices.Contains(types, any("integer")) {
			is = "integer"
		}
	}
	if !slices.Contains(types, any(is)) {
		return "is " + is
	}
	return ""
}

func validateObject(root, s, v map[string]any, at string) string {
	for _, r := range asList(s["required"]) {
		if _, ok := v[r.(string)]; !ok {
			return at + ": without " + r.(string)
		}
	}
	props, _ := s["properties"].(map[string]any)
	for name, x := range v {
		sub, ok := props[name].(map[string]any)
		if !ok {
			switch add := s["additionalProperties"].(type) {
			case bool:
				return at + ": unknown field " + name
			case map[string]any:
				sub = add
			default:
				continue
			}
		}
		if e := validate(root, sub, x, at+"."+name); e != "" {
			return e
		}
	}
	return ""
}

func asList(v any) []any { l, _ := v.([]any); return l }
