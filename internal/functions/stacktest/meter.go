package stacktest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"sync"
)

// A Tally is what was asked of the services, in the units that AWS bills.
type Tally struct {
	SQS           float64            // requests in units of 64 KB
	Writes, Reads float64            // DynamoDB units
	Puts, Gets    float64            // S3; a list is billed as a put
	PutBytes      float64            // landed
	Secrets       float64            // Secrets Manager calls; Parameter Store is free
	Requests      map[string]int     // by operation
	Units         map[string]float64 // DynamoDB's, by operation
}

// Meter is a proxy before the servers that tallies by the key that signed. It is
// safe for concurrent use.
type Meter struct {
	to http.Handler
	mu sync.Mutex
	by map[string]*Tally
}

// NewMeter makes a meter before the servers at a URL.
func NewMeter(to string) (*Meter, error) {
	u, err := url.Parse(to)
	if err != nil {
		return nil, err
	}
	m := &Meter{by: map[string]*Tally{}}
	m.to = &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(u); r.Out.Host = r.In.Host }, // the host is signed
		ModifyResponse: m.answered,
		// Whoever asked is told, unless he has gone, which is nothing to be logged.
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
	}
	return m, nil
}

// Of adds up what the keys for which of is true have asked for.
func (m *Meter) Of(of func(key string) bool) Tally {
	m.mu.Lock()
	defer m.mu.Unlock()
	sum := Tally{Requests: map[string]int{}, Units: map[string]float64{}}
	for key, t := range m.by {
		if !of(key) {
			continue
		}
		sum.SQS += t.SQS
		sum.Writes += t.Writes
		sum.Reads += t.Reads
		sum.Puts += t.Puts
		sum.Gets += t.Gets
		sum.PutBytes += t.PutBytes
		sum.Secrets += t.Secrets
		for k, n := range t.Requests {
			sum.Requests[k] += n
		}
		for k, n := range t.Units {
			sum.Units[k] += n
		}
	}
	return sum
}

var credential = regexp.MustCompile(`Credential=([^/]+)/[^/]+/[^/]+/([^/]+)/`)

func signer(r *http.Request) (key, service string) {
	if m := credential.FindStringSubmatch(r.Header.Get("Authorization")); m != nil {
		return m[1], m[2]
	}
	return "", ""
}

func (m *Meter) ServeHTTP(w http.ResponseWriter, r *http.Request) { m.to.ServeHTTP(w, r) }

// answered tallies one request with its answer.
func (m *Meter) answered(resp *http.Response) error {
	r := resp.Request
	key, service := signer(r)
	body := []byte{}
	if service == "dynamodb" {
		var err error
		if body, err = io.ReadAll(resp.Body); err != nil {
			return err
		}
		resp.Body = io.NopCloser(bytes.NewReader(body))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.by[key]
	if t == nil {
		t = &Tally{Requests: map[string]int{}, Units: map[string]float64{}}
		m.by[key] = t
	}
	_, action, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	if service == "s3" {
		action = r.Method
	}
	t.Requests[service+"."+action]++
	switch service {
	case "sqs":
		size := max(r.ContentLength, resp.ContentLength, 1)
		t.SQS += float64((size + 64<<10 - 1) / (64 << 10))
	case "dynamodb":
		t.dynamo(action, body, resp.StatusCode)
	case "s3":
		if r.Method == http.MethodPut || r.Method == http.MethodPost || r.URL.Query().Has("list-type") {
			t.Puts++
			t.PutBytes += float64(max(r.ContentLength, 0))
		} else {
			t.Gets++
		}
	case "secretsmanager":
		t.Secrets++
	}
	return nil
}

// dynamo takes the units that DynamoDB says it used. A refused write is billed
// as a write, and says nothing.
func (t *Tally) dynamo(action string, body []byte, status int) {
	write := action == "UpdateItem" || action == "PutItem" || action == "DeleteItem"
	var one struct {
		ConsumedCapacity struct{ CapacityUnits float64 }
	}
	var many struct {
		ConsumedCapacity []struct{ CapacityUnits float64 }
	}
	units := 0.0
	switch {
	case status != http.StatusOK && write:
		units = 1
	case json.Unmarshal(body, &one) == nil:
		units = one.ConsumedCapacity.CapacityUnits
	case json.Unmarshal(body, &many) == nil:
		for _, c := range many.ConsumedCapacity {
			units += c.CapacityUnits
		}
	}
	t.Units[action] += units
	if write {
		t.Writes += units
	} else {
		t.Reads += units
	}
}
