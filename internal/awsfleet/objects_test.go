package awsfleet_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/internal/awsfleet"
	"github.com/sluicehq/sluice/internal/awsfleet/awstest"
)

func bytesOf(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(b)
	return b
}

// TestWrittenOnce: an object may be put again, and not changed.
func TestWrittenOnce(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"small": 1000, "in parts": 20 << 20, "two parts and no more": 16 << 20} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, v := open(t)
			store, ctx, data := awsfleet.Objects(v), t.Context(), bytesOf(size)
			for range 2 { // the second time as after an error that was none
				ok(t, store.Put(ctx, "run=r/o", data))
			}
			other := bytes.Clone(data)
			other[len(other)-1]++
			for _, d := range [][]byte{other, data[1:]} {
				if err := store.Put(ctx, "run=r/o", d); err == nil || !strings.Contains(err.Error(), "there is another object of that name") {
					t.Errorf("changing an object: %v", err)
				}
			}
			rc, err := store.Get(ctx, "run=r/o")
			ok(t, err)
			var got bytes.Buffer
			_, err = got.ReadFrom(rc)
			if err = errors.Join(err, rc.Close()); err != nil || !bytes.Equal(got.Bytes(), data) {
				t.Errorf("read back %d bytes, %v; want %d", got.Len(), err, len(data))
			}
			if size > 8<<20 && !slices.ContainsFunc(s.Record(), func(r awstest.Request) bool { return r.Action == "UploadPart" }) {
				t.Error("a large object was sent in one")
			}
		})
	}
}

// TestUploadFails: parts of an object that could not be finished are removed,
// and nothing of it shows.
func TestUploadFails(t *testing.T) {
	t.Parallel()
	s, v := open(t)
	store, ctx, data := awsfleet.Objects(v), t.Context(), bytesOf(9<<20)
	for _, op := range []string{"CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"} {
		s.ResetRecord()
		s.Inject(func(_ int, r awstest.Request) awstest.Fault {
			if r.Action == op {
				return awstest.Before
			}
			return awstest.Fault{}
		})
		if err := store.Put(ctx, op, data); err == nil {
			t.Fatalf("%s failed and Put did not", op)
		}
		s.Inject(nil)
		aborted := slices.ContainsFunc(s.Record(), func(r awstest.Request) bool { return r.Action == "AbortMultipartUpload" })
		if aborted != (op != "CreateMultipartUpload") {
			t.Errorf("after %s failed: aborted %v", op, aborted)
		}
		if _, err := store.Get(ctx, op); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a part of an object shows: %v", err)
		}
		ok(t, store.Put(ctx, op, data))
	}
}

// TestListPages: more objects than one answer names, in order.
func TestListPages(t *testing.T) {
	t.Parallel()
	v := anywhere(t)
	store, ctx := awsfleet.Objects(v), t.Context()
	const n = 1100
	ok(t, awsfleet.Each(ctx, n, func(i int) error { return store.Put(ctx, fmt.Sprintf("run=r/tier=a/%05d", i), []byte("x")) }))
	ok(t, store.Put(ctx, "run=r2/tier=a/x", []byte("x")))
	ok(t, v.PutVerdict(ctx, "r", []byte("{}")))
	ok(t, v.PutVerdict(ctx, "r", []byte(`{"again":1}`)))
	var names []string
	ok(t, store.List(ctx, "run=r/", func(name string) error { names = append(names, name); return nil }))
	if len(names) != n || !slices.IsSorted(names) || names[0] != "run=r/tier=a/00000" {
		t.Errorf("%d names, first %q", len(names), names[:1])
	}
	stop := errors.New("stop")
	if err := store.List(ctx, "run=r/", func(string) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("an error of each is lost: %v", err)
	}
}
