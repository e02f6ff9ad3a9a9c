// Package vendors holds the specs that ship.
package vendors

import "embed"

// Specs are the shipped specs, NAME.yaml each.
//
//go:embed *.yaml
var Specs embed.FS

// Schema is the JSON schema of specs, for editors.
//
//go:embed schema.json
var Schema []byte
