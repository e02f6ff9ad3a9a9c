package lakesql

import "strings"

// snowTable is a table as Snowflake has it: where its files' rows are copied to.
type snowTable struct {
	Table
	place Place
	files string
}

// held are the columns that are copied one by one: what rows are joined by, and the
// types that must not depend on how a VARIANT holds them. Those are declared and never
// change. All else is taken from the row itself, so that a column that comes or widens
// needs nothing but a new view.
func (t snowTable) held() (out []Column) {
	for _, c := range t.Columns {
		kind, _, _ := strings.Cut(c.Type, "(")
		if c.Name == "_run" || c.Name == "_generation" || c.Name == "_source" || kind == "timestamp" || kind == "date" || kind == "decimal" {
			out = append(out, c)
		}
	}
	return out
}

// Names of the columns that are not of the file.
func (t snowTable) row() string     { return quoted(t.free("SLUICE_ROW")) }
func (t snowTable) file() string    { return quoted(t.free("SLUICE_FILE")) }
func (t snowTable) line() string    { return quoted(t.free("SLUICE_FILE_ROW")) }
func (t snowTable) scanned() string { return quoted(t.free("SLUICE_SCANNED")) }

// from is the stage's directory with the table's files.
func (t snowTable) from() string {
	return snowLiteral("@SLUICE_TABLES/" + t.Owner + "/table=" + t.Name + "/")
}

// snowTable makes the table that the files are copied into.
func (s *script) snowTable(t snowTable) {
	s.say("Table "+t.Name+" of "+t.Owner+": all rows of all files, as they were read.",
		snowSQL+"create-table, "+snowSQL+"alter-table")
	s.do("CREATE TABLE IF NOT EXISTS "+snowName(t.files)+" (",
		"  "+t.row()+" VARIANT, "+t.file()+" VARCHAR, "+t.line()+" NUMBER(38,0), "+t.scanned()+" TIMESTAMP_LTZ",
		")")
	for _, c := range t.held() {
		s.do("ALTER TABLE " + snowName(t.files) + " ADD COLUMN IF NOT EXISTS " + quoted(c.Name) + " " + typed(c, snowTypes, "NUMBER"))
	}
}

// copyInto is the statement that reads files.
func (t snowTable) copyInto() []string {
	into := []string{t.row(), t.file(), t.line(), t.scanned()}
	from := []string{"$1", "METADATA$FILENAME", "METADATA$FILE_ROW_NUMBER", "METADATA$START_SCAN_TIME"}
	for _, c := range t.held() {
		into = append(into, quoted(c.Name))
		from = append(from, snowField("$1", c.Name)+"::"+typed(c, snowTypes, "NUMBER"))
	}
	return []string{
		"COPY INTO " + snowName(t.files) + " (" + strings.Join(into, ", ") + ")",
		"FROM (",
		"  SELECT " + strings.Join(from, ",\n    "),
		"  FROM " + t.from(),
		")",
		"FILE_FORMAT = (FORMAT_NAME = 'SLUICE_PARQUET')",
		"PATTERN = '.*[.]parquet'",
	}
}

// snowLoad copies the files that are there, and those that come.
func (s *script) snowLoad(t snowTable) {
	s.say("What is there already, once: COPY does not know what a pipe has loaded ("+snowTrouble+").",
		"Not MATCH_BY_COLUMN_NAME: of Parquet files it refuses empty texts.",
		snowCopy+", "+snowTransform+", "+snowPath+" (brackets),",
		snowScript+" (SELECT INTO)")
	body := strings.Join([]string{
		"DECLARE", "  loaded INTEGER;", "BEGIN", "SELECT COUNT(*) INTO :loaded FROM " + snowName(t.files) + ";", "IF (loaded = 0) THEN",
		strings.Join(append(t.copyInto(), "ON_ERROR = ABORT_STATEMENT"), "\n") + ";", "END IF;", "END;",
	}, "\n")
	if strings.Contains(body, "$$") { // a name may hold what ends such a text
		s.do("EXECUTE IMMEDIATE " + snowLiteral(body))
	} else {
		s.do("EXECUTE IMMEDIATE $$\n" + body + "\n$$")
	}
	s.say("What comes. Names of files are made from what is in them, so that a name which the pipe knows is a file",
		"that it has. Not OR REPLACE: a pipe that is made anew has forgotten what it loaded. When a timestamp, a date or",
		"a decimal is declared, pause it, wait, and make it anew: "+snowManage+".",
		snowPipe)
	lines := []string{"CREATE PIPE IF NOT EXISTS " + snowName(t.files+"_pipe"), "  AUTO_INGEST = TRUE"}
	if t.place.TopicARN != "" {
		lines = append(lines, "  AWS_SNS_TOPIC = "+snowLiteral(t.place.TopicARN))
	}
	s.do(append(append(lines, "AS"), t.copyInto()...)...)
}

// snowView is the view of the rows that count.
func (s *script) snowView(t snowTable) {
	s.say("The rows that count. A run counts once as many rows of its generation are there as the index says:",
		"files and index come by different ways, and half a run is none. A run that is published anew is not there",
		"until its new rows are.",
		snowSQL+"create-view, "+snowParse+" ('d': of doubled keys the last; a number of more",
		"than 38 digits becomes a double: its text is in the row as it was read)")
	s.do("CREATE OR REPLACE SECURE VIEW "+snowName(t.Name)+" AS",
		"SELECT",
		strings.Join(t.shown(), ",\n"),
		"FROM "+snowName(t.files)+" f",
		"JOIN (",
		"  SELECT i.RUN, i.GENERATION",
		"  FROM SLUICE_INDEX i",
		"  JOIN "+snowName(t.files)+` r ON r."_run" = i.RUN AND r."_generation" = i.GENERATION`,
		"  WHERE i.OWNER = "+snowLiteral(t.Owner)+" AND i.TABLE_NAME = "+snowLiteral(t.Name),
		"  GROUP BY i.RUN, i.GENERATION, i.ROW_COUNT",
		"  HAVING COUNT(*) = i.ROW_COUNT",
		`) p ON f."_run" = p.RUN AND f."_generation" = p.GENERATION`)
}

// shown are the columns of the view: those of the files, and the directories'.
func (t snowTable) shown() (cols []string) {
	used := names{}
	held := names{}
	for _, c := range t.held() {
		held[c.Name] = true
	}
	for _, c := range t.Columns {
		if hidden(c.Name) {
			continue
		}
		value := snowField("f."+t.row(), c.Name) + "::" + typed(c, snowTypes, "NUMBER")
		switch {
		case held[c.Name]:
			value = "f." + quoted(c.Name)
		case c.Type == "json":
			value = "PARSE_JSON(" + value + ", 'd')"
		}
		cols = append(cols, "  "+value+" AS "+snowName(used.take(c.Name)))
	}
	for _, g := range t.segments() {
		if g.key == "" {
			continue
		}
		value := "REGEXP_SUBSTR(f." + t.file() + ", " + snowLiteral("/"+g.key+"=([^/]*)/") + ", 1, 1, 'e', 1)"
		switch duckPartition(g.value) {
		case "DATE":
			value = "TO_DATE(" + value + ", 'YYYY-MM-DD')"
		case "INTEGER":
			value = "TO_NUMBER(" + value + ")"
		}
		cols = append(cols, "  "+value+" AS "+snowName(used.take(g.key)))
	}
	return cols
}

// snowNotice tells how Snowflake hears of new files.
func (s *script) snowNotice(p Place, tables []snowTable) {
	if p.TopicARN != "" {
		s.say("New files are announced by the topic "+p.TopicARN+": its policy must let Snowflake subscribe, by",
			"what SYSTEM$GET_AWS_SNS_IAM_POLICY says.", snowAuto)
		s.do("SELECT SYSTEM$GET_AWS_SNS_IAM_POLICY(" + snowLiteral(p.TopicARN) + ")")
	} else {
		s.say("notification_channel is the ARN of Snowflake's queue, one for all pipes. The bucket must tell it of all",
			"object-created events (s3:ObjectCreated:*; large files end with CompleteMultipartUpload) below",
			p.root()+"/tables/. "+snowAuto)
		s.do("SHOW PIPES")
	}
	s.say("Once it does, what came in between (of the last seven days; what is loaded is passed over):",
		snowSQL+"alter-pipe")
	for _, t := range tables {
		s.do("ALTER PIPE " + snowName(t.files+"_pipe") + " REFRESH")
	}
}

// snowCleanup deletes what no longer counts.
func (s *script) snowCleanup(tables []snowTable) {
	s.say("Now and then: rows of generations that do not count, and old versions of the index. A week is left to a",
		"publication that is under way.",
		snowSQL+"delete")
	for _, t := range tables {
		name := snowName(t.files)
		s.do("DELETE FROM "+name,
			"WHERE "+t.scanned()+" < DATEADD(day, -7, CURRENT_TIMESTAMP()) AND NOT EXISTS (",
			"  SELECT 1 FROM SLUICE_INDEX i",
			"  WHERE i.OWNER = "+snowLiteral(t.Owner)+" AND i.TABLE_NAME = "+snowLiteral(t.Name),
			"    AND i.RUN = "+name+`."_run" AND i.GENERATION = `+name+`."_generation"`,
			")")
	}
	s.do("DELETE FROM SLUICE_INDEX_LOADS",
		"WHERE SCANNED < DATEADD(day, -7, CURRENT_TIMESTAMP())",
		"  AND (FILE, MODIFIED) NOT IN (SELECT FILE, MAX(MODIFIED) FROM SLUICE_INDEX_LOADS GROUP BY FILE)")
	s.say("A run that stays away has a file that was not loaded, or was loaded twice (a pipe remembers names for 14",
		"days): COPY_HISTORY says why ("+snowDocs+"sql-reference/functions/copy_history). Then delete the",
		"rows of its generation, and copy its files anew:")
	for _, t := range tables {
		name := snowName(t.files)
		s.say("", "DELETE FROM "+name+` WHERE "_generation" = '<generation>';`)
		s.say(strings.Join(append(t.copyInto()[:6:6], "PATTERN = '.*/<generation>-[0-9]+[.]parquet'", "FORCE = TRUE;"), "\n"))
	}
}
