package governor

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Versions of Sluice share an item while a fleet is being deployed. What a later
// one has put into it beside the fields that this one knows is kept as it came,
// and goes back with every write. So a later version adds fields to Item, not to
// what is in there.

// later is those fields. It is replaced, never changed: copies of an item share it.
type later map[string]json.RawMessage

// plain is an Item as encoding/json alone sees it.
type plain Item

// UnmarshalJSON reads an item, and keeps the fields that it does not know. Stores
// call it themselves: by way of json.Unmarshal the text is gone through twice more.
func (it *Item) UnmarshalJSON(doc []byte) error {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.DisallowUnknownFields() // tells, in one pass, that there is nothing to keep
	if d.Decode((*plain)(it)) == nil && d.InputOffset() == int64(len(doc)) {
		return nil
	}
	if err := json.Unmarshal(doc, (*plain)(it)); err != nil {
		return err
	}
	var all later
	if err := json.Unmarshal(doc, &all); err != nil {
		return err
	}
	maps.DeleteFunc(all, func(name string, _ json.RawMessage) bool { return known[strings.ToLower(name)] })
	if len(all) > 0 {
		it.later = all
	}
	return nil
}

// MarshalJSON writes an item with the fields that were kept.
func (it Item) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // whoever wants it does it again
	if err := enc.Encode(plain(it)); err != nil {
		return nil, err
	}
	doc := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if len(it.later) == 0 {
		return doc, nil
	}
	doc = bytes.TrimSuffix(doc, []byte("}"))
	for _, name := range slices.Sorted(maps.Keys(it.later)) {
		key, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		if len(doc) > len("{") {
			doc = append(doc, ',')
		}
		doc = append(append(append(doc, key...), ':'), it.later[name]...)
	}
	return append(doc, '}'), nil
}

// known are the names of an item's own fields, however they are written:
// encoding/json does not tell capitals from small letters.
var known = func() map[string]bool {
	names := map[string]bool{}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[plain]()) {
		if f.IsExported() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			names[strings.ToLower(name)] = true
		}
	}
	return names
}()
