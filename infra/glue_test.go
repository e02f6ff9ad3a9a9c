package main

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/internal/lakesql"
	"github.com/sluicehq/sluice/internal/vendorapi"
)

// A described table is what the catalog says of one, or a statement.
type described struct {
	columns    []string // name type, partitions last
	location   string
	properties map[string]string
}

var (
	createTable = regexp.MustCompile("(?s)CREATE EXTERNAL TABLE `[^`]*`\\.`([^`]*)` \\((.*?)\n\\)(.*?);\n")
	columnLine  = regexp.MustCompile("`([^`]*)` ([^,\n)]+(?:\\([0-9,]+\\))?)")
	property    = regexp.MustCompile(`'([^']+)' = '([^']*)'`)
	location    = regexp.MustCompile(`LOCATION '([^']*)'`)
)

// statements takes Athena's statements apart.
func statements(sql string) map[string]described {
	found := map[string]described{}
	for _, m := range createTable.FindAllStringSubmatch(sql, -1) {
		d := described{properties: map[string]string{}}
		partitions, rest, _ := strings.Cut(m[3], "STORED AS")
		for _, c := range append(columnLine.FindAllStringSubmatch(m[2], -1), columnLine.FindAllStringSubmatch(partitions, -1)...) {
			d.columns = append(d.columns, strings.ToLower(c[1])+" "+c[2])
		}
		d.location = location.FindStringSubmatch(m[3])[1]
		for _, p := range property.FindAllStringSubmatch(rest, -1) {
			d.properties[p[1]] = p[2]
		}
		found[m[1]] = d
	}
	return found
}

// catalog is what a stack's tables say.
func catalog(stack *template) map[string]described {
	found := map[string]described{}
	for _, r := range stack.of("AWS::Glue::Table") {
		d := described{properties: map[string]string{}, location: r.text("TableInput", "StorageDescriptor", "Location")}
		for _, path := range [][]any{{"TableInput", "StorageDescriptor", "Columns"}, {"TableInput", "PartitionKeys"}} {
			columns, _ := r.get(path...).([]any)
			for _, c := range columns {
				c := c.(map[string]any)
				d.columns = append(d.columns, fmt.Sprint(c["Name"], " ", c["Type"]))
			}
		}
		for k, v := range r.get("TableInput", "Parameters").(map[string]any) {
			if k != "EXTERNAL" { // what CREATE EXTERNAL sets
				d.properties[k] = fmt.Sprint(v)
			}
		}
		found[r.text("TableInput", "Name")] = d
	}
	return found
}

// TestGlue: the catalog says of each table what the printed statements say.
func TestGlue(t *testing.T) {
	tables := 0
	for v, stack := range vendors(t) {
		db := stack.of("AWS::Glue::Database")[0].text("DatabaseInput", "Name")
		if db != "sluice_"+v.name || stack.of("AWS::Glue::Table")[0].text("DatabaseName") != db {
			t.Errorf("%s: the database is %s", stack.name, db)
		}
		got, want := catalog(stack), statements(lakesql.Athena(lakesql.Place{Root: "s3://" + stack.of("AWS::S3::Bucket")[0].text("BucketName") + "/lake", Vendor: v.name}, sqlTables(v), db))
		if !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))) || len(want) < 2 {
			t.Errorf("%s describes %v, want %v", stack.name, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
		}
		for name, g := range got {
			w := want[name]
			if !slices.Equal(g.columns, w.columns) || g.location != w.location || !maps.Equal(g.properties, w.properties) {
				t.Errorf("%s: the catalog says of %s\n%v %s %v,\nthe statements\n%v %s %v", stack.name, name, g.columns, g.location, g.properties, w.columns, w.location, w.properties)
			}
			tables++
		}
		checkFormats(t, stack)
	}
	if tables < 4 {
		t.Errorf("only %d tables were compared", tables)
	}
}

// checkFormats: what STORED AS PARQUET and the row format stand for.
// https://docs.aws.amazon.com/athena/latest/ug/parquet-serde.html
// https://docs.aws.amazon.com/athena/latest/ug/hive-json-serde.html
func checkFormats(t *testing.T, stack *template) {
	t.Helper()
	for _, r := range stack.of("AWS::Glue::Table") {
		storage := func(path ...any) string { return r.text(append([]any{"TableInput", "StorageDescriptor"}, path...)...) }
		got := storage("SerdeInfo", "SerializationLibrary") + " " + storage("InputFormat")
		want := "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat"
		if r.text("TableInput", "Name") == "published" {
			want = "org.apache.hive.hcatalog.data.JsonSerDe org.apache.hadoop.mapred.TextInputFormat"
		}
		if got != want || r.text("TableInput", "TableType") != "EXTERNAL_TABLE" || r.text("TableInput", "Parameters", "EXTERNAL") != "TRUE" {
			t.Errorf("%v is read by %s, want %s", r, got, want)
		}
	}
}

// sqlTables are a vendor's declared tables as the statements are made from them.
func sqlTables(v *vendor) (out []lakesql.Table) {
	for _, t := range v.plan.Lake.Tables {
		if len(t.Columns) == 0 {
			continue
		}
		s := lakesql.Table{Owner: v.name, Name: t.Name, Template: v.plan.Lake.PathOf(t), FirstDate: v.Lake.FirstDay}
		declared := map[string]string{}
		for _, c := range t.Columns {
			declared[strings.ToLower(c.Name)] = c.Type
		}
		for _, c := range v.tableColumns(t) {
			kind := "text"
			if c.name == "_fetched_at" {
				kind = "timestamp"
			} else if d, ok := declared[c.name]; ok {
				kind = d
			}
			s.Columns = append(s.Columns, lakesql.Column{Name: c.name, Type: kind})
		}
		out = append(out, s)
	}
	return out
}

// TestProjection: where the day stands in a path.
func TestProjection(t *testing.T) {
	dated := []column{{"date", "date"}}
	for _, c := range []struct {
		path          string
		columns       []column
		key, template string
	}{
		{"table={table}/date={date}/run={run}", nil, "date", "date=${date}/"},
		{"table={table}/date={date}/run={run}", dated, "_date", "date=${_date}/"},
		{"table={table}/raw/day={date}/{run}", nil, "day", "raw/day=${day}/"},
		{"table={table}/{date}/{run}", nil, "date", "${date}/"},
		{"table={table}/source={source}/date={date}/run={run}", nil, "", ""},
		{"table={table}/year={year}/month={month}/run={run}", nil, "", ""},
		{"table={table}/run={run}", nil, "", ""},
	} {
		key, template, ok := projection(c.path, c.columns)
		if key != c.key || template != c.template || ok != (c.key != "") {
			t.Errorf("%s: %q, %q, %v", c.path, key, template, ok)
		}
		// The statements are of the same mind.
		sql := lakesql.Athena(lakesql.Place{Root: "s3://b/lake"}, []lakesql.Table{{Owner: "v", Name: "t", Template: c.path, Columns: asSQL(c.columns)}}, "d")
		if said := statements(sql)["t_files"].properties["storage.location.template"]; ok && said != "s3://b/lake/tables/v/table=t/"+template || !ok && said != "" {
			t.Errorf("%s: the statement says %q", c.path, said)
		}
	}
}

func asSQL(columns []column) (out []lakesql.Column) {
	for _, c := range append([]column{{"_run", "text"}}, columns...) {
		out = append(out, lakesql.Column{Name: c.name, Type: "text"})
	}
	return out
}

// TestDeclaredTypes: every type that a spec can declare has one in the catalog.
func TestDeclaredTypes(t *testing.T) {
	env, err := loadEnvironment("testdata/environment.yaml")
	if err != nil {
		t.Fatal(err)
	}
	v := env.Vendors["sim"]
	for declared, want := range map[string]string{
		"text": "string", "int": "bigint", "double": "double", "bool": "boolean", "json": "string", "date": "date",
		"timestamp": "timestamp", "timestamp(s)": "timestamp", "timestamp(ms)": "timestamp", "timestamp(us)": "timestamp", "decimal(12,2)": "decimal(12,2)",
	} {
		got := v.tableColumns(vendorapi.LakeTable{Name: "x", Contract: "freeze", Key: []string{"C"}, Columns: []vendorapi.LakeColumn{{Name: "C", Type: declared}}})
		if last := got[len(got)-1]; last != (column{"c", want}) || got[len(got)-2].name != "_key" {
			t.Errorf("%s: %v, want %s", declared, got, want)
		}
	}
}
