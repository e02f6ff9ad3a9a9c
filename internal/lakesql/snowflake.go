package lakesql

import (
	"fmt"
	"regexp"
	"strings"
)

var snowTypes = map[string]string{
	"text": "VARCHAR", "int": "NUMBER(38,0)", "double": "DOUBLE", "bool": "BOOLEAN", "json": "VARCHAR", "date": "DATE", "timestamp": "TIMESTAMP_LTZ(6)",
}

const (
	snowDocs        = "https://docs.snowflake.com/en/"
	snowSQL         = snowDocs + "sql-reference/sql/"
	snowIntegration = snowSQL + "create-storage-integration"
	snowRole        = snowDocs + "user-guide/data-load-s3-config-storage-integration"
	snowFormat      = snowSQL + "create-file-format"
	snowStage       = snowSQL + "create-stage"
	snowCopy        = snowSQL + "copy-into-table"
	snowTransform   = snowDocs + "user-guide/data-load-transform"
	snowMetadata    = snowDocs + "user-guide/querying-metadata"
	snowPipe        = snowSQL + "create-pipe"
	snowAuto        = snowDocs + "user-guide/data-load-snowpipe-auto-s3"
	snowTrouble     = snowDocs + "user-guide/data-load-snowpipe-ts"
	snowTask        = snowSQL + "create-task"
	snowPath        = snowDocs + "user-guide/querying-semistructured"
	snowParse       = snowDocs + "sql-reference/functions/parse_json"
	snowQualify     = snowDocs + "sql-reference/constructs/qualify"
	snowManage      = snowDocs + "user-guide/data-load-snowpipe-manage"
	snowScript      = snowDocs + "developer-guide/snowflake-scripting/variables"
)

// SnowflakeOptions say where in Snowflake the tables are.
type SnowflakeOptions struct {
	Database  string // default SLUICE
	Schema    string // default the vendor's name
	Warehouse string // that loads the index; empty: Snowflake's own, serverless
}

// Snowflake are the statements for Snowflake: a stage, for each table what loads its
// files as they come, and a secure view of the rows that count.
func Snowflake(p Place, tables []Table, opt SnowflakeOptions) string {
	s := &script{}
	if !p.onS3() {
		s.say("The lake at " + p.root() + " is a directory: Snowflake reads lakes in S3.")
		return s.String()
	}
	if opt.Database == "" {
		opt.Database = "SLUICE"
	}
	if opt.Schema == "" {
		opt.Schema = strings.ReplaceAll(p.Vendor, "-", "_")
	}
	s.say("The lake at "+p.root()+", for Snowflake. Names without quotes are in capitals, as Snowflake writes them.",
		"All of it may be run again: what is there stays, and views are made anew.",
		"")
	s.snowIntegration(p)
	s.snowStage(p, opt)
	s.snowIndex(opt)
	taken := names{"sluice_index": true, "sluice_index_loads": true}
	for _, t := range tables {
		taken.take(t.Name)
	}
	var raws []snowTable
	for _, t := range tables {
		raw := snowTable{Table: t, place: p, files: taken.take(t.Name + "_files")}
		raws = append(raws, raw)
		s.snowTable(raw)
		s.snowLoad(raw)
		s.snowView(raw)
	}
	s.snowNotice(p, raws)
	s.snowCleanup(raws)
	return s.String()
}

// snowIntegration is the trust between Snowflake and the role that it reads with.
func (s *script) snowIntegration(p Place) {
	name := snowName("sluice_" + strings.ReplaceAll(p.Vendor, "-", "_"))
	role, id := p.RoleARN, p.ExternalID
	if role == "" {
		role = "<ARN of a role that Snowflake may assume>"
		s.say("To put in: the role that Snowflake reads with. It needs s3:ListBucket, s3:GetBucketLocation, and",
			"s3:GetObject and s3:GetObjectVersion below tables/ and published/.")
	}
	if id == "" {
		id = "<external ID that the role's trust policy names>"
		s.say("To put in: the external ID. It is of your choice.")
	}
	s.say("Not OR REPLACE: a stage is tied to the integration that was there when it was made ("+snowTrouble+").",
		snowIntegration)
	s.do("CREATE STORAGE INTEGRATION IF NOT EXISTS "+name,
		"  TYPE = EXTERNAL_STAGE", "  STORAGE_PROVIDER = 'S3'", "  ENABLED = TRUE",
		"  STORAGE_AWS_ROLE_ARN = "+snowLiteral(role), "  STORAGE_AWS_EXTERNAL_ID = "+snowLiteral(id),
		"  STORAGE_ALLOWED_LOCATIONS = ("+snowLiteral(p.root()+"/tables/")+", "+snowLiteral(p.root()+"/published/")+")")
	s.say("STORAGE_AWS_IAM_USER_ARN is who the role's trust policy must let in, with that external ID:", snowRole)
	s.do("DESC INTEGRATION " + name)
}

// snowStage is what both loads share: the schema, the formats, the stages.
func (s *script) snowStage(p Place, opt SnowflakeOptions) {
	name := snowName("sluice_" + strings.ReplaceAll(p.Vendor, "-", "_"))
	schema := snowName(opt.Database) + "." + snowName(opt.Schema)
	s.say(snowSQL + "create-database, " + snowSQL + "create-schema")
	s.do("CREATE DATABASE IF NOT EXISTS " + snowName(opt.Database))
	s.do("CREATE SCHEMA IF NOT EXISTS " + schema)
	s.do("USE SCHEMA " + schema)
	s.say(snowFormat+": with the vectorized scanner a timestamp adjusted to UTC is a TIMESTAMP_LTZ, an",
		"instant whatever the session's zone; logical types are always read, and bytes are never taken for texts.")
	s.do("CREATE FILE FORMAT IF NOT EXISTS SLUICE_PARQUET", "  TYPE = PARQUET", "  USE_VECTORIZED_SCANNER = TRUE")
	s.do("CREATE FILE FORMAT IF NOT EXISTS SLUICE_JSON", "  TYPE = JSON", "  STRIP_OUTER_ARRAY = FALSE")
	s.say(snowStage)
	s.do("CREATE STAGE IF NOT EXISTS SLUICE_TABLES", "  URL = "+snowLiteral(p.root()+"/tables/"), "  STORAGE_INTEGRATION = "+name, "  FILE_FORMAT = (FORMAT_NAME = 'SLUICE_PARQUET')")
	s.do("CREATE STAGE IF NOT EXISTS SLUICE_PUBLISHED", "  URL = "+snowLiteral(p.root()+"/published/"), "  STORAGE_INTEGRATION = "+name, "  FILE_FORMAT = (FORMAT_NAME = 'SLUICE_JSON')")
}

// snowIndex loads the index, of which each publication makes a new version.
func (s *script) snowIndex(opt SnowflakeOptions) {
	s.say("The index. Each publication replaces a vendor's file, under its old name. Snowpipe passes over a file whose",
		"name it has loaded in the last 14 days, however it has changed ("+snowTrouble+"); an external",
		"table does not support a bucket with versioning ("+snowSQL+"create-external-table). COPY loads a",
		"file again once it has changed ("+snowCopy+"), so a task does that every five minutes. All",
		"versions are kept side by side, and the latest counts.",
		snowMetadata)
	s.do("CREATE TABLE IF NOT EXISTS SLUICE_INDEX_LOADS (",
		"  OWNER VARCHAR, TABLE_NAME VARCHAR, RUN VARCHAR, GENERATION VARCHAR, ROW_COUNT NUMBER(38,0),",
		"  FILE VARCHAR, MODIFIED TIMESTAMP_NTZ, CONTENT VARCHAR, SCANNED TIMESTAMP_LTZ",
		")")
	load := []string{
		"COPY INTO SLUICE_INDEX_LOADS",
		"FROM (",
		"  SELECT $1['owner']::VARCHAR, $1['table_name']::VARCHAR, $1['run']::VARCHAR, $1['generation']::VARCHAR, $1['row_count']::NUMBER(38,0),",
		"    METADATA$FILENAME, METADATA$FILE_LAST_MODIFIED, METADATA$FILE_CONTENT_KEY, METADATA$START_SCAN_TIME",
		"  FROM @SLUICE_PUBLISHED",
		")",
		"FILE_FORMAT = (FORMAT_NAME = 'SLUICE_JSON')",
		"PATTERN = '.*[.]ndjson'",
		"ON_ERROR = ABORT_STATEMENT",
	}
	s.say(snowCopy + ", " + snowTransform)
	s.do(load...)
	s.say("Its owner needs EXECUTE TASK, and EXECUTE MANAGED TASK where it names no warehouse.",
		snowTask+", "+snowSQL+"alter-task (a task is made suspended)")
	who := "  USER_TASK_MANAGED_INITIAL_WAREHOUSE_SIZE = 'XSMALL'"
	if opt.Warehouse != "" {
		who = "  WAREHOUSE = " + snowName(opt.Warehouse)
	}
	s.do(append([]string{"CREATE TASK IF NOT EXISTS SLUICE_INDEX_TASK", who, "  SCHEDULE = '5 MINUTE'", "AS"}, load...)...)
	s.do("ALTER TASK SLUICE_INDEX_TASK RESUME")
	s.say("The latest version of each file: two within one second are told apart by when they were loaded.",
		snowQualify)
	s.do("CREATE OR REPLACE VIEW SLUICE_INDEX AS",
		"SELECT DISTINCT OWNER, TABLE_NAME, RUN, GENERATION, ROW_COUNT",
		"FROM (",
		"  SELECT * FROM SLUICE_INDEX_LOADS",
		"  QUALIFY CONTENT = FIRST_VALUE(CONTENT) OVER (PARTITION BY FILE ORDER BY MODIFIED DESC, SCANNED DESC)",
		")",
		"WHERE RUN IS NOT NULL")
}

var snowPlain = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// snowName is a name in Snowflake: one that needs no quotes is in capitals, so that it
// can be written without.
func snowName(name string) string {
	if snowPlain.MatchString(name) {
		name = strings.ToUpper(name)
	}
	return quoted(name)
}

// snowLiteral is a text in single quotes, in which Snowflake minds backslashes.
func snowLiteral(s string) string { return literal(strings.ReplaceAll(s, `\`, `\\`)) }

// snowField is a column of the file that a row was read from.
func snowField(row, name string) string { return fmt.Sprintf("%s[%s]", row, snowLiteral(name)) }
