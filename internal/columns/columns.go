package columns

import "io"

// Column is one data column of a published table.
type Column struct {
	Name     string `json:"name"`  // what is written
	Field    string `json:"field"` // the field of the rows
	Type     Type   `json:"type"`
	Declared bool   `json:"declared,omitempty"`
	Kinds    Kinds  `json:"kinds,omitempty"`
}

// Staged says what a staged file holds. It goes into its marker.
type Staged struct {
	Rows   int                  `json:"rows"`
	Fields map[string]FieldSeen `json:"fields"`
	// Rest counts the rows with fields that have no column of their own: those
	// beyond MaxFields, and those whose name is no text.
	Rest     int      `json:"rest,omitempty"`
	Least    []string `json:"least,omitempty"` // the least path
	Greatest []string `json:"greatest,omitempty"`
	// Largest is how many bytes the largest row has: as it was added, or about
	// as it is without space that means nothing, where Gather wrote it. Whoever
	// merges files holds a few rows of each in memory.
	Largest int `json:"largest"`
}

// FieldSeen is what was seen of a field.
type FieldSeen struct {
	Kinds    Kinds             `json:"kinds"`
	Rows     int               `json:"rows"`               // that have the field, null or not
	Examples map[string]string `json:"examples,omitempty"` // by kind: a JSON token, cut to 80 bytes
}

// Union is what both have seen; of two examples of a kind it keeps the lesser.
func (f FieldSeen) Union(o FieldSeen) FieldSeen {
	sum := FieldSeen{Kinds: f.Kinds | o.Kinds, Rows: f.Rows + o.Rows, Examples: map[string]string{}}
	for _, examples := range []map[string]string{f.Examples, o.Examples} {
		for kind, example := range examples {
			if have, ok := sum.Examples[kind]; !ok || example < have {
				sum.Examples[kind] = example
			}
		}
	}
	return sum
}

// Input is a staged file to be merged. It is read a row group at a time, by
// one ReadAt each.
type Input struct {
	Name string // for errors
	File io.ReaderAt
	Size int64
	Keep func(rec int32) bool // which records count; nil: all
}

// Schema is how a published file is written.
type Schema struct {
	Path                    []string // the tiers of the key path: columns _TIER
	Run, Generation, Source string   // the constants of the lineage
	Columns                 []Column
	Key                     []string // fields of the natural key: then there is a column _key
	Variant                 bool     // whether there is a column _variant, where misfits go
}

// File is what a published file is written to. Close makes it last, so it is
// called only on files that are whole; one that is not is never closed here.
type File interface {
	io.Writer
	Close() error
}

// Made is a published file.
type Made struct {
	Rows     int      `json:"rows"`
	Bytes    int64    `json:"bytes"`
	SHA256   string   `json:"sha256"`
	Least    []string `json:"least,omitempty"` // the least path
	Greatest []string `json:"greatest,omitempty"`
	// Misfits are the values, by field, that no column holds: they stand in
	// _variant, and without one they are nowhere.
	Misfits map[string]Misfit `json:"misfits,omitempty"`
}

// Misfit is what did not fit of a field.
type Misfit struct {
	Rows    int    `json:"rows"`
	Kinds   Kinds  `json:"kinds"`
	Example string `json:"example"` // the first by key: a JSON token, cut to 80 bytes
	Upload  string `json:"upload"`  // the landed object that it came with
}
