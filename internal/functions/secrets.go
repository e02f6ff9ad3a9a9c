package functions

import (
	"context"
	"time"
)

// secretsAge is how long a function uses what it has read of the secrets: ticks
// come every minute, and Secrets Manager bills each read.
const secretsAge = 15 * time.Minute

type secret struct {
	value string
	read  time.Time
}

// fresh gives secrets for one invocation: what was read lately, but for one that
// is asked for again, because the vendor has refused it.
type fresh struct {
	f     *Function
	asked map[string]bool
}

// Secret implements vendorapi.Secrets. It is asked by one goroutine at a time.
func (s fresh) Secret(vendor, name string) (string, error) {
	known, ok := s.f.secrets[name]
	if ok && !s.asked[name] && time.Since(known.read) < secretsAge {
		s.asked[name] = true
		return known.value, nil
	}
	s.asked[name] = true
	value, err := s.f.vendor.Secrets().Secret(vendor, name)
	if err != nil {
		return "", err
	}
	s.f.secrets[name] = secret{value, time.Now()}
	return value, nil
}

// Session implements vendorapi.Sessions.
func (s fresh) Session(ctx context.Context, vendor string, f func(context.Context, []byte) ([]byte, error)) error {
	return s.f.vendor.Secrets().Session(ctx, vendor, f)
}
