// Command skewed is a worker whose clock is off, for the proofs: skewed SPEC
// BASE HOME OFFSET. It says at its end how many calls it made.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"time"

	"github.com/sluicehq/sluice/internal/fanout"
	"github.com/sluicehq/sluice/internal/fleet"
	"github.com/sluicehq/sluice/internal/localfleet"
	"github.com/sluicehq/sluice/internal/vendorapi"
)

func main() {
	if err := work(os.Args[1], os.Args[2], os.Args[3], os.Args[4]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func work(path, base, home, offset string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	off, err := time.ParseDuration(offset)
	if err != nil {
		return err
	}
	spec, err := vendorapi.Load(path)
	if err != nil {
		return err
	}
	plan, err := spec.Bind(map[string]string{"base": base})
	if err != nil {
		return err
	}
	h, err := localfleet.Open(ctx, home)
	if err != nil {
		return err
	}
	defer h.Close()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	f, err := fleet.New(plan, h, fleet.Options{
		Engine: fanout.Config{Wait: true, LongPoll: time.Second}, Log: log,
		Now: func() time.Time { return time.Now().Add(off) },
	})
	if err != nil {
		return err
	}
	w, err := f.Workers(vendorapi.HomeSecrets{Home: home}, fanout.Task{}, "data")
	if err != nil {
		return err
	}
	defer w.Close()
	go func() { // what it waits for, for the record
		for ctx.Err() == nil {
			if _, hold, _ := w.Waiting("data"); hold.Why != "" {
				fmt.Println(hold.Hold, hold.Why)
			}
			time.Sleep(time.Second)
		}
	}()
	err = w.Work(ctx, context.Background())
	fmt.Println("calls:", w.Report().Calls)
	return err
}
