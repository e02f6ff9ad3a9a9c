-- The lake at s3://acme-data/lake, for Snowflake. Names without quotes are in capitals, as Snowflake writes them.
-- All of it may be run again: what is there stays, and views are made anew.

-- To put in: the role that Snowflake reads with. It needs s3:ListBucket, s3:GetBucketLocation, and
-- s3:GetObject and s3:GetObjectVersion below tables/ and published/.
-- To put in: the external ID. It is of your choice.
-- Not OR REPLACE: a stage is tied to the integration that was there when it was made (https://docs.snowflake.com/en/user-guide/data-load-snowpipe-ts).
-- https://docs.snowflake.com/en/sql-reference/sql/create-storage-integration
CREATE STORAGE INTEGRATION IF NOT EXISTS "SLUICE_ACME"
  TYPE = EXTERNAL_STAGE
  STORAGE_PROVIDER = 'S3'
  ENABLED = TRUE
  STORAGE_AWS_ROLE_ARN = '<ARN of a role that Snowflake may assume>'
  STORAGE_AWS_EXTERNAL_ID = '<external ID that the role''s trust policy names>'
  STORAGE_ALLOWED_LOCATIONS = ('s3://acme-data/lake/tables/', 's3://acme-data/lake/published/');

-- STORAGE_AWS_IAM_USER_ARN is who the role's trust policy must let in, with that external ID:
-- https://docs.snowflake.com/en/user-guide/data-load-s3-config-storage-integration
DESC INTEGRATION "SLUICE_ACME";

-- https://docs.snowflake.com/en/sql-reference/sql/create-database, https://docs.snowflake.com/en/sql-reference/sql/create-schema
CREATE DATABASE IF NOT EXISTS "SLUICE";

CREATE SCHEMA IF NOT EXISTS "SLUICE"."ACME";

USE SCHEMA "SLUICE"."ACME";

-- https://docs.snowflake.com/en/sql-reference/sql/create-file-format: with the vectorized scanner a timestamp adjusted to UTC is a TIMESTAMP_LTZ, an
-- instant whatever the session's zone; logical types are always read, and bytes are never taken for texts.
CREATE FILE FORMAT IF NOT EXISTS SLUICE_PARQUET
  TYPE = PARQUET
  USE_VECTORIZED_SCANNER = TRUE;

CREATE FILE FORMAT IF NOT EXISTS SLUICE_JSON
  TYPE = JSON
  STRIP_OUTER_ARRAY = FALSE;

-- https://docs.snowflake.com/en/sql-reference/sql/create-stage
CREATE STAGE IF NOT EXISTS SLUICE_TABLES
  URL = 's3://acme-data/lake/tables/'
  STORAGE_INTEGRATION = "SLUICE_ACME"
  FILE_FORMAT = (FORMAT_NAME = 'SLUICE_PARQUET');

CREATE STAGE IF NOT EXISTS SLUICE_PUBLISHED
  URL = 's3://acme-data/lake/published/'
  STORAGE_INTEGRATION = "SLUICE_ACME"
  FILE_FORMAT = (FORMAT_NAME = 'SLUICE_JSON');

-- The index. Each publication replaces a vendor's file, under its old name. Snowpipe passes over a file whose
-- name it has loaded in the last 14 days, however it has changed (https://docs.snowflake.com/en/user-guide/data-load-snowpipe-ts); an external
-- table does not support a bucket with versioning (https://docs.snowflake.com/en/sql-reference/sql/create-external-table). COPY loads a
-- file again once it has changed (https://docs.snowflake.com/en/sql-reference/sql/copy-into-table), so a task does that every five minutes. All
-- versions are kept side by side, and the latest counts.
-- https://docs.snowflake.com/en/user-guide/querying-metadata
CREATE TABLE IF NOT EXISTS SLUICE_INDEX_LOADS (
  OWNER VARCHAR, TABLE_NAME VARCHAR, RUN VARCHAR, GENERATION VARCHAR, ROW_COUNT NUMBER(38,0),
  FILE VARCHAR, MODIFIED TIMESTAMP_NTZ, CONTENT VARCHAR, SCANNED TIMESTAMP_LTZ
);

-- https://docs.snowflake.com/en/sql-reference/sql/copy-into-table, https://docs.snowflake.com/en/user-guide/data-load-transform
COPY INTO SLUICE_INDEX_LOADS
FROM (
  SELECT $1['owner']::VARCHAR, $1['table_name']::VARCHAR, $1['run']::VARCHAR, $1['generation']::VARCHAR, $1['row_count']::NUMBER(38,0),
    METADATA$FILENAME, METADATA$FILE_LAST_MODIFIED, METADATA$FILE_CONTENT_KEY, METADATA$START_SCAN_TIME
  FROM @SLUICE_PUBLISHED
)
FILE_FORMAT = (FORMAT_NAME = 'SLUICE_JSON')
PATTERN = '.*[.]ndjson'
ON_ERROR = ABORT_STATEMENT;

-- Its owner needs EXECUTE TASK, and EXECUTE MANAGED TASK where it names no warehouse.
-- https://docs.snowflake.com/en/sql-reference/sql/create-task, https://docs.snowflake.com/en/sql-reference/sql/alter-task (a task is made suspended)
CREATE TASK IF NOT EXISTS SLUICE_INDEX_TASK
  USER_TASK_MANAGED_INITIAL_WAREHOUSE_SIZE = 'XSMALL'
  SCHEDULE = '5 MINUTE'
AS
COPY INTO SLUICE_INDEX_LOADS
FROM (
  SELECT $1['owner']::VARCHAR, $1['table_name']::VARCHAR, $1['run']::VARCHAR, $1['generation']::VARCHAR, $1['row_count']::NUMBER(38,0),
    METADATA$FILENAME, METADATA$FILE_LAST_MODIFIED, METADATA$FILE_CONTENT_KEY, METADATA$START_SCAN_TIME
  FROM @SLUICE_PUBLISHED
)
FILE_FORMAT = (FORMAT_NAME = 'SLUICE_JSON')
PATTERN = '.*[.]ndjson'
ON_ERROR = ABORT_STATEMENT;

ALTER TASK SLUICE_INDEX_TASK RESUME;

-- The latest version of each file: two within one second are told apart by when they were loaded.
-- https://docs.snowflake.com/en/sql-reference/constructs/qualify
CREATE OR REPLACE VIEW SLUICE_INDEX AS
SELECT DISTINCT OWNER, TABLE_NAME, RUN, GENERATION, ROW_COUNT
FROM (
  SELECT * FROM SLUICE_INDEX_LOADS
  QUALIFY CONTENT = FIRST_VALUE(CONTENT) OVER (PARTITION BY FILE ORDER BY MODIFIED DESC, SCANNED DESC)
)
WHERE RUN IS NOT NULL;

-- Table metrics of acme: all rows of all files, as they were read.
-- https://docs.snowflake.com/en/sql-reference/sql/create-table, https://docs.snowflake.com/en/sql-reference/sql/alter-table
CREATE TABLE IF NOT EXISTS "METRICS_FILES" (
  "SLUICE_ROW" VARIANT, "SLUICE_FILE" VARCHAR, "SLUICE_FILE_ROW" NUMBER(38,0), "SLUICE_SCANNED" TIMESTAMP_LTZ
);

ALTER TABLE "METRICS_FILES" ADD COLUMN IF NOT EXISTS "_run" VARCHAR;

ALTER TABLE "METRICS_FILES" ADD COLUMN IF NOT EXISTS "_generation" VARCHAR;

ALTER TABLE "METRICS_FILES" ADD COLUMN IF NOT EXISTS "_source" VARCHAR;

ALTER TABLE "METRICS_FILES" ADD COLUMN IF NOT EXISTS "_fetched_at" TIMESTAMP_LTZ(6);

ALTER TABLE "METRICS_FILES" ADD COLUMN IF NOT EXISTS "time" TIMESTAMP_LTZ(6);

ALTER TABLE "METRICS_FILES" ADD COLUMN IF NOT EXISTS "day" DATE;

ALTER TABLE "METRICS_FILES" ADD COLUMN IF NOT EXISTS "price" NUMBER(12,2);

-- What is there already, once: COPY does not know what a pipe has loaded (https://docs.snowflake.com/en/user-guide/data-load-snowpipe-ts).
-- Not MATCH_BY_COLUMN_NAME: of Parquet files it refuses empty texts.
-- https://docs.snowflake.com/en/sql-reference/sql/copy-into-table, https://docs.snowflake.com/en/user-guide/data-load-transform, https://docs.snowflake.com/en/user-guide/querying-semistructured (brackets),
-- https://docs.snowflake.com/en/developer-guide/snowflake-scripting/variables (SELECT INTO)
EXECUTE IMMEDIATE $$
DECLARE
  loaded INTEGER;
BEGIN
SELECT COUNT(*) INTO :loaded FROM "METRICS_FILES";
IF (loaded = 0) THEN
COPY INTO "METRICS_FILES" ("SLUICE_ROW", "SLUICE_FILE", "SLUICE_FILE_ROW", "SLUICE_SCANNED", "_run", "_generation", "_source", "_fetched_at", "time", "day", "price")
FROM (
  SELECT $1,
    METADATA$FILENAME,
    METADATA$FILE_ROW_NUMBER,
    METADATA$START_SCAN_TIME,
    $1['_run']::VARCHAR,
    $1['_generation']::VARCHAR,
    $1['_source']::VARCHAR,
    $1['_fetched_at']::TIMESTAMP_LTZ(6),
    $1['time']::TIMESTAMP_LTZ(6),
    $1['day']::DATE,
    $1['price']::NUMBER(12,2)
  FROM '@SLUICE_TABLES/acme/table=metrics/'
)
FILE_FORMAT = (FORMAT_NAME = 'SLUICE_PARQUET')
PATTERN = '.*[.]parquet'
ON_ERROR = ABORT_STATEMENT;
END IF;
END;
$$;

-- What comes. Names of files are made from what is in them, so that a name which the pipe knows is a file
-- that it has. Not OR REPLACE: a pipe that is made anew has forgotten what it loaded. When a timestamp, a date or
-- a decimal is declared, pause it, wait, and make it anew: https://docs.snowflake.com/en/user-guide/data-load-snowpipe-manage.
-- https://docs.snowflake.com/en/sql-reference/sql/create-pipe
CREATE PIPE IF NOT EXISTS "METRICS_FILES_PIPE"
  AUTO_INGEST = TRUE
AS
COPY INTO "METRICS_FILES" ("SLUICE_ROW", "SLUICE_FILE", "SLUICE_FILE_ROW", "SLUICE_SCANNED", "_run", "_generation", "_source", "_fetched_at", "time", "day", "price")
FROM (
  SELECT $1,
    METADATA$FILENAME,
    METADATA$FILE_ROW_NUMBER,
    METADATA$START_SCAN_TIME,
    $1['_run']::VARCHAR,
    $1['_generation']::VARCHAR,
    $1['_source']::VARCHAR,
    $1['_fetched_at']::TIMESTAMP_LTZ(6),
    $1['time']::TIMESTAMP_LTZ(6),
    $1['day']::DATE,
    $1['price']::NUMBER(12,2)
  FROM '@SLUICE_TABLES/acme/table=metrics/'
)
FILE_FORMAT = (FORMAT_NAME = 'SLUICE_PARQUET')
PATTERN = '.*[.]parquet';

-- The rows that count. A run counts once as many rows of its generation are there as the index says:
-- files and index come by different ways, and half a run is none. A run that is published anew is not there
-- until its new rows are.
-- https://docs.snowflake.com/en/sql-reference/sql/create-view, https://docs.snowflake.com/en/sql-reference/functions/parse_json ('d': of doubled keys the last; a number of more
-- than 38 digits becomes a double: its text is in the row as it was read)
CREATE OR REPLACE SECURE VIEW "METRICS" AS
SELECT
  f."_run" AS "_RUN",
  f."_source" AS "_SOURCE",
  f."SLUICE_ROW"['_upload']::VARCHAR AS "_UPLOAD",
  f."SLUICE_ROW"['_devices']::VARCHAR AS "_DEVICES",
  f."SLUICE_ROW"['_datagroups']::VARCHAR AS "_DATAGROUPS",
  f."_fetched_at" AS "_FETCHED_AT",
  f."SLUICE_ROW"['device']::VARCHAR AS "DEVICE",
  f."time" AS "TIME",
  f."SLUICE_ROW"['value']::DOUBLE AS "VALUE",
  f."SLUICE_ROW"['count']::NUMBER(38,0) AS "COUNT",
  f."SLUICE_ROW"['up']::BOOLEAN AS "UP",
  PARSE_JSON(f."SLUICE_ROW"['labels']::VARCHAR, 'd') AS "LABELS",
  f."day" AS "DAY",
  f."price" AS "PRICE",
  f."SLUICE_ROW"['select']::VARCHAR AS "SELECT",
  f."SLUICE_ROW"['Größe']::DOUBLE AS "Größe",
  f."SLUICE_ROW"['a "b" c.d']::VARCHAR AS "a ""b"" c.d",
  PARSE_JSON(f."SLUICE_ROW"['it''s']::VARCHAR, 'd') AS "it's",
  PARSE_JSON(f."SLUICE_ROW"['_variant']::VARCHAR, 'd') AS "_VARIANT",
  TO_DATE(REGEXP_SUBSTR(f."SLUICE_FILE", '/date=([^/]*)/', 1, 1, 'e', 1), 'YYYY-MM-DD') AS "DATE",
  REGEXP_SUBSTR(f."SLUICE_FILE", '/run=([^/]*)/', 1, 1, 'e', 1) AS "RUN"
FROM "METRICS_FILES" f
JOIN (
  SELECT i.RUN, i.GENERATION
  FROM SLUICE_INDEX i
  JOIN "METRICS_FILES" r ON r."_run" = i.RUN AND r."_generation" = i.GENERATION
  WHERE i.OWNER = 'acme' AND i.TABLE_NAME = 'metrics'
  GROUP BY i.RUN, i.GENERATION, i.ROW_COUNT
  HAVING COUNT(*) = i.ROW_COUNT
) p ON f."_run" = p.RUN AND f."_generation" = p.GENERATION;

-- Table assets of common: all rows of all files, as they were read.
-- https://docs.snowflake.com/en/sql-reference/sql/create-table, https://docs.snowflake.com/en/sql-reference/sql/alter-table
CREATE TABLE IF NOT EXISTS "ASSETS_FILES" (
  "SLUICE_ROW" VARIANT, "SLUICE_FILE" VARCHAR, "SLUICE_FILE_ROW" NUMBER(38,0), "SLUICE_SCANNED" TIMESTAMP_LTZ
);

ALTER TABLE "ASSETS_FILES" ADD COLUMN IF NOT EXISTS "_run" VARCHAR;

ALTER TABLE "ASSETS_FILES" ADD COLUMN IF NOT EXISTS "_generation" VARCHAR;

ALTER TABLE "ASSETS_FILES" ADD COLUMN IF NOT EXISTS "_source" VARCHAR;

ALTER TABLE "ASSETS_FILES" ADD COLUMN IF NOT EXISTS "_fetched_at" TIMESTAMP_LTZ(6);

-- What is there already, once: COPY does not know what a pipe has loaded (https://docs.snowflake.com/en/user-guide/data-load-snowpipe-ts).
-- Not MATCH_BY_COLUMN_NAME: of Parquet files it refuses empty texts.
-- https://docs.snowflake.com/en/sql-reference/sql/copy-into-table, https://docs.snowflake.com/en/user-guide/data-load-transform, https://docs.snowflake.com/en/user-guide/querying-semistructured (brackets),
-- https://docs.snowflake.com/en/developer-guide/snowflake-scripting/variables (SELECT INTO)
EXECUTE IMMEDIATE $$
DECLARE
  loaded INTEGER;
BEGIN
SELECT COUNT(*) INTO :loaded FROM "ASSETS_FILES";
IF (loaded = 0) THEN
COPY INTO "ASSETS_FILES" ("SLUICE_ROW", "SLUICE_FILE", "SLUICE_FILE_ROW", "SLUICE_SCANNED", "_run", "_generation", "_source", "_fetched_at")
FROM (
  SELECT $1,
    METADATA$FILENAME,
    METADATA$FILE_ROW_NUMBER,
    METADATA$START_SCAN_TIME,
    $1['_run']::VARCHAR,
    $1['_generation']::VARCHAR,
    $1['_source']::VARCHAR,
    $1['_fetched_at']::TIMESTAMP_LTZ(6)
  FROM '@SLUICE_TABLES/common/table=assets/'
)
FILE_FORMAT = (FORMAT_NAME = 'SLUICE_PARQUET')
PATTERN = '.*[.]parquet'
ON_ERROR = ABORT_STATEMENT;
END IF;
END;
$$;

-- What comes. Names of files are made from what is in them, so that a name which the pipe knows is a file
-- that it has. Not OR REPLACE: a pipe that is made anew has forgotten what it loaded. When a timestamp, a date or
-- a decimal is declared, pause it, wait, and make it anew: https://docs.snowflake.com/en/user-guide/data-load-snowpipe-manage.
-- https://docs.snowflake.com/en/sql-reference/sql/create-pipe
CREATE PIPE IF NOT EXISTS "ASSETS_FILES_PIPE"
  AUTO_INGEST = TRUE
AS
COPY INTO "ASSETS_FILES" ("SLUICE_ROW", "SLUICE_FILE", "SLUICE_FILE_ROW", "SLUICE_SCANNED", "_run", "_generation", "_source", "_fetched_at")
FROM (
  SELECT $1,
    METADATA$FILENAME,
    METADATA$FILE_ROW_NUMBER,
    METADATA$START_SCAN_TIME,
    $1['_run']::VARCHAR,
    $1['_generation']::VARCHAR,
    $1['_source']::VARCHAR,
    $1['_fetched_at']::TIMESTAMP_LTZ(6)
  FROM '@SLUICE_TABLES/common/table=assets/'
)
FILE_FORMAT = (FORMAT_NAME = 'SLUICE_PARQUET')
PATTERN = '.*[.]parquet';

-- The rows that count. A run counts once as many rows of its generation are there as the index says:
-- files and index come by different ways, and half a run is none. A run that is published anew is not there
-- until its new rows are.
-- https://docs.snowflake.com/en/sql-reference/sql/create-view, https://docs.snowflake.com/en/sql-reference/functions/parse_json ('d': of doubled keys the last; a number of more
-- than 38 digits becomes a double: its text is in the row as it was read)
CREATE OR REPLACE SECURE VIEW "ASSETS" AS
SELECT
  f."_run" AS "_RUN",
  f."_source" AS "_SOURCE",
  f."SLUICE_ROW"['_upload']::VARCHAR AS "_UPLOAD",
  f."_fetched_at" AS "_FETCHED_AT",
  f."SLUICE_ROW"['_key']::VARCHAR AS "_KEY",
  f."SLUICE_ROW"['id']::VARCHAR AS "ID",
  f."SLUICE_ROW"['label']::VARCHAR AS "LABEL",
  REGEXP_SUBSTR(f."SLUICE_FILE", '/source=([^/]*)/', 1, 1, 'e', 1) AS "SOURCE",
  TO_DATE(REGEXP_SUBSTR(f."SLUICE_FILE", '/date=([^/]*)/', 1, 1, 'e', 1), 'YYYY-MM-DD') AS "DATE",
  REGEXP_SUBSTR(f."SLUICE_FILE", '/run=([^/]*)/', 1, 1, 'e', 1) AS "RUN"
FROM "ASSETS_FILES" f
JOIN (
  SELECT i.RUN, i.GENERATION
  FROM SLUICE_INDEX i
  JOIN "ASSETS_FILES" r ON r."_run" = i.RUN AND r."_generation" = i.GENERATION
  WHERE i.OWNER = 'common' AND i.TABLE_NAME = 'assets'
  GROUP BY i.RUN, i.GENERATION, i.ROW_COUNT
  HAVING COUNT(*) = i.ROW_COUNT
) p ON f."_run" = p.RUN AND f."_generation" = p.GENERATION;

-- notification_channel is the ARN of Snowflake's queue, one for all pipes. The bucket must tell it of all
-- object-created events (s3:ObjectCreated:*; large files end with CompleteMultipartUpload) below
-- s3://acme-data/lake/tables/. https://docs.snowflake.com/en/user-guide/data-load-snowpipe-auto-s3
SHOW PIPES;

-- Once it does, what came in between (of the last seven days; what is loaded is passed over):
-- https://docs.snowflake.com/en/sql-reference/sql/alter-pipe
ALTER PIPE "METRICS_FILES_PIPE" REFRESH;

ALTER PIPE "ASSETS_FILES_PIPE" REFRESH;

-- Now and then: rows of generations that do not count, and old versions of the index. A week is left to a
-- publication that is under way.
-- https://docs.snowflake.com/en/sql-reference/sql/delete
DELETE FROM "METRICS_FILES"
WHERE "SLUICE_SCANNED" < DATEADD(day, -7, CURRENT_TIMESTAMP()) AND NOT EXISTS (
  SELECT 1 FROM SLUICE_INDEX i
  WHERE i.OWNER = 'acme' AND i.TABLE_NAME = 'metrics'
    AND i.RUN = "METRICS_FILES"."_run" AND i.GENERATION = "METRICS_FILES"."_generation"
);

DELETE FROM "ASSETS_FILES"
WHERE "SLUICE_SCANNED" < DATEADD(day, -7, CURRENT_TIMESTAMP()) AND NOT EXISTS (
  SELECT 1 FROM SLUICE_INDEX i
  WHERE i.OWNER = 'common' AND i.TABLE_NAME = 'assets'
    AND i.RUN = "ASSETS_FILES"."_run" AND i.GENERATION = "ASSETS_FILES"."_generation"
);

DELETE FROM SLUICE_INDEX_LOADS
WHERE SCANNED < DATEADD(day, -7, CURRENT_TIMESTAMP())
  AND (FILE, MODIFIED) NOT IN (SELECT FILE, MAX(MODIFIED) FROM SLUICE_INDEX_LOADS GROUP BY FILE);

-- A run that stays away has a file that was not loaded, or was loaded twice (a pipe remembers names for 14
-- days): COPY_HISTORY says why (https://docs.snowflake.com/en/sql-reference/functions/copy_history). Then delete the
-- rows of its generation, and copy its files anew:

-- DELETE FROM "METRICS_FILES" WHERE "_generation" = '<generation>';
-- COPY INTO "METRICS_FILES" ("SLUICE_ROW", "SLUICE_FILE", "SLUICE_FILE_ROW", "SLUICE_SCANNED", "_run", "_generation", "_source", "_fetched_at", "time", "day", "price")
-- FROM (
--   SELECT $1,
--     METADATA$FILENAME,
--     METADATA$FILE_ROW_NUMBER,
--     METADATA$START_SCAN_TIME,
--     $1['_run']::VARCHAR,
--     $1['_generation']::VARCHAR,
--     $1['_source']::VARCHAR,
--     $1['_fetched_at']::TIMESTAMP_LTZ(6),
--     $1['time']::TIMESTAMP_LTZ(6),
--     $1['day']::DATE,
--     $1['price']::NUMBER(12,2)
--   FROM '@SLUICE_TABLES/acme/table=metrics/'
-- )
-- FILE_FORMAT = (FORMAT_NAME = 'SLUICE_PARQUET')
-- PATTERN = '.*/<generation>-[0-9]+[.]parquet'
-- FORCE = TRUE;

-- DELETE FROM "ASSETS_FILES" WHERE "_generation" = '<generation>';
-- COPY INTO "ASSETS_FILES" ("SLUICE_ROW", "SLUICE_FILE", "SLUICE_FILE_ROW", "SLUICE_SCANNED", "_run", "_generation", "_source", "_fetched_at")
-- FROM (
--   SELECT $1,
--     METADATA$FILENAME,
--     METADATA$FILE_ROW_NUMBER,
--     METADATA$START_SCAN_TIME,
--     $1['_run']::VARCHAR,
--     $1['_generation']::VARCHAR,
--     $1['_source']::VARCHAR,
--     $1['_fetched_at']::TIMESTAMP_LTZ(6)
--   FROM '@SLUICE_TABLES/common/table=assets/'
-- )
-- FILE_FORMAT = (FORMAT_NAME = 'SLUICE_PARQUET')
-- PATTERN = '.*/<generation>-[0-9]+[.]parquet'
-- FORCE = TRUE;
