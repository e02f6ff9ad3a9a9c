// Package aws runs the synthesized stack on stand-in servers: the template's
// queues, table and bucket, the real programs of its functions, its schedules.
package aws

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/awsfleet/awstest"
	"github.com/sluicehq/sluice/internal/functions/stacktest"
	"github.com/sluicehq/sluice/internal/vendorsim"
)

const repo = "../.."

const token = "t0ken-of-the-sim"

// A site is a simulated vendor and its stack.
type site struct {
	*vendorsim.Server
	servers *awstest.Servers
	account *stacktest.Account
	env     []string // of the operator's command
	log     *buffer
}

// freePort is a loopback port that was free a moment ago: the template names the
// vendor's address, so it must be known before.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// deploy synthesizes a stack for a simulated vendor with the given limits, and
// deploys it.
func deploy(t *testing.T, cfg vendorsim.Config, limits string, opt stacktest.Options) *site {
	t.Helper()
	return deployAt(t, "http://"+freePort(t), cfg, limits, "", opt)
}

// deployAt is deploy for a vendor at an address: over https the caller has
// something before it that serves it there. more is what else its section of the
// environment file says.
func deployAt(t *testing.T, base string, cfg vendorsim.Config, limits, more string, opt stacktest.Options) *site {
	t.Helper()
	addr, dir := "127.0.0.1:0", t.TempDir()
	if plain, ok := strings.CutPrefix(base, "http://"); ok {
		addr = plain
	}
	src, err := os.ReadFile(filepath.Join(repo, "vendors/sim.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	spec := filepath.Join(dir, "sim.yaml")
	text := strings.Replace(string(src), "{name: calls, bucket: 1000/s, burst: 50, in_flight: 64}", limits, 1)
	if text == string(src) {
		t.Fatal("the shipped spec's limit is not where this test expects it")
	}
	if err := os.WriteFile(spec, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	environment := fmt.Sprintf("account: \"123456789012\"\nregion: eu-central-1\nvendors:\n  sim:\n    spec: %s\n    settings: {base: \"%s\"}\n%s", spec, base, more)
	if err := stacktest.Synth(ctx, repo, environment, dir); err != nil {
		t.Fatal(err)
	}
	template, err := stacktest.Load(dir, "sluice-sim")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Token = token
	s := &site{servers: awstest.Apart(t), log: new(buffer)}
	opt.Log = s.log
	t.Cleanup(func() {
		if t.Failed() {
			lines := strings.Split(s.log.String(), "\n")
			t.Logf("the functions' last words:\n%s", strings.Join(lines[max(0, len(lines)-40):], "\n"))
		}
	})
	if s.Server, err = vendorsim.Serve(addr, cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	opt.URL, opt.Env = s.servers.URL, s.servers.Env
	if s.account, err = stacktest.Deploy(ctx, template, opt); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.account.Close)
	if err := s.servers.PutParameter(ctx, "/sluice/sim/secrets/token", token, true); err != nil {
		t.Fatal(err)
	}
	s.env = append(os.Environ(), s.servers.Env("operator")...)
	s.env = append(s.env, "SLUICE_ON=aws", "SLUICE_HOME="+dir)
	return s
}

// sluice runs the operator's command.
func (s *site) sluice(t *testing.T, want int, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command(t), args...)
	cmd.Env = s.env
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != want {
		t.Fatalf("sluice %v ended with %d, want %d:\n%s\n%s", args, got, want, out.String(), errs.String())
	}
	return out.String()
}

var built string

// command is the operator's command, built once.
func command(t *testing.T) string {
	t.Helper()
	if built == "" {
		dir, err := os.MkdirTemp("", "sluice-aws-*")
		if err != nil {
			t.Fatal(err)
		}
		built = filepath.Join(dir, "sluice")
		if out, err := exec.Command("go", "build", "-o", built, repo+"/cmd/sluice").CombinedOutput(); err != nil {
			t.Fatalf("building the command: %v\n%s", err, out)
		}
	}
	return built
}
