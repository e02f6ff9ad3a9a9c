package vendorapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"
)

// sameOrigin tells whether two URLs have scheme, host and port in common.
func sameOrigin(a, b *url.URL) bool { return originText(a) == originText(b) }

func originText(u *url.URL) string {
	scheme := strings.ToLower(u.Scheme)
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[scheme]
	}
	return scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// allowed tells whether a URL that an answer names may be called: it is at the
// vendor's own origin, or at one that the spec allows.
func (p *Plan) allowed(u *url.URL) error {
	switch {
	case u.User != nil:
		return errors.New("the vendor points to a URL with a user in it")
	case sameOrigin(u, p.base):
		return nil
	case slices.ContainsFunc(p.spec.origins, func(o string) bool { return o == originText(u) }):
		return nil
	}
	return fmt.Errorf("the vendor points to %s://%s, which is not its own origin: if that is right, add it to origins; it is never sent credentials", u.Scheme, u.Host)
}

// origins reads the other origins that next pages and redirects may be at.
func (d *decoder) origins(list []text) (out []string) {
	for _, t := range list {
		u, err := url.Parse(t.s)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
			d.errorf(t.at, "origins lists origins such as https://cdn.example.com, not %q", t.s)
			continue
		}
		out = append(out, originText(u))
	}
	return out
}

// place compiles where a login goes: a path below base_url, or a URL.
func (d *decoder) place(t text, top *scope) plainTemplate {
	if !t.given() {
		return plainTemplate{}
	}
	if plain := strings.HasPrefix(t.s, "/"); !plain && !strings.HasPrefix(t.s, "https://") && !strings.HasPrefix(t.s, "http://") {
		d.errorf(t.at, "%q is neither a path below base_url nor an https URL", t.s)
	}
	settings := *top
	settings.secrets = false
	return d.plain(t, &settings)
}

// placeOf is where a login goes. Secrets go there: over TLS, or where base_url
// itself is without.
func (p *Plan) placeOf(t plainTemplate) (*url.URL, error) {
	s, err := t.expand(p.setting)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(s, "/") {
		s = p.BaseURL + s
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("%q is no URL", clip(s, 100))
	}
	if u.Scheme != "https" && !sameOrigin(u, p.base) {
		return nil, fmt.Errorf("secrets are not sent to %s without TLS", u.Host)
	}
	return u, nil
}

// newAway is the transport to other origins. What an answer points to must not
// lead into the network that the fleet runs in, unless the vendor is there itself.
func newAway(plan *Plan, inFlight int) http.RoundTripper {
	guard := &guard{host: plan.base.Hostname()}
	t := newTransport(plan, inFlight)
	t.DialContext = (&net.Dialer{Timeout: plan.Timeouts.Connect, KeepAlive: 30 * time.Second, ControlContext: guard.control}).DialContext
	return &away{direct: t, proxied: newTransport(plan, inFlight)}
}

// away makes requests to other origins: through a proxy by its rules, and else only
// to the outside.
type away struct{ direct, proxied *http.Transport }

// RoundTrip implements [http.RoundTripper].
func (a *away) RoundTrip(req *http.Request) (*http.Response, error) {
	if proxy, err := a.proxied.Proxy(req); proxy != nil || err != nil {
		return a.proxied.RoundTrip(req)
	}
	return a.direct.RoundTrip(req)
}

// CloseIdleConnections closes those of both.
func (a *away) CloseIdleConnections() {
	a.direct.CloseIdleConnections()
	a.proxied.CloseIdleConnections()
}

type guard struct{ host string }

// control judges an address before a connection to it is opened.
func (g *guard) control(ctx context.Context, _, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%s is no address that can be judged: %w", address, err)
	}
	kind := inside(to.Addr())
	if kind == "" {
		return nil
	}
	own, err := net.DefaultResolver.LookupNetIP(ctx, "ip", g.host)
	if err == nil && slices.ContainsFunc(own, func(a netip.Addr) bool { return inside(a) == kind }) {
		return nil
	}
	return fmt.Errorf("the vendor points to %s, a %s address: that is refused", to.Addr(), kind)
}

// inside says which kind of address of a network's inside it is; "" for none.
func inside(a netip.Addr) string {
	a = a.Unmap()
	switch {
	case a.IsLoopback():
		return "loopback"
	case a.IsLinkLocalUnicast() || a.IsLinkLocalMulticast():
		return "link-local"
	case a.IsPrivate() || netip.MustParsePrefix("100.64.0.0/10").Contains(a):
		return "private"
	case a.IsUnspecified() || a.IsMulticast() || netip.MustParsePrefix("240.0.0.0/4").Contains(a):
		return "reserved"
	}
	return ""
}
