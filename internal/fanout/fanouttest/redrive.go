package fanouttest

import "time"

// MoveTo moves all messages to another queue, as they are, as SQS's own redrive
// and its redrive policy do.
func (q *Queue) MoveTo(to *Queue) (moved int) {
	q.mu.Lock()
	msgs := q.msgs
	q.msgs = nil
	q.mu.Unlock()
	to.mu.Lock()
	defer to.mu.Unlock()
	for _, m := range msgs {
		m.visible, m.receipt = time.Time{}, ""
		to.msgs = append(to.msgs, m)
	}
	return len(msgs)
}
