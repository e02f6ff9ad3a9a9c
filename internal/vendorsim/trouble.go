package vendorsim

import (
	"encoding/json"
	"fmt"
	"time"
)

// Trouble is how the vendor misbehaves. Shares are of all calls, 0 to 1.
type Trouble struct {
	Down       string   `json:"down,omitempty"` // "refused", "503" or "hanging": an outage
	Errors     float64  `json:"errors,omitempty"`
	Cut        float64  `json:"cut,omitempty"`         // bodies that end early
	Malformed  float64  `json:"malformed,omitempty"`   // bodies that are no JSON
	Slow       Duration `json:"slow,omitempty"`        // added to every answer
	Changing   bool     `json:"changing,omitempty"`    // lists differ from one fetch to the next
	Poison     string   `json:"poison,omitempty"`      // requests whose path and query contain it are answered 422
	Throttle   bool     `json:"throttle,omitempty"`    // every call is refused with 429, within the limits or not
	RetryAfter int      `json:"retry_after,omitempty"` // what such a refusal asks for, in seconds (1)
	For        Duration `json:"for,omitempty"`         // then all is well again; zero: until told otherwise
}

// Check tells what is wrong with a trouble.
func (t Trouble) Check() error {
	switch t.Down {
	case "", "refused", "503", "hanging":
	default:
		return fmt.Errorf("unknown outage %q: refused, 503 or hanging", t.Down)
	}
	for _, share := range []float64{t.Errors, t.Cut, t.Malformed} {
		if share < 0 || share > 1 {
			return fmt.Errorf("a share of %v is not between 0 and 1", share)
		}
	}
	if t.Down == "refused" && t.For <= 0 {
		return fmt.Errorf("an outage that refuses connections needs an end (\"for\"): nobody could tell it to stop")
	}
	return nil
}

// Duration is a time.Duration that JSON holds as "1.5s".
type Duration time.Duration

// MarshalJSON implements json.Marshaler.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON implements json.Unmarshaler.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	v, err := time.ParseDuration(s)
	*d = Duration(v)
	return err
}
