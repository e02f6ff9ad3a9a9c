package vendorapi

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// An Asked is a request as a recording keeps it: without credentials, and with
// every secret masked.
type Asked struct {
	Method  string            `json:"method"`
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers,omitempty"` // the spec's own
	Body    string            `json:"body,omitempty"`
}

// An Answered is an answer as a recording keeps it: decompressed, with every
// secret masked that the vendor echoes.
type Answered struct {
	Status  int
	Headers http.Header
	Body    []byte
}

// An Exchange is one request with its answer.
type Exchange struct {
	Asked  Asked
	Answer Answered
}

// A Recorder keeps a client's exchanges, but for its logins: nobody needs those to
// see what a spec makes of answers.
type Recorder struct {
	client *Client
	mu     sync.Mutex
	kept   []kept // guarded by mu
}

// kept is an exchange with all its secrets, which never leaves the process so.
type kept struct {
	req    *http.Request
	body   []byte
	status int
	header http.Header
	answer []byte
}

// Record keeps all exchanges that c makes from now on. It is called before the
// first call.
func (c *Client) Record() *Recorder {
	c.recorder = &Recorder{client: c}
	return c.recorder
}

// Len is how many exchanges there are.
func (r *Recorder) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.kept)
}

// Exchanges are what was kept, masked with all secrets and sessions that the
// client has had by now.
func (r *Recorder) Exchanges() (out []Exchange) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.client.held.Load().mask
	for _, k := range r.kept {
		e := Exchange{r.client.asked(k.req, k.body), Answered{k.status, make(http.Header), []byte(m.text(string(k.answer)))}}
		for name, vs := range k.header {
			if slices.Contains(unkept, name) {
				continue
			}
			for _, v := range vs {
				e.Answer.Headers.Add(name, m.text(v))
			}
		}
		out = append(out, e)
	}
	return out
}

// Mask is s without secrets.
func (r *Recorder) Mask(s string) string { return r.client.held.Load().mask.text(s) }

// unkept are headers of answers that say nothing to a spec, that the body as it is
// kept would belie, or that hold secrets of the vendor's choice.
var unkept = []string{"Connection", "Content-Encoding", "Content-Length", "Date", "Keep-Alive", "Server", "Set-Cookie", "Strict-Transport-Security", "Transfer-Encoding", "Vary"}

// unasked are headers of requests that a recording leaves out.
var unasked = []string{"Accept", "Accept-Encoding", "Authorization", "Cookie", "User-Agent"}

// asked is a request as a recording knows it.
func (c *Client) asked(req *http.Request, body []byte) Asked {
	m := c.held.Load().mask
	a := Asked{Method: req.Method, URL: m.text(req.URL.String()), Body: m.text(string(body))}
	for name, vs := range req.Header {
		if slices.Contains(unasked, name) {
			continue
		}
		if a.Headers == nil {
			a.Headers = make(map[string]string)
		}
		a.Headers[name] = m.text(strings.Join(vs, ", "))
	}
	return a
}

// over is rt with the recorder listening.
func (r *Recorder) over(rt http.RoundTripper) http.RoundTripper {
	return listening(func(req *http.Request) (*http.Response, error) {
		body, err := bodyOf(req)
		if err != nil {
			return nil, err
		}
		resp, err := rt.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		resp.Body = &heardBody{ReadCloser: resp.Body, end: func(answer []byte) {
			if strings.Contains(strings.ToLower(resp.Header.Get("Content-Encoding")), "gzip") {
				answer = unzipped(answer, r.client.plan.Bounds.Bytes)
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			r.kept = append(r.kept, kept{req, body, resp.StatusCode, resp.Header, answer})
		}}
		return resp, nil
	})
}

type listening func(*http.Request) (*http.Response, error)

func (f listening) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// bodyOf is a request's body, which the request keeps.
func bodyOf(req *http.Request) ([]byte, error) {
	if req.ContentLength <= 0 {
		return nil, nil
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	return body, nil
}

// heardBody is an answer's body that is handed on when it is closed.
type heardBody struct {
	io.ReadCloser
	heard bytes.Buffer
	end   func([]byte)
	once  sync.Once
}

func (b *heardBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.heard.Write(p[:n])
	return n, err
}

func (b *heardBody) Close() error {
	b.once.Do(func() { b.end(b.heard.Bytes()) })
	return b.ReadCloser.Close()
}

// unzipped is as much of a gzip text as can be read, and no more than a spec allows.
func unzipped(b []byte, most int) []byte {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return b
	}
	out, _ := io.ReadAll(io.LimitReader(z, int64(most)+1)) // what is cut was cut on its way, too
	return out
}

// Replay is a client whose vendor is a recording: answer gives what was answered.
// It needs no secrets; for each there stands what they are masked with.
func Replay(plan *Plan, answer func(Asked) (Answered, error)) (*Client, error) {
	var c *Client
	rt := listening(func(req *http.Request) (*http.Response, error) {
		body, err := bodyOf(req)
		if err != nil {
			return nil, err
		}
		a, err := answer(c.asked(req, body))
		if err != nil {
			return nil, err
		}
		return &http.Response{
			StatusCode: a.Status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: a.Headers,
			Body: io.NopCloser(bytes.NewReader(a.Body)), ContentLength: int64(len(a.Body)), Request: req,
		}, nil
	})
	c, err := NewClient(plan, masked{}, Options{RoundTripper: rt, Sessions: masked{}})
	if err != nil || !plan.auth.session() {
		return c, err
	}
	creds := c.held.Load().credentials
	_, err = c.hold(creds, &Session{Access: mask, For: creds.mark(plan)})
	return c, err
}

// masked gives what stands in a recording for each secret.
type masked struct{}

func (masked) Secret(_, _ string) (string, error) { return mask, nil }

// errNoLogin is why a replay cannot go on after a recorded 401.
var errNoLogin = errors.New("a recording has no logins")

// Session implements [Sessions].
func (masked) Session(context.Context, string, func(context.Context, []byte) ([]byte, error)) error {
	return errNoLogin
}
