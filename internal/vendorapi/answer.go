package vendorapi

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sluicehq/sluice/internal/fanout"
)

// status judges an answer that is no 2xx.
func (x *exchange) status(resp *http.Response) error {
	x.quote(resp)
	if x.parent.Err() != nil {
		return context.Cause(x.parent)
	}
	var tree any = noJSON{}
	if len(x.head) > 0 && utf8.Valid(x.head) && !tooDeep(x.head, x.client.plan.Bounds.Depth) {
		if v, err := parseJSON(x.head); err == nil {
			tree = v
		}
	}
	vars := answerVars(resp, x.value)
	if r, err := x.client.plan.rule(x.parent, resp, tree, vars); err != nil {
		return err
	} else if r != nil && r.means != meansOK {
		return x.ruled(r, resp, tree, vars)
	}
	return x.told(x.usual(resp, tree), tree, vars)
}

// usual is what an answer that is no 2xx means by its status.
func (x *exchange) usual(resp *http.Response, tree any) error {
	code := resp.StatusCode
	text := cmp.Or(http.StatusText(code), "an unknown status")
	switch {
	case slices.Contains(x.client.plan.spec.throttled, code):
		return x.patiently(resp, x.fail(fanout.Throttled, code, fmt.Errorf("the vendor says slow down (%s)", text)))
	case x.expired(resp, tree):
		return x.fail(fanout.Expired, code, errExpired)
	case code >= 500 || code == http.StatusRequestTimeout:
		return x.patiently(resp, x.fail(fanout.Unavailable, code, fmt.Errorf("the vendor has trouble (%s)", text)))
	case (code == http.StatusNotFound || code == http.StatusGone) && x.call != nil && x.call.state.Past:
		return errEmpty // one page was asked for beyond what the total says, to be sure of it
	case code == http.StatusNotFound || code == http.StatusGone:
		return x.fail(fanout.Missing, code, errors.New("the vendor does not have it"))
	case (code == http.StatusUnauthorized || code == http.StatusForbidden) && !sameOrigin(x.url, x.client.plan.base):
		return x.fail(fanout.Bad, code, fmt.Errorf("%s does not let us in (%s): credentials are not sent there", x.url.Host, text))
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return x.refused(code, text)
	case code >= 300 && code < 400:
		return x.redirected(resp)
	}
	return x.fail(fanout.Rejected, code, fmt.Errorf("the vendor rejects the request (%s)", text))
}

// value is what the spec's queries about answers may use besides the answer.
func (x *exchange) value(name string) (any, error) {
	return x.client.plan.settingValue(name)
}

// refused looks once whether there are other credentials, or a session can be had
// anew: the call is then made again.
func (x *exchange) refused(code int, text string) error {
	if x.signing || x.renewed {
		return x.fail(fanout.Refused, code, fmt.Errorf("the credentials were refused (%s)", text))
	}
	x.renewed = true
	renewed, err := x.client.renew(x.held)
	switch {
	case err != nil:
		return x.fail(fanout.Refused, code, fmt.Errorf("the credentials were refused (%s), and reading them again failed: %w", text, err))
	case renewed:
		return errAgain
	case len(x.held.values) == 0 && !x.held.spec.given():
		return x.fail(fanout.Refused, code, fmt.Errorf("the vendor wants credentials (%s), and the spec has no auth", text))
	}
	return x.fail(fanout.Refused, code, fmt.Errorf("the credentials were refused (%s)", text))
}

const judgedHead = 64 << 10 // bytes of an error's body that rules may look at

// quote keeps the beginning of an error's body.
func (x *exchange) quote(resp *http.Response) {
	x.watch.reading()
	var r io.Reader = &idleReader{resp.Body, x.watch}
	if strings.EqualFold(resp.Header.Get("Content-Encoding"), "gzip") {
		z, err := gzip.NewReader(r)
		if err != nil {
			return
		}
		r = z
	}
	n := x.client.plan.Bounds.Excerpt + x.held.mask.longest()
	if s := x.client.plan.spec; len(s.rules) > 0 || s.says != nil || x.call != nil && x.call.tier.expired != nil {
		n = max(n, judgedHead)
	}
	head, err := io.ReadAll(io.LimitReader(r, int64(n)))
	x.head = head
	x.setExcerpt(head, err == nil && len(head) == n)
	if x.head = head; err == nil { // a little more, so that the connection can be kept
		_, _ = io.CopyN(io.Discard, r, 16<<10)
	}
}

func (x *exchange) setExcerpt(head []byte, cut bool) {
	n := x.client.plan.Bounds.Excerpt
	m := x.client.held.Load().mask
	if most := n + m.longest(); len(head) > most {
		head, cut = head[:most], true
	}
	x.excerpt = m.excerpt(string(head), n, cut)
}

const maxRetryAfter = time.Hour // what is longer is a mistake, or an operator's business

// retryAfter reads the header of that name: seconds, with or without a
// fraction, or a date, which is read by the vendor's own clock if it shows it.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if s, err := strconv.ParseFloat(v, 64); err == nil {
		switch {
		case math.IsNaN(s) || s <= 0:
			return 0
		case s >= maxRetryAfter.Seconds():
			return maxRetryAfter
		}
		return time.Duration(s * float64(time.Second))
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}

// answer reads and judges a 2xx.
func (x *exchange) answer(resp *http.Response) (page fanout.Page, err error) {
	mem := &reservation{b: x.client.budget}
	defer func() {
		if err != nil {
			mem.release()
		}
	}()
	body, err := x.read(resp, mem)
	if err != nil {
		return page, err
	}
	x.watch.waiting()
	x.call.heard = resp
	t, class, err := x.readable(resp, body)
	if err != nil {
		return page, x.unreadable(resp, body, class, err)
	}
	page = fanout.Page{Status: resp.StatusCode, Body: body, Children: t.children, Rows: t.rows, Rejects: t.rejects, Release: mem.release}
	if t.more {
		if err := x.clean(&t.next); err != nil {
			return page, x.fail(fanout.Broken, resp.StatusCode, err)
		}
		page.Next = t.next.encode()
	}
	return page, nil
}

// readable judges a body and takes it apart. What is no JSON may have a rule, too.
func (x *exchange) readable(resp *http.Response, body []byte) (taken, fanout.Class, error) {
	class, err := judge(body, x.client.plan.Bounds.Depth)
	if err == nil {
		return x.take(resp, body)
	}
	vars := answerVars(resp, x.value)
	if r, _ := x.client.plan.rule(x.parent, resp, noJSON{}, vars); r != nil && r.means != meansOK {
		err = x.ruled(r, resp, noJSON{}, vars)
	}
	return taken{}, class, err
}

// unreadable is the error of a 2xx that is none to go on with.
func (x *exchange) unreadable(resp *http.Response, body []byte, class fanout.Class, err error) error {
	if x.parent.Err() != nil {
		return context.Cause(x.parent)
	}
	if errors.Is(err, errEmpty) || errors.Is(err, errAgain) {
		return err
	}
	x.setExcerpt(body, false)
	var ce *fanout.CallError
	if errors.As(err, &ce) {
		ce.Excerpt = x.excerpt
		return err
	}
	if class == fanout.Refused {
		return x.refused(resp.StatusCode, err.Error())
	}
	return x.fail(class, resp.StatusCode, err)
}

// judge tells a JSON text from what vendors send instead, before it is parsed.
func judge(body []byte, depth int) (fanout.Class, error) {
	text := bytes.TrimSpace(body)
	switch {
	case len(text) == 0:
		return fanout.Bad, errors.New("the answer is empty")
	case text[0] == '<':
		return fanout.Bad, errors.New("the answer is a page of HTML or XML, not JSON")
	case !utf8.Valid(text):
		return fanout.Bad, errors.New("the answer is not UTF-8, as JSON is")
	case tooDeep(text, depth):
		return fanout.Broken, fmt.Errorf("the answer is nested deeper than %d", depth)
	}
	return "", nil
}

// maxTake bounds the time that a spec's queries may take on one answer.
const maxTake = 30 * time.Second

var errSlowQueries = fmt.Errorf("the spec's queries took longer than %s", maxTake)

// take parses the body, asks the spec what it means, and takes it apart.
func (x *exchange) take(resp *http.Response, body []byte) (taken, fanout.Class, error) {
	ctx, cancel := context.WithTimeoutCause(x.parent, maxTake, errSlowQueries)
	defer cancel()
	p, split := x.call.tier.split(body)
	if !split && len(body) > midBody {
		select {
		case x.client.large <- struct{}{}:
			defer func() { <-x.client.large }()
		case <-x.parent.Done():
			return taken{}, fanout.Broken, context.Cause(x.parent)
		}
	}
	if !split {
		var err error
		if p.tree, err = parseJSON(body); err != nil {
			return taken{}, fanout.Bad, fmt.Errorf("malformed JSON: %w", err)
		}
	}
	x.cost(ctx, resp, p.tree)
	if class, err := x.means(ctx, resp, p.tree); err != nil {
		return taken{}, class, err
	}
	sum := sha256.Sum256(body)
	t, err := x.call.take(ctx, p, base64.RawURLEncoding.EncodeToString(sum[:12]))
	switch {
	case errors.Is(err, errExpired):
		return t, fanout.Expired, err
	case err != nil && ctx.Err() != nil:
		err = context.Cause(ctx)
	}
	return t, fanout.Broken, err
}

// means holds an answer that looks well to the spec's rules and its proof of life.
func (x *exchange) means(ctx context.Context, resp *http.Response, tree any) (fanout.Class, error) {
	vars := answerVars(resp, x.value)
	r, err := x.client.plan.rule(ctx, resp, tree, vars)
	switch {
	case err != nil:
		return fanout.Broken, err
	case r != nil && r.means != meansOK:
		return "", x.ruled(r, resp, tree, vars)
	}
	return fanout.Refused, x.call.prove(ctx, tree, vars)
}
