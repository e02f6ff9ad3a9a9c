package governor_test

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/governor"
)

// Fields of a later version come back as they were, whatever this one changes;
// its own are never doubled.
func TestLaterFields(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		`{}`: `{"rev":1}`,
		`{"rev":4,"brake":{"until":"2026-11-01T00:00:00Z","set":"2026-11-01T00:00:00Z","why":"<&>"}}`: `{"rev":5,"brake":{"until":"2026-11-01T00:00:00Z","set":"2026-11-01T00:00:00Z","why":"\u003c\u0026\u003e"}}`,
		`{"tomorrow":{"b":[1,2.50,"x"]},"rev":4,"a \"b\"":null,"big":12345678901234567890}`:           `{"rev":5,"a \"b\"":null,"big":12345678901234567890,"tomorrow":{"b":[1,2.50,"x"]}}`,
		`{"Rev":4,"EPOCH":2,"later":1}`:       `{"rev":5,"epoch":2,"later":1}`,
		`{"budget":{"run":"r","tomorrow":1}}`: `{"rev":1,"budget":{"run":"r"}}`,
	} {
		var it governor.Item
		if err := json.Unmarshal([]byte(doc), &it); err != nil {
			t.Fatal(err)
		}
		clone := it.Clone()
		clone.Rev++
		got, err := json.Marshal(clone)
		if err != nil || string(got) != want {
			t.Errorf("%s\n  becomes %s\n  want    %s, %v", doc, got, want, err)
		}
	}
	for _, bad := range []string{`[]`, `{"rev":"x"}`, `{"rev":1,"tomorrow":}`, ``, `{"rev":1}{}`, `{"rev":1,"tomorrow":1}{}`, `{"tomorrow":1,"rev":"x"}`} {
		if err := new(governor.Item).UnmarshalJSON([]byte(bad)); err == nil {
			t.Errorf("%s is an item", bad)
		}
	}
}

// An item of a working fleet, with a field of a later version or without.
func workingItem(t testing.TB, more string) (it governor.Item) {
	t.Helper()
	if err := json.Unmarshal([]byte("{"+more+"}"), &it); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 1, 2, 3, 4, 123456789, time.UTC)
	it.Rev, it.Booked, it.Epoch = 71, at, 3
	it.Cuts = []governor.Cut{{Epoch: 3, At: at, Made: at, Last: at}}
	it.Members = map[string]governor.Member{}
	for _, id := range []string{"ABCDEFGHIJ", "KLMNOPQRST", "UVWXYZ2345", "67ABCDEFGH"} {
		it.Members[id] = governor.Member{Expires: at, Booked: at}
	}
	return it
}

// Reading an item is what every process does, twenty times a second.
func BenchmarkItem(b *testing.B) {
	for _, more := range []string{"", `"tomorrow":{"a":1}`} {
		doc, err := json.Marshal(workingItem(b, more))
		if err != nil {
			b.Fatal(err)
		}
		b.Run("read "+more, func(b *testing.B) {
			for b.Loop() {
				var it governor.Item
				if err := it.UnmarshalJSON(doc); err != nil || len(it.Members) != 4 {
					b.Fatal(err)
				}
			}
		})
		b.Run("write "+more, func(b *testing.B) {
			it := workingItem(b, more)
			for b.Loop() {
				if _, err := json.Marshal(it); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Keeping fields of a later version makes an item no longer than they are.
func TestItemsLength(t *testing.T) {
	t.Parallel()
	var lengths []int
	for _, more := range []string{"", `"tomorrow":{"a":1}`} {
		doc, err := json.Marshal(workingItem(t, more))
		if err != nil {
			t.Fatal(err)
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(doc, &fields); err != nil {
			t.Fatal(err)
		}
		if names := slices.Sorted(maps.Keys(fields)); len(names) != 5+len(lengths) {
			t.Errorf("fields %v", names)
		}
		lengths = append(lengths, len(doc))
	}
	if d := lengths[1] - lengths[0]; d != len(`,"tomorrow":{"a":1}`) {
		t.Errorf("%d bytes more", d)
	}
}
