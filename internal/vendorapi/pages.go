package vendorapi

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// state is where a list stands: all that the next page's call needs besides
// the task. As a cursor it travels through stores, so that another process can
// go on with the list. It holds no secret.
type state struct {
	Page     int    `json:"page"`               // pages read so far
	Received int    `json:"received,omitempty"` // items read so far
	Cursor   string `json:"cursor,omitempty"`   // cursor: the vendor's; a text, or JSON
	JSON     bool   `json:"json,omitempty"`     // cursor: it is JSON
	Query    string `json:"query,omitempty"`    // next_query: the vendor's
	URL      string `json:"url,omitempty"`      // next_url, link: the vendor's, whole
	Seen     string `json:"seen,omitempty"`     // offset, page: fingerprint of the last page
	Past     bool   `json:"past,omitempty"`     // the page is one more than the vendor says there are
	Slice    int    `json:"slice,omitempty"`    // slices: the slice to ask for
	Most     int    `json:"most,omitempty"`     // offset, page: items of the largest page
	Total    int    `json:"total,omitempty"`    // offset, page: what the vendor said first
	Pages    int    `json:"pages,omitempty"`    // page: what the vendor said first
	Doubt    bool   `json:"doubt,omitempty"`    // offset, page: it said something else later
	Trail    string `json:"trail,omitempty"`    // marks of what the last pages pointed to, or were
}

func (s state) encode() string {
	b, err := json.Marshal(s)
	if err != nil { // cannot be: strings and numbers
		return ""
	}
	return string(b)
}

func parseState(cursor string) (state, error) {
	var s state
	if cursor == "" {
		return s, nil
	}
	dec := json.NewDecoder(strings.NewReader(cursor))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil || s.Page < 1 || s.Received < 0 || s.Slice < 0 {
		return s, fmt.Errorf("the cursor %q is not one that a page of this list gave", clip(cursor, 100))
	}
	return s, nil
}

const (
	markLen  = 8  // of one mark: 48 bits
	trailLen = 16 // marks that are kept: a cycle of more pages ends at the bound of pages
)

// pass notes what a page pointed to, or was. It tells how many pages ago that was
// so before: 1 is the page just before it; 0, never.
func (s *state) pass(what string) (back int) {
	sum := sha256.Sum256([]byte(what))
	mark := base64.RawURLEncoding.EncodeToString(sum[:6])
	n := len(s.Trail) / markLen
	for i := n - 1; i >= 0 && back == 0; i-- {
		if s.Trail[i*markLen:(i+1)*markLen] == mark {
			back = n - i
		}
	}
	s.Trail += mark
	if drop := len(s.Trail) - trailLen*markLen; drop > 0 {
		s.Trail = s.Trail[drop:]
	}
	return back
}

// mostPointer bounds what points to a page: it is in rows of the ledger.
const mostPointer = 16 << 10

// pointsTo notes what page s.Page of a list points to; a way that was gone before
// is a loop.
func (s *state) pointsTo(kind, what string) error {
	if len(what) > mostPointer {
		return fmt.Errorf("the %s that points to the next page has %d bytes: at most %d are kept", kind, len(what), mostPointer)
	}
	switch back := s.pass(what); back {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("a loop: the vendor's page %d points to itself by the %s %q", s.Page, kind, clip(what, 100))
	default:
		return fmt.Errorf("a loop of %d pages: the vendor's page %d points to page %d again, as page %d did, by the %s %q",
			back, s.Page, s.Page-back+1, s.Page-back, kind, clip(what, 100))
	}
}

// pageResult is what a pager sees of an answer.
type pageResult struct {
	ctx     context.Context
	tree    any // the whole answer; a list that the pager's query does not see may be missing
	items   int // how many items it has, unusable ones included
	print   string
	vars    func(string) (any, error)
	headers http.Header
	plan    *Plan
	url     *url.URL // that it answers
}

// pager is one way of taking a list page by page.
type pager interface {
	// ask puts into the page's request what the pager needs there.
	ask(c *call, d *draft) error
	// next tells what follows the page: where the list then stands, or the end.
	// It sets nothing but the pager's own part of s.
	next(s state, r pageResult) (after state, more bool, err error)
	// queries are what next runs over the answer.
	queries() []*query
}

// given drops the queries that are not.
func given(all ...*query) (out []*query) {
	for _, q := range all {
		if q != nil {
			out = append(out, q)
		}
	}
	return out
}

// param is one query parameter, already escaped.
type param struct {
	name string // decoded
	raw  string // name=value as sent
}

func newParam(name, value string) param {
	return param{name, escapeQuery(name) + "=" + escapeQuery(value)}
}

// escapeQuery escapes everything but unreserved characters, a space as %20:
// not every vendor takes + for a space, all take %20.
func escapeQuery(s string) string {
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
}

// parseParams takes a raw query apart without changing how it is escaped.
func parseParams(raw string) ([]param, error) {
	var out []param
	for kv := range strings.SplitSeq(raw, "&") {
		if kv == "" {
			continue
		}
		name, _, _ := strings.Cut(kv, "=")
		n, err := url.QueryUnescape(name)
		if err != nil {
			return nil, err
		}
		out = append(out, param{n, kv})
	}
	return out, nil
}

// putParams is base with over put on top: a name in over replaces all of that
// name in base.
func putParams(base, over []param) (out []param) {
	replaced := make(map[string]bool, len(over))
	for _, p := range over {
		replaced[p.name] = true
	}
	for _, p := range base {
		if !replaced[p.name] {
			out = append(out, p)
		}
	}
	return append(out, over...)
}

func rawParams(all []param) string {
	raw := make([]string, len(all))
	for i, p := range all {
		raw[i] = p.raw
	}
	return strings.Join(raw, "&")
}

// onePage takes the answer for the whole list.
type onePage struct{}

func (onePage) ask(*call, *draft) error                         { return nil }
func (onePage) next(s state, _ pageResult) (state, bool, error) { return s, false, nil }
func (onePage) queries() []*query                               { return nil }
