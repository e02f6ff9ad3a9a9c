package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// bootstraps are the functions' programs: DIR/seed/bootstrap and so on.
type bootstraps struct {
	dir  string
	arch string // arm64 or amd64
	out  string // where the assets are put together
}

// programs are the packages that the functions are made from. All tiers run
// the same.
var programs = map[string]string{"seed": "./cmd/seed", "tier": "./workers/tier", "close": "./workers/close", "lake": "./workers/lake"}

// findBootstraps takes the programs in dir, or builds them if it is empty.
func findBootstraps(dir, arch string) (bootstraps, error) {
	b := bootstraps{dir: dir, arch: arch, out: "build"}
	if arch != "arm64" && arch != "amd64" {
		return b, fmt.Errorf("SLUICE_GOARCH is %q: write arm64 or amd64", arch)
	}
	if dir == "" {
		b.dir = filepath.Join("..", "dist", "functions")
		if err := b.build(); err != nil {
			return b, err
		}
	}
	for _, p := range sortedKeys(programs) {
		file := filepath.Join(b.dir, p, "bootstrap")
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			return b, fmt.Errorf("there is no %s: build it, or leave SLUICE_BOOTSTRAPS empty to have it built", file)
		} else if err != nil {
			return b, err
		}
	}
	return b, nil
}

// build compiles the programs as Lambda wants them. The tag leaves out what
// only Lambda's old runtime needs, which is half of the size.
func (b bootstraps) build() error {
	out, err := filepath.Abs(b.dir)
	if err != nil {
		return err
	}
	for _, p := range sortedKeys(programs) {
		cmd := exec.Command("go", "-C", "..", "build", "-trimpath", "-buildvcs=false", "-tags", "lambda.norpc", "-ldflags", "-s -w",
			"-o", filepath.Join(out, p, "bootstrap"), programs[p])
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+b.arch)
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("building %s: %w: %s", programs[p], err, strings.TrimSpace(said.String()))
		}
	}
	return nil
}

// assets puts together what goes into the zips: a program and the vendor's
// spec beside it. It returns the directory for each program. Equal content
// makes an equal zip, whenever and wherever it is put together.
func (b bootstraps) assets(v *vendor) (map[string]string, error) {
	dirs := map[string]string{}
	for _, p := range sortedKeys(programs) {
		dir := filepath.Join(b.out, v.name, p)
		if err := os.RemoveAll(dir); err != nil {
			return nil, err
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		if err := place(filepath.Join(b.dir, p, "bootstrap"), filepath.Join(dir, "bootstrap"), 0o755); err != nil {
			return nil, err
		}
		if err := place(v.specFile, filepath.Join(dir, "vendor.yaml"), 0o644); err != nil {
			return nil, err
		}
		dirs[p] = dir
	}
	return dirs, nil
}

// place copies a file, with a mode and a time that do not depend on when.
func place(from, to string, mode fs.FileMode) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.WriteFile(to, content, mode); err != nil {
		return err
	}
	if err := os.Chmod(to, mode); err != nil { // whatever the umask is
		return err
	}
	then := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	return os.Chtimes(to, then, then)
}
