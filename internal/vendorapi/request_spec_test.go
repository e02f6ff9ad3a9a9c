package vendorapi

import (
	"strings"
	"testing"
)

func TestRequestAndPageSpecErrors(t *testing.T) {
	tiers := func(s string) string { return header + "tiers:\n" + s }
	one := func(s string) string { return tiers("  - {name: a, get: /a, items: '.[]', " + s + "}\n") }
	for _, tt := range []struct{ name, src, want string }{
		{"get and post", tiers("  - {name: a, get: /a, post: /b}\n"), "v.yaml:5:30: tier a: a tier is one request: get or post"},
		{"neither", tiers("  - {name: a}\n"), "tier a: get is missing, or post"},
		{"post path", tiers("  - {name: a, post: a}\n"), "post: must start with /"},
		{"json of get", one("json: {a: 1}"), "json goes with post"},
		{"form of get", one("form: {a: 1}"), "form goes with post"},
		{"both bodies", tiers("  - {name: a, post: /a, json: {a: 1}, form: {a: 1}}\n"), "a request has one body"},
		{"secret in json", tiers("  - {name: a, post: /a, json: {a: ['{secret.token}']}}\n"), "v.yaml:5:36: {secret.token}: secrets are for auth"},
		{"secret in form", tiers("  - {name: a, post: /a, form: {a: '{secret.token}'}}\n"), "secrets are for auth"},
		{"unknown in json", tiers("  - {name: a, post: /a, json: {a: {b: '{nope}'}}}\n"), "v.yaml:5:39: {nope}: unknown variable"},
		{"jq of json", tiers("  - {name: a, post: /a, json: '{a: $nope}'}\n"), "json: jq: variable not defined: $nope"},
		{"number", tiers("  - {name: a, post: /a, json: {a: 0x10}}\n"), `"0x10" is no number of JSON`},
		{"infinite", tiers("  - {name: a, post: /a, json: {a: .inf}}\n"), `".inf" is no number of JSON`},
		{"json of a number", tiers("  - {name: a, post: /a, json: 5}\n"), "v.yaml:5:31: fields, a list, or the jq"},
		{"repeats", tiers("  - {name: a, post: /a, headers: {Idempotency-Key: x}}\n"), "the client's own"},
		{"part", tiers("  - {name: a, get: /a, items: '.[]', key: {a-b: .x}}\n  - {name: b, get: '/{a}'}\n"), "the name of a key's part must be like owner"},
		{"no parts", tiers("  - {name: a, get: /a, items: '.[]', key: {}}\n  - {name: b, get: '/{a}'}\n"), "has at least one"},
		{"unknown part", tiers("  - {name: a, get: /a, items: '.[]', key: {x: .x}}\n  - {name: b, get: '/{a.y}'}\n"), `{a.y}: unknown variable: did you mean "a.x"?`},
		{"part above unique", tiers("  - {name: a, get: /a, items: '.[]', key: {x: .x}}\n  - {name: b, get: '/{a.x}', items: '.[]', key: ., unique: true}\n  - {name: c, get: '/{b}/{a.x}'}\n"), "{a.x}: it comes from above the unique tier b"},
		{"max_pages without pages", one("table: t, max_pages: 3"), "max_pages goes with pages"},
		{"page without param", one("pages: {page: {first: 0}}"), "page needs param"},
		{"first of two", one("pages: {page: {param: p, first: 2}}"), "0 or 1 is expected"},
		{"size alone", one("pages: {page: {param: p, size: 2}}"), "size_param and size go together"},
		{"in body of get", one("table: t, pages: {cursor: {from: .c, param: c, in: json}}"), "in: json goes with post"},
		{"in form of json", tiers("  - {name: a, post: /a, json: {a: 1}, pages: {cursor: {from: .c, param: c, in: form}}}\n"), "the tier's body is of another kind"},
		{"in nowhere", one("table: t, pages: {cursor: {from: .c, param: c, in: path}}"), `in is one of query, json, form and header, not "path"`},
		{"in a bad header", one("table: t, pages: {cursor: {from: .c, param: Host, in: header}}"), "the client's own"},
		{"in a bad path", tiers("  - {name: a, post: /a, pages: {cursor: {from: .c, param: a..b, in: json}}}\n"), "a path such as page.cursor"},
		{"expired offset", one("pages: {offset: {param: o}, expired: {status: [410]}}"), "expired goes with cursor"},
		{"expired of nothing", one("table: t, pages: {link: true, expired: {}}"), "expired needs status, when, or both"},
		{"expired success", one("table: t, pages: {link: true, expired: {status: [200]}}"), "a status is from 300 to 599"},
		{"link and url", one("table: t, pages: {link: true, next_url: .n}"), "pages is one of offset, page, cursor, next_query, next_url, link and slices"},
		{"optional of nothing", one("table: t, optional: true, rows: .x"), "optional is for items or rows that begin with a list's path"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("v.yaml", []byte(tt.src))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}
