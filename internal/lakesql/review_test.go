package lakesql

import (
	"os"
	"strings"
	"testing"
)

// How a clause was held against its page.
const (
	read  = "read"  // against the page's text
	tried = "tried" // by running it: DuckDB 1.5.5
	known = "known" // against what is generally known of it: the page's text was not at hand
)

// The review of the golden files: which clause follows which page, and what the page
// says. Whoever changes a clause reads its page again and changes the line.
var review = []struct{ engine, clause, page, how, says string }{
	{"duckdb", "CREATE SCHEMA IF NOT EXISTS", duckSchema, tried, "a schema that is there already is no error"},
	{"duckdb", "CREATE OR REPLACE VIEW", duckView, tried, "the query runs each time the view is read: files are found anew"},
	{"duckdb", "read_parquet(", duckParquet, tried, "union_by_name unifies the schemas of files by name, missing columns being NULL"},
	{"duckdb", "/**/*.parquet'", duckGlob, tried, "** matches any number of directories; [ab] is one of these characters, so that [[], [*] and [?] are the characters themselves"},
	{"duckdb", "hive_partitioning = true", duckHive, tried, "key=value directories become columns; filters on them skip files. Seen beside the page: they take the place of a file's column of that name"},
	{"duckdb", "hive_types_autocast = false", duckHive, tried, "DATE, TIMESTAMP and BIGINT are detected in directories' values unless this is switched off"},
	{"duckdb", "SEMI JOIN", duckFrom, tried, "rows of the left side that have a match on the right, each once"},
	{"duckdb", "format = 'newline_delimited'", duckJSON, tried, "each line is a JSON value"},
	{"duckdb", "columns = {run: 'VARCHAR', generation: 'VARCHAR'}", duckJSON, tried, "the fields that are read and their types; nothing is detected, other fields are passed over"},
	{"duckdb", "PROVIDER credential_chain", duckS3, known, "credentials by the AWS SDK's chain, from the extension aws; SCOPE is the prefix that the secret is for"},

	{"athena", "CREATE DATABASE IF NOT EXISTS", athenaDocs + "create-database.html", read, "a database that is there already is no error"},
	{"athena", "CREATE EXTERNAL TABLE", athenaCreate, read, "column names have letters, digits and underscores; those that begin with an underscore stand in backticks; a partition must not be called as a column"},
	{"athena", "LOCATION 's3://acme-data/lake/tables/acme/table=yearly/'", athenaLocation, read, "a trailing slash; all data stored under the prefix are read, those of directories below too; without partitions the location is the base to list from"},
	{"athena", "  `select` string", athenaReserved, read, "reserved words stand in backticks in data definition, in double quotes in queries"},
	{"athena", "-- left out: column", athenaNames, read, "special characters other than the underscore are not supported: what is made with backticks can fail later"},
	{"athena", "STORED AS PARQUET", athenaParquet, read, "the Parquet SerDe; columns are found by name"},
	{"athena", "  `time` timestamp", athenaData, read, "a timestamp has a resolution of milliseconds at most"},
	{"athena", "  `price` decimal(12,2)", athenaCreate, read, "DECIMAL(precision, scale)"},
	{"athena", "'projection.enabled' = 'true'", athenaTemplate, read, "switches projection on; each partition column needs its properties"},
	{"athena", "'projection.date.type' = 'date'", athenaProjection, read, "type, format and range are required; interval and unit default to a day where dates are days"},
	{"athena", "'projection.date.range' = '2026-03-01,NOW+1DAYS'", athenaProjection, read, "two values of the format, inclusive, or NOW with + or - and a count of units; in UTC"},
	{"athena", "'storage.location.template' = 's3://acme-data/lake/tables/acme/table=metrics/date=${date}/'", athenaTemplate, read, "has a placeholder for each partition column and ends with a slash; fixed directories may stand in it"},
	{"athena", "PARTITIONED BY (`date` string)", athenaDate, read, "the key is a string, and conditions compare it with texts of the format"},
	{"athena", "ROW FORMAT SERDE 'org.apache.hive.hcatalog.data.JsonSerDe'", athenaJSON, read, "a JSON document on each line. That other fields are passed over is the SerDe's source's to say, not the page's; OpenX's is told there to give rows at random"},
	{"athena", "CREATE OR REPLACE VIEW", athenaView, read, "an existing view is replaced; the query runs at each use"},

	{"snowflake", "CREATE STORAGE INTEGRATION IF NOT EXISTS", snowIntegration, known, "TYPE, STORAGE_PROVIDER, ENABLED, STORAGE_AWS_ROLE_ARN and STORAGE_ALLOWED_LOCATIONS are required for S3; STORAGE_AWS_EXTERNAL_ID is of one's own choice"},
	{"snowflake", "DESC INTEGRATION", snowRole, known, "shows STORAGE_AWS_IAM_USER_ARN and the external ID for the role's trust policy; the role needs s3:GetObject, s3:GetObjectVersion, s3:ListBucket, s3:GetBucketLocation"},
	{"snowflake", "USE_VECTORIZED_SCANNER = TRUE", snowFormat, read, "USE_LOGICAL_TYPE is then always TRUE and BINARY_AS_TEXT always FALSE; TimestampType(isAdjustedToUtc=True) is TIMESTAMP_LTZ"},
	{"snowflake", "CREATE STAGE IF NOT EXISTS", snowStage, known, "URL, STORAGE_INTEGRATION and FILE_FORMAT = (FORMAT_NAME = ...)"},
	{"snowflake", "COPY INTO SLUICE_INDEX_LOADS", snowCopy, read, "a file that was loaded is passed over unless FORCE, or unless it was modified and staged again, which makes a new checksum"},
	{"snowflake", "METADATA$FILE_LAST_MODIFIED, METADATA$FILE_CONTENT_KEY, METADATA$START_SCAN_TIME", snowMetadata, read, "TIMESTAMP_NTZ; the file's checksum; TIMESTAMP_LTZ at which the reading began. They can be loaded by COPY"},
	{"snowflake", "Snowpipe passes over a file whose", snowTrouble, read, "Snowpipe prevents loading files with the same name even if they were later modified; after 14 days it loads them again; COPY and Snowpipe keep separate histories, and the same files by both are there twice"},
	{"snowflake", "does not support a bucket with versioning", snowSQL + "create-external-table", read, "external tables don't support storage versioning: the lake's bucket has it"},
	{"snowflake", "  SCHEDULE = '5 MINUTE'", snowTask, known, "without WAREHOUSE the task is serverless, USER_TASK_MANAGED_INITIAL_WAREHOUSE_SIZE being its first size"},
	{"snowflake", "ALTER TASK SLUICE_INDEX_TASK RESUME", snowSQL + "alter-task", known, "a task is made suspended"},
	{"snowflake", "QUALIFY CONTENT = FIRST_VALUE(CONTENT) OVER", snowQualify, read, "filters by window functions, after they are computed"},
	{"snowflake", "ADD COLUMN IF NOT EXISTS", snowSQL + "alter-table", read, "a column that is there already is no error"},
	{"snowflake", "$1['_run']::VARCHAR", snowPath, read, "$1[...] is the element of that name, which minds capitals"},
	{"snowflake", "Not MATCH_BY_COLUMN_NAME", snowCopy, read, "Parquet only: with MATCH_BY_COLUMN_NAME an empty column value (\"col1\": \"\") produces an error"},
	{"snowflake", "METADATA$FILENAME,\n    METADATA$FILE_ROW_NUMBER", snowTransform, known, "COPY's SELECT takes elements of $1, casts, and metadata columns"},
	{"snowflake", "SELECT COUNT(*) INTO :loaded", snowScript, known, "SELECT ... INTO :variable; a block is DECLARE ... BEGIN ... END, which EXECUTE IMMEDIATE runs"},
	{"snowflake", "ON_ERROR = ABORT_STATEMENT", snowCopy, read, "the default of COPY: nothing of a load that fails is kept. A pipe's default is SKIP_FILE: nothing of the file"},
	{"snowflake", "  AUTO_INGEST = TRUE", snowPipe, known, "loads files as S3 announces them; AWS_SNS_TOPIC names the topic where there is one"},
	{"snowflake", "CREATE PIPE IF NOT EXISTS", snowManage, read, "most changes need CREATE OR REPLACE, which drops the load history: pause, wait, recreate, resume"},
	{"snowflake", "SHOW PIPES", snowAuto, known, "notification_channel is the ARN of the SQS queue that the bucket's events go to"},
	{"snowflake", "CompleteMultipartUpload", snowTrouble, read, "large files are announced by s3:ObjectCreated:CompleteMultipartUpload: take all object-create events"},
	{"snowflake", "REFRESH", snowSQL + "alter-pipe", known, "queues files of the last seven days that neither the pipe nor the table's history has"},
	{"snowflake", "CREATE OR REPLACE SECURE VIEW", snowSQL + "create-view", known, "readers see the rows, and neither the definition nor what is below"},
	{"snowflake", "PARSE_JSON(", snowParse, read, "'d' allows doubled keys, the last of which counts; else they are an error"},
	{"snowflake", "DELETE FROM", snowSQL + "delete", known, "WHERE with subqueries"},
	{"snowflake-known", "  AWS_SNS_TOPIC = 'arn:aws:sns:eu-central-1:111122223333:lake'", snowPipe, known, "only needed when the bucket's events go to a topic"},
	{"snowflake-known", "SYSTEM$GET_AWS_SNS_IAM_POLICY(", snowAuto, known, "the policy that lets Snowflake's queue subscribe to the topic"},
	{"snowflake-known", "  WAREHOUSE = \"LOAD_WH\"", snowTask, known, "the task runs on that warehouse"},
}

// TestReview: each reviewed clause is in the golden files, and its page is named there.
func TestReview(t *testing.T) {
	files := map[string]string{"duckdb": "duckdb-s3.sql", "athena": "athena.sql", "snowflake": "snowflake.sql", "snowflake-known": "snowflake-known.sql"}
	pages := map[string]bool{}
	for _, r := range review {
		sql, err := os.ReadFile("testdata/" + files[r.engine])
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(sql), r.clause) {
			t.Errorf("%s has no clause %q", files[r.engine], r.clause)
		}
		if !strings.Contains(string(sql), r.page) {
			t.Errorf("%s does not name %s, by which %q goes", files[r.engine], r.page, r.clause)
		}
		if r.says == "" || r.how != read && r.how != tried && r.how != known {
			t.Errorf("nobody has held %q against %s", r.clause, r.page)
		}
		pages[r.page] = true
	}
	// And no page is named that was not read for something.
	for _, file := range files {
		sql, err := os.ReadFile("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for word := range strings.FieldsFuncSeq(string(sql), func(r rune) bool { return strings.ContainsRune(" \n,();'\"", r) }) {
			if page := strings.TrimRight(word, ".:"); strings.HasPrefix(page, "https://") && !pages[page] && !plain(page) {
				t.Errorf("%s names %s, of which the review says nothing", file, page)
			}
		}
	}
}

// plain are pages of statements that have no clause worth a line.
func plain(page string) bool {
	switch strings.TrimPrefix(page, snowDocs) {
	case "sql-reference/sql/create-database", "sql-reference/sql/create-schema", "sql-reference/sql/create-table", "sql-reference/functions/copy_history":
		return true
	}
	return false
}
