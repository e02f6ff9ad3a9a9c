package fanout_test

import (
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/fanout/fanouttest"
)

// The models pass the suites that they help to judge others by.

func TestModelQueue(t *testing.T) {
	s := fanouttest.Settings{Short: time.Second, Virtual: true}
	fanouttest.TestQueue(t, s, func(*testing.T) fanout.Queue { return new(fanouttest.Queue) })
}

func TestModelLedger(t *testing.T) {
	fanouttest.TestLedger(t, fanouttest.Settings{Virtual: true}, func(*testing.T) (fanout.Ledger, string, func(fanout.Task) fanout.Task) {
		l := fanouttest.NewLedger()
		l.Closed["other-run"] = true
		return l, "r1", l.Replay
	})
}

func TestModelLanding(t *testing.T) {
	fanouttest.TestLanding(t, func(*testing.T) fanout.Landing { return new(fanouttest.Landing) },
		func(t *testing.T, l fanout.Landing, object string, each func(*fanout.Record)) {
			for _, r := range l.(*fanouttest.Landing).Object(object) {
				each(&r)
			}
		})
}
