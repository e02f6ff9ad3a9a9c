package vendorapi

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// A Session is what a login yields: it stands for the credentials until it ends.
type Session struct {
	Access  string    `json:"access,omitempty"`
	Refresh string    `json:"refresh,omitempty"` // for a new one, where vendors give a new one each time
	Cookies []Cookie  `json:"cookies,omitempty"`
	Expires time.Time `json:"expires,omitzero"` // zero: when the vendor says so
	For     string    `json:"for"`              // what it was made with: other credentials need another
}

// A Cookie is one of a session's.
type Cookie struct{ Name, Value string }

// spare is how long before its end a session is renewed.
const sessionSpare = 30 * time.Second

func (s *Session) good(with string, now time.Time) bool {
	return s != nil && s.For == with && (s.Access != "" || len(s.Cookies) > 0) && (s.Expires.IsZero() || now.Add(sessionSpare).Before(s.Expires))
}

func (s *Session) same(o *Session) bool {
	return s != nil && o != nil && s.Access == o.Access && slices.Equal(s.Cookies, o.Cookies)
}

// session gives what calls authenticate with now. A login takes a permit of its
// own, and the call's request then another.
func (c *Client) session(ctx context.Context) (*held, error) {
	h := c.held.Load()
	a := &c.plan.auth
	if !a.session() || !h.spent && h.token.good(h.mark, time.Now()) {
		return h, nil
	}
	return c.newSession(ctx, h)
}

// newSession replaces the session in used.
func (c *Client) newSession(ctx context.Context, used *held) (*held, error) {
	// Whoever waits for another's login holds no place in flight meanwhile: the one
	// who logs in may need it.
	yielded := fanout.YieldPermit(ctx)
	var now *Session
	called := false
	err := c.sessions.Session(ctx, c.plan.Name, func(ctx context.Context, kept []byte) ([]byte, error) {
		old := &Session{}
		if json.Unmarshal(kept, old) != nil || old.For != used.mark {
			old = &Session{} // none, or somebody else's
		}
		if now = old; old.good(used.mark, time.Now()) && !old.same(used.token) {
			return nil, nil
		}
		if err := fanout.LoginPermit(ctx); err != nil {
			return nil, err
		}
		called = true
		var err error
		if now, err = c.logIn(ctx, used, old); err != nil {
			now = nil
			return nil, err
		}
		now.For = used.mark
		return json.Marshal(now)
	})
	if now == nil || err != nil && !called {
		return nil, err
	}
	h, bad := c.hold(used.credentials, now) // even if it could not be kept for others
	if bad != nil || err != nil {
		return nil, errors.Join(bad, err)
	}
	if yielded || called {
		err = fanout.NextPermit(ctx)
	}
	return h, err
}

// hold makes credentials and a session what calls authenticate with.
func (c *Client) hold(creds *credentials, s *Session) (*held, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := &held{credentials: creds, token: s, spec: &c.plan.auth, mark: creds.mark(c.plan)}
	if s != nil {
		if err := h.fill(c.plan.setting); err != nil {
			return nil, err
		}
		c.tokens = append(c.tokens, h.words()...)
		c.tokens = c.tokens[max(0, len(c.tokens)-64):]
	}
	h.mask = newMasker(c.known, c.tokens)
	c.held.Store(h)
	return h, nil
}

// fill makes the text in which the token is sent.
func (h *held) fill(setting lookup) (err error) {
	if h.sent = "Bearer " + h.token.Access; h.spec.login == nil || h.token.Access == "" {
		return nil
	}
	h.sent, err = h.spec.login.value.expand(func(name string) (string, error) {
		if name == "token" {
			return h.token.Access, nil
		}
		return h.lookup(setting)(name)
	})
	return err
}

// words are what of the session must not be seen.
func (h *held) words() (words []string) {
	for _, w := range []string{h.token.Access, h.token.Refresh} {
		if w != "" {
			words = append(words, w)
		}
	}
	for _, k := range h.token.Cookies {
		if len(k.Value) >= 8 { // language=en is no secret
			words = append(words, k.Value)
		}
	}
	return words
}

// mark tells which credentials and settings a session was made with.
func (c *credentials) mark(p *Plan) string {
	h := sha256.New()
	for _, m := range []map[string]string{c.values, p.settings} {
		for _, n := range slices.Sorted(maps.Keys(m)) {
			fmt.Fprintf(h, "%q=%q\n", n, m[n])
		}
	}
	fmt.Fprintf(h, "%q", p.BaseURL)
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:18])
}
