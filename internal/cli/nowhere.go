package cli

import (
	"context"
	"fmt"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/fleet"
	"github.com/sluicehq/sluice/internal/governor"
	"github.com/sluicehq/sluice/internal/landing"
	"github.com/sluicehq/sluice/internal/run"
	"github.com/sluicehq/sluice/internal/series"
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
func (nowhere) Series() series.Store                  { return nil }

// blank is a home that has not been made yet: nothing has been run in it, and
// no limit changed.
type blank struct {
	nowhere
	dir string
}

var _ place = blank{}

func (b blank) Name() string                        { return b.dir }
func (blank) Data(run.Run) string                   { return "" }
func (b blank) Tables() (tables, error)             { return tables{}, fmt.Errorf("there is no home at %s", b.dir) }
func (blank) Secret(string, string) (string, error) { return "", nil }
func (blank) Session(context.Context, string, func(context.Context, []byte) ([]byte, error)) error {
	return nil
}
func (blank) SecretPlace(string, []string) string { return "" }
func (blank) Options() fleet.Options              { return fleet.Options{} }
func (blank) Close() error                        { return nil }
func (blank) Runs() run.Store                     { return noRuns{} }
func (blank) Governor() governor.Store            { return noItem{} }

type noRuns struct{ run.Store }

func (noRuns) List(context.Context, string) ([]run.Run, error) { return nil, nil }

type noItem struct{ governor.Store }

func (noItem) Load(context.Context, string) (governor.Item, error) { return governor.Item{}, nil }
