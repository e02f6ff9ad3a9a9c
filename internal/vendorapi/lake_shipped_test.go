package vendorapi

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/sluicehq/sluice/internal/fanout"
)

// The specs that ship: their rows in the lake are those that they are elsewhere, and
// have the fields whose types are declared.
func TestShippedLakes(t *testing.T) {
	carry := func(kv ...string) map[string]json.RawMessage {
		m := make(map[string]json.RawMessage)
		for i := 0; i < len(kv); i += 2 {
			m[kv[i]] = json.RawMessage(kv[i+1])
		}
		return m
	}
	for _, tt := range []struct {
		vendor, tier string
		path         []string
		carry        map[string]json.RawMessage
		body         string
		rows         int
	}{
		{"sim", "data", []string{"d", "g"}, carry("kind", `"cpu"`), `{"points":["percent","bytes"],"times":[1772323200,1772323260],"values":[[1.10,null],["NaN",9007199254740993]]}`, 2},
		{"prometheus", "samples", []string{"j", "i", "s"}, carry("labels", `{"__name__":"up","job":"j","instance":"i"}`, "of_job", `"x"`, "of_instance", `"x"`),
			`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"up","job":"j","instance":"i"},"values":[[1772323200.125,"1"],[1772323260.125,"NaN"],[1772323320.125,"+Inf"],[1.5,"7"]]}]}}`, 3},
		{"icinga2", "data", []string{"h", "h!ping"}, carry("service", `"ping"`),
			`{"results":[{"attrs":{"last_check_result":{"execution_end":1772323200.131532,"state":1.0,"performance_data":["'round trip'=0.250ms;1;2","load=U",{"type":"PerfdataValue","label":"x","value":3,"unit":""},"what"]}}}]}`, 4},
		{"github", "issues", []string{"acme/app"}, nil,
			`[{"number":7,"id":3000000001,"title":"ü","state":"open","user":{"login":"a"},"labels":[{"name":"bug"}],"comments":1,"created_at":"2026-02-01T00:00:00Z","updated_at":"2026-03-01T00:30:00Z","closed_at":null}]`, 1},
		{"github", "comments", []string{"acme/app", "7"}, nil, `[{"id":1,"user":null,"body":"b","created_at":"2026-03-01T00:10:00Z","updated_at":"2026-03-01T00:30:00Z"}]`, 1},
		{"logicmonitor", "data", []string{"1", "2"}, carry("device", `"web"`, "source", `"CPU"`), `{"dataPoints":["busy","idle"],"instances":{"core-0":{"time":[1772323200000],"values":[[1.5,"No Data"]]}},"nextPageParams":""}`, 1},
		{"appannie", "reports", []string{"1", "2", "sales"}, carry("market", `"ios"`, "product", `"p"`), `{"sales_list":[{"date":"2026-03-01","country":"US","units":{"product":{"downloads":3}}}],"next_page":null}`, 1},
		{"appannie", "reports", []string{"1", "2", "ranks"}, carry("market", `"ios"`, "product", `"p"`), `{"product_ranks":[{"country":"US","category":"Games","feed":"free","device":"iphone","ranks":{"2026-03-01":3,"2026-03-02":4}}]}`, 2},
	} {
		s, err := Load("../../vendors/" + tt.vendor + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		settings := map[string]string{}
		if tt.vendor == "logicmonitor" {
			settings["account"] = "acme"
		}
		p, err := s.Bind(settings)
		if err != nil {
			t.Fatal(err)
		}
		c, err := p.call(root(p).Child(tt.tier, fanout.Node{Path: tt.path, Carry: tt.carry}), "")
		if err != nil {
			t.Fatal(err)
		}
		if n := sameRows(t, c, []byte(tt.body)); n != tt.rows {
			t.Errorf("%s: %d rows of tier %s, want %d", tt.vendor, n, tt.tier, tt.rows)
		}
		if err := p.LakeRows(t.Context(), c.task, "", []byte(tt.body), func(table string, row []byte) error {
			var fields map[string]any
			if err := json.Unmarshal(row, &fields); err != nil {
				return err
			}
			declared, _ := p.Lake.Table(table)
			if len(declared.Columns) == 0 {
				t.Errorf("%s: nothing is declared of table %s", tt.vendor, table)
			}
			for _, column := range declared.Columns {
				if _, ok := fields[column.Name]; !ok {
					t.Errorf("%s: table %s declares %s, and a row is %s", tt.vendor, table, column.Name, row)
				}
			}
			return nil
		}); err != nil {
			t.Errorf("%s: %v", tt.vendor, err)
		}
		for _, table := range p.Lake.Tables {
			if !slices.ContainsFunc(p.Tiers, func(t Tier) bool { return slices.Contains(t.Tables, table.Name) }) {
				t.Errorf("%s: no tier has table %s", tt.vendor, table.Name)
			}
		}
	}
}
