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

	"github.com/klauspost/compress/zstd"
	"github.com/sluicehq/sluice/internal/lake"
	"github.com/sluicehq/sluice/internal/landing"
)

func packed(t *testing.T, fill func(io.Writer)) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	fill(w)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestCorrupt: a landed object that is not as it was written is noted with its
// reason; the rest is converted; the run is not published until it has been dealt
// with, by bringing the object back or by a decision to leave it out.
func TestCorrupt(t *testing.T) {
	defer lake.SetMostPage(1 << 10)() // then the spec's own bound of 8 MiB holds
	for _, c := range []struct {
		name, says string
		harm       func(t *testing.T, good []byte) []byte
	}{
		{"cut", "unexpected EOF", func(_ *testing.T, b []byte) []byte { return b[:len(b)-5] }},
		{"cut to nothing", "", func(_ *testing.T, b []byte) []byte { return b[:2] }},
		{"a wrong byte", "", func(_ *testing.T, b []byte) []byte { b = bytes.Clone(b); b[len(b)/2] ^= 0x40; return b }},
		{"a wrong checksum", "CRC", func(_ *testing.T, b []byte) []byte { b = bytes.Clone(b); b[len(b)-1] ^= 1; return b }},
		{"no zstd", "magic", func(*testing.T, []byte) []byte { return []byte("<html>Access denied</html>") }},
		{"no JSON", "record 1", func(t *testing.T, _ []byte) []byte {
			return packed(t, func(w io.Writer) { io.WriteString(w, "not json\n") })
		}},
		{"a last record without its end", "unexpected EOF", func(t *testing.T, _ []byte) []byte {
			return packed(t, func(w io.Writer) { io.WriteString(w, `{"kind":"page"`) })
		}},
		{"of another run", "of run other", func(t *testing.T, _ []byte) []byte {
			return packed(t, func(w io.Writer) {
				io.WriteString(w, `{"kind":"page","task":{"id":"x","run":"other","tier":"data"}}`+"\n")
			})
		}},
		{"a bomb", "longer than", func(t *testing.T, _ []byte) []byte {
			return packed(t, func(w io.Writer) {
				io.WriteString(w, `{"kind":"page","body":"`)
				chunk := bytes.Repeat([]byte("a"), 1<<20)
				for range 16 {
					w.Write(chunk)
				}
			})
		}},
		{"rows that are none", "its rows cannot be made", func(t *testing.T, _ []byte) []byte {
			return packed(t, func(w io.Writer) {
				io.WriteString(w, `{"kind":"page","task":{"id":"x","run":"acme-1","tier":"data","path":["d1"]},"body":{"rows":[1]}}`+"\n")
			})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, acme)
			want := twoObjects(s, "acme-1", 1)
			bad := s.landed[1]
			good := s.raw.objects[bad]
			s.raw.objects[bad] = c.harm(t, good)
			if err := s.lake.Convert(t.Context(), s.landed[0]); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the queue delivers twice
				if err := s.lake.Convert(t.Context(), bad); !errors.Is(err, lake.ErrCorrupt) || !strings.Contains(err.Error(), c.says) {
					t.Fatalf("%v does not say %q", err, c.says)
				}
			}
			_, err := s.lake.Publish(t.Context(), "acme-1", time.Time{})
			var refused *lake.Refused
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), bad) {
				t.Fatalf("published with it: %v", err)
			}
			dead, err := s.lake.Dead(t.Context(), "acme-1")
			if err != nil || len(dead) != 1 || dead[0].Object != bad || !strings.Contains(dead[0].Reason, c.says) {
				t.Fatalf("the dead: %v, %v", dead, err)
			}
			if n, err := s.lake.Retry(t.Context(), "acme-1"); n != 0 || err != nil {
				t.Fatalf("a retry without a change: %d, %v", n, err)
			}
			if err := s.lake.Discard(t.Context(), "acme-1", bad, lake.Decision{By: "me", Why: "it is of no use"}); err != nil {
				t.Fatal(err)
			}
			p := s.publish("acme-1")
			equal(t, "rows without it", len(s.rows("points")), 3)
			if len(p.Left) != 1 || p.Left[0].Discarded.Why != "it is of no use" {
				t.Errorf("the manifest does not tell what was left out: %v", p.Left)
			}
			// A version of it that is good is brought back.
			s.raw.objects[bad] = good
			if err := s.lake.Convert(t.Context(), bad); err != nil {
				t.Fatal(err)
			}
			if _, err := s.lake.Rebuild(t.Context(), []string{"acme-1"}, time.Time{}); err != nil {
				t.Fatal(err)
			}
			equal(t, "rows", strings.Join(s.rows("points"), "\n"), strings.Join(want, "\n"))
		})
	}
}

// flaky fails to read landed objects in the middle.
type flaky struct{ *bucket }

type cutReader struct{ io.Reader }

func (cutReader) Close() error { return nil }

func (f flaky) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	r, err := f.bucket.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	return cutReader{io.MultiReader(io.LimitReader(r, 20), broken{})}, nil
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, fmt.Errorf("connection: %w", io.ErrUnexpectedEOF) }

// TestStoreTrouble: an object that could not be read is not a corrupt one.
func TestStoreTrouble(t *testing.T) {
	s := newSite(t, acme)
	twoObjects(s, "acme-1", 1)
	s.lake.Landing = landing.New(flaky{s.raw})
	err := s.lake.Convert(t.Context(), s.raw.below("")[0])
	if err == nil || errors.Is(err, lake.ErrCorrupt) || len(s.bucket.below("dead/")) > 0 {
		t.Errorf("a connection that broke: %v, dead %v", err, s.bucket.below("dead/"))
	}
}
