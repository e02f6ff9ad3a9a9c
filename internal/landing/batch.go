package landing

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/sluicehq/sluice/internal/fanout"
)

// Store holds objects: a directory or a bucket. It is safe for concurrent use.
type Store interface {
	// Put makes an object durable. Putting the same name and bytes again is
	// harmless.
	Put(ctx context.Context, name string, data []byte) error
	// Get opens an object; the error wraps fs.ErrNotExist when there is none.
	Get(ctx context.Context, name string) (io.ReadCloser, error)
	// List calls each with the names that begin with prefix, in order.
	List(ctx context.Context, prefix string, each func(name string) error) error
}

// Landing implements fanout.Landing over a Store. It is safe for concurrent use.
type Landing struct {
	store    Store
	encoders sync.Pool
}

// New returns a landing over a store.
func New(s Store) *Landing { return &Landing{store: s} }

// Begin implements fanout.Landing.
func (l *Landing) Begin(run, tier string) fanout.LandingBatch {
	b := &batch{l: l, object: Prefix(run, tier) + newID() + suffix}
	enc, _ := l.encoders.Get().(*zstd.Encoder)
	if enc == nil {
		// One goroutine and a small window: a worker's memory is counted in
		// megabytes, and pages are small.
		enc, _ = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20), zstd.WithEncoderLevel(zstd.SpeedFastest))
	}
	enc.Reset(&b.packed)
	b.enc = enc
	return b
}

const suffix = ".ndjson.zst"

// Prefix is where objects of a run, and of one of its tiers unless that is
// empty, have their names.
func Prefix(run, tier string) string {
	if tier == "" {
		return "run=" + run + "/"
	}
	return "run=" + run + "/tier=" + tier + "/"
}

// newID is 48 bits of milliseconds and 80 random bits.
func newID() string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(time.Now().UnixMilli())<<16)
	rand.Read(b[6:]) // never fails
	return strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}

type batch struct {
	l      *Landing
	object string
	packed bytes.Buffer
	enc    *zstd.Encoder // nil once sealed
	line   bytes.Buffer
}

func (b *batch) Object() string { return b.object }
func (b *batch) Size() int      { return b.packed.Len() }

// Add packs a record: its fields, then its body.
func (b *batch) Add(r fanout.Record) error {
	if b.enc == nil {
		return errors.New("landing: a record was added to a batch that is sealed")
	}
	head, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("packing a record of task %s: %w", r.Task.ID, err)
	}
	b.line.Reset()
	b.line.Write(head)
	if r.Body != nil {
		b.line.Truncate(b.line.Len() - 1) // the closing brace
		b.line.WriteString(`,"body":`)
		if err := json.Compact(&b.line, r.Body); err != nil {
			return fmt.Errorf("packing the body of task %s: %w", r.Task.ID, err)
		}
		b.line.WriteByte('}')
	}
	b.line.WriteByte('\n')
	_, err = b.enc.Write(b.line.Bytes())
	if b.line.Cap() > 1<<20 {
		b.line = bytes.Buffer{}
	}
	return err
}

// Commit seals the object and puts it into the store.
func (b *batch) Commit(ctx context.Context) error {
	if b.enc != nil {
		if err := b.enc.Close(); err != nil {
			return fmt.Errorf("packing %s: %w", b.object, err)
		}
		b.l.encoders.Put(b.enc)
		b.enc = nil
	}
	return b.l.store.Put(ctx, b.object, b.packed.Bytes())
}
