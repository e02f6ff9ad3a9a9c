package vendorapi

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// auth is how a vendor wants to know who asks: one of its fields, or none. All of
// them are templates over settings and secrets.
type auth struct {
	bearer         *plainTemplate
	user, password *plainTemplate
	key            *plainTemplate // an API key, sent by carrier
	carrier        carrier
	lmID, lmKey    *plainTemplate
	oauth          *oauthTemplates
	login          *loginTemplates
}

func (a auth) given() bool {
	return a.bearer != nil || a.user != nil || a.key != nil || a.lmID != nil || a.session()
}

// session tells whether calls need what another call yields.
func (a auth) session() bool { return a.oauth != nil || a.login != nil }

// A carrier is where in a request something stands that proves who asks.
type carrier struct {
	in   string // header, query, cookie, body
	name string
}

// put adds value to a request, in the place of whatever stands there.
func (c carrier) put(req *http.Request, value string) {
	switch c.in {
	case "query":
		var kept []string
		for kv := range strings.SplitSeq(req.URL.RawQuery, "&") {
			name, _, _ := strings.Cut(kv, "=")
			if n, err := url.QueryUnescape(name); kv != "" && (err != nil || n != c.name) {
				kept = append(kept, kv)
			}
		}
		u := *req.URL
		u.RawQuery = strings.Join(append(kept, newParam(c.name, value).raw), "&")
		req.URL = &u
	case "cookie":
		addCookie(req, c.name, value)
	case "header":
		req.Header.Set(c.name, value)
	}
}

// addCookie adds to the one line of cookies that a request has (RFC 6265, 5.4).
func addCookie(req *http.Request, name, value string) {
	line := name + "=" + value
	if had := req.Header.Get("Cookie"); had != "" {
		line = had + "; " + line
	}
	req.Header.Set("Cookie", line)
}

// authorize adds to a request what proves who asks. What stands in the body is
// there already.
func (h *held) authorize(req *http.Request, body []byte, below string) {
	a := h.spec
	switch {
	case h.token != nil:
		for _, c := range h.token.Cookies {
			addCookie(req, c.Name, c.Value)
		}
		if h.token.Access != "" {
			a.sends().put(req, h.sent)
		}
	case h.auth != "":
		req.Header.Set("Authorization", h.auth)
	case h.key != "":
		a.carrier.put(req, h.key)
	case h.lmID != "":
		req.Header.Set("Authorization", lmv1(h.lmID, h.lmKey, req.Method, below, body, time.Now()))
	}
}

// sends is where a session's token goes.
func (a auth) sends() carrier {
	if a.login != nil {
		return a.login.send
	}
	return carrier{"header", "Authorization"}
}

// static fills in what needs no call.
func (a auth) static(c *credentials, setting lookup) error {
	get := c.lookup(setting)
	var err error
	text := func(t *plainTemplate) (s string) {
		if t != nil && err == nil {
			s, err = t.expand(get)
		}
		return s
	}
	bearer, user, password := text(a.bearer), text(a.user), text(a.password)
	c.key, c.lmID, c.lmKey = text(a.key), text(a.lmID), text(a.lmKey)
	switch {
	case err != nil:
		return err
	case a.bearer != nil:
		c.auth = "Bearer " + bearer
	case strings.Contains(user, ":"):
		return fmt.Errorf("a user's name for basic auth cannot hold a colon")
	case a.user != nil:
		c.auth = "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	}
	return nil
}

// auths are the kinds of auth that a spec has, mostly one.
type auths struct {
	kinds   []string
	by      string // the setting that says which one; empty: there is one at most
	of      map[string]auth
	secrets map[string][]string // by kind

	elsewhere []string // secrets that are used outside of auth
}

// chosen is the kind of auth that the settings want, and the secrets of others.
func (a *auths) chosen(setting lookup) (out auth, others []string, err error) {
	if len(a.kinds) == 0 {
		return out, nil, nil
	}
	kind := a.kinds[0]
	if a.by != "" {
		if kind, err = setting(a.by); err != nil {
			return out, nil, err
		}
	}
	out, ok := a.of[kind]
	if !ok {
		return out, nil, fmt.Errorf("setting %q is %q: it says which auth is used, one of %s", a.by, clip(kind, 40), strings.Join(a.kinds, ", "))
	}
	for _, k := range a.kinds {
		for _, s := range a.secrets[k] {
			if !slices.Contains(a.secrets[kind], s) && !slices.Contains(a.elsewhere, s) {
				others = append(others, s)
			}
		}
	}
	return out, others, nil
}

func (d *decoder) auth(doc *document, s *Spec, top *scope) {
	f := doc.Auth
	s.auths = auths{of: make(map[string]auth), secrets: make(map[string][]string)}
	if f == nil {
		return
	}
	a := &s.auths
	kind := func(name string, on bool, compile func(a *auth, sc *scope)) {
		if !on {
			return
		}
		var one auth
		sc := top.recording(make(map[string]bool))
		compile(&one, sc)
		for n := range sc.used {
			if secret, ok := strings.CutPrefix(n, "secret."); ok {
				a.secrets[name] = append(a.secrets[name], secret)
				continue
			}
			top.used[n] = true
		}
		a.kinds, a.of[name] = append(a.kinds, name), one
	}
	kind("bearer", f.Bearer.given(), func(a *auth, sc *scope) { a.bearer = d.secretText(f.Bearer, f.At, "", sc) })
	kind("basic", f.Basic != nil, func(a *auth, sc *scope) {
		const needs = "auth by basic needs user and password"
		a.user, a.password = d.secretText(f.Basic.User, f.Basic.At, needs, sc), d.secretText(f.Basic.Password, f.Basic.At, needs, sc)
	})
	kind("api_key", f.APIKey != nil, func(a *auth, sc *scope) {
		a.key, a.carrier = d.secretText(f.APIKey.Value, f.APIKey.At, "auth by api_key needs value", sc), d.carrier(f.APIKey, "api_key")
	})
	kind("oauth2", f.OAuth2 != nil, func(a *auth, sc *scope) { a.oauth = d.oauth2(f.OAuth2, sc) })
	kind("login", f.Login != nil, func(a *auth, sc *scope) { a.login = d.login(f.Login, sc) })
	kind("lmv1", f.LMv1 != nil, func(a *auth, sc *scope) {
		const needs = "auth by lmv1 needs access_id and access_key"
		a.lmID, a.lmKey = d.secretText(f.LMv1.AccessID, f.LMv1.At, needs, sc), d.secretText(f.LMv1.AccessKey, f.LMv1.At, needs, sc)
	})
	d.authBy(f, doc, a, top)
}

// authBy checks that it is clear which kind of auth is used.
func (d *decoder) authBy(f *authField, doc *document, a *auths, top *scope) {
	switch {
	case len(a.kinds) == 0:
		d.errorf(f.At, "auth is one of bearer, basic, api_key, oauth2, login and lmv1")
	case len(a.kinds) == 1 && f.By.given():
		d.errorf(f.By.at, "auth.by says which of several kinds is used: there is one")
	case len(a.kinds) > 1 && !f.By.given():
		d.errorf(f.At, "auth is one of bearer, basic, api_key, oauth2, login and lmv1; or several, and by: the setting that names the one in use")
	}
	if a.by = f.By.s; a.by == "" {
		return
	}
	i := slices.IndexFunc(doc.Settings, func(e entry[settingField]) bool { return e.name.s == a.by })
	if i < 0 {
		d.errorf(f.By.at, "auth.by: there is no setting %q", a.by)
		return
	}
	top.used[a.by] = true
	if def := doc.Settings[i].val.Default; def.given() && !slices.Contains(a.kinds, def.s) {
		d.errorf(def.at, "setting %q says which auth is used: one of %s", a.by, strings.Join(a.kinds, ", "))
	}
}

// secretText compiles a text that must be given and may hold secrets.
func (d *decoder) secretText(t text, parent place, missing string, top *scope) *plainTemplate {
	if !t.given() {
		d.errorf(t.or(parent), "%s", missing)
		return nil
	}
	p := d.plain(t, top)
	return &p
}

// carrier reads where something is sent: one of header, query, cookie and body.
func (d *decoder) carrier(f *apiKeyField, what string) carrier {
	var out []carrier
	for _, c := range []struct {
		in   string
		name text
	}{{"header", f.Header}, {"query", f.Query}, {"cookie", f.Cookie}, {"body", f.Body}} {
		if !c.name.given() {
			continue
		}
		if (c.in == "header" || c.in == "cookie") && !headerName.MatchString(c.name.s) {
			d.errorf(c.name.at, "%q is no %s's name", c.name.s, c.in)
		}
		out = append(out, carrier{c.in, c.name.s})
	}
	if len(out) != 1 {
		d.errorf(f.At, "%s: say where it is sent, by one of header, query, cookie and body: the name it has there", what)
		return carrier{}
	}
	return out[0]
}
