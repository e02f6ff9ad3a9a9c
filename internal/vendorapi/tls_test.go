package vendorapi

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority is a CA of a vendor's own.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	a := authority{key: newKey(t)}
	tpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "own CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tpl, tpl, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pem = inPEM("CERTIFICATE", der)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func inPEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// sign makes a certificate for a name.
func (a authority) sign(t *testing.T, name string) (cert, key string) {
	t.Helper()
	own := newKey(t)
	tpl := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, tpl, a.cert, own.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		t.Fatal(err)
	}
	return inPEM("CERTIFICATE", der), inPEM("PRIVATE KEY", raw)
}

// A vendor with its own CA that wants a client's certificate: all as secrets, and
// as files beside the spec.
func TestOwnAuthorityAndClientCertificate(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	serverCert, serverKey := ca.sign(t, "vendor.test")
	clientCert, clientKey := ca.sign(t, "us")
	pair, err := tls.X509KeyPair([]byte(serverCert), []byte(serverKey))
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"items":[{"id":%q}]}`, r.TLS.PeerCertificates[0].Subject.CommonName)
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes are to fail
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	srv.StartTLS()
	defer srv.Close()
	src := func(how string) string {
		return "name: v\nbase_url: " + srv.URL + "\ntls: " + how + `
limits: unknown
tiers:
  - {name: groups, get: /groups, items: ".items[]", key: .id}
  - {name: data, get: "/data/{groups}"}
`
	}
	secrets := &secretMap{m: map[string]string{"ca": ca.pem, "cert": clientCert, "key": clientKey, "other": newAuthority(t).pem, "none": "no PEM, but a key"}}
	try := func(p *Plan) error {
		c, err := NewClient(p, secrets, Options{})
		if err != nil {
			return err
		}
		defer c.Close()
		page, err := c.Call(t.Context(), root(p), "")
		if err == nil && page.Children[0].Path[0] != "us" {
			t.Errorf("the vendor saw %v", page.Children)
		}
		return err
	}
	if err := try(testPlan(t, src(`{ca: "{secret.ca}", cert: "{secret.cert}", key: "{secret.key}", server_name: vendor.test}`), nil)); err != nil {
		t.Error(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"ca.pem": ca.pem, "us.pem": clientCert, "us.key": clientKey, "v.yaml": src("{ca: ca.pem, cert: us.pem, key: us.key, server_name: vendor.test}")} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Load(filepath.Join(dir, "v.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Bind(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := try(p); err != nil {
		t.Error(err)
	}
	for how, want := range map[string]string{
		`{ca: "{secret.other}", cert: "{secret.cert}", key: "{secret.key}", server_name: vendor.test}`: "certificate signed by unknown authority",
		`{ca: "{secret.ca}", cert: "{secret.cert}", key: "{secret.key}", server_name: other.test}`:     "not other.test",
		`{ca: "{secret.ca}", server_name: vendor.test}`:                                                "certificate required",
		`{ca: "{secret.ca}", cert: "{secret.cert}", key: "{secret.none}"}`:                             "tls.key",
		`{ca: ca.pem}`: "names a file beside the spec, which is not at hand",
	} {
		err := try(testPlan(t, src(how), nil))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "no PEM, but") {
			t.Errorf("%s: %v", how, err)
		}
	}
}
