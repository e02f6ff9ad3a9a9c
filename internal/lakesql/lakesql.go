// Package lakesql writes the statements by which DuckDB, Athena and Snowflake read
// the tables of a lake.
//
// The one idea: all engines follow the same rule. A table is all Parquet files below
// its directory, and of their rows those count whose run and generation stand together
// in the index, published/*.ndjson. So whoever replaces the index switches every table
// for every engine, and nobody who reads is told. Where an engine copies the files
// first (Snowflake), a run counts once all of its rows are there.
//
// Each statement names the page of the engine's documentation that it follows. Names
// and places are quoted as the engine wants them, whatever is in them.
package lakesql

import (
	"regexp"
	"strings"
	"unicode"
)

// A Table is one table of the lake.
type Table struct {
	Owner, Name         string
	Common              bool     // several vendors feed it
	Template            string   // of the place of its files: table={table}/date={date}/run={run}
	Columns             []Column // in the order of the files, lineage too
	FirstDate, LastDate string   // of its runs' windows: 2006-01-02; empty: unknown
}

// A Column is a column of a table's files.
type Column struct {
	Name string
	Type string // text, int, double, bool, json, date, timestamp (of any unit) or decimal(p,s)
}

// A Place is where the lake is, and who reads it.
type Place struct {
	Root   string // s3://bucket/lake, or an absolute directory
	Vendor string
	Bucket string
	Prefix string // within the bucket; empty: all of it
	Region string

	// For Snowflake. What is empty is shown as <what to put there>.
	RoleARN    string // of the role that it reads with
	ExternalID string // that this role wants
	TopicARN   string // that announces new objects; empty: the bucket tells Snowflake's own queue
}

// onS3 tells whether the lake is in a bucket.
func (p Place) onS3() bool { return strings.HasPrefix(p.Root, "s3://") }

func (p Place) root() string { return strings.TrimRight(p.Root, "/") }

// dir is the directory of a table's files.
func (p Place) dir(t Table) string { return p.root() + "/tables/" + t.Owner + "/table=" + t.Name }

// A segment is one directory of a table's template, below that of the table itself.
type segment struct {
	key   string // of key=value; empty: it is no partition
	value string
}

// segments are the directories of t's template below table={table}.
func (t Table) segments() (out []segment) {
	for i, s := range strings.Split(t.Template, "/") {
		key, value, partition := strings.Cut(s, "=")
		switch {
		case i == 0:
		case partition:
			out = append(out, segment{key, value})
		default:
			out = append(out, segment{"", s})
		}
	}
	return out
}

// has tells whether a column is called so; no engine tells capitals from small letters.
func (t Table) has(name string) bool {
	for _, c := range t.Columns {
		if strings.EqualFold(c.Name, name) {
			return true
		}
	}
	return false
}

// free is a name like that one which is not a column's.
func (t Table) free(name string) string {
	for t.has(name) {
		name = "_" + name
	}
	return name
}

// hidden are columns that a view leaves out: which generation a row is of is the
// lake's own business.
func hidden(name string) bool { return name == "_generation" }

var decimalType = regexp.MustCompile(`^decimal\(([0-9]+),([0-9]+)\)$`)

// typed gives the engine's name of a column's type; what is unknown is a text.
func typed(c Column, names map[string]string, decimal string) string {
	kind, _, _ := strings.Cut(c.Type, "(")
	if m := decimalType.FindStringSubmatch(c.Type); m != nil {
		return decimal + "(" + m[1] + "," + m[2] + ")"
	}
	if name, ok := names[kind]; ok {
		return name
	}
	return names["text"]
}

// names hands out names of which no two are the same.
type names map[string]bool

// take is a name like that one which nobody has.
func (n names) take(name string) string {
	for n[strings.ToLower(name)] {
		name += "_"
	}
	n[strings.ToLower(name)] = true
	return name
}

// quoted is a name in double quotes: standard SQL.
func quoted(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// literal is a text in single quotes: standard SQL, in which a backslash is itself.
func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// script collects statements.
type script struct{ strings.Builder }

// say writes a comment, line by line. An empty line ends the comment before it.
func (s *script) say(lines ...string) {
	for _, line := range lines {
		if line == "" {
			s.WriteString("\n")
		}
		for part := range strings.Lines(line) {
			s.WriteString("-- " + strings.Map(printed, strings.TrimSuffix(part, "\n")) + "\n")
		}
	}
}

// printed keeps a name from ending the comment that it stands in.
func printed(r rune) rune {
	if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
		return ' '
	}
	return r
}

// do writes a statement, and an empty line after it.
func (s *script) do(lines ...string) {
	s.WriteString(strings.Join(lines, "\n") + ";\n\n")
}
