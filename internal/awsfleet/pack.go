package awsfleet

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"io"
	"sync"

	"github.com/sluicehq/sluice/internal/governor"
)

// The governor's item is JSON. A long one is compressed with a dictionary of
// what every item is made of, which must never change: rows are read with it.
const itemWords = `{"epoch":1,"cuts":[{"epoch":1,"at":"2026-01-01T00:00:00.000000000Z","made":"2026-01-01T00:00:00.000000000Z","last":"2026-01-01T00:00:00.000000000Z"}],` +
	`"brake":{"until":"2026-01-01T00:00:00.000000000Z","set":"2026-01-01T00:00:00.000000000Z","growth":1,"why":"the vendor answered 429"},` +
	`"breaker":{"since":"2026-","why":"","next":"2026-","probes":1,"owner":"","slot":"2026-","lease":"2026-"},` +
	`"stop":{"kind":"operator","by":"","why":"","at":"2026-"},"overrides":{"":{"count":1,"per":1000000000,"burst":1,"in_flight":1,"until":"2026-"}},` +
	`"log":[{"at":"2026-","by":"","what":"limit ","old":"as in the spec","new":"","why":""}],` +
	`"booked":"2026-01-01T00:00:00.000000000Z","members":{"":{"expires":"2026-01-01T00:00:00.000000000Z","booked":"2026-01-01T00:00:00.000000000Z",` +
	`"want":1,"units":1,"lease":"2026-01-01T00:00:00.000000000Z","turn":"2026-01-01T00:00:00.000000000Z","waits":"2026-01-01T00:00:00.000000000Z"},"`

func pack(it governor.Item) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(it)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

var deflaters = sync.Pool{New: func() any {
	w, _ := flate.NewWriterDict(io.Discard, flate.BestCompression, []byte(itemWords)) // fails for a wrong level only
	return w
}}

func deflate(doc []byte) ([]byte, error) {
	w := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(w)
	var b bytes.Buffer
	w.Reset(&b)
	if _, err := w.Write(doc); err != nil {
		return nil, err
	}
	err := w.Close()
	return b.Bytes(), err
}

func inflate(small []byte) (string, error) {
	doc, err := io.ReadAll(flate.NewReaderDict(bytes.NewReader(small), []byte(itemWords)))
	return string(doc), err
}
