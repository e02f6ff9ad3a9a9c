package vendorapi

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// rowsHash covers what decides which rows an answer has: not what is asked how
// fast, of whom and where. A limit that is tuned must not make all tables anew.
func (p *Plan) rowsHash() string {
	var doc map[string]any
	text := []byte(p.Hash)
	if err := yaml.Unmarshal(p.spec.source, &doc); err == nil { // it was parsed before
		parts := map[string]any{"name": p.Name}
		for _, part := range []string{"zone", "defaults", "tiers", "lake"} {
			parts[part] = doc[part]
		}
		if packed, err := json.Marshal(parts); err == nil { // else all of the spec counts
			text = packed
			for _, n := range slices.Sorted(maps.Keys(p.settings)) {
				if strings.Contains(string(packed), n) {
					text = append(text, "\x00"+n+"\x00"+p.settings[n]...)
				}
			}
		}
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
