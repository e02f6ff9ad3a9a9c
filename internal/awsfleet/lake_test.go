package awsfleet_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sluicehq/sluice/internal/awsfleet"
	"github.com/sluicehq/sluice/internal/awsfleet/awstest"
	"github.com/sluicehq/sluice/internal/landing"
)

// lake is a store of a lake of its own, with the cloud that counts for it.
func lake(t *testing.T) (*awstest.Servers, *awsfleet.Cloud, *awsfleet.LakeStore) {
	t.Helper()
	s := awstest.StandIn(t)
	stack := s.Make(t, vendor)
	stack.Lake = awsfleet.Lake{Bucket: stack.Bucket, Prefix: "lake/"}
	c := s.Open(t, "AKIATEST")
	return s, c, c.Use(stack).Lake()
}

func read(t *testing.T, store *awsfleet.LakeStore, name string) []byte {
	t.Helper()
	rc, err := store.Get(t.Context(), name)
	ok(t, err)
	defer rc.Close()
	data, err := io.ReadAll(rc)
	ok(t, err)
	return data
}

// TestLakeStore: objects are replaced, read in parts, listed and deleted; what is
// not there is said to be so.
func TestLakeStore(t *testing.T) {
	t.Parallel()
	_, _, store := lake(t)
	ctx := t.Context()
	for i, size := range []int{0, 1, 5 << 20, 9 << 20} {
		first, second := bytesOf(size), bytes.Repeat([]byte("b"), size+1)
		file, err := os.Create(filepath.Join(t.TempDir(), "f"))
		ok(t, err)
		defer file.Close()
		_, err = file.Write(second) // and the file's place is at its end now
		ok(t, err)
		name := fmt.Sprintf("tables/v/%d é+%%.parquet", i)
		ok(t, store.Put(ctx, name, first))
		if got := read(t, store, name); !bytes.Equal(got, first) {
			t.Errorf("%d bytes are read as %d", size, len(got))
		}
		for range 2 {
			ok(t, store.PutFile(ctx, name, file))
		}
		if got := read(t, store, name); !bytes.Equal(got, second) {
			t.Errorf("a file of %d bytes is read as %d", size+1, len(got))
		}
	}
	var names []string
	ok(t, store.List(ctx, "tables/", func(name string) error { names = append(names, name); return nil }))
	if len(names) != 4 || names[3] != "tables/v/3 é+%.parquet" {
		t.Errorf("listed: %q", names)
	}
	ok(t, store.Delete(ctx, append(names[1:], "never/there")...))
	ok(t, store.Delete(ctx, names...))
	ok(t, store.Delete(ctx))
	if _, err := store.Get(ctx, names[0]); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("getting what is deleted: %v", err)
	}
	if _, _, err := store.Open(ctx, names[0]); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("opening what is deleted: %v", err)
	}
	if data, tag, err := store.Tag(ctx, names[0]); data != nil || tag != "" || err != nil {
		t.Errorf("the tag of what is deleted: %q %q %v", data, tag, err)
	}
}

// TestLakeRanges: parts are read with one request each, of one version, to the
// end and not beyond; an answer that breaks off is read on.
func TestLakeRanges(t *testing.T) {
	t.Parallel()
	s, c, store := lake(t)
	ctx, data := t.Context(), bytesOf(100_000)
	ok(t, store.Put(ctx, "o", data))
	f, size, err := store.Open(ctx, "o")
	ok(t, err)
	defer f.Close()
	if size != int64(len(data)) {
		t.Fatalf("it has %d bytes", size)
	}
	for _, part := range []struct{ off, n, want int }{{0, 100, 100}, {5000, 70_000, 70_000}, {99_990, 10, 10}, {99_990, 20, 10}, {100_000, 5, 0}, {200_000, 5, 0}, {7, 0, 0}} {
		p := make([]byte, part.n)
		before := c.Usage()
		n, err := f.ReadAt(p, int64(part.off))
		if n != part.want || part.want < part.n != errors.Is(err, io.EOF) || err != nil && !errors.Is(err, io.EOF) ||
			n > 0 && !bytes.Equal(p[:n], data[part.off:part.off+n]) {
			t.Errorf("%+v: %d, %v", part, n, err)
		}
		if asked := c.Usage().Since(before).Calls["s3.GetObject"]; asked != min(part.want, 1) {
			t.Errorf("%+v: %d requests", part, asked)
		}
	}
	if _, err := f.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("there is something before the start")
	}
	s.Inject(func(n int, r awstest.Request) awstest.Fault {
		if r.Action == "GetObject" && n%2 == 0 {
			return awstest.HiccupFirst
		}
		return awstest.Fault{}
	})
	p := make([]byte, len(data))
	if _, err := f.ReadAt(p, 0); err != nil || !bytes.Equal(p, data) {
		t.Errorf("after a hiccup: %v", err)
	}
	s.Inject(nil)
	ok(t, store.Put(ctx, "o", bytesOf(50)))
	if _, err := f.ReadAt(make([]byte, 5), 0); err == nil || !strings.Contains(err.Error(), "reading a part of lake/o") {
		t.Errorf("parts of two versions: %v", err)
	}
	ending, cancel := context.WithCancel(ctx)
	g, _, err := store.Open(ending, "o")
	ok(t, err)
	cancel()
	if _, err := g.ReadAt(make([]byte, 5), 0); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of its context: %v", err)
	}
}

// TestSwap: of many who replace one version one does; whose answer was lost finds
// out that it was them.
func TestSwap(t *testing.T) {
	t.Parallel()
	s, c, store := lake(t)
	ctx := t.Context()
	before := c.Usage()
	tag, err := store.Swap(ctx, "published/v.ndjson", "", []byte("1"))
	ok(t, err)
	if got := c.Usage().Since(before).Calls; got["s3.PutObject"] != 1 || len(got) != 1 {
		t.Errorf("a switch costs %v", got)
	}
	if data, now, err := store.Tag(ctx, "published/v.ndjson"); err != nil || now != tag || string(data) != "1" {
		t.Errorf("%q %q %v; the tag was %q", data, now, err, tag)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := map[string]string{}
	for i := range 6 {
		data := fmt.Sprint("by ", i)
		wg.Go(func() {
			got, err := store.Swap(ctx, "published/v.ndjson", tag, []byte(data))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won[data] = got
			} else if !errors.Is(err, landing.ErrSwapped) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	data, tag, err := store.Tag(ctx, "published/v.ndjson")
	if err != nil || len(won) != 1 || won[string(data)] != tag {
		t.Errorf("%v have replaced it, and it is %q %q %v", won, data, tag, err)
	}
	for _, old := range []string{"", `"0123"`} {
		if _, err := store.Swap(ctx, "published/v.ndjson", old, []byte("x")); !errors.Is(err, landing.ErrSwapped) {
			t.Errorf("over another version: %v", err)
		}
	}
	if _, err := store.Swap(ctx, "published/w.ndjson", tag, []byte("x")); !errors.Is(err, landing.ErrSwapped) {
		t.Errorf("over what is not there: %v", err)
	}
	for i, lost := range []awstest.Fault{awstest.HiccupLast, awstest.CutAfter} {
		s.ResetRecord()
		first := true
		s.Inject(func(_ int, r awstest.Request) awstest.Fault {
			if r.Action == "PutObject" && first {
				first = false
				return lost
			}
			return awstest.Fault{}
		})
		mine := fmt.Appendf(nil, "mine %d", i)
		if tag, err = store.Swap(ctx, "published/v.ndjson", tag, mine); err != nil || !bytes.Equal(read(t, store, "published/v.ndjson"), mine) {
			t.Errorf("an answer was lost: %v", err)
		}
		puts := slices.Collect(func(yield func(int) bool) {
			for _, r := range s.Record() {
				if r.Action == "PutObject" && !yield(r.Status) {
					return
				}
			}
		})
		if len(puts) != 2 || puts[1] != 412 {
			t.Errorf("the switch was not tried again: %v", puts)
		}
	}
	s.Inject(nil)
	// The answer is lost to us altogether: doing it again is safe.
	s.Inject(func(_ int, r awstest.Request) awstest.Fault { return awstest.After })
	if _, err := store.Swap(ctx, "published/v.ndjson", tag, []byte("late")); err == nil {
		t.Error("an error was swallowed")
	}
	s.Inject(nil)
	if _, err = store.Swap(ctx, "published/v.ndjson", tag, []byte("late")); err != nil {
		t.Errorf("done already, and again: %v", err)
	}
}

// TestLakeUploadFails: nothing of a file that could not be sent shows, and the
// one before stays.
func TestLakeUploadFails(t *testing.T) {
	t.Parallel()
	s, _, store := lake(t)
	ctx := t.Context()
	file, err := os.Create(filepath.Join(t.TempDir(), "f"))
	ok(t, err)
	defer file.Close()
	_, err = file.Write(bytesOf(17 << 20))
	ok(t, err)
	ok(t, store.Put(ctx, "f", []byte("before")))
	for _, op := range []string{"CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"} {
		s.ResetRecord()
		s.Inject(func(_ int, r awstest.Request) awstest.Fault {
			if r.Action == op {
				return awstest.Before
			}
			return awstest.Fault{}
		})
		if err := store.PutFile(ctx, "f", file); err == nil || !strings.Contains(err.Error(), "writing lake/f") {
			t.Errorf("%s failed: %v", op, err)
		}
		s.Inject(nil)
		if got := read(t, store, "f"); string(got) != "before" {
			t.Errorf("after %s failed %d bytes are there", op, len(got))
		}
	}
	s.ResetRecord()
	ok(t, store.PutFile(ctx, "f", file))
	asked := map[string]int{}
	for _, r := range s.Record() {
		asked[r.Action]++
	}
	if asked["CreateMultipartUpload"] != 1 || asked["UploadPart"] != 3 || asked["CompleteMultipartUpload"] != 1 || len(asked) != 3 {
		t.Errorf("a file of 17 MiB costs %v", asked)
	}
}

// TestLakeKey: what is written is under the operator's key, in one and in parts.
func TestLakeKey(t *testing.T) {
	t.Parallel()
	s := awstest.StandIn(t)
	stack := s.Make(t, vendor)
	const key = "arn:aws:kms:eu-central-1:123456789012:key/1"
	stack.Lake = awsfleet.Lake{Bucket: stack.Bucket, Prefix: "lake/", KMSKey: key}
	store, ctx := s.Open(t, "AKIATEST").Use(stack).Lake(), t.Context()
	ok(t, store.Put(ctx, "small", []byte("x")))
	ok(t, store.Put(ctx, "large", bytesOf(9<<20)))
	_, err := store.Swap(ctx, "index", "", []byte("x"))
	ok(t, err)
	for _, r := range s.Record() {
		begins := slices.Contains([]string{"PutObject", "CreateMultipartUpload"}, r.Action)
		if want := map[bool]string{true: key}[begins]; r.SSEKey != want {
			t.Errorf("%s %s is under %q, want %q", r.Action, r.Resource, r.SSEKey, want)
		}
	}
}
