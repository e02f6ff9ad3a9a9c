package run

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sluicehq/sluice/internal/fanout"
)

// A Cause is what dead tasks of one tier have in common: the class of failure,
// the status, and the message but for what names things.
type Cause struct {
	Name    string       `json:"cause"` // stays the same in every run
	Tier    string       `json:"tier"`
	Class   fanout.Class `json:"class"`
	Status  int          `json:"status,omitempty"`
	Message string       `json:"message"` // of one of them, as the excerpt
	Excerpt string       `json:"excerpt,omitempty"`
	Count   int          `json:"count"`
	First   time.Time    `json:"first"`
	Last    time.Time    `json:"last"`
	Runs    []string     `json:"runs"`
	Samples []string     `json:"samples"` // some of them, by name
}

// CauseOf names the cause of a dead task.
func CauseOf(d DeadTask) string {
	text := fmt.Sprintf("%s\x00%s\x00%d\x00%s", d.Task.Tier, d.Reason.Class, d.Reason.Status, plain(d.Reason.Message))
	sum := sha256.Sum256([]byte(text))
	return strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:]))[:6]
}

// longestMessage is how much of a message tells causes apart.
const longestMessage = 300

// plain is a message without what differs from task to task: each word with a
// digit in it becomes #.
func plain(message string) string {
	var b strings.Builder
	word := func(r rune) bool {
		return unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' || r == '-' || r == '.' || r == '%'
	}
	for rest := message; rest != "" && b.Len() < longestMessage; {
		first, _ := utf8.DecodeRuneInString(rest)
		inWord := word(first)
		end := strings.IndexFunc(rest, func(r rune) bool { return word(r) != inWord })
		if end < 0 {
			end = len(rest)
		}
		if inWord && strings.ContainsFunc(rest[:end], unicode.IsDigit) {
			b.WriteByte('#')
		} else {
			b.WriteString(rest[:end])
		}
		rest = rest[end:]
	}
	return b.String()
}

// What is kept of dead tasks, however many there are.
const (
	maxCauses  = 1000
	maxSamples = 3
)

// others is the name of what is one cause too many.
const others = "others"

// Causes groups dead tasks. It keeps causes and samples, never the tasks. The
// zero value is empty.
type Causes struct{ by map[string]*Cause }

// Add puts a dead task with its cause.
func (c *Causes) Add(d DeadTask) {
	r := d.Reason
	name, tier := CauseOf(d), d.Task.Tier
	at := c.by[name]
	if at == nil && len(c.by) >= maxCauses {
		name, tier, r = others, "", fanout.Reason{Message: fmt.Sprintf("more than %d causes: look at one tier or one run", maxCauses)}
		at = c.by[name]
	}
	if at == nil {
		if c.by == nil {
			c.by = map[string]*Cause{}
		}
		at = &Cause{Name: name, Tier: tier, Class: r.Class, Status: r.Status, Message: r.Message, Excerpt: r.Excerpt, First: d.At, Last: d.At}
		c.by[name] = at
	}
	at.Count++
	if d.At.Before(at.First) {
		at.First = d.At
	}
	if d.At.After(at.Last) {
		at.Last = d.At
	}
	if len(at.Samples) < maxSamples {
		at.Samples = append(at.Samples, Name(d.Task))
	}
	if !slices.Contains(at.Runs, d.Task.Run) {
		at.Runs = append(at.Runs, d.Task.Run)
	}
}

// List is the causes, the most frequent first.
func (c *Causes) List() []Cause {
	out := make([]Cause, 0, len(c.by))
	for _, at := range c.by {
		out = append(out, *at)
	}
	slices.SortFunc(out, func(a, b Cause) int {
		if a.Count != b.Count {
			return b.Count - a.Count
		}
		return strings.Compare(a.Name, b.Name)
	})
	return out
}
