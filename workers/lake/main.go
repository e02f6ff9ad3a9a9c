// Command lake is the function that makes tables of what is landed: it converts
// landed objects as S3 tells of them, and publishes closed runs.
package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/sluicehq/sluice/internal/lakeworker"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewJSONHandler(os.Stdout, nil))
	w, err := lakeworker.Open(ctx, os.Getenv, log)
	if err != nil {
		log.Error("the function cannot start", "err", err)
		os.Exit(1)
	}
	lakeworker.Start(ctx, w)
}
