package vendorapi

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/sluicehq/sluice/internal/fanout"
)

// redirected follows an answer to another place, under another permit, or says why
// not. The method stays the same: a POST is only sent on where the vendor says so.
func (x *exchange) redirected(resp *http.Response) error {
	code := resp.StatusCode
	fail := func(format string, args ...any) error {
		return x.fail(fanout.Rejected, code, fmt.Errorf(format, args...))
	}
	if x.signing {
		return fail("the login redirects: correct its place in the spec")
	}
	location, method := resp.Header.Get("Location"), x.call.tier.method
	to, err := x.url.Parse(location)
	switch most := x.client.plan.Bounds.Redirects; {
	case code == http.StatusNotModified || code == http.StatusMultipleChoices || code == http.StatusUseProxy:
		return fail("status %d is no answer to what was asked", code)
	case err != nil || location == "" || to.Host == "":
		return fail("the vendor redirects to nowhere that can be read")
	case x.hops == most:
		return fail("the vendor redirects more than %d times: a loop?", most)
	case method != http.MethodGet && code != http.StatusTemporaryRedirect && code != http.StatusPermanentRedirect:
		return fail("the vendor redirects a %s to host %s in a way that makes it a GET: correct the path", method, to.Host)
	}
	if err := x.client.plan.allowed(to); err != nil {
		return fail("redirected: %w; if the vendor moved, change base_url", err)
	}
	if method != http.MethodGet && !sameOrigin(to, x.client.plan.base) {
		return x.fail(fanout.Rejected, code, errors.New("the vendor redirects a request with a body to another origin"))
	}
	to.Fragment = ""
	secret := x.client.held.Load().mask.holds
	if kept, some := withoutSecrets(to.RawQuery, secret); some {
		to.RawQuery = kept // it is put in again where it may go
	}
	if secret(to.String()) {
		return fail("a secret of ours is in the path that the vendor redirects to")
	}
	x.to = to
	x.hops++
	return errAgain
}
