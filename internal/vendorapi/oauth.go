package vendorapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/sluicehq/sluice/internal/fanout"
)

// oauthTemplates is the OAuth2 grant by client credentials, or by a refresh token.
type oauthTemplates struct {
	url        plainTemplate
	id, secret *plainTemplate
	refresh    *plainTemplate // nil: client credentials
	scopes     []plainTemplate
	params     []queryTemplate
	style      oauth2.AuthStyle
}

func (d *decoder) oauth2(f *oauth2Field, top *scope) *oauthTemplates {
	o := &oauthTemplates{style: oauth2.AuthStyleInHeader}
	if !f.TokenURL.given() {
		d.errorf(f.At, "oauth2 needs token_url, where tokens are given out: a path below base_url, or an https URL")
	}
	o.url = d.place(f.TokenURL, top)
	o.id = d.secretText(f.ClientID, f.At, "oauth2 needs client_id", top)
	if f.ClientSecret.given() || !f.RefreshToken.given() {
		o.secret = d.secretText(f.ClientSecret, f.At, "oauth2 needs client_secret, or refresh_token", top)
	}
	if f.RefreshToken.given() {
		o.refresh = d.secretText(f.RefreshToken, f.At, "", top)
	}
	if f.RefreshToken.given() && (len(f.Scopes) > 0 || len(f.Params) > 0) {
		d.errorf(f.At, "oauth2: scopes and params go with client credentials: with refresh_token they would not be sent")
	}
	for _, s := range f.Scopes {
		o.scopes = append(o.scopes, d.plain(s, top))
	}
	for _, e := range f.Params {
		o.params = append(o.params, queryTemplate{e.name.s, []plainTemplate{d.plain(e.val, top)}})
	}
	switch f.Style.s {
	case "", "header":
	case "params":
		o.style = oauth2.AuthStyleInParams
	default:
		d.errorf(f.Style.at, "oauth2.style says how client_id and client_secret are sent: header or params, not %q", f.Style.s)
	}
	return o
}

// grant asks for a token.
func (x *exchange) grant(o *oauthTemplates, old *Session) (*Session, error) {
	get := x.held.lookup(x.client.plan.setting)
	var first error
	text := func(t *plainTemplate) (s string) {
		var err error
		if t != nil {
			if s, err = t.expand(get); err != nil && first == nil {
				first = err
			}
		}
		return s
	}
	at, err := x.client.plan.placeOf(o.url)
	if err != nil {
		return nil, x.fail(fanout.Broken, 0, err)
	}
	cfg := clientcredentials.Config{ClientID: text(o.id), ClientSecret: text(o.secret), TokenURL: at.String(), AuthStyle: o.style, EndpointParams: url.Values{}}
	for _, s := range o.scopes {
		cfg.Scopes = append(cfg.Scopes, text(&s))
	}
	for _, p := range o.params {
		cfg.EndpointParams.Set(p.name, text(&p.vals[0]))
	}
	refresh := text(o.refresh)
	if first != nil {
		return nil, x.fail(fanout.Broken, 0, first)
	}
	if old.Refresh != "" { // the vendor gave a new one with the last token
		refresh = old.Refresh
	}
	ctx := context.WithValue(x.watch.ctx, oauth2.HTTPClient, &http.Client{
		Transport:     signing{x},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	})
	var token *oauth2.Token
	if o.refresh == nil {
		token, err = cfg.Token(ctx)
	} else {
		token, err = refreshing(&cfg).TokenSource(ctx, &oauth2.Token{RefreshToken: refresh, Expiry: time.Unix(1, 0)}).Token()
	}
	if err != nil {
		return nil, x.noToken(err)
	}
	if !goodToken(token.AccessToken) {
		return nil, x.fail(fanout.Refused, x.code, errors.New("the token that was given is none that a header can hold"))
	}
	s := &Session{Access: token.AccessToken, Expires: token.Expiry}
	if o.refresh != nil {
		s.Refresh = token.RefreshToken
	}
	return s, nil
}

func refreshing(c *clientcredentials.Config) *oauth2.Config {
	return &oauth2.Config{ClientID: c.ClientID, ClientSecret: c.ClientSecret, Scopes: c.Scopes, Endpoint: oauth2.Endpoint{TokenURL: c.TokenURL, AuthStyle: c.AuthStyle}}
}

// noToken judges what became of a grant.
func (x *exchange) noToken(err error) error {
	var passed *fanout.CallError
	var refused *oauth2.RetrieveError
	switch {
	case errors.Is(err, fanout.ErrTooLate) || x.parent.Err() != nil:
		return x.ended(err)
	case errors.As(err, &passed):
		return passed
	case errors.As(err, &refused) && refused.Response != nil:
		why := refused.ErrorCode
		if refused.ErrorDescription != "" {
			why = strings.TrimSpace(why + ": " + refused.ErrorDescription)
		}
		why = x.client.held.Load().mask.text(why)
		x.setExcerpt(refused.Body, false)
		code := refused.Response.StatusCode
		return x.fail(fanout.Refused, code, fmt.Errorf("no token was given (%s)", clip(why, 200)))
	case strings.Contains(err.Error(), "missing access_token"): // the library has no error of its own for that
		return x.fail(fanout.Refused, x.code, errors.New("there is no access_token in the answer"))
	}
	return x.fail(fanout.Bad, 0, fmt.Errorf("the answer to the request for a token: %w", err))
}

// ended is err where a call ends without a verdict on the vendor.
func (x *exchange) ended(err error) error {
	if errors.Is(err, fanout.ErrTooLate) {
		return fanout.ErrTooLate
	}
	return context.Cause(x.parent)
}

// signing is how the library's requests are made: under the call's permit, with
// its bounds, and judged as other answers are.
type signing struct{ x *exchange }

// RoundTrip implements [http.RoundTripper].
func (s signing) RoundTrip(req *http.Request) (*http.Response, error) {
	x := s.x
	req = req.Clone(req.Context())
	req.GetBody = nil // it is not to be sent again behind our back
	req.Header.Set("User-Agent", x.client.agent)
	resp, err := x.send(req)
	if err != nil {
		return nil, err
	}
	x.watch.reading()
	switch code := resp.StatusCode; {
	case code >= 500 || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout:
		defer resp.Body.Close()
		return nil, x.status(resp)
	case code >= 300 && code < 400:
		defer resp.Body.Close()
		return nil, x.fail(fanout.Refused, code, errors.New("the place that gives out tokens redirects: correct auth.oauth2.token_url"))
	}
	resp.Body = struct {
		*idleReader
		closer
	}{&idleReader{resp.Body, x.watch}, resp.Body.Close}
	return resp, nil
}

type closer func() error

func (c closer) Close() error { return c() }
