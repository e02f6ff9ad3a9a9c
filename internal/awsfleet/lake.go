package awsfleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/sluicehq/sluice/internal/landing"
)

// A LakeStore holds the lake's objects: a part of a bucket. Unlike landed
// objects they may be replaced and deleted. It is safe for concurrent use.
type LakeStore struct{ objects }

// Lake holds the lake's objects; nil: the stack has no lake.
func (v *Vendor) Lake() *LakeStore {
	l := v.stack.Lake
	if l.Bucket == "" {
		return nil
	}
	return &LakeStore{objects{cloud: v.cloud, bucket: l.Bucket, prefix: l.Prefix, key: l.KMSKey}}
}

// Put writes an object in the place of any other, whole or not at all.
func (s *LakeStore) Put(ctx context.Context, name string, data []byte) error {
	if len(data) > partSize {
		return s.failed(s.putParts(ctx, name, bytes.NewReader(data), int64(len(data)), nil), "writing", name)
	}
	_, err := s.write(ctx, name, bytes.NewReader(data), nil, nil)
	return s.failed(err, "writing", name)
}

// PutFile writes a file likewise, from its start to its end. Large ones go in
// parts; none is held in memory.
func (s *LakeStore) PutFile(ctx context.Context, name string, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if info.Size() > partSize {
		return s.failed(s.putParts(ctx, name, f, info.Size(), nil), "writing", name)
	}
	_, err = s.write(ctx, name, io.NewSectionReader(f, 0, info.Size()), nil, nil)
	return s.failed(err, "writing", name)
}

// write sends an object in one request. match is the tag of what must be there,
// once is "*" where nothing may be there.
func (s *LakeStore) write(ctx context.Context, name string, body io.ReadSeeker, match, once *string) (tag string, err error) {
	sum, err := checksumOf(body)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, uploadTime)
	defer cancel()
	in := &s3.PutObjectInput{
		Bucket: &s.bucket, Key: aws.String(s.prefix + name), Body: body, ChecksumCRC32C: &sum, IfMatch: match, IfNoneMatch: once,
	}
	in.ServerSideEncryption, in.SSEKMSKeyId, in.BucketKeyEnabled = s.under()
	out, err := s.cloud.s3.PutObject(ctx, in)
	if err != nil {
		return "", err
	}
	return aws.ToString(out.ETag), nil
}

// Swap writes an object in the place of the one whose tag is old; without one
// there must be none. landing.ErrSwapped: it is another one. A Swap that took
// effect and whose answer was lost finds its own data there, when it is tried
// again, and has succeeded.
func (s *LakeStore) Swap(ctx context.Context, name, old string, data []byte) (tag string, err error) {
	match, once := given(old), aws.String("*")
	if old != "" {
		once = nil
	}
	for try := 0; ; try++ {
		tag, err = s.write(ctx, name, bytes.NewReader(data), match, once)
		switch httpCode(err) {
		case "PreconditionFailed", "412", "NoSuchKey", "NotFound":
			return s.ours(ctx, name, data)
		case "ConditionalRequestConflict", "409", "OperationAborted": // somebody is at the same name
			if try < tries {
				if err := pause(ctx, try); err != nil {
					return "", err
				}
				continue
			}
		}
		return tag, s.failed(err, "switching", name)
	}
}

// ours finds out whether the data that was to be there is there.
func (s *LakeStore) ours(ctx context.Context, name string, data []byte) (string, error) {
	there, tag, err := s.Tag(ctx, name)
	if err != nil {
		return "", err
	}
	if tag == "" || !bytes.Equal(there, data) {
		return "", fmt.Errorf("switching %s%s in bucket %s: %w", s.prefix, name, s.bucket, landing.ErrSwapped)
	}
	return tag, nil
}

// Tag reads an object with the tag that Swap wants; without one there is none.
func (s *LakeStore) Tag(ctx context.Context, name string) (data []byte, tag string, err error) {
	ctx, cancel := context.WithTimeout(ctx, uploadTime)
	defer cancel()
	for try := 0; ; try++ {
		out, err := s.cloud.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: aws.String(s.prefix + name)})
		switch {
		case notThere(err):
			return nil, "", nil
		case err != nil:
			return nil, "", s.failed(err, "reading", name)
		}
		data, err := io.ReadAll(out.Body)
		out.Body.Close()
		if err == nil {
			return data, aws.ToString(out.ETag), nil
		}
		if try == tries || pause(ctx, try) != nil {
			return nil, "", s.failed(err, "reading", name)
		}
	}
}

// Open opens an object for reading parts of it: each ReadAt is one request, and
// all of them see the same version. The end of ctx ends them, too.
func (s *LakeStore) Open(ctx context.Context, name string) (landing.ReadAtCloser, int64, error) {
	looking, cancel := context.WithTimeout(ctx, operationTime)
	defer cancel()
	head, err := s.cloud.s3.HeadObject(looking, &s3.HeadObjectInput{Bucket: &s.bucket, Key: aws.String(s.prefix + name)})
	if notThere(err) {
		return nil, 0, s.missing(name)
	}
	if err != nil {
		return nil, 0, s.failed(err, "looking at", name)
	}
	size := aws.ToInt64(head.ContentLength)
	return &ranges{s: s, ctx: ctx, name: name, tag: head.ETag, size: size}, size, nil
}

// ranges reads parts of one version of an object.
type ranges struct {
	s    *LakeStore
	ctx  context.Context // of Open: io.ReaderAt has none
	name string
	tag  *string
	size int64
}

// rangeTime bounds one request for a part of an object.
const rangeTime = time.Minute

// ReadAt implements io.ReaderAt. An answer that breaks off is asked for again
// from there on.
func (r *ranges) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errors.New("reading from before an object's start")
	}
	want := int(min(int64(len(p)), max(0, r.size-off)))
	for try := 0; n < want; try++ {
		var got int
		got, err = r.read(p[n:want], off+int64(n))
		if n += got; n == want {
			break
		}
		if got > 0 {
			try = 0
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) || try == tries || pause(r.ctx, try) != nil {
			return n, r.s.failed(err, "reading a part of", r.name)
		}
	}
	if want < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// read makes one request; io.ErrUnexpectedEOF: its answer broke off.
func (r *ranges) read(p []byte, off int64) (int, error) {
	ctx, cancel := context.WithTimeout(r.ctx, rangeTime)
	defer cancel()
	out, err := r.s.cloud.s3.GetObject(ctx, &s3.GetObjectInput{
		Bucket: &r.s.bucket, Key: aws.String(r.s.prefix + r.name), IfMatch: r.tag,
		Range: aws.String(fmt.Sprintf("bytes=%d-%d", off, off+int64(len(p))-1)),
	})
	if err != nil {
		return 0, err
	}
	defer out.Body.Close()
	n, err := io.ReadFull(out.Body, p)
	if err != nil && ctx.Err() == nil {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Close implements io.Closer: nothing is held.
func (r *ranges) Close() error { return nil }

// Delete removes objects, several at once; those that are not there are passed
// over.
func (s *LakeStore) Delete(ctx context.Context, names ...string) error {
	return each(ctx, len(names), func(i int) error {
		ctx, cancel := context.WithTimeout(ctx, operationTime)
		defer cancel()
		_, err := s.cloud.s3.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: aws.String(s.prefix + names[i])})
		if notThere(err) {
			return nil
		}
		return s.failed(err, "deleting", names[i])
	})
}
