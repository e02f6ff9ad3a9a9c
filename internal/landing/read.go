package landing

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/sluicehq/sluice/internal/fanout"
)

// line is a landed record as it is read: the body stays as it is.
type line struct {
	fanout.Record
	Body json.RawMessage `json:"body"`
}

// Object reads an object and calls each for every record, in the order landed.
// The record's body is valid until each returns. It uses memory for one record
// at a time.
func (l *Landing) Object(ctx context.Context, name string, each func(r *fanout.Record) error) (err error) {
	rc, err := l.store.Get(ctx, name)
	if err != nil {
		return fmt.Errorf("opening landed object %s: %w", name, err)
	}
	defer rc.Close()
	dec, err := zstd.NewReader(rc, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		return fmt.Errorf("reading landed object %s: %w", name, err)
	}
	defer dec.Close()
	lines := bufio.NewReaderSize(dec, 64<<10)
	for n := 1; ; n++ {
		text, err := readLine(lines)
		if errors.Is(err, io.EOF) {
			return nil
		}
		var rec line
		if err == nil {
			err = json.Unmarshal(text, &rec)
		}
		if err != nil {
			return fmt.Errorf("reading landed object %s, record %d: %w", name, n, err)
		}
		rec.Record.Body = rec.Body
		if err := each(&rec.Record); err != nil {
			return err
		}
	}
}

// readLine returns one line without its end; io.EOF only where a line would
// begin.
func readLine(r *bufio.Reader) ([]byte, error) {
	text, err := r.ReadSlice('\n')
	if err == nil {
		return text[:len(text)-1], nil
	}
	if errors.Is(err, io.EOF) && len(text) == 0 {
		return nil, io.EOF
	}
	if !errors.Is(err, bufio.ErrBufferFull) {
		return nil, io.ErrUnexpectedEOF
	}
	long := bytes.Clone(text)
	rest, err := r.ReadBytes('\n')
	if err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	return append(long, rest[:len(rest)-1]...), nil
}

// Records calls each for every landed record of a run, and of one tier unless
// that is empty, object by object.
func (l *Landing) Records(ctx context.Context, run, tier string, each func(r *fanout.Record) error) error {
	return l.store.List(ctx, Prefix(run, tier), func(name string) error {
		return l.Object(ctx, name, each)
	})
}

// errFound ends a search.
var errFound = errors.New("found")

// Children implements fanout.Landing.
func (l *Landing) Children(ctx context.Context, row fanout.Listed) ([]fanout.Node, error) {
	if row.Children == 0 {
		return nil, nil
	}
	var nodes []fanout.Node
	err := l.Object(ctx, row.Object, func(r *fanout.Record) error {
		if r.Kind == "list" && r.Task.ID == row.Task && r.Fetch == row.Fetch && r.Chunk == row.Chunk {
			nodes = r.Children
			return errFound
		}
		return nil
	})
	switch {
	case errors.Is(err, errFound):
		return nodes, nil
	case err != nil:
		return nil, err
	}
	return nil, fmt.Errorf("landed object %s does not hold the children of task %s, fetch %s", row.Object, row.Task, row.Fetch)
}
