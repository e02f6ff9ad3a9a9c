package lakesql

import (
	"fmt"
	"regexp"
	"strings"
)

var athenaTypes = map[string]string{
	"text": "string", "int": "bigint", "double": "double", "bool": "boolean", "json": "string", "date": "date", "timestamp": "timestamp",
}

const (
	athenaDocs       = "https://docs.aws.amazon.com/athena/latest/ug/"
	athenaCreate     = athenaDocs + "create-table.html"
	athenaLocation   = athenaDocs + "tables-location-format.html"
	athenaNames      = athenaDocs + "tables-databases-columns-names.html"
	athenaReserved   = athenaDocs + "reserved-words.html"
	athenaProjection = athenaDocs + "partition-projection-supported-types.html"
	athenaTemplate   = athenaDocs + "partition-projection-setting-up.html"
	athenaDate       = athenaDocs + "partition-projection-kinesis-firehose-example.html"
	athenaJSON       = athenaDocs + "hive-json-serde.html"
	athenaParquet    = athenaDocs + "parquet-serde.html"
	athenaData       = athenaDocs + "data-types.html"
	athenaView       = athenaDocs + "create-view.html"
)

// Athena are the statements for Athena, whose tables stand in the Glue catalog: for each
// table one of its files, and a view of the rows that count.
func Athena(p Place, tables []Table, database string) string {
	s := &script{}
	if !p.onS3() {
		s.say("The lake at " + p.root() + " is a directory: Athena reads lakes in S3.")
		return s.String()
	}
	s.say("The lake at "+p.root()+", for Athena. Run one statement at a time. Tables are only descriptions:",
		"dropping one deletes no file.",
		"", athenaDocs+"create-database.html")
	s.do("CREATE DATABASE IF NOT EXISTS " + ticked(database))
	taken := names{}
	for _, t := range tables {
		taken.take(t.Name)
	}
	published := taken.take("published")
	s.athenaIndex(p, database, published)
	for _, t := range tables {
		files := taken.take(t.Name + "_files")
		s.athenaFiles(p, t, database, files)
		s.athenaView(t, database, files, published)
	}
	return s.String()
}

// athenaIndex is the table of what counts.
func (s *script) athenaIndex(p Place, database, name string) {
	s.say("What counts: a line for each run of each table. Other lines have no run, and a line's other",
		"fields are not asked for.",
		athenaJSON+", "+athenaCreate)
	s.do("DROP TABLE IF EXISTS " + ticked(database) + "." + ticked(name))
	s.do("CREATE EXTERNAL TABLE "+ticked(database)+"."+ticked(name)+" (",
		"  `run` string,",
		"  `generation` string",
		")",
		"ROW FORMAT SERDE 'org.apache.hive.hcatalog.data.JsonSerDe'",
		"LOCATION "+hiveLiteral(p.root()+"/published/"))
}

// athenaFiles is the table of all files of a table.
func (s *script) athenaFiles(p Place, t Table, database, name string) {
	s.say("All files of "+t.Name+": it is read by the view below.",
		athenaCreate+", "+athenaParquet+", "+athenaNames+",",
		athenaReserved+" (backticks), "+athenaData+" (a timestamp is shown to the",
		"millisecond; the files have microseconds, UTC)")
	var cols []string
	for _, c := range t.athenaColumns() {
		cols = append(cols, "  "+ticked(c.Name)+" "+typed(c, athenaTypes, "decimal"))
	}
	for _, c := range t.Columns {
		if !athenaName.MatchString(c.Name) {
			s.say(fmt.Sprintf("left out: column %s. Athena knows letters, digits and underscores: rename the field by a row of the spec's lake.", quoted(c.Name)))
		}
	}
	lines := []string{"CREATE EXTERNAL TABLE " + ticked(database) + "." + ticked(name) + " (", strings.Join(cols, ",\n"), ")"}
	key, template, projected := t.projection()
	properties := []string{"  'classification' = 'parquet'"}
	if projected {
		first := t.FirstDate
		if first == "" {
			first = "2000-01-01"
		}
		s.say("Days are worked out and not looked up, from the first day that is published to tomorrow, UTC:",
			athenaProjection+", "+athenaTemplate+",",
			athenaDate+" (the key is a string). Each day's directories below are read,",
			"too: "+athenaLocation+".",
			"When an earlier day is published, print these statements again: it is not in the range.")
		lines = append(lines, "PARTITIONED BY ("+ticked(key)+" string)")
		properties = append(properties, "  'projection.enabled' = 'true'",
			"  'projection."+key+".type' = 'date'", "  'projection."+key+".format' = 'yyyy-MM-dd'",
			"  'projection."+key+".range' = "+hiveLiteral(first+",NOW+1DAYS"),
			"  'projection."+key+".interval' = '1'", "  'projection."+key+".interval.unit' = 'DAYS'",
			"  'storage.location.template' = "+hiveLiteral(p.dir(t)+"/"+template))
	} else {
		s.say("No partitions: {date} does not come first in the template, or after names only. All directories below",
			"are read: "+athenaLocation+". What is asked for is found by the statistics in the files.")
	}
	lines = append(lines, "STORED AS PARQUET", "LOCATION "+hiveLiteral(p.dir(t)+"/"),
		"TBLPROPERTIES (\n"+strings.Join(properties, ",\n")+"\n)")
	s.do("DROP TABLE IF EXISTS " + ticked(database) + "." + ticked(name))
	s.do(lines...)
}

// athenaView is the view of the rows that count.
func (s *script) athenaView(t Table, database, files, published string) {
	s.say(athenaView + " (names in double quotes: " + athenaReserved + ")")
	var cols []string
	for _, c := range t.athenaColumns() {
		if !hidden(c.Name) {
			cols = append(cols, "  f."+quoted(c.Name))
		}
	}
	if key, _, projected := t.projection(); projected {
		cols = append(cols, "  f."+quoted(key))
	}
	s.do("CREATE OR REPLACE VIEW "+quoted(database)+"."+quoted(t.Name)+" AS",
		"SELECT",
		strings.Join(cols, ",\n"),
		"FROM "+quoted(database)+"."+quoted(files)+" f",
		"JOIN (SELECT DISTINCT run, generation FROM "+quoted(database)+"."+quoted(published)+") p",
		`  ON f."_run" = p.run AND f."_generation" = p.generation`)
}

var athenaName = regexp.MustCompile(`^[A-Za-z0-9_]+$`)

// athenaColumns are those that Athena can name.
func (t Table) athenaColumns() (out []Column) {
	for _, c := range t.Columns {
		if athenaName.MatchString(c.Name) {
			out = append(out, c)
		}
	}
	return out
}

// projection is the key of the day's directory and the template down to it; ok is false
// where what stands before it cannot be worked out.
func (t Table) projection() (key, template string, ok bool) {
	for _, g := range t.segments() {
		switch {
		case g.value == "{date}":
			key = t.free("date")
			if g.key != "" {
				key = t.free(g.key)
				template += g.key + "="
			}
			return key, template + "${" + key + "}/", true
		case strings.Contains(g.value, "{"):
			return "", "", false
		case g.key != "":
			template += g.key + "="
		}
		template += g.value + "/"
	}
	return "", "", false
}

// ticked is a name in backticks: Athena's data definition is Hive's.
func ticked(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// hiveLiteral is a text in single quotes, as Hive reads it.
func hiveLiteral(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}
