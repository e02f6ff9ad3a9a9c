package vendorapi

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

func TestFirstNumber(t *testing.T) {
	for in, want := range map[string]int{
		"100": 100, "100, 100;w=60": 100, " 7 ": 7, "600;w=60": 600, "100 per minute": 100, "100 ;w=60": 100, "1,000": 1000, "12,345,678": 12345678,
		"": 0, "none": 0, "0": 0, "-1": 0, "-1, 100": 0, "1000000001": 0, "99999999999999999999": 0, "1,000,000,001": 0,
		// Not one of these says 1, 5, 10, 50 or 60 calls.
		"1e3": 0, "w=60; 100": 0, "5 000": 0, "100.5": 0, "1.000": 0, "1,00": 0, "1,0000": 0, "0,100": 0, "10,100;w=60": 0, "1'000": 0, "1_000": 0, "1k": 0,
		"limit=50, remaining=3": 0, `"day";q=9000;w=86400`: 0, "+5": 0, "٣": 0,
	} {
		if n, ok := firstNumber(in); ok != (want > 0) || ok && n != want {
			t.Errorf("%q: %d, %v; want %d", in, n, ok, want)
		}
	}
}

// saidClient is a client whose vendor answers with the given status and headers.
func saidClient(t *testing.T, status int, h http.Header) (*Client, fanout.Task) {
	t.Helper()
	p := testPlan(t, strings.Replace(spec2(plainList), "limits: unknown", `limits:
  - {name: counted, window: 100/m, header: x-quota}
  - {name: other, bucket: 5/s, header: X-RateLimit-Limit}
  - {name: f, in_flight: 4}`, 1), nil)
	return testClient(t, p, roundTrip(func(*http.Request) (*http.Response, error) {
		resp := answer(status, `{"items":[]}`)
		resp.Header = h.Clone()
		return resp, nil
	})), root(p)
}

func ask(t *testing.T, c *Client, task fanout.Task) (map[string]fanout.Said, map[string]string) {
	t.Helper()
	page, err := c.Call(t.Context(), task, "")
	var ce *fanout.CallError
	if errors.As(err, &ce) {
		return ce.Limits, ce.Headers
	}
	if err != nil {
		t.Error(err)
		return nil, nil
	}
	page.Release()
	return page.Limits, page.Headers
}

// What an answer's headers say comes with the page and with the error, and is
// kept; nothing else of the headers is.
func TestSaid(t *testing.T) {
	for _, status := range []int{200, 429, 500} {
		h := http.Header{}
		for name, v := range map[string]string{
			"X-Quota": "40, 40;w=60", "X-RateLimit-Limit": "none", "x-ratelimit-remaining": "3", "RateLimit-Policy": strings.Repeat("long", 100),
			"X-Rate-Limit-Reset": "12", "Retry-After": "7", "Set-Cookie": "ratelimit=secret", "Authorization": "secret", "X-Other": "1",
			"X-RateLimit-Key": "of " + token, "X-RateLimit-Auth-Token": "secret", "RateLimit-Cookie": "secret", "X-Rate-Limit-Authorization": "secret",
		} {
			h.Set(name, v)
		}
		c, task := saidClient(t, status, h)
		if headers, at := c.LastSaid(); headers != nil || !at.IsZero() {
			t.Errorf("before the first call: %v, %v", headers, at)
		}
		before := time.Now()
		limits, headers := ask(t, c, task)
		if !maps.Equal(limits, map[string]fanout.Said{"counted": {Count: 40}}) {
			t.Errorf("status %d: limits %v", status, limits)
		}
		want := map[string]string{
			"X-Quota": "40, 40;w=60", "X-Ratelimit-Limit": "none", "X-Ratelimit-Remaining": "3", "X-Rate-Limit-Reset": "12", "Retry-After": "7", "X-Ratelimit-Key": "of ***",
			"Ratelimit-Policy": strings.Repeat("long", 50),
		}
		if p := headers["Ratelimit-Policy"]; len(p) > mostSaidLen || len(p) < mostSaidLen-10 {
			t.Errorf("status %d: a long header is kept in %d bytes", status, len(p))
		}
		want["Ratelimit-Policy"] = headers["Ratelimit-Policy"]
		if !maps.Equal(headers, want) {
			t.Errorf("status %d: headers %v", status, headers)
		}
		last, at := c.LastSaid()
		if !maps.Equal(last, want) || at.Before(before) {
			t.Errorf("status %d: kept %v at %v", status, last, at)
		}
	}
}

// A hostile answer has many headers; a quiet one leaves what was said before.
func TestSaidBounds(t *testing.T) {
	h := http.Header{}
	for i := range 500 {
		h.Set(fmt.Sprintf("X-RateLimit-%d", i), "1")
	}
	c, task := saidClient(t, 200, h)
	if _, headers := ask(t, c, task); len(headers) != mostSaid {
		t.Errorf("%d headers are kept", len(headers))
	}
	clear(h)
	if limits, headers := ask(t, c, task); limits != nil || headers != nil {
		t.Errorf("nothing said: %v, %v", limits, headers)
	}
	if last, _ := c.LastSaid(); len(last) != mostSaid {
		t.Error("the last word is lost")
	}
	h.Set("Retry-After", "1")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			ask(t, c, task)
			_, _ = c.LastSaid()
		})
	}
	wg.Wait()
}
