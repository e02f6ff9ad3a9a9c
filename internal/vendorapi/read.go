package vendorapi

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/sluicehq/sluice/internal/fanout"
)

var errTooLong = errors.New("too long")

// read reads the whole body, decompressed, into memory that is reserved first.
func (x *exchange) read(resp *http.Response, mem *reservation) ([]byte, error) {
	x.watch.reading()
	raw := &idleReader{resp.Body, x.watch}
	var r io.Reader = raw
	length := resp.ContentLength
	switch enc := strings.ToLower(resp.Header.Get("Content-Encoding")); enc {
	case "", "identity":
	case "gzip", "x-gzip":
		z, err := unzip(raw)
		if err != nil {
			return nil, x.noAnswer(resp.StatusCode, err)
		}
		defer zippers.Put(z)
		r, length = z, -1
	default:
		return nil, x.fail(fanout.Bad, resp.StatusCode, fmt.Errorf("the answer is encoded as %q, which was not asked for", clip(enc, 40)))
	}
	body, err := x.readAll(r, length, mem)
	switch {
	case errors.Is(err, errTooLong):
		x.setExcerpt(body, true)
		return nil, x.fail(fanout.Broken, resp.StatusCode, fmt.Errorf("the answer has more than the bound of %d bytes", x.client.plan.Bounds.Bytes))
	case err != nil:
		x.setExcerpt(body, true)
		return nil, x.noAnswer(resp.StatusCode, err)
	}
	mem.shrink(len(body))
	return bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")), nil
}

// readAll reads r to its end. Of a known length it reserves just that; else it
// goes from stage to stage.
func (x *exchange) readAll(r io.Reader, length int64, mem *reservation) ([]byte, error) {
	limit := x.client.plan.Bounds.Bytes
	if length > int64(limit) {
		return nil, errTooLong
	}
	var buf []byte
	covered := 0
	for {
		if len(buf) == covered {
			if covered == limit || covered > 0 && length > 0 {
				return x.atEnd(r, buf)
			}
			want := int(length)
			if length <= 0 {
				want = nextEdge(mem.b.edges[:], covered)
			}
			var err error
			if covered, err = x.reserve(mem, want); err != nil {
				return buf, err
			}
		}
		buf = roomier(buf, covered, length)
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if errors.Is(err, io.EOF) {
			return fit(buf), nil
		}
		if err != nil {
			return buf, err
		}
	}
}

func nextEdge(edges []int, covered int) int {
	for _, e := range edges {
		if e > covered {
			return e
		}
	}
	return covered
}

// atEnd makes sure that nothing follows a body that has reached its length or
// the bound.
func (x *exchange) atEnd(r io.Reader, buf []byte) ([]byte, error) {
	var one [1]byte
	for {
		n, err := r.Read(one[:])
		switch {
		case n > 0:
			return buf, errTooLong
		case errors.Is(err, io.EOF):
			return fit(buf), nil
		case err != nil:
			return buf, err
		}
	}
}

// roomier gives buf more capacity when it is full, but none above covered.
func roomier(buf []byte, covered int, length int64) []byte {
	if len(buf) < cap(buf) {
		return buf
	}
	want := max(4<<10, 4*cap(buf))
	if buf == nil && length > 0 {
		want = int(length)
	}
	return append(make([]byte, 0, min(want, covered)), buf...)
}

// fit drops capacity that the body does not need: it may be held for seconds.
func fit(buf []byte) []byte {
	if cap(buf)-len(buf) <= len(buf)/4+512 {
		return buf
	}
	return bytes.Clone(buf)
}

// reserve waits for memory; meanwhile it is not the vendor that is slow.
func (x *exchange) reserve(mem *reservation, n int) (int, error) {
	x.watch.waiting()
	covered, err := mem.grow(x.watch.ctx, n)
	x.watch.reading()
	return covered, err
}

// idleReader restarts the idle clock with each piece of the body.
type idleReader struct {
	r io.Reader
	w *watch
}

func (i *idleReader) Read(p []byte) (int, error) {
	n, err := i.r.Read(p)
	if n > 0 {
		i.w.reading()
	}
	return n, err
}

var zippers sync.Pool // of *gzip.Reader: each is 40 KB

func unzip(r io.Reader) (*gzip.Reader, error) {
	if z, ok := zippers.Get().(*gzip.Reader); ok {
		return z, z.Reset(r)
	}
	return gzip.NewReader(r)
}
