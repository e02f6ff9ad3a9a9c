package vendorapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

const scopedSpec = `
zone: Europe/Berlin
auth: {login: {post: /session/new, json: {user: "{secret.user}"}, token: .token}}
limits:
%s
tiers:
  - {name: accounts, get: /accounts, items: ".[]", key: .id, carry: {plan: .plan}}
  - {name: devices, get: "/account/{accounts}/device/list{?plan}", items: ".[]", key: .id}
  - {name: data, post: "/device/{devices}/data", json: {d: "{devices}"}}
`

func scopedLimits(t *testing.T, limits string) ([]Limit, error) {
	t.Helper()
	s, err := Parse("spec.yaml", []byte("name: acme\nbase_url: https://api.example.com\n"+strings.Replace(scopedSpec, "%s", "  "+limits, 1)))
	if err != nil {
		return nil, err
	}
	return s.limits, nil
}

// Whose calls a limit counts is a list of tiers, whatever the spec says it by.
func TestLimitScopes(t *testing.T) {
	t.Parallel()
	for limit, want := range map[string]Limit{
		"{name: a, window: 100/m, tiers: [devices, data]}":                         {Tiers: []string{"devices", "data"}},
		"{name: a, window: 100/m, method: GET}":                                    {Tiers: []string{"accounts", "devices"}},
		"{name: a, window: 100/m, method: POST}":                                   {Tiers: []string{"data", ""}},
		`{name: a, window: 100/m, path: "/device/*/data"}`:                         {Tiers: []string{"data"}},
		`{name: a, window: 100/m, path: "/device/*"}`:                              {}, // refused: nothing is so short
		`{name: a, window: 100/m, path: "/account/**"}`:                            {Tiers: []string{"devices"}},
		`{name: a, window: 100/m, path: "/account/*/device/list"}`:                 {Tiers: []string{"devices"}},
		`{name: a, window: 100/m, path: "/session/*"}`:                             {Tiers: []string{""}},
		`{name: a, window: 100/m, path: "**", method: POST}`:                       {Tiers: []string{"data", ""}},
		`{name: a, window: 100/m, tiers: [devices, data], method: POST}`:           {Tiers: []string{"data"}},
		"{name: a, window: 100/m, per: accounts}":                                  {Tiers: []string{"devices", "data"}, Each: "accounts"},
		"{name: a, window: 100/m, per: plan, tiers: [data]}":                       {Tiers: []string{"data"}, Each: "plan"},
		"{name: a, window: 100/m, weight: {data: 5}}":                              {Weight: map[string]int{"data": 5}},
		"{name: a, window: 100/m, weight_from: {header: x-cost}, at_most: 9}":      {AtMost: 9, costIn: "X-Cost"},
		"{name: a, calendar: 1000/day}":                                            {Kind: Calendar, N: 1000, Per: 24 * time.Hour},
		"{name: a, calendar: 500/hour, zone: America/Los_Angeles, tiers: [data]}":  {Kind: Calendar, N: 500, Per: time.Hour, Tiers: []string{"data"}},
		"{name: a, window: 100/m, headers: x-ratelimit}":                           {Said: families["x-ratelimit"]},
		"{name: a, window: 100/m, headers: {remaining: x-left, reset: x-again}}":   {Said: SaidIn{Remaining: "X-Left", Reset: "X-Again"}},
		"{name: a, calendar: 100/day, headers: {remaining: x-left, limit: x-all}}": {Kind: Calendar, N: 100, Per: 24 * time.Hour, Said: SaidIn{Remaining: "X-Left", Limit: "X-All"}},
	} {
		got, err := scopedLimits(t, "- "+limit)
		if reflect.DeepEqual(want, Limit{}) {
			if err == nil {
				t.Errorf("%s passes", limit)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", limit, err)
			continue
		}
		if want.Name = "a"; want.Kind == NoRate {
			want.Kind, want.N, want.Per = Sliding, 100, time.Minute
		}
		zone := ""
		if got[0].Zone != nil {
			zone = got[0].Zone.String()
		}
		if wantZone := map[bool]string{true: "Europe/Berlin"}[want.Kind == Calendar]; zone != wantZone && !strings.Contains(limit, zone) {
			t.Errorf("%s: zone %q", limit, zone)
		}
		got[0].Zone = nil
		if !reflect.DeepEqual(got[0], want) {
			t.Errorf("%s:\n got %+v\nwant %+v", limit, got[0], want)
		}
	}
}

// What makes no sense says where, and what would.
func TestLimitScopesRefused(t *testing.T) {
	t.Parallel()
	for limit, want := range map[string]string{
		"{name: a, window: 100/m, tiers: [device]}":                                             `no tier "device": did you mean`,
		"{name: a, window: 100/m, method: PUT}":                                                 "GET or POST",
		"{name: a, window: 100/m, path: /nowhere}":                                              "binds no call",
		"{name: a, in_flight: 3, tiers: [data]}":                                                "in a limit of its own",
		"{name: a, window: 100/m, per: nobody}":                                                 "no key of a tier",
		"{name: a, window: 100/m, per: devices, tiers: [accounts, data]}":                       "at tier accounts the value of",
		"{name: a, window: 100/m, weight: {data: 500}}":                                         "never fits in 100",
		"{name: a, bucket: 100/s, burst: 5, weight: {data: 6}}":                                 "never fits in 5",
		"{name: a, spacing: 1s, weight: {data: 6}}":                                             "bucket, window or calendar",
		"{name: a, window: 9/s, weight: {date: 6}}":                                             `no tier "date"`,
		"{name: a, window: 9/s, weight_from: {header: x}}":                                      "needs at_most",
		"{name: a, window: 9/s, weight_from: {header: x, jq: .x}, at_most: 3}":                  "one of header and jq",
		"{name: a, window: 9/s, weight_from: {jq: .x}, at_most: 3, weight: {data: 2}}":          "not both",
		"{name: a, window: 9/s, at_most: 3}":                                                    "goes with weight_from",
		"{name: a, window: 9/s, zone: UTC}":                                                     "goes with calendar",
		"{name: a, calendar: 9/day, zone: Nowhere}":                                             "IANA",
		"{name: a, calendar: 9/week}":                                                           "1000/day or 500/hour",
		"{name: a, calendar: 9/day, window: 9/s}":                                               "a second rule is a second entry",
		"{name: a, calendar: 9/day, recover: 9s}":                                               "goes with a rate",
		"{name: a, window: 9/s, headers: x-foo}":                                                "no family",
		"{name: a, window: 9/s, headers: {remaining: set-cookie}}":                              "no header that could",
		"{name: a, window: 9/s, header: x-limit, headers: {remaining: x-left}}":                 "not both",
		"{name: a, spacing: 9s, headers: x-ratelimit}":                                          "headers with calendar too",
		"{name: a, window: 9/s, headers: {}}":                                                   "which?",
		"{name: a, window: 9/s, weight_from: {header: X-Auth-Cost}, at_most: 3, tiers: [data]}": "no header that could",
	} {
		_, err := scopedLimits(t, "- "+limit)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "spec.yaml:7:") {
			t.Errorf("%s: %v, want %q", limit, err, want)
		}
	}
}

func TestLimitValue(t *testing.T) {
	t.Parallel()
	s, err := Parse("spec.yaml", []byte("name: acme\nbase_url: https://api.example.com\n"+strings.Replace(scopedSpec, "%s", "  - {name: a, window: 9/s, per: plan}", 1)))
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Bind(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := fanout.Call{Tier: "data", Node: fanout.Node{Path: []string{"a1", "d2"}, Carry: map[string]json.RawMessage{"plan": json.RawMessage(`"gold"`), "n": json.RawMessage(`12`)}}}
	for name, want := range map[string]string{"accounts": "a1", "devices": "d2", "plan": "gold", "n": "12", "none": ""} {
		if got := p.Value(name, c); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if got := p.Value("accounts", fanout.Call{}); got != "" {
		t.Errorf("of no tier: %q", got)
	}
}

// A reset is recognised by its form; nonsense is nothing said.
func TestResetAt(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for v, want := range map[string]time.Duration{
		"1795262430": 30 * time.Second, "1795262430.5": 30*time.Second + 500*time.Millisecond, "1795262430000": 30 * time.Second,
		"30": 30 * time.Second, "2.5": 2500 * time.Millisecond, " 7 ": 7 * time.Second, "86400": 24 * time.Hour,
		"Sat, 21 Nov 2026 12:00:30 GMT": 30 * time.Second, "2026-11-21T12:00:30Z": 30 * time.Second, "2026-11-21T13:00:30+01:00": 30 * time.Second,
		"": 0, "0": 0, "-5": 0, "soon": 0, "NaN": 0, "Inf": 0, "1e300": 0, "90001": 0, "1795262370": 0, "1895262430": 0, "99999999999999999": 0, "12:00:30": 0,
		"2026-11-21T11:00:30Z": 0, "2027-11-21T11:00:30Z": 0,
	} {
		at := resetAt(v, now)
		if got := at.Sub(now); want == 0 && !at.IsZero() || want > 0 && got.Round(time.Millisecond) != want {
			t.Errorf("%q: %v, want %v", v, got, want)
		}
	}
	for v, want := range map[string]int{"0": 0, "12": 12, " 3 ": 3, "40, 40;w=60": 40, "7;w=1": 7, "": -1, "-1": -1, "x": -1, "1e3": -1, "99999999999": -1, "1.5": -1} {
		if n, ok := leftNumber(v); ok != (want >= 0) || ok && n != want {
			t.Errorf("left %q: %d, %v", v, n, ok)
		}
	}
}

// Headers and bodies reach whoever counts, of refused calls too; a refusal that
// names no wait waits for the reset.
func TestSaidOfAnswers(t *testing.T) {
	t.Parallel()
	p := testPlan(t, strings.Replace(spec2(plainList), "limits: unknown", `limits:
  - {name: counted, window: 100/m, headers: {limit: x-all, remaining: x-left, reset: x-again, window: x-window}}
  - {name: cost, window: 1000/m, weight_from: {jq: .cost}, at_most: 20}
  - {name: dear, window: 1000/m, weight_from: {header: x-dear}, at_most: 20}`, 1), nil)
	h, status, body := http.Header{}, 200, ""
	c := testClient(t, p, roundTrip(func(*http.Request) (*http.Response, error) {
		resp := answer(status, body)
		resp.Header = h.Clone()
		return resp, nil
	}))
	call := func(code int, text string, headers ...string) (map[string]fanout.Said, *fanout.CallError) {
		status, body = code, text
		clear(h)
		for i := 0; i < len(headers); i += 2 {
			h.Set(headers[i], headers[i+1])
		}
		page, err := c.Call(t.Context(), root(p), "")
		var ce *fanout.CallError
		if errors.As(err, &ce) {
			return ce.Limits, ce
		}
		if err != nil {
			t.Fatal(err)
		}
		page.Release()
		return page.Limits, nil
	}
	got, _ := call(200, `{"items":[],"cost":7}`, "x-all", "50", "x-left", "12", "x-again", "30", "x-window", "20", "x-dear", "3")
	s := got["counted"]
	if s.Count != 50 || s.Per != 20*time.Second || !s.Counted || s.Left != 12 || time.Until(s.Reset).Round(time.Second) != 30*time.Second || got["cost"].Cost != 7 || got["dear"].Cost != 3 {
		t.Errorf("said %+v", got)
	}
	for body, want := range map[string]int{`{"items":[],"cost":2.2}`: 3, `{"items":[],"cost":"9"}`: 9, `{"items":[],"cost":0}`: 1, `{"items":[],"cost":-1}`: 0, `{"items":[],"cost":null}`: 0, `{"items":[],"cost":{}}`: 0, `{"items":[]}`: 0} {
		if got, _ := call(200, body); got["cost"].Cost != want {
			t.Errorf("%s: %+v, want %d", body, got, want)
		}
	}
	for _, x := range []struct {
		headers []string
		want    time.Duration
	}{
		{[]string{"x-left", "0", "x-again", "30"}, 30 * time.Second},
		{[]string{"x-again", "30"}, 30 * time.Second},
		{[]string{"x-left", "5", "x-again", "30"}, 0}, // it is another limit that is used up
		{[]string{"x-left", "0", "x-again", "30", "retry-after", "3"}, 3 * time.Second},
		{[]string{"x-left", "0", "x-again", "86000"}, maxRetryAfter},
		{[]string{"x-left", "0", "x-again", "nonsense"}, 0},
		{nil, 0},
	} {
		_, ce := call(429, "{}", x.headers...)
		if ce == nil || ce.RetryAfter.Round(time.Second) != x.want {
			t.Errorf("%v: %+v, want %v", x.headers, ce, x.want)
		}
	}
}
