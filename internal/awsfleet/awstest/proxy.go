package awstest

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Request is one request as it went over the wire.
type Request struct {
	Key      string // the access key that signed it
	Service  string // as in a policy: sqs, dynamodb, s3, ssm, secretsmanager
	Action   string // the operation: SendMessageBatch
	Resource string // name of the queue, table or parameter; BUCKET/KEY of an object
	Status   int    // of the answer; 0: none was given
	Body     []byte // what was sent; of S3 nothing
	SSEKey   string // the key that an object is to be under
}

// A Fault is what happens to one request. The zero Fault is none.
type Fault struct {
	After  bool          // it takes effect first
	Code   string        // the error that is reported; empty: no error
	Status int           // of that answer; 0: 400, which is not tried again
	Cut    bool          // the connection is cut instead
	Delay  time.Duration // before anything else
	Part   int           // so many entries of a batch for SQS are left out and reported as failed
}

// The faults that tests mostly want.
var (
	Before      = Fault{Code: "Injected"}                                              // did nothing and reports an error
	After       = Fault{Code: "Injected", After: true}                                 // did all and reports an error
	HiccupFirst = Fault{Code: "InternalError", Status: http.StatusInternalServerError} // did nothing; the SDK tries again
	HiccupLast  = Fault{Code: "InternalError", Status: http.StatusInternalServerError, After: true}
	CutBefore   = Fault{Cut: true}
	CutAfter    = Fault{Cut: true, After: true}
)

// Throttled is a service's refusal because of too many requests.
func Throttled(service string) Fault {
	switch service {
	case "dynamodb":
		return Fault{Code: "ProvisionedThroughputExceededException"}
	case "s3":
		return Fault{Code: "SlowDown", Status: http.StatusServiceUnavailable}
	}
	return Fault{Code: "ThrottlingException"}
}

// proxy records requests and injects faults. It is safe for concurrent use.
type proxy struct {
	to map[string]http.Handler

	mu     sync.Mutex
	all    []Request
	n      int
	inject func(n int, r Request) Fault
}

func newProxy(to map[string]http.Handler) *proxy { return &proxy{to: to} }

// Record lists the requests so far, but those of Make and its like.
func (s *Servers) Record() []Request {
	s.proxy.mu.Lock()
	defer s.proxy.mu.Unlock()
	return slices.Clone(s.proxy.all)
}

// ResetRecord forgets them and counts from 0 again.
func (s *Servers) ResetRecord() {
	s.proxy.mu.Lock()
	defer s.proxy.mu.Unlock()
	s.proxy.all, s.proxy.n = nil, 0
}

// Inject lets f decide about every request to come, the n-th since the last
// ResetRecord; nil ends it. f is called by one goroutine at a time.
func (s *Servers) Inject(f func(n int, r Request) Fault) {
	s.proxy.mu.Lock()
	defer s.proxy.mu.Unlock()
	s.proxy.inject = f
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the caller has gone
	}
	req := describe(r, body)
	to := p.to[req.Service]
	if to == nil {
		http.Error(w, "awstest: no such service: "+req.Service, http.StatusNotImplemented)
		return
	}
	fault, at := p.begin(req)
	if fault.Delay > 0 {
		select {
		case <-time.After(fault.Delay):
		case <-r.Context().Done():
			return
		}
	}
	fails := fault.Cut || fault.Code != ""
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.ContentLength = int64(len(body))
	if fault.Part > 0 {
		p.end(at, http.StatusOK)
		part(w, r, to, body, fault.Part)
		return
	}
	if !fails {
		rec := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		to.ServeHTTP(rec, r)
		p.end(at, rec.status)
		return
	}
	if fault.After {
		to.ServeHTTP(httptest.NewRecorder(), r)
	}
	if fault.Cut {
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			conn.Close()
		}
		return
	}
	if fault.Status == 0 {
		fault.Status = http.StatusBadRequest
	}
	p.end(at, fault.Status)
	refuse(w, req.Service, fault.Status, fault.Code, "injected")
}

// begin records a request and asks what is to happen to it. at is its place in
// the record; -1: it is not recorded.
func (p *proxy) begin(req Request) (fault Fault, at int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if req.Key == makerKey {
		return Fault{}, -1
	}
	p.all = append(p.all, req)
	if p.inject != nil {
		fault = p.inject(p.n, req)
	}
	p.n++
	return fault, len(p.all) - 1
}

func (p *proxy) end(at, status int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at >= 0 && at < len(p.all) {
		p.all[at].Status = status
	}
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// refuse answers with an error as the service words it.
func refuse(w http.ResponseWriter, service string, status int, code, message string) {
	if service == "s3" {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>%s</Message></Error>`, code, message)
		return
	}
	doc := fmt.Sprintf(`{"__type":"com.amazonaws#%s","message":%q}`, code, message)
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	w.Header().Set("X-Amz-Crc32", fmt.Sprint(crc32.ChecksumIEEE([]byte(doc)))) // DynamoDB's; the SDK looks at it
	w.WriteHeader(status)
	io.WriteString(w, doc)
}

// forward passes requests on to a server.
func forward(addr string) http.Handler {
	to := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: addr})
	// Node closes connections that were idle for 5 s: one that it closes in the
	// moment of its next use would be an answer of 502.
	to.Transport = &http.Transport{MaxIdleConnsPerHost: 256, IdleConnTimeout: 2 * time.Second, DisableCompression: true}
	to.ErrorLog = quiet
	return to // the Host stays the proxy's: queue URLs are made of it
}

// signedBy takes the credential of a signature apart: KEY/DATE/REGION/SERVICE/aws4_request.
func signedBy(r *http.Request) (accessKey, service string) {
	_, rest, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	scope, _, _ := strings.Cut(rest, ",")
	parts := strings.Split(scope, "/")
	if len(parts) < 4 {
		return "", ""
	}
	return parts[0], parts[3]
}
