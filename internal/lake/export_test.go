package lake

import "time"

// SetPartSize makes the selection of large runs visible with small ones.
func SetPartSize(n int) (restore func()) {
	was := partSize
	partSize = n
	return func() { partSize = was }
}

// SetMostPage makes small pages too long.
func SetMostPage(n int) (restore func()) {
	was := mostPage
	mostPage = n
	return func() { mostPage = was }
}

// SetClock sets what tells a lake whether its time is over.
func (l *Lake) SetClock(now func() time.Time) { l.now = now }
