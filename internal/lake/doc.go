// Package lake makes tables of landed results: Parquet that Athena, Snowflake
// and DuckDB read, each row once.
//
// A landed object is converted as it arrives, without knowing which of its
// records will count (Convert): into staged Parquet that keeps every value to
// the letter. A closed run is published when its verdict allows it (Publish):
//
//	verdict allows it -> every landed object is staged -> the records whose fetch the ledger names
//	-> merged in the order of the task keys, cast to the table's schema, in files of about 128 MB
//	-> all files durable -> manifest -> one write of the vendor's index
//
// A row of a published file counts when the index has its run and generation:
// all readers join with it, so that one write switches every table of a run, and
// whatever was written before a crash and not switched is never seen. A
// generation's name is derived from what goes into it, so that a repeat writes
// the same objects again, and goes on where the last try ended.
//
//	staged/VENDOR/spec=HASH/table=T/date=D/run=R/OBJ-000.parquet   of one landed object; its parts have numbers
//	staged/VENDOR/spec=HASH/run=R/tier=TIER/OBJ.json               its marker, written last: records, parts, counts
//	tables/OWNER/table=T/date=D/run=R/GEN-00000.parquet            published; OWNER is the vendor or "common"
//	published/VENDOR.ndjson                                        the index: what counts, the tables' schemas, what is to be deleted
//	manifests/VENDOR/run=R/GEN.json                                a publication: verdict, counts, schemas, files with checksums
//	schemas/common/T.json                                          the columns of a table that several vendors feed
//	work/VENDOR/run=R/GEN/...                                      merges under way
//	dead/VENDOR/run=R/OBJ.json                                     landed objects that cannot be converted, with the reason
//	refused/VENDOR/run=R.json                                      why a closed run is not published
package lake
