package vendorapi

import (
	"net/http"
	"strings"
	"testing"
)

// BenchmarkCall is one call with an answer of about 1 KB, in process.
func BenchmarkCall(b *testing.B) {
	s, err := Parse("v.yaml", []byte(spec2(plainList)))
	if err != nil {
		b.Fatal(err)
	}
	p, err := s.Bind(nil)
	if err != nil {
		b.Fatal(err)
	}
	body := `{"items":[` + strings.Repeat(`{"id":9007199254740993,"name":"a device of some name","kind":"cpu"},`, 14) + `{"id":1}]}`
	c, err := NewClient(p, tokenOnly(), Options{RoundTripper: roundTrip(func(*http.Request) (*http.Response, error) { return answer(200, body), nil })})
	if err != nil {
		b.Fatal(err)
	}
	task := root(p)
	b.ReportAllocs()
	for b.Loop() {
		page, err := c.Call(b.Context(), task, "")
		if err != nil {
			b.Fatal(err)
		}
		page.Release()
	}
}
