package draft_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/internal/draft"
	"github.com/sluicehq/sluice/internal/vendorapi"
)

// What is drafted of samples of many shapes is a spec, and says what was found.
func TestDraft(t *testing.T) {
	type s = draft.Sample
	sample := func(tier, from, body string) s {
		return s{Tier: tier, From: from, Body: []byte(body), Name: tier + ".json"}
	}
	for _, c := range []struct {
		name    string
		base    string
		samples []s
		want    []string
		never   []string
	}{
		{"a root list", "", []s{sample("repos", "https://api.example.org/orgs/acme/repos?per_page=100&page=1", `[{"id":1,"full_name":"acme/a","owner":{"id":7,"login":"acme"}},{"id":2,"full_name":"acme/b","owner":{"id":7,"login":"acme"}}]`),
			sample("issues", "https://api.example.org/repos/acme/b/issues?since=2026-01-01T00:00:00Z", `[{"id":5,"title":"x","created_at":"2026-01-02T03:04:05Z"}]`)},
			[]string{"base_url: 'https://api.example.org'", "get: '/orgs/acme/repos'", "items: '.[]'", "key: '.id'", "pages: {page: {param: 'page', size_param: 'per_page', size: 100}}",
				"'since': '{window.from.rfc3339}'", `rows: '.[] | {repos: $repos} + .'`, "Looks like times: .created_at (rfc3339)", "limits: unknown"}, []string{"per_page': '100"}},
		{"keys in URLs, a carried field, a secret, epochs", "", []s{
			sample("groups", "https://h.example/api/v2/groups?offset=0&limit=2&api_key=SECRET", `{"data":{"items":[{"id":"g-1","name":"one","region":"eu-1"},{"id":"g-2","name":"two","region":"us-1"}],"total":12},"errors":[]}`),
			sample("devices", "https://h.example/api/v2/regions/eu-1/groups/g-1/devices", `{"devices":[{"serial":"a","id":9007199254740993},{"serial":"b","id":9007199254740995}],"next_cursor":"abc"}`),
			sample("data", "https://h.example/api/v2/devices/9007199254740993/data?start=1767225600&end=1767312000&fields=a,b", `{"points":[{"ts":1767225600,"v":1.5}]}`)},
			[]string{"base_url: 'https://h.example/api/v2'", `get: '/regions/{groups_region}/groups/{groups}/devices'`, "carry: {groups_region: '.region'}", "get: '/devices/{devices}/data'",
				"{offset: {param: 'offset', size_param: 'limit', size: 2, total: '.data.total'}}", "items: '.data.items[]'", "'start': '{window.from.epoch}', 'end': '{window.to.epoch}', 'fields': 'a,b'",
				"{cursor: {from: '.next_cursor', param: 'cursor'}}", "is a guess: what does the vendor call it?", `auth: {api_key: {value: "{secret.key}", query: 'api_key'}}`,
				"rows: '.points[] | {groups: $groups, devices: $devices} + .'", "Other lists in the answer: .errors[]", "table: data", ".ts (epoch)"}, []string{"SECRET", "9007199254740993"}},
		{"no URLs", "https://x.example/v1", []s{sample("data-groups", "", `{"list":[{"Name":"a"},{"Name":"b"}],"@odata.nextLink":"https://x.example/v1/next?x=1"}`),
			sample("values", "", `{"time":[1,2,3],"values":[[1,2],[3,4],[5,6]]}`)},
			[]string{"get: '/data-groups'", "next_url: '.[\"@odata.nextLink\"]'", "key: '.Name'", "get: '/data-groups/{data-groups}/values'", "The path is a guess", "The answer looks like columns: .time, .values",
				`rows: '. as $all | range($all.time | length) as $i | {"data-groups": $data_groups, time: $all.time[$i], values: $all.values[$i]}'`}, nil},
		{"named columns", "", []s{sample("a", "", `{"the points":["cpu","mem"],"at":{"t s":[1,2,3]},"values":[[1,2],[3,4],[5,"NaN"]],"nextPageParams":"start=1"}`)},
			[]string{`rows: '. as $all | range($all.values | length) as $i | {"t s": $all.at["t s"][$i]} + ([$all.["the points"], $all.values[$i]] | transpose | map({(.[0]): .[1]}) | add)'`, "next_query: '.nextPageParams'"}, nil},
		{"nothing unique", "", []s{sample("a", "", `{"items":[{"kind":"x","v":null},{"kind":"x","v":null}],"has_more":true}`), sample("b", "", `{"value":1}`)},
			[]string{"NOT unique in the 2 items", "key: '.kind'"}, nil},
		{"one thing in several lists", "", []s{sample("a", "", `{"items":[{"id":1},{"id":2}]}`), sample("b", "", `{"items":[{"id":1},{"id":2}]}`), sample("b", "", `{"items":[{"id":2},{"id":3}]}`), sample("c", "", `{"items":["x","y"]}`)},
			[]string{"There and unique in all 4 items", "Several samples have the same key", `rows: '.items[] | {a: $a, b: $b} + {value: .}'`}, nil},
		{"empty, quoted, one object", "", []s{sample("top", "https://h.example/a'b/{x}?q=%7By%7D&z=it's", `{"it's":[]}`), sample("one", "", `{"name":"x","at":"2026-01-01"}`)},
			[]string{"The list is empty in the sample", `key: '.id'`, `"it's"`, "{{y}}"}, nil},
		{"a form, several keys in one parameter", "", []s{
			{Tier: "monitors", From: "https://h.example/v2/getMonitors?api_key=SECRET&format=json&offset=0&limit=50", Form: true, Body: []byte(`{"monitors":[{"id":777749809},{"id":777712827},{"id":777559666}],"pagination":{"total":3}}`)},
			{Tier: "logs", From: "https://h.example/v2/getMonitors?api_key=SECRET&monitors=777749809-777712827&logs=1", Form: true, Body: []byte(`{"monitors":[{"id":777749809,"logs":[]}]}`)}},
			[]string{"post: '/getMonitors'", "form: {'format': 'json'}", "{offset: {param: 'offset', size_param: 'limit', size: 50, total: '.pagination.total', in: form}}", `auth: {api_key: {value: "{secret.key}", body: 'api_key'}}`,
				"batch: {size: 2, join: '-'}", "form: {'monitors': '{monitors}', 'logs': '1'}", "asked about 2 of monitors at once", "items: '.monitors[]'", "sluice vendor schema"}, []string{"SECRET", "does not use", "$monitors"}},
		{"a request that uses nothing of its node", "", []s{sample("teams", "https://h.example/v2/teams", `{"teams":[{"id":"t-1","zone":"north"},{"id":"t-2","zone":"south"}]}`),
			{Tier: "users", From: "https://h.example/v2/users?limit=5", Post: true, Body: []byte(`[{"name":"kim"}]`)}},
			[]string{"The request does not use {teams}", "post: '/users'", "query: {'limit': '5'}", `# auth: {api_key: {header: X-Api-Key, value: "{secret.key}"}}`}, nil},
		{"several keys, and a field that differs between them", "", []s{sample("teams", "https://h.example/v2/teams", `{"teams":[{"id":"t-1","zone":"north"},{"id":"t-2","zone":"south"}]}`),
			sample("users", "https://h.example/v2/users/t-1,t-2?zone=north", `[{"name":"kim"}]`), sample("more", "https://h.example/v2/users/kim/north", `[1]`)},
			[]string{"get: '/users/{teams}'", "'zone': '{teams_zone}'", "get: '/users/{users}/{teams_zone}'"}, []string{"batch: {size: 2"}},
		{"below a batch", "", []s{sample("teams", "https://h.example/v2/teams", `{"teams":[{"id":"t-1","zone":"north"},{"id":"t-2","zone":"south"}]}`),
			sample("users", "https://h.example/v2/users/t-1,t-2", `[{"name":"kim"}]`), sample("more", "https://h.example/v2/users/kim/north", `[1]`)},
			[]string{"get: '/users/{teams}'", "batch: {size: 2, join: ','}", "get: '/users/{users}/north'", "{users: $users}"}, []string{"$teams"}},
		{"texts, page numbers from the answer", "", []s{sample("names", "https://h.example/names?page_index=0&page_size=50", `{"names":["x","y"],"next_page":1,"page_num":4}`), sample("one", "https://h.example/names/y", `{"a":{"b":[1,2]}}`)},
			[]string{"key: '.'", "get: '/names/{names}'", "page_index"}, nil},
	} {
		text, err := draft.Spec("acme", c.base, c.samples)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		spec, err := vendorapi.Parse("acme.yaml", []byte(text))
		if err != nil {
			t.Errorf("%s: %v\n%s", c.name, err, text)
			continue
		}
		if _, err := spec.Bind(nil); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		for _, w := range c.want {
			if !strings.Contains(text, w) {
				t.Errorf("%s: %q is not in\n%s", c.name, w, text)
			}
		}
		for _, n := range c.never {
			if strings.Contains(text, n) {
				t.Errorf("%s: %q is in\n%s", c.name, n, text)
			}
		}
	}
}

// Each sign of further pages becomes a way to take them.
func TestPages(t *testing.T) {
	for _, c := range []struct{ from, extra, want string }{
		{"", `"next":"https://h.example/list?after=9"`, "{next_url: '.next'}"},
		{"", `"links":{"self":"/list","next":"/list?p=2"}`, "{next_url: '.links.next'}"},
		{"", `"_links":{"self":{"href":"/a"},"next":{"href":"/b"}}`, "{next_url: '._links.next.href'}"},
		{"", `"nextPageParams":"start=5&end=9"`, "{next_query: '.nextPageParams'}"},
		{"", `"nextPageToken":"abc"`, "{cursor: {from: '.nextPageToken', param: 'pageToken'}}"},
		{"?page_token=x", `"nextPageToken":"abc"`, "{cursor: {from: '.nextPageToken', param: 'page_token'}}"},
		{"", `"paging":{"cursors":{"after":"abc"}}`, "{cursor: {from: '.paging.cursors.after', param: 'after'}}"},
		{"?page=1", `"next_page":2`, "{cursor: {from: '.next_page', param: 'page'}}"},
		{"?skip=0&top=50", `"hasMore":true`, "{offset: {param: 'skip', size_param: 'top', size: 50, more: '.hasMore'}}"},
		{"?page=0&size=20", `"totalPages":3,"count":2,"totalElements":55`, "{page: {param: 'page', first: 0, size_param: 'size', size: 20, total: '.totalElements'}}"},
		{"?page=1", `"pages":3`, "{page: {param: 'page', pages: '.pages'}}"},
	} {
		body := `{"items":[{"id":1},{"id":2}],` + c.extra + `}`
		text, err := draft.Spec("acme", "", []draft.Sample{{Tier: "list", From: "https://h.example/list" + c.from, Body: []byte(body)}})
		if err != nil {
			t.Errorf("%s: %v", c.extra, err)
			continue
		}
		if !strings.Contains(text, "pages: "+c.want+"\n") {
			t.Errorf("%s: want %s in\n%s", c.extra, c.want, text)
		}
		if _, err := vendorapi.Parse("acme.yaml", []byte(text)); err != nil {
			t.Errorf("%s: %v\n%s", c.extra, err, text)
		}
	}
}

// Whatever the sample, a draft is a spec or an error, never a panic.
func FuzzDraft(f *testing.F) {
	f.Add("https://h.example/a/b?c=d", `{"items":[{"id":1}],"next":"x"}`, `[1,2,{"a":null}]`)
	f.Add("/x?{y}=%zz&page=0", `{"a'b\n":[{"{id}":"x"}],"total":-1}`, `"text"`)
	f.Fuzz(func(t *testing.T, from, a, b string) {
		text, err := draft.Spec("acme", "", []draft.Sample{{Tier: "a", From: from, Body: []byte(a)}, {Tier: "b", From: from, Body: []byte(b), Form: len(b)%2 == 0}, {Tier: "c", From: from, Body: []byte(a)}})
		if err != nil {
			return
		}
		if _, err := vendorapi.Parse("acme.yaml", []byte(text)); err != nil {
			t.Errorf("%v\n%s", err, text)
		}
	})
}

func TestNoDraft(t *testing.T) {
	for _, c := range []struct {
		samples []draft.Sample
		base    string
		want    string
	}{
		{nil, "", "no sample is given"},
		{[]draft.Sample{{Tier: "A", Body: []byte("{}")}}, "", "cannot be a tier's name"},
		{[]draft.Sample{{Tier: "window", Body: []byte("{}")}}, "", "cannot be a tier's name"},
		{[]draft.Sample{{Tier: "a", Name: "a.json", Body: []byte("{} {}")}}, "", "sample a.json of tier a is no JSON"},
		{[]draft.Sample{{Tier: "a", Body: []byte("{}")}}, "ftp://x", "is none like https"},
	} {
		if _, err := draft.Spec("acme", c.base, c.samples); err == nil || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%v: want %q", err, c.want)
		}
	}
}
