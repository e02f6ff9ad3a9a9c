package lakesql

import (
	"fmt"
	"strings"
)

var duckTypes = map[string]string{
	"text": "VARCHAR", "int": "BIGINT", "double": "DOUBLE", "bool": "BOOLEAN", "json": "JSON", "date": "DATE", "timestamp": "TIMESTAMPTZ",
}

const (
	duckDocs    = "https://duckdb.org/docs/stable/"
	duckParquet = duckDocs + "data/parquet/overview"
	duckHive    = duckDocs + "data/partitioning/hive_partitioning"
	duckJSON    = duckDocs + "data/json/loading_json"
	duckFrom    = duckDocs + "sql/query_syntax/from"
	duckS3      = duckDocs + "core_extensions/httpfs/s3api"
	duckGlob    = duckDocs + "data/multiple_files/overview"
	duckSchema  = duckDocs + "sql/statements/create_schema"
	duckView    = duckDocs + "sql/statements/create_view"
)

// DuckDB are the statements for DuckDB 1.1 and later: a view for each table, in a schema
// for each owner.
func DuckDB(p Place, tables []Table) string {
	s := &script{}
	s.say("The lake at "+p.root()+", for DuckDB. Each view is all files of a table, joined with the index of",
		"what is published. Files come and go with the runs: the views find them at each query.",
		"")
	if p.onS3() {
		s.duckS3(p)
	}
	seen := names{}
	for _, t := range tables {
		if schema := strings.ToLower(t.Owner); !seen[schema] {
			seen[schema] = true
			s.say(duckSchema)
			s.do("CREATE SCHEMA IF NOT EXISTS " + quoted(t.Owner))
		}
		s.duckView(p, t)
	}
	return s.String()
}

// duckS3 lets DuckDB into the bucket, with what the shell or the machine has.
func (s *script) duckS3(p Place) {
	s.say(duckS3+": credentials are looked for where AWS's own tools find them.",
		"The role needs s3:ListBucket, and s3:GetObject below tables/ and published/.")
	s.do("INSTALL httpfs")
	s.do("LOAD httpfs")
	s.do("INSTALL aws")
	s.do("LOAD aws")
	lines := []string{"CREATE OR REPLACE SECRET sluice_lake (", "  TYPE s3,", "  PROVIDER credential_chain,"}
	if p.Region != "" {
		lines = append(lines, "  REGION "+literal(p.Region)+",")
	}
	s.do(append(lines, "  SCOPE "+literal(p.root()+"/"), ")")...)
}

// duckView is the view of one table.
func (s *script) duckView(p Place, t Table) {
	s.say("Older files may have fewer columns (union_by_name). Values of directories are texts until they are cast:",
		"a run that is called 2026-03-01 is no date.",
		duckView+", "+duckParquet+",",
		duckHive+", "+duckGlob+" (patterns),",
		duckJSON+", "+duckFrom+" (SEMI JOIN)")
	var cols []string
	for _, c := range t.Columns {
		if !hidden(c.Name) {
			cols = append(cols, fmt.Sprintf("  CAST(f.%s AS %s) AS %[1]s", quoted(c.Name), typed(c, duckTypes, "DECIMAL")))
		}
	}
	hive := true
	for _, g := range t.segments() {
		hive = hive && (g.key == "" || !t.has(g.key))
	}
	hive = hive && !t.has("table")
	if hive {
		for _, g := range t.segments() {
			if g.key != "" {
				cols = append(cols, fmt.Sprintf("  CAST(f.%s AS %s) AS %[1]s", quoted(g.key), duckPartition(g.value)))
			}
		}
	} else {
		s.say("A column is called as a directory is: the directories' values are left out.")
	}
	index := "*"
	if !t.Common {
		index = duckGlobbed(t.Owner)
	}
	root := duckGlobbed(p.root())
	s.do("CREATE OR REPLACE VIEW "+quoted(t.Owner)+"."+quoted(t.Name)+" AS",
		"SELECT",
		strings.Join(cols, ",\n"),
		"FROM read_parquet("+literal(root+"/tables/"+duckGlobbed(t.Owner)+"/table="+duckGlobbed(t.Name)+"/**/*.parquet")+",",
		fmt.Sprintf("  hive_partitioning = %t, hive_types_autocast = false, union_by_name = true) f", hive),
		"SEMI JOIN read_json("+literal(root+"/published/"+index+".ndjson")+",",
		"  format = 'newline_delimited', columns = {run: 'VARCHAR', generation: 'VARCHAR'}) p",
		`  ON f."_run" = p.run AND f."_generation" = p.generation`)
}

// duckPartition is the type of the values of a directory.
func duckPartition(value string) string {
	switch value {
	case "{date}":
		return "DATE"
	case "{year}", "{month}", "{day}":
		return "INTEGER"
	}
	return "VARCHAR"
}

// duckGlobbed keeps the characters of a path from being taken for a pattern.
func duckGlobbed(path string) string {
	return strings.NewReplacer("[", "[[]", "*", "[*]", "?", "[?]").Replace(path)
}
