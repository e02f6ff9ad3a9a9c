//go:build lambda.norpc

// Command seed starts a run and reads its first tier. Built for Lambda (with the
// tag lambda.norpc) it is the scheduled function, else the same by hand.
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
	functions.Start(ctx, f, (*functions.Function).Seed)
}
