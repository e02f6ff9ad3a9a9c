package vendorapi

import (
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/internal/fanout"
)

// The reference's example must be a spec.
func TestReferenceExample(t *testing.T) {
	doc, err := os.ReadFile("../../docs/vendor-spec.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(doc), "```yaml\nname: acme\n")
	src, _, closed := strings.Cut(rest, "```")
	if !ok || !closed {
		t.Fatal("no example in docs/vendor-spec.md")
	}
	if _, err := Parse("docs/vendor-spec.md", []byte("name: acme\n"+src)); err != nil {
		t.Error(err)
	}
}

// So must its shorter ones, in a spec around them.
func TestReferenceFragments(t *testing.T) {
	doc, err := os.ReadFile("../../docs/vendor-spec.md")
	if err != nil {
		t.Fatal(err)
	}
	const one = "tiers: [{name: a, get: /a}]\n"
	for begin, around := range map[string][2]string{
		"limits:\n  - {name: all":           {"name: v\nbase_url: http://h\n", "tiers:\n  - {name: accounts, get: /a, items: '.[]', key: .}\n  - {name: b, post: '/b/{accounts}'}\n"},
		"auth:\n  login:":                   {header, one},
		"auth: {api_key: {header":           {header, one},
		"auth: {api_key: {body":             {header, "  - {name: b, post: '/b/{monitors}', form: {x: 1.5}}\n"},
		"  - name: reports\n    branches":   {header + "tiers:\n  - {name: products, get: /a, items: '.[]', key: .}\n", ""},
		"  - name: details\n    get":        {header + "tiers:\n  - {name: monitors, get: /a, items: '.[]', key: .}\n", ""},
		"- name: devices\n  get: /devices":  {header + "defaults: {items: '.[]'}\ntiers:\n", ""},
		"- name: events\n  for":             {header + "tiers:\n", "- {name: b, get: '/b/{events}'}\n"},
		"answers:\n  - {status: 403, heade": {header, one},
		"lake:\n  dead: 5":                  {header, "tiers: [{name: a, get: /a, tables: {devices: '.[]', metrics: '.[]'}}]\n"},
		"# vendors/acme.yaml":               {header, "tiers: [{name: a, get: /a, tables: {devices: '.[]'}}]\n"},
		"# vendors/globex.yaml":             {header, "tiers: [{name: a, get: /a, items: '.[]', key: ., carry: {site: .}}, {name: b, get: '/b/{a}', tables: {hosts: '.[]'}}]\n"},
	} {
		_, rest, ok := strings.Cut(string(doc), "```yaml\n"+begin)
		src, _, closed := strings.Cut(rest, "```")
		if !ok || !closed {
			t.Errorf("no example %q in docs/vendor-spec.md", begin)
			continue
		}
		if _, err := Parse(begin, []byte(around[0]+begin+src+around[1])); err != nil {
			t.Error(err)
		}
	}
}

// Each field of the language must be explained in the reference.
func TestReferenceNamesAllFields(t *testing.T) {
	doc, err := os.ReadFile("../../docs/vendor-spec.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, def := range loadSchema(t)["$defs"].(map[string]any) {
		props, _ := def.(map[string]any)["properties"].(map[string]any)
		for field := range props {
			if !strings.Contains(string(doc), field) {
				t.Errorf("docs/vendor-spec.md does not name %s of %s", field, name)
			}
		}
	}
}

// A walk of the simulated vendor's tree by its spec, in memory.
func TestSimWalk(t *testing.T) {
	answers := map[string]string{
		"/v1/groups?offset=0&size=1000":                                                                       `{"items":[{"id":"g1"},{"id":"g2"}],"total":2}`,
		"/v1/groups/g1/devices?offset=0&size=1000":                                                            `{"items":[{"id":9007199254740993}]}`,
		"/v1/groups/g2/devices?offset=0&size=1000":                                                            `{"items":[{"id":9007199254740993}]}`,
		"/v1/devices/9007199254740993/datagroups":                                                             `{"data":[{"id":"dg/1 ü","kind":"cpu"}],"next":"p2"}`,
		"/v1/devices/9007199254740993/datagroups?cursor=p2":                                                   `{"data":[],"next":null}`,
		"/v1/devices/9007199254740993/datagroups/dg%2F1%20%C3%BC/data?from=1772323200&to=1772409600&kind=cpu": `{"points":["load","idle"],"times":[1,2],"values":[[1.10,null],[9007199254740993,"NaN"]]}`,
	}
	s, err := Load("../../vendors/sim.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Bind(nil)
	if err != nil {
		t.Fatal(err)
	}
	var asked []string
	c := testClient(t, p, roundTrip(func(r *http.Request) (*http.Response, error) {
		asked = append(asked, r.URL.RequestURI())
		body, ok := answers[r.URL.RequestURI()]
		if !ok || r.URL.Host != "127.0.0.1:8070" || r.Header.Get("Authorization") != "Bearer "+token {
			return answer(404, ""), nil
		}
		return answer(200, body), nil
	}))
	var rows, lake []string
	seen := make(map[string]bool)
	for tasks := p.Root("r", day); len(tasks) > 0; tasks = tasks[1:] {
		task := tasks[0]
		if seen[task.ID] {
			continue
		}
		seen[task.ID] = true
		for cursor := ""; ; {
			page, err := c.Call(t.Context(), task, cursor)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range page.Children {
				tasks = append(tasks, task.Child(p.Below(task.Tier), fanout.Node(n)))
			}
			for row, err := range p.Rows(t.Context(), task, cursor, page.Body) {
				if err != nil {
					t.Fatal(err)
				}
				rows = append(rows, string(row))
			}
			if err := p.LakeRows(t.Context(), task, cursor, page.Body, func(_ string, row []byte) error {
				lake = append(lake, string(row))
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if cursor = page.Next; cursor == "" {
				break
			}
		}
	}
	want := []string{
		`{"datagroup":"dg/1 ü","device":"9007199254740993","idle":null,"load":1.10,"time":1}`,
		`{"datagroup":"dg/1 ü","device":"9007199254740993","idle":"NaN","load":9007199254740993,"time":2}`,
	}
	if !slices.Equal(rows, want) || !slices.Equal(lake, want) || len(asked) != len(answers) {
		t.Errorf("asked\n%s\nrows\n%s", strings.Join(asked, "\n"), strings.Join(rows, "\n"))
	}
}
