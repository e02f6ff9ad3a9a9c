package vendorapi

import (
	"testing"
	"time"
)

func TestLMv1(t *testing.T) {
	t.Parallel()
	got := lmv1("id", "key", "GET", "/device/devices", nil, time.UnixMilli(1700000000000))
	want := "LMv1 id:OWZiN2QwMGM3NzQ1NzBiNTYwZDc5ZmZkNGM2ZTE3OTM4NTQzMWUzYzdiMGE5ZmUwZTc5ZjY3ZDU4ZjJlZDhlNw==:1700000000000"
	if got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if other := lmv1("id", "key", "POST", "/device/devices", []byte(`{"a":1}`), time.UnixMilli(1700000000000)); other == got {
		t.Error("the body does not count")
	}
}
