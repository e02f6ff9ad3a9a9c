// Command tier is the function that drains one tier's queue: one program, one
// function per tier.
package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/sluicehq/sluice/internal/functions"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewJSONHandler(os.Stdout, nil))
	f, err := functions.Open(ctx, os.Getenv, log)
	if err != nil {
		log.Error("the function cannot start", "err", err)
		os.Exit(1)
	}
	functions.Start(ctx, f, (*functions.Function).Tier)
}
