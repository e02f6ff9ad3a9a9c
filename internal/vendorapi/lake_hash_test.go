package vendorapi_test

import (
	"strings"
	"testing"

	"github.com/sluicehq/sluice/internal/vendorapi"
)

// TestRowsHash: what decides about rows changes the hash, and nothing else does.
func TestRowsHash(t *testing.T) {
	const spec = `
name: acme
base_url: "https://{account}.example.com"
settings: {account: {default: a}, region: {default: eu}}
limits: [{name: calls, bucket: 10/s}]
tiers:
  - {name: data, get: /data, rows: '.rows[] | {r: $region, x}', table: points}
lake: {tables: {points: {columns: {x: int}}}}
`
	of := func(text string, settings map[string]string) string {
		s, err := vendorapi.Parse("acme.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		p, err := s.Bind(settings)
		if err != nil {
			t.Fatal(err)
		}
		return p.RowsHash
	}
	first := of(spec, nil)
	for what, c := range map[string]struct {
		hash string
		same bool
	}{
		"a limit":                     {of(strings.Replace(spec, "10/s", "20/s", 1), nil), true},
		"a comment":                   {of(spec+"# more\n", nil), true},
		"a setting of the address":    {of(spec, map[string]string{"account": "b"}), true},
		"a setting that rows use":     {of(spec, map[string]string{"region": "us"}), false},
		"the rows":                    {of(strings.Replace(spec, ", x}", ", x: .y}", 1), nil), false},
		"a declared type":             {of(strings.Replace(spec, "x: int", "x: text", 1), nil), false},
		"the zone, and so the window": {of(spec+"zone: Europe/Berlin\n", nil), false},
	} {
		if (c.hash == first) != c.same {
			t.Errorf("%s: the same hash: %v", what, c.hash == first)
		}
	}
}
