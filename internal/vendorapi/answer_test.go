package vendorapi

import (
	"bytes"
	"compress/gzip"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

func gzipped(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(s))
	_ = z.Close()
	return b.String()
}

func TestAnswersAreJudged(t *testing.T) {
	bomb := gzipped(`{"items":"` + strings.Repeat("a", 3<<20) + `"}`)
	ok := `{"items":[{"id":1}]}`
	for _, tt := range []struct {
		name string
		resp *http.Response
		want fanout.Class
	}{
		{"good", answer(200, ok), ""},
		{"gzip", answer(200, gzipped(ok), "Content-Encoding", "gzip"), ""},
		{"byte order mark", answer(200, "\xef\xbb\xbf"+ok), ""},
		{"trailing space", answer(200, ok+" \r\n"), ""},
		{"empty", answer(200, ""), fanout.Bad},
		{"blank", answer(204, " \n"), fanout.Bad},
		{"HTML", answer(200, "\n<html>Please log in</html>", "Content-Type", "text/html"), fanout.Bad},
		{"cut JSON", answer(200, `{"items":[{"id":1}`), fanout.Bad},
		{"malformed", answer(200, `{"items":[{"id":01}]}`), fanout.Bad},
		{"garbage after", answer(200, ok+"x"), fanout.Bad},
		{"two texts", answer(200, ok+ok), fanout.Bad},
		{"not UTF-8", answer(200, "{\"items\":[{\"id\":\"\xff\"}]}"), fanout.Bad},
		{"deep", answer(200, strings.Repeat("[", 600)+strings.Repeat("]", 600)), fanout.Broken},
		{"cut gzip", answer(200, gzipped(ok)[:20], "Content-Encoding", "gzip"), fanout.Bad},
		{"no gzip", answer(200, ok, "Content-Encoding", "gzip"), fanout.Bad},
		{"gzip bomb", answer(200, bomb, "Content-Encoding", "gzip"), fanout.Broken},
		{"brotli", answer(200, ok, "Content-Encoding", "br"), fanout.Bad},
		{"too long", answer(200, `"`+strings.Repeat("a", 1<<20)+`"`), fanout.Broken},
		{"304", answer(304, ""), fanout.Rejected},
		{"400", answer(400, "no"), fanout.Rejected},
		{"404", answer(404, "no"), fanout.Missing},
		{"410", answer(410, "no"), fanout.Missing},
		{"401", answer(401, "no"), fanout.Refused},
		{"403", answer(403, "no"), fanout.Refused},
		{"429", answer(429, "no"), fanout.Throttled},
		{"503", answer(503, "no"), fanout.Unavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := testPlan(t, "bounds: {bytes: 1MiB}\n"+spec2(plainList), nil)
			c := testClient(t, p, roundTrip(func(*http.Request) (*http.Response, error) { return tt.resp, nil }))
			free := freeBytes(c)
			page, err := c.Call(t.Context(), root(p), "")
			if classOf(err) != tt.want || err != nil && tt.want == "" {
				t.Fatalf("%v, want class %q", err, tt.want)
			}
			if err == nil {
				if len(page.Children) != 1 {
					t.Errorf("children %v", page.Children)
				}
				page.Release()
				page.Release()
			}
			if freeBytes(c) != free {
				t.Errorf("%d bytes of the budget were free, now %d", free, freeBytes(c))
			}
		})
	}
}

func freeBytes(c *Client) int {
	n := 0
	for i := range c.budget.pools {
		n += c.budget.pools[i].free
	}
	return n
}

func TestThrottledBySpec(t *testing.T) {
	p := testPlan(t, "throttled: {status: [420, 403]}\n"+spec2(plainList), nil)
	for status, want := range map[int]fanout.Class{420: fanout.Throttled, 403: fanout.Throttled, 429: fanout.Rejected} {
		c := testClient(t, p, roundTrip(func(*http.Request) (*http.Response, error) { return answer(status, "", "Retry-After", "2.5"), nil }))
		_, err := c.Call(t.Context(), root(p), "")
		if classOf(err) != want {
			t.Errorf("%d: %v", status, err)
		}
		var ce *fanout.CallError
		if errors.As(err, &ce) && want == fanout.Throttled && ce.RetryAfter != 2500*time.Millisecond {
			t.Errorf("%d: retry after %s", status, ce.RetryAfter)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, tt := range []struct {
		v, date string
		want    time.Duration
	}{
		{"", "", 0}, {"7", "", 7 * time.Second}, {" 1.5 ", "", 1500 * time.Millisecond}, {"-3", "", 0}, {"NaN", "", 0},
		{"1e300", "", time.Hour}, {"+Inf", "", time.Hour}, {"99999", "", time.Hour}, {"soon", "", 0},
		{"Fri, 02 Jan 2026 03:04:35 GMT", "", 30 * time.Second},
		{"Fri, 02 Jan 2026 03:04:00 GMT", "", 0},
		{"Sat, 03 Jan 2026 03:04:00 GMT", "", time.Hour},
		{"Fri, 02 Jan 2026 05:00:10 GMT", "Fri, 02 Jan 2026 05:00:00 GMT", 10 * time.Second},
	} {
		h := http.Header{}
		h.Set("Retry-After", tt.v)
		h.Set("Date", tt.date)
		if got := retryAfter(h, now); got != tt.want {
			t.Errorf("%q at %q: %s, want %s", tt.v, tt.date, got, tt.want)
		}
	}
}
