// Package recording keeps a vendor's answers as files, and tells what a spec makes
// of them: the same walk, made once against the vendor and any number of times
// against the files. So a spec is tested without a vendor, for instance whenever
// it is changed.
//
// A recording is a directory:
//
//	recording.json      what was walked: vendor, settings, window, bounds
//	001-groups.json     one exchange: the request without secrets, the answer
//	expected.txt        what the spec made of it all: nodes, rows, errors
package recording

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/vendorapi"
)

const (
	headFile     = "recording.json"
	expectedFile = "expected.txt"
)

// A Head says what was walked.
type Head struct {
	Vendor   string            `json:"vendor"`
	Settings map[string]string `json:"settings,omitempty"`
	From     time.Time         `json:"from"` // the window
	To       time.Time         `json:"to"`
	Bounds   Bounds            `json:"bounds"`
}

// Window is that of the walk.
func (h Head) Window(zone *time.Location) fanout.Window {
	return fanout.Window{From: h.From.In(zone), To: h.To.In(zone)}
}

// exchange is a file of a recording. The answer's body is JSON if it was any.
type exchange struct {
	Tier   string          `json:"tier"`
	Asked  vendorapi.Asked `json:"request"`
	Status int             `json:"status"`
	Header map[string]any  `json:"headers,omitempty"` // a text, or a list of several
	JSON   json.RawMessage `json:"json,omitempty"`
	Text   string          `json:"text,omitempty"`
}

// A Told is an exchange and the tier whose it is.
type Told struct {
	Tier string
	vendorapi.Exchange
}

// Write makes a recording in dir, which must be new or empty.
func Write(dir string, head Head, told []Told) (files []string, err error) {
	if found, err := os.ReadDir(dir); err == nil && len(found) > 0 {
		return nil, fmt.Errorf("%s is not empty: remove it, or choose another directory", dir)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("recording to %s: %w", dir, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the recording: %w", err)
	}
	put := func(name string, v any) {
		if err == nil {
			files, err = append(files, name), writeJSON(filepath.Join(dir, name), v)
		}
	}
	for i, t := range told {
		e := exchange{Tier: t.Tier, Asked: t.Asked, Status: t.Answer.Status, Header: map[string]any{}}
		for name, vs := range t.Answer.Headers {
			if e.Header[name] = any(vs); len(vs) == 1 {
				e.Header[name] = vs[0]
			}
		}
		if body := t.Answer.Body; json.Valid(body) {
			e.JSON = body
		} else {
			e.Text = string(body)
		}
		put(fmt.Sprintf("%03d-%s.json", i+1, t.Tier), e)
	}
	put(headFile, head)
	return files, err
}

func writeJSON(path string, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// A Recording is one that was read.
type Recording struct {
	Head
	dir   string
	files []*file
}

type file struct {
	name string
	exchange
	used bool
}

// Read reads a recording.
func Read(dir string) (*Recording, error) {
	r := &Recording{dir: dir}
	if err := readJSON(filepath.Join(dir, headFile), &r.Head); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("there is no recording in %s: make one with sluice vendor record SPEC --out %s", dir, dir)
		}
		return nil, err
	}
	names, err := filepath.Glob(filepath.Join(dir, "[0-9]*-*.json"))
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	for _, path := range names {
		f := &file{name: filepath.Base(path)}
		if err := readJSON(path, &f.exchange); err != nil {
			return nil, err
		}
		r.files = append(r.files, f)
	}
	if len(r.files) == 0 {
		return nil, fmt.Errorf("the recording in %s has no answers", dir)
	}
	return r, nil
}

func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the recording: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("%s is no file of a recording: %w", path, err)
	}
	return nil
}

// An UnknownRequest is one that the recording has no answer to.
type UnknownRequest struct {
	Tier  string
	Asked vendorapi.Asked
	Near  string // the recorded request that is most like it; may be empty
}

func (e *UnknownRequest) Error() string {
	s := fmt.Sprintf("the recording has no answer to %s", line(e.Asked))
	if e.Near != "" {
		s += fmt.Sprintf(" (it has one to %s)", e.Near)
	}
	return s + ": record anew if the spec is right"
}

func line(a vendorapi.Asked) string {
	s := a.Method + " " + a.URL
	for _, name := range slices.Sorted(maps.Keys(a.Headers)) {
		s += " " + name + ": " + a.Headers[name]
	}
	if a.Body != "" {
		s += " " + a.Body
	}
	return s
}

// answer gives what a request was answered: the first answer that was not given
// yet, and again the last one when it is asked more often.
func (r *Recording) answer(tier string, asked vendorapi.Asked) (vendorapi.Answered, error) {
	var found *file
	want := line(asked)
	for _, f := range r.files {
		if line(f.Asked) != want {
			continue
		}
		if found = f; !f.used {
			break
		}
	}
	if found == nil {
		return vendorapi.Answered{}, &UnknownRequest{tier, asked, r.near(asked)}
	}
	found.used = true
	a := vendorapi.Answered{Status: found.Status, Headers: make(map[string][]string), Body: []byte(found.Text)}
	if found.JSON != nil {
		a.Body = found.JSON
	}
	for name, v := range found.Header {
		switch v := v.(type) {
		case string:
			a.Headers.Add(name, v)
		case []any:
			for _, one := range v {
				a.Headers.Add(name, fmt.Sprint(one))
			}
		}
	}
	return a, nil
}

// near is the recorded request that has the longest beginning in common.
func (r *Recording) near(asked vendorapi.Asked) (best string) {
	want, most := line(asked), 0
	for _, f := range r.files {
		have := line(f.Asked)
		n := 0
		for n < min(len(have), len(want)) && have[n] == want[n] {
			n++
		}
		if n > most {
			best, most = have, n
		}
	}
	return best
}

// Unused are the files that nothing asked for.
func (r *Recording) unused() (out []string) {
	for _, f := range r.files {
		if !f.used {
			out = append(out, f.name)
		}
	}
	return out
}

// expected is what the spec should make of the recording.
func (r *Recording) expected() (string, error) {
	b, err := os.ReadFile(filepath.Join(r.dir, expectedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s has no %s: write it with --update", r.dir, expectedFile)
	}
	return strings.ReplaceAll(string(b), "\r\n", "\n"), err
}

func (r *Recording) expect(text string) error {
	return os.WriteFile(filepath.Join(r.dir, expectedFile), []byte(text), 0o644)
}
