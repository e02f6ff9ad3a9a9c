-- The lake at s3://acme-data/lake, for Athena. Run one statement at a time. Tables are only descriptions:
-- dropping one deletes no file.

-- https://docs.aws.amazon.com/athena/latest/ug/create-database.html
CREATE DATABASE IF NOT EXISTS `acme`;

-- What counts: a line for each run of each table. Other lines have no run, and a line's other
-- fields are not asked for.
-- https://docs.aws.amazon.com/athena/latest/ug/hive-json-serde.html, https://docs.aws.amazon.com/athena/latest/ug/create-table.html
DROP TABLE IF EXISTS `acme`.`published`;

CREATE EXTERNAL TABLE `acme`.`published` (
  `run` string,
  `generation` string
)
ROW FORMAT SERDE 'org.apache.hive.hcatalog.data.JsonSerDe'
LOCATION 's3://acme-data/lake/published/';

-- All files of metrics: it is read by the view below.
-- https://docs.aws.amazon.com/athena/latest/ug/create-table.html, https://docs.aws.amazon.com/athena/latest/ug/parquet-serde.html, https://docs.aws.amazon.com/athena/latest/ug/tables-databases-columns-names.html,
-- https://docs.aws.amazon.com/athena/latest/ug/reserved-words.html (backticks), https://docs.aws.amazon.com/athena/latest/ug/data-types.html (a timestamp is shown to the
-- millisecond; the files have microseconds, UTC)
-- left out: column "Größe". Athena knows letters, digits and underscores: rename the field by a row of the spec's lake.
-- left out: column "a ""b"" c.d". Athena knows letters, digits and underscores: rename the field by a row of the spec's lake.
-- left out: column "it's". Athena knows letters, digits and underscores: rename the field by a row of the spec's lake.
-- Days are worked out and not looked up, from the first day that is published to tomorrow, UTC:
-- https://docs.aws.amazon.com/athena/latest/ug/partition-projection-supported-types.html, https://docs.aws.amazon.com/athena/latest/ug/partition-projection-setting-up.html,
-- https://docs.aws.amazon.com/athena/latest/ug/partition-projection-kinesis-firehose-example.html (the key is a string). Each day's directories below are read,
-- too: https://docs.aws.amazon.com/athena/latest/ug/tables-location-format.html.
-- When an earlier day is published, print these statements again: it is not in the range.
DROP TABLE IF EXISTS `acme`.`metrics_files`;

CREATE EXTERNAL TABLE `acme`.`metrics_files` (
  `_run` string,
  `_generation` string,
  `_source` string,
  `_upload` string,
  `_devices` string,
  `_datagroups` string,
  `_fetched_at` timestamp,
  `device` string,
  `time` timestamp,
  `value` double,
  `count` bigint,
  `up` boolean,
  `labels` string,
  `day` date,
  `price` decimal(12,2),
  `select` string,
  `_variant` string
)
PARTITIONED BY (`date` string)
STORED AS PARQUET
LOCATION 's3://acme-data/lake/tables/acme/table=metrics/'
TBLPROPERTIES (
  'classification' = 'parquet',
  'projection.enabled' = 'true',
  'projection.date.type' = 'date',
  'projection.date.format' = 'yyyy-MM-dd',
  'projection.date.range' = '2026-03-01,NOW+1DAYS',
  'projection.date.interval' = '1',
  'projection.date.interval.unit' = 'DAYS',
  'storage.location.template' = 's3://acme-data/lake/tables/acme/table=metrics/date=${date}/'
);

-- https://docs.aws.amazon.com/athena/latest/ug/create-view.html (names in double quotes: https://docs.aws.amazon.com/athena/latest/ug/reserved-words.html)
CREATE OR REPLACE VIEW "acme"."metrics" AS
SELECT
  f."_run",
  f."_source",
  f."_upload",
  f."_devices",
  f."_datagroups",
  f."_fetched_at",
  f."device",
  f."time",
  f."value",
  f."count",
  f."up",
  f."labels",
  f."day",
  f."price",
  f."select",
  f."_variant",
  f."date"
FROM "acme"."metrics_files" f
JOIN (SELECT DISTINCT run, generation FROM "acme"."published") p
  ON f."_run" = p.run AND f."_generation" = p.generation;

-- All files of order: it is read by the view below.
-- https://docs.aws.amazon.com/athena/latest/ug/create-table.html, https://docs.aws.amazon.com/athena/latest/ug/parquet-serde.html, https://docs.aws.amazon.com/athena/latest/ug/tables-databases-columns-names.html,
-- https://docs.aws.amazon.com/athena/latest/ug/reserved-words.html (backticks), https://docs.aws.amazon.com/athena/latest/ug/data-types.html (a timestamp is shown to the
-- millisecond; the files have microseconds, UTC)
-- Days are worked out and not looked up, from the first day that is published to tomorrow, UTC:
-- https://docs.aws.amazon.com/athena/latest/ug/partition-projection-supported-types.html, https://docs.aws.amazon.com/athena/latest/ug/partition-projection-setting-up.html,
-- https://docs.aws.amazon.com/athena/latest/ug/partition-projection-kinesis-firehose-example.html (the key is a string). Each day's directories below are read,
-- too: https://docs.aws.amazon.com/athena/latest/ug/tables-location-format.html.
-- When an earlier day is published, print these statements again: it is not in the range.
DROP TABLE IF EXISTS `acme`.`order_files`;

CREATE EXTERNAL TABLE `acme`.`order_files` (
  `_run` string,
  `_generation` string,
  `_source` string,
  `_upload` string,
  `_orders` string,
  `_fetched_at` timestamp,
  `Day` string,
  `total` decimal(18,4)
)
PARTITIONED BY (`_day` string)
STORED AS PARQUET
LOCATION 's3://acme-data/lake/tables/acme/table=order/'
TBLPROPERTIES (
  'classification' = 'parquet',
  'projection.enabled' = 'true',
  'projection._day.type' = 'date',
  'projection._day.format' = 'yyyy-MM-dd',
  'projection._day.range' = '2000-01-01,NOW+1DAYS',
  'projection._day.interval' = '1',
  'projection._day.interval.unit' = 'DAYS',
  'storage.location.template' = 's3://acme-data/lake/tables/acme/table=order/all/day=${_day}/'
);

-- https://docs.aws.amazon.com/athena/latest/ug/create-view.html (names in double quotes: https://docs.aws.amazon.com/athena/latest/ug/reserved-words.html)
CREATE OR REPLACE VIEW "acme"."order" AS
SELECT
  f."_run",
  f."_source",
  f."_upload",
  f."_orders",
  f."_fetched_at",
  f."Day",
  f."total",
  f."_day"
FROM "acme"."order_files" f
JOIN (SELECT DISTINCT run, generation FROM "acme"."published") p
  ON f."_run" = p.run AND f."_generation" = p.generation;

-- All files of yearly: it is read by the view below.
-- https://docs.aws.amazon.com/athena/latest/ug/create-table.html, https://docs.aws.amazon.com/athena/latest/ug/parquet-serde.html, https://docs.aws.amazon.com/athena/latest/ug/tables-databases-columns-names.html,
-- https://docs.aws.amazon.com/athena/latest/ug/reserved-words.html (backticks), https://docs.aws.amazon.com/athena/latest/ug/data-types.html (a timestamp is shown to the
-- millisecond; the files have microseconds, UTC)
-- No partitions: {date} does not come first in the template, or after names only. All directories below
-- are read: https://docs.aws.amazon.com/athena/latest/ug/tables-location-format.html. What is asked for is found by the statistics in the files.
DROP TABLE IF EXISTS `acme`.`yearly_files`;

CREATE EXTERNAL TABLE `acme`.`yearly_files` (
  `_run` string,
  `_generation` string,
  `_source` string,
  `_upload` string,
  `_fetched_at` timestamp,
  `n` bigint
)
STORED AS PARQUET
LOCATION 's3://acme-data/lake/tables/acme/table=yearly/'
TBLPROPERTIES (
  'classification' = 'parquet'
);

-- https://docs.aws.amazon.com/athena/latest/ug/create-view.html (names in double quotes: https://docs.aws.amazon.com/athena/latest/ug/reserved-words.html)
CREATE OR REPLACE VIEW "acme"."yearly" AS
SELECT
  f."_run",
  f."_source",
  f."_upload",
  f."_fetched_at",
  f."n"
FROM "acme"."yearly_files" f
JOIN (SELECT DISTINCT run, generation FROM "acme"."published") p
  ON f."_run" = p.run AND f."_generation" = p.generation;

-- All files of assets: it is read by the view below.
-- https://docs.aws.amazon.com/athena/latest/ug/create-table.html, https://docs.aws.amazon.com/athena/latest/ug/parquet-serde.html, https://docs.aws.amazon.com/athena/latest/ug/tables-databases-columns-names.html,
-- https://docs.aws.amazon.com/athena/latest/ug/reserved-words.html (backticks), https://docs.aws.amazon.com/athena/latest/ug/data-types.html (a timestamp is shown to the
-- millisecond; the files have microseconds, UTC)
-- No partitions: {date} does not come first in the template, or after names only. All directories below
-- are read: https://docs.aws.amazon.com/athena/latest/ug/tables-location-format.html. What is asked for is found by the statistics in the files.
DROP TABLE IF EXISTS `acme`.`assets_files`;

CREATE EXTERNAL TABLE `acme`.`assets_files` (
  `_run` string,
  `_generation` string,
  `_source` string,
  `_upload` string,
  `_fetched_at` timestamp,
  `_key` string,
  `id` string,
  `label` string
)
STORED AS PARQUET
LOCATION 's3://acme-data/lake/tables/common/table=assets/'
TBLPROPERTIES (
  'classification' = 'parquet'
);

-- https://docs.aws.amazon.com/athena/latest/ug/create-view.html (names in double quotes: https://docs.aws.amazon.com/athena/latest/ug/reserved-words.html)
CREATE OR REPLACE VIEW "acme"."assets" AS
SELECT
  f."_run",
  f."_source",
  f."_upload",
  f."_fetched_at",
  f."_key",
  f."id",
  f."label"
FROM "acme"."assets_files" f
JOIN (SELECT DISTINCT run, generation FROM "acme"."published") p
  ON f."_run" = p.run AND f."_generation" = p.generation;

