package vendorapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// loginTemplates is a call that yields a token, or cookies.
type loginTemplates struct {
	method  string
	url     plainTemplate
	form    []queryTemplate
	json    *jsonTree
	headers []headerTemplate
	token   *query // over the answer
	cookies bool   // those that the answer sets all go back
	expires *query // over the answer: seconds
	lasts   time.Duration
	send    carrier
	value   plainTemplate
}

func (d *decoder) login(f *loginField, top *scope) *loginTemplates {
	l := &loginTemplates{method: http.MethodPost, cookies: f.Cookies.on, lasts: f.Lasts.d, send: carrier{"header", "Authorization"}, value: parsePlain("Bearer {token}")}
	to := f.Post
	if f.Get.given() {
		l.method, to = http.MethodGet, f.Get
	}
	if f.Get.given() == f.Post.given() {
		d.errorf(f.At, "login is one of get and post: a path below base_url, or an https URL")
	}
	l.url = d.place(to, top)
	for _, e := range f.Form {
		l.form = append(l.form, queryTemplate{e.name.s, []plainTemplate{d.plain(e.val, top)}})
	}
	if f.JSON != nil {
		if l.json = f.JSON.tree; l.json == nil {
			d.errorf(f.JSON.at, "login.json: fields are expected: {user: ..., password: ...}")
		} else {
			l.json.check(d, top)
		}
	}
	if len(l.form) > 0 && l.json != nil || l.method == http.MethodGet && (len(l.form) > 0 || l.json != nil) {
		d.errorf(f.At, "login: a post has form or json, a get neither")
	}
	l.headers = d.headers(f.Headers, top, false)
	answer := top.recording(top.used)
	answer.answer = true
	l.token, l.expires = d.jq("login.token", f.Token, answer), d.jq("login.expires", f.Expires, answer)
	if l.token == nil && !l.cookies {
		d.errorf(f.At, "login needs token, the jq that finds it in the answer, or cookies: true, which sends back what the answer sets")
	}
	if f.Send == nil {
		return l
	}
	if l.token == nil {
		d.errorf(f.Send.At, "login.send goes with token")
	}
	if l.send = d.carrier(f.Send, "login.send"); l.send.in == "body" {
		d.errorf(f.Send.Body.at, "login.send: a session's token goes by header, query or cookie")
	}
	if l.value = parsePlain("{token}"); f.Send.Value.given() {
		sc := top.recording(top.used)
		sc.with = append(sc.with, "token")
		if l.value = d.plain(f.Send.Value, sc); !strings.Contains(f.Send.Value.s, "{token}") {
			d.errorf(f.Send.Value.at, "login.send.value must hold {token}")
		}
	}
	return l
}

// logIn makes the call that yields a session.
func (c *Client) logIn(ctx context.Context, h *held, old *Session) (*Session, error) {
	x := &exchange{client: c, parent: ctx, held: h, request: "login", page: 1, signing: true}
	x.watch = newWatch(ctx, c.plan.Timeouts)
	defer x.watch.stop()
	var s *Session
	var err error
	if a := c.plan.auth; a.oauth != nil {
		s, err = x.grant(a.oauth, old)
	} else {
		s, err = x.signIn(a.login)
	}
	var ce *fanout.CallError
	if errors.As(err, &ce) {
		// No task is to blame: the vendor is down, or its spec or credentials are wrong.
		switch ce.Class {
		case fanout.Bad:
			ce.Class = fanout.Unavailable
		case fanout.Throttled, fanout.Unavailable, fanout.Refused:
		default:
			ce.Class = fanout.Refused
		}
		ce.Err = fmt.Errorf("logging in: %w", ce.Err)
	}
	return s, err
}

func (x *exchange) signIn(l *loginTemplates) (*Session, error) {
	req, err := x.loginRequest(l)
	if err != nil {
		return nil, x.fail(fanout.Broken, 0, err)
	}
	resp, err := x.send(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if moved := resp.StatusCode >= 300 && resp.StatusCode < 400 && l.cookies; !moved && (resp.StatusCode < 200 || resp.StatusCode > 299) {
		return nil, x.status(resp)
	}
	s := &Session{}
	if l.lasts > 0 {
		s.Expires = time.Now().Add(l.lasts)
	}
	if l.cookies {
		for _, k := range resp.Cookies() {
			if k.MaxAge >= 0 && k.Value != "" {
				s.Cookies = append(s.Cookies, Cookie{k.Name, k.Value})
			}
		}
		if len(s.Cookies) == 0 {
			return nil, x.fail(fanout.Refused, resp.StatusCode, errors.New("the answer sets no cookie"))
		}
	}
	if l.token == nil {
		return s, nil
	}
	return s, x.readToken(resp, l, s)
}

// readToken takes the token out of the answer to a login.
func (x *exchange) readToken(resp *http.Response, l *loginTemplates, s *Session) error {
	mem := &reservation{b: x.client.budget}
	defer mem.release()
	body, err := x.read(resp, mem)
	if err != nil {
		return err
	}
	x.watch.waiting()
	if class, err := judge(body, x.client.plan.Bounds.Depth); err != nil {
		return x.fail(class, resp.StatusCode, err) // no excerpt: it may hold the token
	}
	tree, err := parseJSON(body)
	if err != nil {
		return x.fail(fanout.Bad, resp.StatusCode, fmt.Errorf("malformed JSON: %w", err))
	}
	vars := answerVars(resp, x.client.plan.settingValue)
	switch r, err := x.client.plan.rule(x.parent, resp, tree, vars); {
	case err != nil:
		return err
	case r != nil && r.means == meansEmpty:
		return x.fail(fanout.Refused, resp.StatusCode, errors.New("there is nothing in the answer, by the spec's answers"))
	case r != nil && r.means != meansOK:
		return x.ruled(r, resp, tree, vars)
	}
	v, err := l.token.one(x.parent, tree, vars)
	token, ok := digits(v)
	if err != nil || !ok || !goodToken(token) {
		return x.fail(fanout.Refused, resp.StatusCode, errors.New("there is no token in the answer"))
	}
	s.Access = token
	if l.expires == nil {
		return nil
	}
	v, err = l.expires.one(x.parent, tree, vars)
	text, _ := digits(v)
	seconds, bad := strconv.ParseFloat(text, 64)
	if err != nil || bad != nil || seconds <= 0 {
		return x.fail(fanout.Broken, resp.StatusCode, errors.New("login.expires finds no number of seconds in the answer"))
	}
	s.Expires = time.Now().Add(time.Duration(min(seconds, mostPer.Seconds()) * float64(time.Second)))
	return nil
}

// mostToken bounds a token: servers take no longer headers, and all there were
// lately are masked.
const mostToken = 16 << 10

func goodToken(t string) bool { return t != "" && len(t) <= mostToken && headerValue(t) }

func (x *exchange) loginRequest(l *loginTemplates) (*http.Request, error) {
	c := x.client
	get := x.held.lookup(c.plan.setting)
	u, err := c.plan.placeOf(l.url)
	if err != nil {
		return nil, err
	}
	var body []byte
	kind := ""
	switch {
	case l.json != nil:
		kind = "application/json"
		var v any
		if v, err = l.json.value(get, func(name string) (any, error) { return get(name) }); err == nil {
			body = []byte(exactJSON(v))
		}
	case len(l.form) > 0:
		kind = "application/x-www-form-urlencoded"
		var fields []string
		for _, f := range l.form {
			v, bad := f.vals[0].expand(get)
			if bad != nil {
				err = bad
			}
			fields = append(fields, url.QueryEscape(f.name)+"="+url.QueryEscape(v))
		}
		body = []byte(strings.Join(fields, "&"))
	}
	if err != nil {
		return nil, err
	}
	req := (&http.Request{Method: l.method, URL: u, Host: u.Host, Header: make(http.Header), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: oneShot{}}).WithContext(x.watch.ctx)
	if body != nil {
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		req.Header.Set("Content-Type", kind)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Accept-Encoding", "gzip")
	req.Header.Set("User-Agent", c.agent)
	for _, t := range l.headers {
		v, err := t.val.expand(get)
		if err != nil {
			return nil, err
		}
		req.Header.Set(t.name, v)
	}
	return req, nil
}
