package lake_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// acmeSpec and globexSpec are of vendors of different shapes; each maps its rows to
// the columns of the table assets that they share.
const acmeSpec = `name: acme
base_url: BASE
limits: [{name: calls, bucket: 1000/s, burst: 100}]
lake:
  tables:
    assets: {from: devices, row: '{id: .uuid, label: .name, site: .location.site}', key: [id], common: true, columns: {id: text, label: text, site: text}}
tiers:
  - {name: devices, get: /devices, rows: '.items[]', table: devices}
`

const globexSpec = `name: globex
base_url: BASE
limits: [{name: calls, bucket: 1000/s, burst: 100}]
lake:
  tables:
    assets: {from: hosts, row: '.parts[] | {id: .serial, label: .model, site: $sites}', key: [id], common: true, columns: {id: text, label: text, site: text}}
tiers:
  - {name: sites, get: /sites, items: '.[]', key: .}
  - {name: hosts, get: '/sites/{sites}/hosts', rows: '.[]', table: hosts}
`

// TestCommon: vendors of different shapes feed one table, which is read by source.
func TestCommon(t *testing.T) {
	t.Parallel()
	acme := serve(t, func(*http.Request) string {
		return `{"items":[{"uuid":"a-1","name":"pump","location":{"site":"north"}},{"uuid":"a-2","name":"fan","location":{}}]}`
	})
	globex := serve(t, func(r *http.Request) string {
		if r.URL.Path == "/sites" {
			return `["east","west"]`
		}
		site := strings.Split(r.URL.Path, "/")[2]
		return fmt.Sprintf(`[{"host":"h1","parts":[{"serial":9007199254740993,"model":"rack %[1]s"},{"serial":"a-1","model":"pump"}]},{"host":"h2","parts":[]}]`, site)
	})
	h := newHome(t)
	first := h.spec(t, "acme", strings.Replace(acmeSpec, "BASE", acme, 1))
	second := h.spec(t, "globex", strings.Replace(globexSpec, "BASE", globex, 1))
	h.run(t, 0, "run", first, "--from", day, "--to", nextDay, "--no-progress")
	db := h.duck(t, "acme")
	// The root list has no key: its path is empty.
	own := []string{`a-1 | pump | north | acme | ["a-1"] | []`, `a-2 | fan | null | acme | ["a-2"] | []`}
	const assets = "SELECT id, label, site, _source, _key, _path FROM common.assets"
	same(t, "the first vendor's assets", rows(t, db, assets), own)
	h.run(t, 0, "run", second, "--from", day, "--to", nextDay, "--no-progress")
	all := append(own,
		`9007199254740993 | rack east | east | globex | ["9007199254740993"] | ["east"]`, `a-1 | pump | east | globex | ["a-1"] | ["east"]`,
		`9007199254740993 | rack west | west | globex | ["9007199254740993"] | ["west"]`, `a-1 | pump | west | globex | ["a-1"] | ["west"]`)
	same(t, "both vendors' assets, by statements from before", rows(t, db, assets), all)
	db = h.duck(t, "globex")
	same(t, "both vendors' assets", rows(t, db, assets), all)
	same(t, "the source is a directory too", rows(t, db, "SELECT source, count(*) FROM common.assets WHERE source = _source GROUP BY 1"), []string{"acme | 2", "globex | 4"})
	same(t, "uploads are of one source each", rows(t, db, "SELECT max(n) FROM (SELECT count(DISTINCT _source) n FROM common.assets GROUP BY _upload)"), []string{"1"})
	same(t, "the vendor's own table", rows(t, db, "SELECT host, len(parts::VARCHAR) > 2 FROM globex.hosts"), []string{"h1 | true", "h1 | true", "h2 | false", "h2 | false"})

	h.run(t, 0, "run", first, "--from", day, "--to", nextDay, "--no-progress", "--again")
	same(t, "both vendors' assets, one read again", rows(t, db, assets), all)
}
