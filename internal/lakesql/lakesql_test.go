package lakesql

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// lineage is what every table's files begin with.
func lineage(tiers ...string) []Column {
	out := []Column{{"_run", "text"}, {"_generation", "text"}, {"_source", "text"}, {"_upload", "text"}}
	for _, tier := range tiers {
		out = append(out, Column{"_" + tier, "text"})
	}
	return append(out, Column{"_fetched_at", "timestamp"})
}

var (
	metrics = Table{
		Owner: "acme", Name: "metrics", Template: "table={table}/date={date}/run={run}", FirstDate: "2026-03-01", LastDate: "2026-03-31",
		Columns: append(lineage("devices", "datagroups"), Column{"device", "text"}, Column{"time", "timestamp(s)"}, Column{"value", "double"}, Column{"count", "int"}, Column{"up", "bool"},
			Column{"labels", "json"}, Column{"day", "date"}, Column{"price", "decimal(12,2)"}, Column{"select", "text"}, Column{"Größe", "double"}, Column{`a "b" c.d`, "text"}, Column{"it's", "json"}, Column{"_variant", "json"}),
	}
	assets = Table{
		Owner: "common", Name: "assets", Common: true, Template: "table={table}/source={source}/date={date}/run={run}", FirstDate: "2026-03-01",
		Columns: append(lineage(), Column{"_key", "text"}, Column{"id", "text"}, Column{"label", "text"}),
	}
	order = Table{
		Owner: "acme", Name: "order", Template: "table={table}/all/day={date}/source={source}/run={run}",
		Columns: append(lineage("orders"), Column{"Day", "text"}, Column{"total", "decimal(18,4)"}),
	}
	yearly = Table{Owner: "acme", Name: "yearly", Template: "table={table}/y={year}/m={month}/d={day}/run={run}", Columns: append(lineage(), Column{"n", "int"})}

	tables = []Table{metrics, order, yearly, assets}
	bucket = Place{Root: "s3://acme-data/lake", Vendor: "acme", Bucket: "acme-data", Prefix: "lake", Region: "eu-central-1"}
	whole  = Place{
		Root: "s3://acme-data/lake/", Vendor: "my-acme", Bucket: "acme-data", Prefix: "lake", Region: "eu-central-1",
		RoleARN: "arn:aws:iam::111122223333:role/snowflake-reads", ExternalID: "acme-lake", TopicARN: "arn:aws:sns:eu-central-1:111122223333:lake",
	}
)

// TestGolden holds the statements to those that were reviewed clause by clause against
// the engines' documentation: see review_test.go.
func TestGolden(t *testing.T) {
	for name, got := range map[string]string{
		"duckdb-s3.sql":           DuckDB(bucket, tables),
		"duckdb-directory.sql":    DuckDB(Place{Root: "/data/it's [new]?/lake", Vendor: "acme"}, []Table{metrics, assets}),
		"athena.sql":              Athena(bucket, tables, "acme"),
		"athena-directory.sql":    Athena(Place{Root: "/data/lake"}, tables, "acme"),
		"snowflake.sql":           Snowflake(bucket, []Table{metrics, assets}, SnowflakeOptions{}),
		"snowflake-known.sql":     Snowflake(whole, tables, SnowflakeOptions{Database: "ANALYTICS", Schema: "raw data", Warehouse: "load_wh"}),
		"snowflake-directory.sql": Snowflake(Place{Root: "/data/lake"}, tables, SnowflakeOptions{}),
	} {
		file := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s: the statements have changed. Review them against the documentation, then: go test ./internal/lakesql -update\n%s", name, firstChange(got, string(want)))
		}
	}
}

func firstChange(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return "got  " + g[i] + "\nwant " + w[i]
		}
	}
	return "one has more lines"
}

// bare is a script without its comments and without all that stands in quotes.
func bare(t *testing.T, sql string, backslash bool) string {
	t.Helper()
	var out strings.Builder
	for i := 0; i < len(sql); i++ {
		switch c := sql[i]; {
		case c == '-' && strings.HasPrefix(sql[i:], "--"):
			for i < len(sql) && sql[i] != '\n' {
				i++
			}
			out.WriteByte('\n')
		case c == '\'' || c == '"' || c == '`':
			for i++; ; i++ {
				if i >= len(sql) {
					t.Fatal("a quote is not closed")
				}
				if sql[i] == '\\' && c == '\'' && backslash {
					i++
				} else if sql[i] == c && i+1 < len(sql) && sql[i+1] == c {
					i++
				} else if sql[i] == c {
					break
				}
			}
			out.WriteString("''")
		default:
			out.WriteByte(c)
		}
	}
	var lines []string
	for line := range strings.Lines(out.String()) {
		if strings.TrimSpace(line) != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// Whatever a name or a place holds, it stays within its quotes: outside of them the
// statements are those of harmless names.
func TestNamesStayInQuotes(t *testing.T) {
	for _, evil := range []string{`x"; DROP TABLE y; --`, `x'; DROP TABLE y; --`, "x`; DROP TABLE y; --", `x\'; DROP TABLE y; --`, `x\"; DROP`, "x\n; DROP TABLE y;\r; DROP\u2028DROP", `$$; DROP TABLE y; $$`, `'`, `"`, "`", `\`, `''`, `x\`} {
		harmless := strings.Repeat("ü", 3)
		statements := func(name string) (out []string) {
			table := Table{Owner: name, Name: name, Template: "table={table}/date={date}/run={run}", FirstDate: "2026-03-01", Columns: append(lineage(), Column{name, "text"}, Column{"x" + name, "json"}, Column{"y" + name, "timestamp"})}
			p := Place{Root: "s3://" + name, Vendor: name, Region: name, RoleARN: name, ExternalID: name, TopicARN: name}
			opt := SnowflakeOptions{Database: name, Schema: name, Warehouse: name}
			return []string{bare(t, DuckDB(p, []Table{table}), false), bare(t, Athena(p, []Table{table}, name), true), bare(t, Snowflake(p, []Table{table}, opt), true)}
		}
		good := statements(harmless)
		for i, got := range statements(evil) {
			if strings.Contains(got, "DROP TABLE y") || strings.Contains(got, "; DROP") && !strings.Contains(good[i], "; DROP") {
				t.Errorf("%q gets out:\n%s", evil, got)
			}
			// The text between $$ is compared by itself: with $$ in a name it is in quotes.
			if !strings.Contains(evil, "$$") && got != good[i] {
				t.Errorf("%q makes other statements: %s", evil, firstChange(got, good[i]))
			}
		}
	}
}

// Every statement is told by which page of the documentation it goes.
func TestStatementsNameTheirPages(t *testing.T) {
	pages := map[string]string{"duckdb": duckDocs, "athena": athenaDocs, "snowflake": snowDocs}
	files, err := filepath.Glob("testdata/*.sql")
	if err != nil || len(files) != 7 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		sql, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		engine, _, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".sql"), "-")
		told := false
		for statement := range strings.SplitSeq(strings.TrimSpace(string(sql)), ";\n\n") {
			if onlyComments(statement) {
				continue
			}
			// Statements that belong together follow each other below one comment.
			if told = told || strings.Contains(statement, pages[engine]); !told {
				t.Errorf("%s: no page is named for %s", file, statement)
			}
			if strings.HasPrefix(statement, "--") && !strings.Contains(statement, pages[engine]) {
				t.Errorf("%s: a comment names no page: %s", file, statement)
			}
		}
	}
}

func onlyComments(s string) bool {
	for line := range strings.Lines(s) {
		if line != "\n" && !strings.HasPrefix(line, "--") {
			return false
		}
	}
	return true
}

// A vendor's directory may be called as a column is. The lake sees to it that none is; if
// one were, no engine may give the one for the other.
func TestColumnsCalledAsDirectories(t *testing.T) {
	table := Table{Owner: "acme", Name: "t", Template: "table={table}/date={date}/run={run}", Columns: append(lineage(), Column{"Date", "text"})}
	if sql := DuckDB(bucket, []Table{table}); !strings.Contains(sql, "hive_partitioning = false") || strings.Contains(sql, `f."date"`) || !strings.Contains(sql, `CAST(f."Date" AS VARCHAR)`) {
		t.Errorf("DuckDB:\n%s", sql)
	}
	if sql := Athena(bucket, []Table{table}, "acme"); !strings.Contains(sql, "PARTITIONED BY (`_date` string)") || !strings.Contains(sql, "/date=${_date}/'") || !strings.Contains(sql, `  f."Date"`) || !strings.Contains(sql, `  f."_date"`) {
		t.Errorf("Athena:\n%s", sql)
	}
	if sql := Snowflake(bucket, []Table{table}, SnowflakeOptions{}); !strings.Contains(sql, `::VARCHAR AS "DATE"`) || !strings.Contains(sql, `AS "DATE_"`) {
		t.Errorf("Snowflake:\n%s", sql)
	}
}

// Names that the engines' own tables would have are evaded.
func TestTablesCalledAsOurs(t *testing.T) {
	var tables []Table
	for _, name := range []string{"a", "a_files", "published", "published_", "sluice_index"} {
		tables = append(tables, Table{Owner: "acme", Name: name, Template: metrics.Template, Columns: lineage()})
	}
	sql := Athena(bucket, tables, "acme")
	for _, want := range []string{"CREATE EXTERNAL TABLE `acme`.`published__` (", "CREATE EXTERNAL TABLE `acme`.`a_files_` (", "CREATE EXTERNAL TABLE `acme`.`a_files_files` (", `CREATE OR REPLACE VIEW "acme"."published" AS`} {
		if strings.Count(sql, want) != 1 {
			t.Errorf("%d times %s", strings.Count(sql, want), want)
		}
	}
}
