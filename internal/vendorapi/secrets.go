package vendorapi

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// Secrets gives a vendor's secrets by name. It is asked when a client is made,
// and again when the vendor refuses what it got. It must be safe for
// concurrent use. Its errors must not hold a secret.
type Secrets interface {
	Secret(vendor, name string) (string, error)
}

// HomeSecrets reads a secret from the environment, SLUICE_SECRET_VENDOR_NAME
// in capitals with _ for -, or else from the file HOME/secrets/VENDOR.yaml, a
// list of lines `name: value`, which nobody but its owner may read (0600).
type HomeSecrets struct{ Home string }

// SecretEnv names the environment variable of a secret.
func SecretEnv(vendor, name string) string {
	return "SLUICE_SECRET_" + strings.ToUpper(strings.ReplaceAll(vendor+"_"+name, "-", "_"))
}

// Secret implements [Secrets].
func (h HomeSecrets) Secret(vendor, name string) (string, error) {
	if v := os.Getenv(SecretEnv(vendor, name)); v != "" {
		return v, nil
	}
	path := filepath.Join(h.Home, "secrets", vendor+".yaml")
	all, err := readSecrets(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if v := all[name]; v != "" {
		return v, nil
	}
	return "", fmt.Errorf("secret %q of vendor %s is missing: set %s, or write the line `%s: ...` to %s (chmod 600)",
		name, vendor, SecretEnv(vendor, name), name, path)
}

func readSecrets(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("secrets: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("secrets: %w", err)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return nil, fmt.Errorf("secrets file %s can be read by others (mode %04o): chmod 600 %s", path, perm, path)
	}
	var root yaml.Node
	if err := yaml.NewDecoder(f).Decode(&root); err != nil {
		return nil, fmt.Errorf("secrets file %s: not a list of lines `name: value`", path) // err may quote a secret
	}
	all := make(map[string]string)
	if len(root.Content) != 1 || root.Content[0].Kind != yaml.MappingNode {
		return nil, fmt.Errorf("secrets file %s: not a list of lines `name: value`", path)
	}
	pairs := root.Content[0].Content
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1].Kind != yaml.ScalarNode {
			return nil, fmt.Errorf("secrets file %s: line %d is not `name: value`", path, pairs[i].Line)
		}
		all[pairs[i].Value] = pairs[i+1].Value
	}
	return all, nil
}

// credentials are the secrets as one moment has them, and what is made of them.
type credentials struct {
	values map[string]string
	auth   string // the Authorization header; "" for none

	key, lmID, lmKey string // of those kinds of auth
}

func (c *credentials) same(o *credentials) bool {
	for n, v := range c.values {
		if o.values[n] != v {
			return false
		}
	}
	return true
}

// credentials asks the provider for all secrets of the plan.
func (p *Plan) credentials(from Secrets) (*credentials, error) {
	c := &credentials{values: make(map[string]string)}
	for _, n := range p.Secrets {
		if from == nil {
			return nil, fmt.Errorf("vendor %s needs the secret %q, but there is no place to take it from", p.Name, n)
		}
		v, err := from.Secret(p.Name, n)
		if err != nil {
			return nil, err
		}
		if v == "" || !headerValue(v) && !p.spec.inTLS[n] {
			return nil, fmt.Errorf("secret %q of vendor %s is empty, or has a character that a header cannot hold (a line break?)", n, p.Name)
		}
		c.values[n] = v
	}
	if err := p.auth.static(c, p.setting); err != nil {
		return nil, fmt.Errorf("vendor %s: %w", p.Name, err)
	}
	return c, nil
}

// lookup adds the secrets to other variables.
func (c *credentials) lookup(other lookup) lookup {
	return func(name string) (string, error) {
		if secret, ok := strings.CutPrefix(name, "secret."); ok {
			return c.values[secret], nil
		}
		return other(name)
	}
}

const mask = "***"

// masker takes secrets out of texts. It is immutable.
type masker struct {
	words    []string // what must not be seen, longest first
	replacer *strings.Replacer
}

// newMasker masks the secrets in all the forms in which they may come back:
// as they are, escaped for a URL or JSON, and inside the Authorization header.
// Sessions' tokens are as secret.
func newMasker(all []*credentials, tokens []string) *masker {
	m := &masker{}
	add := func(s string) {
		if s != "" && !slices.Contains(m.words, s) {
			m.words = append(m.words, s)
		}
	}
	forms := func(v string) {
		add(v)
		add(url.QueryEscape(v))
		add(url.PathEscape(v))
		add(escapeQuery(v))
		add(base64.StdEncoding.EncodeToString([]byte(v)))
		for _, f := range jsonForms(v) {
			add(f)
		}
	}
	for _, t := range tokens {
		forms(t)
	}
	for _, c := range all {
		for _, v := range c.values {
			forms(v)
		}
		if _, param, ok := strings.Cut(c.auth, " "); ok {
			add(param)
		}
	}
	slices.SortFunc(m.words, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, w := range m.words {
		pairs = append(pairs, w, mask)
	}
	m.replacer = strings.NewReplacer(pairs...)
	return m
}

// jsonForms are how a text stands in JSON: writers differ in what they escape, and
// an answer may quote a request that was JSON itself.
func jsonForms(v string) []string {
	inside := func(v string) string {
		var b strings.Builder
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(v); err != nil {
			return v
		}
		return b.String()[1 : b.Len()-2] // without quotes and the line's end
	}
	plain := inside(v)
	out := []string{plain, strings.ReplaceAll(plain, "/", `\/`), inside(plain)}
	if b, err := json.Marshal(v); err == nil {
		out = append(out, string(b[1:len(b)-1]))
	}
	return out
}

func (m *masker) text(s string) string { return m.replacer.Replace(s) }

// longest is the length of the longest thing to mask.
func (m *masker) longest() int {
	if len(m.words) == 0 {
		return 0
	}
	return len(m.words[0])
}

// excerpt makes the beginning of an answer fit to be shown: masked, printable,
// at most n bytes. cut tells that s is not all of it: then the end of s may be
// the beginning of a secret, and is masked as well.
func (m *masker) excerpt(s string, n int, cut bool) string {
	s = m.text(s)
	if cut {
		s = m.maskTail(s)
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError:
			return '?'
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return '.'
		}
		return r
	}, s)
	return clip(strings.TrimSpace(s), n)
}

// maskTail masks the longest end of s that is the beginning of a secret.
func (m *masker) maskTail(s string) string {
	most := 0
	for _, w := range m.words {
		for n := min(len(w)-1, len(s)); n > most; n-- {
			if strings.HasSuffix(s, w[:n]) {
				most = n
			}
		}
	}
	if most == 0 {
		return s
	}
	return s[:len(s)-most] + mask
}
