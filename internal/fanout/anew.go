package fanout

import (
	"fmt"
	"strconv"
	"strings"
)

// mostAnew is how often a list is begun anew before that counts as a failed attempt.
const mostAnew = 3

// expired begins a list anew whose cursor has run out. Nothing of this fetch is
// recorded: its landed pages are waste that no row of the ledger names. Chunks that
// were recorded before stay: their children, found again, are the same tasks; but
// their rows would be there twice.
func (f *fetch) expired(ce *CallError) (ended bool) {
	f.id = newFetchID()
	f.object, f.pages, f.rows, f.nodes, f.seen = "", 0, 0, nil, nil
	why := ce.reason()
	switch {
	case f.chunk > 0 && f.d.Tier.Rows:
		why.Message += fmt.Sprintf("; %d part(s) of it are recorded, and their rows would be there twice: a new run (--again) reads it whole", f.chunk)
	case f.anew >= mostAnew:
		why.Message += fmt.Sprintf("; it was begun anew %d times", f.anew)
		if f.chunk == 0 {
			f.cursor = ""
		}
	default:
		f.cursor = ""
		f.anew++
		return false
	}
	f.attempt(why, f.d.MaxAttempts)
	return true
}

// A recorded chunk's cursor tells how often its list was begun anew in that life,
// so that one that takes longer than its cursors hold comes to an end.
const begunPrefix = "anew "

func begunCursor(anew, chunk, life int, cursor string) string {
	if anew == 0 || chunk == 0 {
		return cursor
	}
	return fmt.Sprintf("%s%d/%d %s", begunPrefix, life, anew, cursor)
}

func begun(recorded string, life int) (anew int, cursor string) {
	rest, ok := strings.CutPrefix(recorded, begunPrefix)
	if !ok {
		return 0, recorded
	}
	count, cursor, _ := strings.Cut(rest, " ")
	in, n, _ := strings.Cut(count, "/")
	if anew, err := strconv.Atoi(n); err == nil && in == strconv.Itoa(life) {
		return anew, cursor
	}
	return 0, cursor
}
