package stacktest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
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
