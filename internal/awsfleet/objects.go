package awsfleet

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

// objects implements landing.Store on a part of a bucket. Objects are written
// once: If-None-Match lets nobody overwrite what counts. How they are encrypted
// the bucket says.
type objects struct {
	cloud  *Cloud
	bucket string
	prefix string
	key    string // ARN of the key that objects are to be under; empty: what the bucket says
}

// Larger objects are sent in parts of this size, so that what fails on the way
// is sent again in part.
const partSize = 8 << 20

// uploadTime bounds one request that carries data.
const uploadTime = 30 * time.Second

func (o *objects) failed(err error, doing, name string) error {
	return wrap(explain(err, "bucket "+o.bucket), "%s %s%s in bucket %s", doing, o.prefix, name, o.bucket)
}

// Put implements landing.Store.
func (o *objects) Put(ctx context.Context, name string, data []byte) error {
	for try := 0; ; try++ {
		err := o.put(ctx, name, data)
		switch httpCode(err) {
		case "PreconditionFailed", "412":
			return o.compare(ctx, name, data)
		case "ConditionalRequestConflict", "409", "OperationAborted": // somebody is at the same name
			if try < tries {
				if err := pause(ctx, try); err != nil {
					return err
				}
				continue
			}
		}
		return o.failed(err, "writing", name)
	}
}

// httpCode is the code of an S3 error.
func httpCode(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

func (o *objects) put(ctx context.Context, name string, data []byte) error {
	once := aws.String("*")
	if len(data) > partSize {
		return o.putParts(ctx, name, bytes.NewReader(data), int64(len(data)), once)
	}
	ctx, cancel := context.WithTimeout(ctx, uploadTime)
	defer cancel()
	_, err := o.cloud.s3.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &o.bucket, Key: aws.String(o.prefix + name), Body: bytes.NewReader(data),
		IfNoneMatch: once, ChecksumCRC32C: aws.String(checksum(data)),
	})
	return err
}

func checksum(data []byte) string {
	return sumText(crc32.Checksum(data, castagnoli))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func sumText(sum uint32) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
}

// putParts sends a large object. Until it is completed nothing of it is there;
// what a crash leaves of it the bucket's lifecycle removes. once is "*" where no
// other object may be there, else nil.
func (o *objects) putParts(ctx context.Context, name string, from io.ReaderAt, size int64, once *string) error {
	objectKey := aws.String(o.prefix + name)
	begin, cancel := context.WithTimeout(ctx, operationTime)
	defer cancel()
	create := &s3.CreateMultipartUploadInput{Bucket: &o.bucket, Key: objectKey, ChecksumAlgorithm: types.ChecksumAlgorithmCrc32c}
	create.ServerSideEncryption, create.SSEKMSKeyId, create.BucketKeyEnabled = o.under()
	up, err := o.cloud.s3.CreateMultipartUpload(begin, create)
	if err != nil {
		return err
	}
	parts, err := o.sendParts(ctx, objectKey, up.UploadId, from, size)
	if err == nil {
		end, cancel := context.WithTimeout(ctx, uploadTime)
		defer cancel()
		_, err = o.cloud.s3.CompleteMultipartUpload(end, &s3.CompleteMultipartUploadInput{
			Bucket: &o.bucket, Key: objectKey, UploadId: up.UploadId, IfNoneMatch: once,
			MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
		})
	}
	if err == nil {
		return nil
	}
	drop, cancel := context.WithTimeout(context.WithoutCancel(ctx), operationTime)
	defer cancel()
	if _, bad := o.cloud.s3.AbortMultipartUpload(drop, &s3.AbortMultipartUploadInput{Bucket: &o.bucket, Key: objectKey, UploadId: up.UploadId}); bad != nil {
		o.cloud.log.Debug("parts of an object stay until the bucket's lifecycle removes them", "object", *objectKey, "err", bad)
	}
	return err
}

// sendParts sends a part after the other, each straight from where it is: none
// is held in memory.
func (o *objects) sendParts(ctx context.Context, objectKey, upload *string, from io.ReaderAt, size int64) ([]types.CompletedPart, error) {
	var parts []types.CompletedPart
	for at := int64(0); at < size; at += partSize {
		part := io.NewSectionReader(from, at, min(partSize, size-at))
		text, err := checksumOf(part)
		if err != nil {
			return nil, err
		}
		n, sum := aws.Int32(int32(at/partSize+1)), aws.String(text)
		sending, cancel := context.WithTimeout(ctx, uploadTime)
		out, err := o.cloud.s3.UploadPart(sending, &s3.UploadPartInput{
			Bucket: &o.bucket, Key: objectKey, UploadId: upload, PartNumber: n, Body: part, ChecksumCRC32C: sum,
		})
		cancel()
		if err != nil {
			return nil, err
		}
		parts = append(parts, types.CompletedPart{PartNumber: n, ETag: out.ETag, ChecksumCRC32C: sum})
	}
	return parts, nil
}

// checksumOf reads all of r, and goes back to its start.
func checksumOf(r io.ReadSeeker) (string, error) {
	sum := crc32.New(castagnoli)
	if _, err := io.Copy(sum, r); err != nil {
		return "", err
	}
	_, err := r.Seek(0, io.SeekStart)
	return sumText(sum.Sum32()), err
}

// under says which key an object is to be under. A bucket key spares most of
// the requests to KMS.
func (o *objects) under() (kind types.ServerSideEncryption, key *string, bucketKey *bool) {
	if o.key == "" {
		return "", nil, nil
	}
	return types.ServerSideEncryptionAwsKms, &o.key, aws.Bool(true)
}

// compare finds out whether the object that is there is the one that was to be
// put: after an error that was none, it is.
func (o *objects) compare(ctx context.Context, name string, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, uploadTime)
	defer cancel()
	differs := fmt.Errorf("writing %s%s in bucket %s: there is another object of that name", o.prefix, name, o.bucket)
	head, err := o.cloud.s3.HeadObject(ctx, &s3.HeadObjectInput{
		Bucket: &o.bucket, Key: aws.String(o.prefix + name), ChecksumMode: types.ChecksumModeEnabled,
	})
	switch {
	case err != nil:
		return o.failed(err, "looking at", name)
	case aws.ToInt64(head.ContentLength) != int64(len(data)):
		return differs
	case head.ChecksumType == types.ChecksumTypeFullObject && aws.ToString(head.ChecksumCRC32C) == checksum(data):
		return nil
	}
	// It was sent in parts, or there is no checksum: the bytes decide.
	r, err := o.Get(ctx, name)
	if err != nil {
		return err
	}
	defer r.Close()
	there, err := io.ReadAll(io.LimitReader(r, int64(len(data))+1))
	if err != nil {
		return o.failed(err, "reading", name)
	}
	if !bytes.Equal(there, data) {
		return differs
	}
	return nil
}

// replace puts an object in the place of any other.
func (o *objects) replace(ctx context.Context, name string, data []byte, kind string) error {
	ctx, cancel := context.WithTimeout(ctx, uploadTime)
	defer cancel()
	_, err := o.cloud.s3.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &o.bucket, Key: aws.String(o.prefix + name), Body: bytes.NewReader(data), ContentType: &kind, ChecksumCRC32C: aws.String(checksum(data)),
	})
	return o.failed(err, "writing", name)
}

// Get implements landing.Store.
func (o *objects) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	out, err := o.cloud.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: &o.bucket, Key: aws.String(o.prefix + name)})
	if notThere(err) {
		return nil, o.missing(name)
	}
	if err != nil {
		return nil, o.failed(err, "reading", name)
	}
	return out.Body, nil
}

func notThere(err error) bool {
	code := httpCode(err)
	return code == "NoSuchKey" || code == "NotFound"
}

func (o *objects) missing(name string) error {
	return fmt.Errorf("object %s%s in bucket %s: %w", o.prefix, name, o.bucket, fs.ErrNotExist)
}

// List implements landing.Store.
func (o *objects) List(ctx context.Context, prefix string, each func(name string) error) error {
	pages := s3.NewListObjectsV2Paginator(o.cloud.s3, &s3.ListObjectsV2Input{Bucket: &o.bucket, Prefix: aws.String(o.prefix + prefix)})
	for pages.HasMorePages() {
		page, err := o.page(ctx, pages)
		if err != nil {
			return o.failed(err, "listing", prefix)
		}
		for _, obj := range page.Contents {
			if err := each(aws.ToString(obj.Key)[len(o.prefix):]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (o *objects) page(ctx context.Context, pages *s3.ListObjectsV2Paginator) (*s3.ListObjectsV2Output, error) {
	ctx, cancel := context.WithTimeout(ctx, operationTime)
	defer cancel()
	return pages.NextPage(ctx)
}
