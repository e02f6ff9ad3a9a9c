// Package landing keeps results as they were fetched: the landed format, group
// commit into objects, and reading back.
//
// An object is zstd-compressed NDJSON: one line per record, either a page as it
// came from the vendor (its body last, to the letter but for space between
// tokens) or the children of a list. Its name is
//
//	run=RUN/tier=TIER/ID.ndjson.zst
//
// where ID sorts by time and is random otherwise, so that no two writers can
// meet and a repeated write of one batch writes the same object. Which of
// several fetches' records count, the ledger says; every other record is waste
// from a crash.
package landing
