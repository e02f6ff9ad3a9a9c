-- The lake at /data/it's [new]?/lake, for DuckDB. Each view is all files of a table, joined with the index of
-- what is published. Files come and go with the runs: the views find them at each query.

-- https://duckdb.org/docs/stable/sql/statements/create_schema
CREATE SCHEMA IF NOT EXISTS "acme";

-- Older files may have fewer columns (union_by_name). Values of directories are texts until they are cast:
-- a run that is called 2026-03-01 is no date.
-- https://duckdb.org/docs/stable/sql/statements/create_view, https://duckdb.org/docs/stable/data/parquet/overview,
-- https://duckdb.org/docs/stable/data/partitioning/hive_partitioning, https://duckdb.org/docs/stable/data/multiple_files/overview (patterns),
-- https://duckdb.org/docs/stable/data/json/loading_json, https://duckdb.org/docs/stable/sql/query_syntax/from (SEMI JOIN)
CREATE OR REPLACE VIEW "acme"."metrics" AS
SELECT
  CAST(f."_run" AS VARCHAR) AS "_run",
  CAST(f."_source" AS VARCHAR) AS "_source",
  CAST(f."_upload" AS VARCHAR) AS "_upload",
  CAST(f."_devices" AS VARCHAR) AS "_devices",
  CAST(f."_datagroups" AS VARCHAR) AS "_datagroups",
  CAST(f."_fetched_at" AS TIMESTAMPTZ) AS "_fetched_at",
  CAST(f."device" AS VARCHAR) AS "device",
  CAST(f."time" AS TIMESTAMPTZ) AS "time",
  CAST(f."value" AS DOUBLE) AS "value",
  CAST(f."count" AS BIGINT) AS "count",
  CAST(f."up" AS BOOLEAN) AS "up",
  CAST(f."labels" AS JSON) AS "labels",
  CAST(f."day" AS DATE) AS "day",
  CAST(f."price" AS DECIMAL(12,2)) AS "price",
  CAST(f."select" AS VARCHAR) AS "select",
  CAST(f."Größe" AS DOUBLE) AS "Größe",
  CAST(f."a ""b"" c.d" AS VARCHAR) AS "a ""b"" c.d",
  CAST(f."it's" AS JSON) AS "it's",
  CAST(f."_variant" AS JSON) AS "_variant",
  CAST(f."date" AS DATE) AS "date",
  CAST(f."run" AS VARCHAR) AS "run"
FROM read_parquet('/data/it''s [[]new][?]/lake/tables/acme/table=metrics/**/*.parquet',
  hive_partitioning = true, hive_types_autocast = false, union_by_name = true) f
SEMI JOIN read_json('/data/it''s [[]new][?]/lake/published/acme.ndjson',
  format = 'newline_delimited', columns = {run: 'VARCHAR', generation: 'VARCHAR'}) p
  ON f."_run" = p.run AND f."_generation" = p.generation;

-- https://duckdb.org/docs/stable/sql/statements/create_schema
CREATE SCHEMA IF NOT EXISTS "common";

-- Older files may have fewer columns (union_by_name). Values of directories are texts until they are cast:
-- a run that is called 2026-03-01 is no date.
-- https://duckdb.org/docs/stable/sql/statements/create_view, https://duckdb.org/docs/stable/data/parquet/overview,
-- https://duckdb.org/docs/stable/data/partitioning/hive_partitioning, https://duckdb.org/docs/stable/data/multiple_files/overview (patterns),
-- https://duckdb.org/docs/stable/data/json/loading_json, https://duckdb.org/docs/stable/sql/query_syntax/from (SEMI JOIN)
CREATE OR REPLACE VIEW "common"."assets" AS
SELECT
  CAST(f."_run" AS VARCHAR) AS "_run",
  CAST(f."_source" AS VARCHAR) AS "_source",
  CAST(f."_upload" AS VARCHAR) AS "_upload",
  CAST(f."_fetched_at" AS TIMESTAMPTZ) AS "_fetched_at",
  CAST(f."_key" AS VARCHAR) AS "_key",
  CAST(f."id" AS VARCHAR) AS "id",
  CAST(f."label" AS VARCHAR) AS "label",
  CAST(f."source" AS VARCHAR) AS "source",
  CAST(f."date" AS DATE) AS "date",
  CAST(f."run" AS VARCHAR) AS "run"
FROM read_parquet('/data/it''s [[]new][?]/lake/tables/common/table=assets/**/*.parquet',
  hive_partitioning = true, hive_types_autocast = false, union_by_name = true) f
SEMI JOIN read_json('/data/it''s [[]new][?]/lake/published/*.ndjson',
  format = 'newline_delimited', columns = {run: 'VARCHAR', generation: 'VARCHAR'}) p
  ON f."_run" = p.run AND f."_generation" = p.generation;

