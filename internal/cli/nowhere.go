package cli

import (
	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/fleet"
	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/landing"
	"github.com/sluicehq/sluice/internal/run"
)

// nowhere is the backend of a fleet that is only looked at: a check needs no
// home.
type nowhere struct{}

var _ fleet.Backend = nowhere{}

func (nowhere) Queue(string, string) fanout.Queue     { return nil }
func (nowhere) DeadQueue(string, string) fanout.Queue { return nil }
func (nowhere) Ledger(string) fanout.Ledger           { return nil }
func (nowhere) Landing(string) *landing.Landing       { return nil }
func (nowhere) Runs() run.Store                       { return nil }
func (nowhere) Governor() governor.Store              { return nil }
