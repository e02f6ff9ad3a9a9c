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

// ReadAtCloser is an open object of the lake, read in ranges.
type ReadAtCloser interface {
	io.ReaderAt
	io.Closer
}

// ErrSwapped says that an object is no longer the version that was to be
// replaced.
var ErrSwapped = errors.New("the object has been replaced meanwhile")

// ErrCorrupt says that a landed object is not as it was written: cut, its
// checksum wrong, no records, or beyond a bound. No repeat mends that.
var ErrCorrupt = errors.New("the landed object is damaged")

// Bound is how much of an object is read, in bytes as they are decompressed.
type Bound struct {
	Record int   // the longest page
	Object int64 // all records together
}

// Pages calls each for every landed page of an object, in the order landed, with
// its number among them: 0, 1, ... Other records are passed over without being
// held. The page's body is valid until each returns. An error that wraps
// ErrCorrupt is about the object; others are about the store, or each's own.
func (l *Landing) Pages(ctx context.Context, name string, most Bound, each func(n int, r *fanout.Record) error) error {
	rc, err := l.store.Get(ctx, name)
	if err != nil {
		return fmt.Errorf("opening landed object %s: %w", name, err)
	}
	defer rc.Close()
	src := &failing{r: rc}
	dec, err := zstd.NewReader(src, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		return fmt.Errorf("reading landed object %s: %w", name, err)
	}
	defer dec.Close()
	p := pages{lines: bufio.NewReaderSize(dec, 64<<10), most: most}
	for n := 0; ; {
		var text []byte
		text, err = p.next()
		var rec fanout.Record
		if err == nil {
			rec, err = recordOf(text)
		}
		switch {
		case src.err != nil:
			return fmt.Errorf("reading landed object %s: %w", name, src.err)
		case errors.Is(err, io.EOF) && p.read == 1: // none was ever written so
			return fmt.Errorf("landed object %s: %w: it is empty", name, ErrCorrupt)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("landed object %s: %w: record %d: %w", name, ErrCorrupt, p.read, err)
		case rec.Kind != "page":
			continue
		}
		if err := each(n, &rec); err != nil {
			return err
		}
		n++
	}
}

// recordOf reads a line. The body, which is its last field, is not looked into:
// whoever reads it finds out whether it is good.
func recordOf(text []byte) (rec fanout.Record, err error) {
	head, body := split(text)
	if body == nil {
		err = json.Unmarshal(text, &rec)
		return rec, err
	}
	// The comma before the body has room for the brace that ends the head.
	comma := head[len(head)-1]
	head[len(head)-1] = '}'
	err = json.Unmarshal(head, &rec)
	head[len(head)-1] = comma
	rec.Body = body
	return rec, err
}

// split finds the body of a record's line: the head ends with the comma before
// it. Without a body where it belongs it is nil.
func split(text []byte) (head, body []byte) {
	const key = `,"body":`
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		case c == ',' && depth == 1 && bytes.HasPrefix(text[i:], []byte(key)):
			if text[len(text)-1] != '}' {
				return nil, nil
			}
			return text[:i+1], text[i+len(key) : len(text)-1]
		}
	}
	return nil, nil
}

// failing remembers what kept an object from being read: it is the store's
// trouble and not the object's.
type failing struct {
	r   io.Reader
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		f.err = err
	}
	return n, err
}

// pages reads lines of a bounded length.
type pages struct {
	lines *bufio.Reader
	most  Bound
	long  []byte
	total int64
	read  int // lines
}

// listHead begins a line that holds children: there may be very many.
const listHead = `{"kind":"list"`

// next is the next line that may be a page, without its end. io.EOF comes only
// where a line would begin.
func (p *pages) next() ([]byte, error) {
	for {
		p.read++
		head, err := p.lines.Peek(len(listHead))
		if len(head) == 0 {
			return nil, err
		}
		text, err := p.line(string(head) == listHead)
		if err != nil || text != nil {
			return text, err
		}
	}
}

// line reads a line, or passes over it.
func (p *pages) line(skip bool) ([]byte, error) {
	p.long = p.long[:0]
	for {
		text, err := p.lines.ReadSlice('\n')
		if p.total += int64(len(text)); p.total > p.most.Object {
			return nil, fmt.Errorf("the object has more than %d bytes", p.most.Object)
		}
		switch {
		case err == nil && skip:
			return nil, nil
		case err == nil && len(p.long) == 0:
			return text[:len(text)-1], nil
		case errors.Is(err, io.EOF):
			return nil, io.ErrUnexpectedEOF
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		case skip:
			continue
		}
		if len(p.long)+len(text) > p.most.Record {
			return nil, fmt.Errorf("it is longer than %d bytes", p.most.Record)
		}
		p.long = append(p.long, text...)
		if err == nil {
			return p.long[:len(p.long)-1], nil
		}
	}
}

// Objects calls each with the names of a run's landed objects, and of one tier
// unless that is empty, in order.
func (l *Landing) Objects(ctx context.Context, run, tier string, each func(name string) error) error {
	return l.store.List(ctx, Prefix(run, tier), each)
}
