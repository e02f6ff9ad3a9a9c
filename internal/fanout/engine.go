package fanout

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// A Tier is what the engine needs to know of the level that it drains.
type Tier struct {
	Name   string
	Below  string // the tier that its nodes are sent to; empty for the last
	Unique bool   // its nodes may be found by several lists and are walked once
	Rows   bool   // its answers hold rows of a table
}

// Config bounds a drain. The zero value of each field means its default.
type Config struct {
	Slots         int           // tasks fetched at once (256)
	Visibility    time.Duration // how long a delivery is hidden (60 s); heartbeats begin at two thirds of it
	Ahead         time.Duration // how far ahead work is taken from the queue (4 s)
	Patience      time.Duration // how long a hold is worth waiting for when Wait is unset (20 s)
	LongPoll      time.Duration // how long an empty queue is waited on after work (20 s)
	MaxAttempts   int           // failed attempts that make a task dead (5)
	MaxBroken     int           // the same, for answers that break the spec and rejected requests (2)
	FlushResults  int           // results that make a commit batch (256)
	FlushBytes    int           // packed landing bytes that make one (4 MiB)
	FlushEvery    time.Duration // the longest that a result waits for its batch (5 s)
	ChunkChildren int           // children that close a chunk of a long list (10,000)
	StorePatience time.Duration // how long a store may fail before the drain starts nothing more (15 s)
	Grace         time.Duration // longest time between soft and hard when the caller's hard is later (75 s)
	Wait          bool          // wait through brakes and outages of any length instead of leaving
}

func (c Config) withDefaults() Config {
	def(&c.Slots, 256)
	def(&c.Visibility, 60*time.Second)
	def(&c.Ahead, 4*time.Second)
	def(&c.Patience, 20*time.Second)
	def(&c.LongPoll, 20*time.Second)
	def(&c.MaxAttempts, 5)
	def(&c.MaxBroken, 2)
	def(&c.FlushResults, 256)
	def(&c.FlushBytes, 4<<20)
	def(&c.FlushEvery, 5*time.Second)
	def(&c.ChunkChildren, 10_000)
	def(&c.StorePatience, 15*time.Second)
	def(&c.Grace, 75*time.Second)
	return c
}

func def[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// An Engine drains one tier's queue, as often as it is told to. Its fields are
// set before the first Drain and not changed afterwards.
type Engine struct {
	Tier     Tier
	Queue    Queue // this tier's
	Next     Queue // the tier below's; nil for the last
	Dead     Queue // this tier's dead letters: a token for each dead task
	Ledger   Ledger
	Landing  Landing
	Governor Governor
	Vendor   Vendor

	// Fallback is a task that the vendor is known to answer when it is alive: the
	// root list. It is called to probe for the end of an outage while this drain
	// has no success of its own to repeat.
	Fallback Task

	Config Config
	Meter  *Meter // counts as the drain goes; nil is fine
	Log    *slog.Logger

	once    sync.Once
	outages *streak // outlives a drain: few tasks may be left to tell trouble by
}

// ErrStopped is wrapped by Drain's error when the vendor is stopped: paused by
// an operator, or for refused credentials.
var ErrStopped = errors.New("vendor is stopped")

// Drain works the queue until it stays empty, no permit is within reach, or
// soft ends. It returns when nothing of it is left running: by hard at the
// latest, and Config.Grace after it stopped starting things. An error means
// that it ended before its time; whatever it held is delivered again.
func (e *Engine) Drain(soft, hard context.Context) (Report, error) {
	e.once.Do(func() { e.outages = newStreak() })
	d := newDrain(e, soft, hard)
	if d.anyOpen() {
		d.receive()
	}
	d.fetching.Wait()
	d.commits.close()
	d.cancel()
	d.background.Wait()
	return d.meter.Report(), d.cause()
}
