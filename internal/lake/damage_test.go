package lake_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/lake"
	"github.com/sluicehq/sluice/internal/landing"
)

// An engine lists a table's files when it plans, and reads the index when it
// runs: in between a newer run of the window is published.
// A store that breaks off in the middle buries no object.
func TestThrottledIsNotBuried(t *testing.T) {
	for _, broken := range []error{io.ErrUnexpectedEOF, errors.New("503 Slow Down"), context.DeadlineExceeded} {
		for cut := range 60 {
			s := newSite(t, acme)
			twoObjects(s, "acme-1", 1)
			s.lake.Landing = landing.New(&breaking{s.raw, cut, broken})
			if err := s.lake.Convert(t.Context(), s.landed[0]); err == nil || errors.Is(err, lake.ErrCorrupt) {
				t.Errorf("%v behind byte %d: %v; markers %v", broken, cut, err, s.bucket.below("staged/"))
			}
			equal(t, "dead", s.bucket.below("dead/"), "[]")
		}
	}
}

type breaking struct {
	*bucket
	after int
	err   error
}

func (b *breaking) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	rc, err := b.bucket.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(io.MultiReader(io.LimitReader(rc, int64(b.after)), failing{b.err})), nil
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// A context that ends in the middle of a rebuild, with a store that takes no
// notice of it (or with a disk that is full): the live files stay.
// An object that is empty is damaged, and mended when it is brought back.
func TestEmptyObject(t *testing.T) {
	s := newSite(t, acme)
	twoObjects(s, "acme-1", 1)
	good := s.raw.objects[s.landed[0]]
	s.raw.objects[s.landed[0]] = nil
	if err := s.lake.Convert(t.Context(), s.landed[0]); !errors.Is(err, lake.ErrCorrupt) {
		t.Errorf("an empty object: %v, dead %v", err, s.bucket.below("dead/"))
	}
	s.raw.objects[s.landed[0]] = good
	if n, err := s.lake.Retry(t.Context(), "acme-1"); n != 1 || err != nil {
		t.Errorf("brought back, and tried again: %d, %v", n, err)
	}
	for range 3 {
		if _, err := s.lake.Publish(t.Context(), "acme-1", time.Time{}); err != nil {
			t.Errorf("brought back: %v", err)
		}
	}
}

// A staged file that was damaged where it lies is noticed: its marker has its checksum.
func TestDamagedStaged(t *testing.T) {
	s := newSite(t, acme)
	s.run("acme-1", 1, []page{{device: "d1", fetch: "f", rows: `{"a":123456,"b":"some text, and more of it"},{"a":777,"b":"another text"}`}})
	if err := s.lake.Convert(t.Context(), s.landed[0]); err != nil {
		t.Fatal(err)
	}
	var part string
	start := map[string][]byte{}
	for name, data := range s.bucket.objects {
		start[name] = bytes.Clone(data)
		if len(name) > 8 && name[len(name)-8:] == ".parquet" {
			part = name
		}
	}
	altered := map[string]int{}
	for at := 0; at < len(start[part]); at += 61 {
		s.bucket.objects = map[string][]byte{}
		for name, data := range start {
			s.bucket.objects[name] = bytes.Clone(data)
		}
		s.bucket.objects[part][at] ^= 0x01
		if _, err := s.lake.Publish(t.Context(), "acme-1", time.Time{}); err != nil {
			t.Errorf("byte %d: an error, although the landed object is good: %v", at, err)
			continue
		}
		if got := fmt.Sprint(s.rows("points")); got != "[acme-1 d1: a=123456 b=some text, and more of it acme-1 d1: a=777 b=another text]" {
			altered[got]++
		}
	}
	if len(altered) > 0 {
		t.Errorf("%d of %d wrong bits were published as other rows, such as %v", len(altered), len(start[part]), altered)
	}
}

// listening tells when an object is read to be replaced.
type listening struct {
	*bucket
	tagged func()
}

func (l *listening) Tag(ctx context.Context, name string) ([]byte, string, error) {
	data, tag, err := l.bucket.Tag(ctx, name)
	if l.tagged != nil && strings.HasPrefix(name, "dead/") {
		do := l.tagged
		l.tagged = nil
		do()
	}
	return data, tag, err
}

// TestDecisionStays: a conversion that fails beside an operator's decision does
// not undo it.
func TestDecisionStays(t *testing.T) {
	s := newSite(t, acme)
	twoObjects(s, "acme-1", 1)
	s.raw.objects[s.landed[0]] = []byte("bad")
	s.lake.Convert(t.Context(), s.landed[0])
	beside := s.with(acme)
	beside.Store = &listening{s.bucket, func() {
		if err := s.lake.Discard(context.Background(), "acme-1", s.landed[0], lake.Decision{By: "me"}); err != nil {
			t.Fatal(err)
		}
	}}
	beside.Convert(t.Context(), s.landed[0])
	dead, err := s.lake.Dead(t.Context(), "acme-1")
	if err != nil || len(dead) != 1 || dead[0].Discarded == nil {
		t.Errorf("the operator's decision is gone: %v, %v", dead, err)
	}
}
