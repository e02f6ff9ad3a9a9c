package stacktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Synth synthesizes the stacks of an environment file as a deployment would,
// with programs for this machine, into dir. repo is the repository's root.
func Synth(ctx context.Context, repo, environment, dir string) error {
	if _, err := exec.LookPath("node"); err != nil {
		return fmt.Errorf("synthesizing needs Node: install it (on Debian: apt-get install nodejs): %w", err)
	}
	file := filepath.Join(dir, "environment.yaml")
	if err := os.WriteFile(file, []byte(environment), 0o644); err != nil {
		return err
	}
	unlock, err := alone(ctx, filepath.Join(repo, "infra"))
	if err != nil {
		return err
	}
	defer unlock()
	cmd := exec.CommandContext(ctx, "go", "run", ".")
	cmd.Dir = filepath.Join(repo, "infra")
	cmd.Env = append(os.Environ(), "SLUICE_ENVIRONMENT="+file, "SLUICE_GOARCH="+runtime.GOARCH, "CDK_OUTDIR="+dir,
		"SLUICE_VENDOR=", "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION=20", "GOFLAGS=-buildvcs=false")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("synthesizing: %w: %s", err, strings.TrimSpace(said.String()))
	}
	return nil
}

// alone waits until no other test, of this process or of another, synthesizes in
// a directory: programs and specs are put together in one place below it.
func alone(ctx context.Context, dir string) (unlock func() error, err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("synthesizing: %w", err)
	}
	for {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
			return f.Close, nil
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("waiting for another synthesis in %s: %w", dir, ctx.Err()), f.Close())
		case <-time.After(100 * time.Millisecond):
		}
	}
}
