package vendorapi

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// tlsTemplates say whom to trust and who we are. Each text is PEM, or the name of
// a file that holds it.
type tlsTemplates struct {
	ca, cert, key *plainTemplate
	name          *plainTemplate
}

func (d *decoder) tls(f *tlsField, top *scope) *tlsTemplates {
	if f == nil {
		return nil
	}
	if f.Cert.given() != f.Key.given() {
		d.errorf(f.At, "tls: cert and key go together: a client's certificate and its key")
	}
	if !f.CA.given() && !f.Cert.given() && !f.ServerName.given() {
		d.errorf(f.At, "tls says nothing: give ca, cert and key, or server_name")
	}
	one := func(t text) *plainTemplate {
		if !t.given() {
			return nil
		}
		p := d.plain(t, top)
		return &p
	}
	plain := *top
	plain.secrets = false
	t := &tlsTemplates{ca: one(f.CA), cert: one(f.Cert), key: one(f.Key)}
	if f.ServerName.given() {
		p := d.plain(f.ServerName, &plain)
		t.name = &p
	}
	return t
}

// multiline are the secrets that may hold more than one line.
func (t *tlsTemplates) multiline() map[string]bool {
	out := map[string]bool{}
	if t == nil {
		return out
	}
	for _, p := range []*plainTemplate{t.ca, t.cert, t.key} {
		if p == nil {
			continue
		}
		for _, n := range p.names() {
			if s, ok := strings.CutPrefix(n, "secret."); ok {
				out[s] = true
			}
		}
	}
	return out
}

// tlsConfig is how connections to the vendor are made. Errors quote no key.
func (p *Plan) tlsConfig(creds *credentials) (*tls.Config, error) {
	cfg := &tls.Config{NextProtos: []string{"http/1.1"}}
	t := p.spec.tls
	if t == nil {
		return cfg, nil
	}
	if t.name != nil {
		name, err := t.name.expand(p.setting)
		if err != nil {
			return nil, err
		}
		cfg.ServerName = name
	}
	if t.ca != nil {
		pem, err := p.pem("tls.ca", t.ca, creds)
		if err != nil {
			return nil, err
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("vendor %s: tls.ca holds no certificate in PEM", p.Name)
		}
	}
	if t.cert == nil {
		return cfg, nil
	}
	cert, err := p.pem("tls.cert", t.cert, creds)
	if err != nil {
		return nil, err
	}
	key, err := p.pem("tls.key", t.key, creds)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("vendor %s: tls.cert and tls.key are no pair of a certificate and its key: %w", p.Name, err)
	}
	cfg.Certificates = []tls.Certificate{pair}
	return cfg, nil
}

// pem is a text that is PEM, or what the file holds that it names. A relative name
// is one beside the spec.
func (p *Plan) pem(field string, t *plainTemplate, creds *credentials) ([]byte, error) {
	text, err := t.expand(creds.lookup(p.setting))
	if err != nil {
		return nil, err
	}
	if strings.Contains(text, "-----BEGIN") {
		return []byte(text), nil
	}
	if !filepath.IsAbs(text) {
		if p.spec.dir == "" {
			return nil, fmt.Errorf("vendor %s: %s names a file beside the spec, which is not at hand: keep the PEM text as a secret instead", p.Name, field)
		}
		text = filepath.Join(p.spec.dir, text)
	}
	b, err := os.ReadFile(text)
	if err != nil && t.secret() { // it may be a key in another form, which nobody is to see
		return nil, fmt.Errorf("vendor %s: %s is neither PEM (-----BEGIN ...) nor the name of a file that can be read", p.Name, field)
	}
	if err != nil {
		return nil, fmt.Errorf("vendor %s: %s: %w", p.Name, field, err)
	}
	return b, nil
}
