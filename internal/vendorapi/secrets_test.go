package vendorapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/internal/fanout"
)

func TestHomeSecrets(t *testing.T) {
	home := t.TempDir()
	file := filepath.Join(home, "secrets", "my-vendor.yaml")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	sec := HomeSecrets{home}
	_, err := sec.Secret("my-vendor", "api-key")
	if err == nil || !strings.Contains(err.Error(), "SLUICE_SECRET_MY_VENDOR_API_KEY") || !strings.Contains(err.Error(), file) {
		t.Errorf("neither place: %v", err)
	}
	if err := os.WriteFile(file, []byte("# mine\napi-key: 0123\nother: x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := sec.Secret("my-vendor", "api-key"); err == nil || !strings.Contains(err.Error(), "chmod 600 "+file) {
		t.Errorf("open file: %v", err)
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	if v, err := sec.Secret("my-vendor", "api-key"); v != "0123" || err != nil {
		t.Errorf("%q %v", v, err)
	}
	t.Setenv("SLUICE_SECRET_MY_VENDOR_API_KEY", "env")
	if v, err := sec.Secret("my-vendor", "api-key"); v != "env" || err != nil {
		t.Errorf("%q %v", v, err)
	}
	if err := os.WriteFile(file, []byte("- hunter2: {\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sec.Secret("my-vendor", "other"); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("broken file: %v", err)
	}
}

func TestMissingSecretStopsTheClient(t *testing.T) {
	p := testPlan(t, spec2(plainList), nil)
	if _, err := NewClient(p, HomeSecrets{t.TempDir()}, Options{}); err == nil || !strings.Contains(err.Error(), "SLUICE_SECRET_V_TOKEN") {
		t.Errorf("%v", err)
	}
	if _, err := NewClient(p, &secretMap{m: map[string]string{"token": "a\nb"}}, Options{}); err == nil || strings.Contains(err.Error(), "a\nb") {
		t.Errorf("a secret with a line break: %v", err)
	}
}

func TestSecretsAreMaskedWhenEchoed(t *testing.T) {
	p := testPlan(t, spec2(plainList), nil)
	quoted, _ := json.Marshal(token)
	resps := []*http.Response{
		answer(400, "bad token "+token),
		answer(500, string(quoted)),
		answer(200, string(quoted)),
		answer(400, strings.Repeat("x", p.Bounds.Excerpt-8)+token),
		answer(400, strings.Repeat("x", p.Bounds.Excerpt+len(token)-3)+token),
		answer(200, "<html>"+token),
		answer(302, "", "Location", "http://"+"other.example/?t=t0k%2Fen"),
	}
	for pad := range len(token) { // the end of what is read falls on every byte of a secret
		resps = append(resps, answer(400, strings.Repeat("x", pad)+strings.Repeat(token, 400)))
	}
	for _, resp := range resps {
		c := testClient(t, p, roundTrip(func(*http.Request) (*http.Response, error) { return resp, nil }))
		_, err := c.Call(t.Context(), root(p), "")
		var ce *fanout.CallError
		if !errors.As(err, &ce) {
			t.Fatal(err)
		}
		b, _ := json.Marshal(ce)
		noSecret(t, string(b)+ce.Error()+ce.Excerpt+ce.Err.Error())
		if len(ce.Excerpt) > p.Bounds.Excerpt+len("...") {
			t.Errorf("excerpt of %d bytes", len(ce.Excerpt))
		}
	}
}

func TestRefusedCredentialsAreReadAgain(t *testing.T) {
	p := testPlan(t, spec2(plainList), nil)
	sec := tokenOnly()
	var calls int
	c, err := NewClient(p, sec, Options{RoundTripper: roundTrip(func(r *http.Request) (*http.Response, error) {
		calls++
		if r.Header.Get("Authorization") != "Bearer renewed-token" {
			return answer(401, "who? "+token), nil
		}
		return answer(200, `{"items":[]}`), nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Call(t.Context(), root(p), ""); classOf(err) != fanout.Refused {
		t.Errorf("same secret: %v", err)
	}
	sec.set("token", "renewed-token")
	if _, err = c.Call(t.Context(), root(p), ""); !errors.Is(err, fanout.ErrNoPermit) || calls != 2 {
		t.Errorf("changed secret, no permit for another request: %d calls, %v", calls, err)
	}
	sec.set("token", "renewed-token")
	if _, err := c.Call(t.Context(), root(p), ""); err != nil || calls != 3 {
		t.Errorf("after %d calls: %v", calls, err)
	}
	sec.set("token", token)
	if c, err = NewClient(p, sec, Options{RoundTripper: c.rt}); err != nil {
		t.Fatal(err)
	}
	sec.set("token", "renewed-token")
	ctx, taken := permits(t)
	if _, err := c.Call(ctx, root(p), ""); err != nil || calls != 5 || taken() != 2 {
		t.Errorf("with permits: %d calls, %d permits, %v", calls, taken(), err)
	}
}
