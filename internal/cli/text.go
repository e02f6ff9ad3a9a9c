package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
)

// number is n with thousands separators.
func number(n int) string {
	s := strconv.Itoa(n)
	digits := len(strings.TrimPrefix(s, "-"))
	head := len(s) - digits
	for i := len(s) - 3; i > head; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// plural is "1 task", "2 tasks".
func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return number(n) + " " + what + "s"
}

// rate is calls per second as people read it.
func rate(perSecond float64) string {
	switch {
	case perSecond >= 10:
		return number(int(perSecond+0.5)) + "/s"
	case perSecond == float64(int(perSecond)):
		return fmt.Sprintf("%.0f/s", perSecond)
	case perSecond >= 0.5:
		return fmt.Sprintf("%.1f/s", perSecond)
	}
	if perSecond >= 1.0/6 {
		return fmt.Sprintf("%.0f/min", perSecond*60)
	}
	return fmt.Sprintf("%.1f/min", perSecond*60)
}

// span is a duration with as many digits as matter.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.1f h", d.Hours())
	}
	return fmt.Sprintf("%.1f days", d.Hours()/24)
}

// windowText is a window as people read it, in the zone that it was given in.
func windowText(w fanout.Window) string {
	const day, minute = "2006-01-02", "2006-01-02 15:04 MST"
	to := w.To.In(w.From.Location())
	if midnight(w.From) && midnight(to) {
		if w.From.AddDate(0, 0, 1).Equal(to) {
			return w.From.Format(day + " MST")
		}
		return w.From.Format(day) + " to " + to.Format(day+" MST")
	}
	return w.From.Format(minute) + " to " + to.Format(minute)
}

func midnight(t time.Time) bool {
	h, m, s := t.Clock()
	return h+m+s+t.Nanosecond() == 0
}

// instantText is an instant as people read it.
func instantText(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// A table is columns under headings. Numbers are set right.
type table struct {
	rows  [][]string
	right []bool
}

// newTable makes a table; a heading that begins with ">" sets its column right.
func newTable(headings ...string) *table {
	t := &table{}
	row := make([]string, len(headings))
	for i, h := range headings {
		row[i] = strings.TrimPrefix(h, ">")
		t.right = append(t.right, row[i] != h)
	}
	t.rows = [][]string{row}
	return t
}

func (t *table) add(cells ...any) {
	row := make([]string, len(cells))
	for i, c := range cells {
		if n, ok := c.(int); ok {
			row[i] = number(n)
		} else {
			row[i] = fmt.Sprint(c)
		}
	}
	t.rows = append(t.rows, row)
}

// write sets the table, each line after indent.
func (t *table) write(w io.Writer, indent string) {
	widths := make([]int, len(t.right))
	for _, row := range t.rows {
		for i, c := range row {
			widths[i] = max(widths[i], len([]rune(c)))
		}
	}
	for _, row := range t.rows {
		line := indent
		for i, c := range row {
			pad := strings.Repeat(" ", widths[i]-len([]rune(c)))
			if t.right[i] {
				c, pad = pad+c, ""
			}
			line += c + pad + "  "
		}
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
}

// list is "a, b and c".
func list(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// quote makes a word fit to be typed in a shell.
func quote(word string) string {
	safe := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=@%+,", r)
	}
	if word != "" && strings.TrimFunc(word, safe) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
