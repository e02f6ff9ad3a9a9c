package awstest

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"strings"
)

var quiet = log.New(io.Discard, "", 0)

// describe says what a request asks for.
func describe(r *http.Request, body []byte) Request {
	var req Request
	req.Key, req.Service = signedBy(r)
	if req.Service == "s3" {
		req.SSEKey = r.Header.Get("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id")
		req.Action, req.Resource = objectAction(r), strings.TrimPrefix(r.URL.Path, "/")
		if req.Action == "ListObjectsV2" {
			req.Resource = strings.TrimSuffix(req.Resource, "/") + "/" + r.URL.Query().Get("prefix")
		}
		return req
	}
	_, req.Action, _ = strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	req.Body = body
	var in struct {
		QueueURL     string `json:"QueueUrl"`
		QueueName    string
		TableName    string
		RequestItems map[string]any
		Name         string
		Path         string
		SecretID     string `json:"SecretId"`
	}
	if json.Unmarshal(body, &in) != nil {
		return req
	}
	for table := range in.RequestItems {
		req.Resource = table
	}
	for _, name := range []string{in.QueueURL[strings.LastIndex(in.QueueURL, "/")+1:], in.QueueName, in.TableName, in.Name, in.Path, in.SecretID} {
		if name != "" {
			req.Resource = name
		}
	}
	return req
}

// objectAction is the S3 operation of a request.
func objectAction(r *http.Request) string {
	q := r.URL.Query()
	_, key, inBucket := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	object := inBucket && key != ""
	switch {
	case !object && r.Method == http.MethodPut:
		return "CreateBucket"
	case !object && r.Method == http.MethodHead:
		return "HeadBucket"
	case !object && r.Method == http.MethodGet:
		return "ListObjectsV2"
	case !object && r.Method == http.MethodDelete:
		return "DeleteBucket"
	case r.Method == http.MethodPost && q.Has("uploads"):
		return "CreateMultipartUpload"
	case r.Method == http.MethodPost && q.Has("uploadId"):
		return "CompleteMultipartUpload"
	case r.Method == http.MethodPut && q.Has("uploadId"):
		return "UploadPart"
	case r.Method == http.MethodDelete && q.Has("uploadId"):
		return "AbortMultipartUpload"
	case r.Method == http.MethodPut:
		return "PutObject"
	case r.Method == http.MethodHead:
		return "HeadObject"
	case r.Method == http.MethodGet:
		return "GetObject"
	case r.Method == http.MethodDelete:
		return "DeleteObject"
	}
	return r.Method
}
