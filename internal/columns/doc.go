// Package columns turns JSON rows into Parquet and back without losing a digit.
//
// The one idea: values are kept as they came until the whole run is known.
// Rows are staged as they arrive, each value in a form that gives its JSON
// token back byte for byte; a *staged* file is sorted and compressed Parquet,
// but no table yet. Only when all files of a run are there is it decided what
// type holds a column, from the set of *kinds* that were seen in it, and only
// then are values cast. Union is the only operation on kinds, so neither the
// order in which rows came nor how they were batched into files can change a
// table.
//
//	Staging.Add ... Write    rows of one landed object -> one staged file
//	Gather                   many sorted staged files -> one
//	Cast                     sorted staged files -> published files, by a Schema
//	Each, Recast             published file -> rows; -> the same with wider types
//
// # Kinds and types
//
// A value is null, bool, int (at most 2^53 either way), bigint (in int64),
// float (a fraction, an exponent or -0, which a float64 gives back: its
// shortest form has the same digits), wide (a number that neither holds), text
// or nested. What was seen decides the type: only bool is bool; int and bigint
// are int; float, also with int, is double; only nested is json; only text is
// text. Anything else is text: strings as they are, everything else its exact
// JSON text. Nothing is ever rounded. Kinds.Type is that rule.
//
// A declared type takes what means one of its values exactly: int also 12.0
// and "12"; double what a float64 gives back, also as a string, and "NaN",
// "Inf", "+Inf", "-Inf", "Infinity" and "-Infinity"; bool also "true" and
// "false"; date "2006-01-02"; timestamp RFC 3339 with its zone, and
// timestamp(s), (ms), (us) numbers, also as strings, all to the microsecond
// and within the years 1 to 9999; decimal(p,s) what has no more digits; json
// anything; text anything, as its text.
//
// What does not fit, and what has no column, is a *misfit*: its column is null,
// and its exact JSON value stands in the column _variant, an object by field.
// Misfits are counted either way, so that without a _variant the caller can
// refuse the file. A string that is no Unicode text (a lone surrogate, bytes
// that are not UTF-8) is a misfit of every type; in _variant such a byte 0xNN
// stands as \udcNN.
//
// A missing field and a null are told apart in staged files; in published ones
// both are null. Of a field that comes twice in a row, the last counts.
//
// # Staged files
//
// Rows are sorted by the task's path (bytewise, key by key), chunk, page,
// landed object, record and row. Columns: _rec, _run, _source, _upload, _TIER
// for each tier, _task, _fetch, _chunk, _page, _row, _fetched_at, then for the
// n-th field up to four columns, of which a row sets one: fN_lit (0 null, 1
// false, 2 true), fN_num (an int64; where decimals occur, digits*32+scale),
// fN_text (a string without escapes), fN_raw (any other token). Their names
// stand in the file's metadata. Fields beyond the first thousand and names
// that are no text are kept in _rest, an object for each row.
package columns
