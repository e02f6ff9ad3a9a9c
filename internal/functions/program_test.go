package functions_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/functions/lambdatest"
)

// programs are the functions as Lambda gets them.
var programs = map[string]string{"seed": "./cmd/seed", "tier": "./workers/tier", "close": "./workers/close", "lake": "./workers/lake"}

func build(t testing.TB, dir, program, arch string) string {
	t.Helper()
	out := filepath.Join(dir, program, "bootstrap")
	cmd := exec.Command("go", "-C", "../..", "build", "-trimpath", "-buildvcs=false", "-tags", "lambda.norpc", "-ldflags", "-s -w", "-o", out, programs[program])
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if arch != "" {
		cmd.Env = append(cmd.Env, "GOARCH="+arch)
	}
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", program, err, said)
	}
	return out
}

// TestZips: what is uploaded stays small, since every cold start fetches it.
func TestZips(t *testing.T) {
	dir := t.TempDir()
	for program := range programs {
		// What zip packs, gzip does, without the race detector's pace.
		packed, err := exec.Command("gzip", "-9", "-c", build(t, dir, program, "arm64")).Output()
		if err != nil {
			t.Fatalf("gzip (of the package gzip): %v", err)
		}
		most := 8.0
		if program == "lake" { // Parquet's library keeps the linker from leaving things out
			most = 11
		}
		mb := float64(len(packed)) / (1 << 20)
		t.Logf("target: zip of %s %.2f MB (at most %.0f)", program, mb, most)
		if mb > most {
			t.Errorf("the zip of %s has %.2f MB: at most %.0f", program, mb, most)
		}
	}
}

// stack is an environment in which nothing answers: a function must come as far
// as its first poll without asking anybody.
var stack = []string{
	"AWS_REGION=eu-central-1", "AWS_ACCESS_KEY_ID=x", "AWS_SECRET_ACCESS_KEY=x", "AWS_EC2_METADATA_DISABLED=true", "SLUICE_TIER=groups",
	`SLUICE_STACK={"vendor":"sim","table":"t","bucket":"b","queues":{"groups":{"url":"http://127.0.0.1:1/q","dead":"http://127.0.0.1:1/d"}}}`,
	"AWS_ENDPOINT_URL=http://127.0.0.1:1",
}

func function(t testing.TB, dir, program string, env ...string) *lambdatest.Function {
	t.Helper()
	f := &lambdatest.Function{Name: program, Dir: filepath.Join(dir, program), Env: env, Timeout: 30 * time.Second, Memory: 128, Log: t.Output()}
	t.Cleanup(f.Close)
	return f
}

// TestBadEnvironment: a mistake in what the stack says is one line, and the
// function ends before its first invocation.
func TestBadEnvironment(t *testing.T) {
	dir := t.TempDir()
	build(t, dir, "tier", "")
	for _, c := range []struct{ set, want string }{
		{"SLUICE_STACK=", "SLUICE_STACK"},
		{`SLUICE_STACK={"vendor":"sim"}`, "lacks table"},
		{"SLUICE_WORKERS=none", "must be a number from 1 on"},
		{"SLUICE_SETTINGS=[]", "no JSON object"},
		{"AWS_REGION=", "no AWS region"},
	} {
		var said bytes.Buffer
		f := function(t, dir, "tier", append(slices.Clone(stack), c.set)...)
		f.Log = &said
		_, err := f.Invoke(t.Context(), struct{}{})
		f.Close()
		if !errors.Is(err, lambdatest.ErrExited) || !strings.Contains(said.String(), c.want) {
			t.Errorf("%s: %v, and it said: %s; want %q", c.set, err, said.String(), c.want)
		}
	}
}

// TestStoresAway: when nothing of AWS answers, a tick is an error that says so;
// the program lives on.
func TestStoresAway(t *testing.T) {
	dir := t.TempDir()
	build(t, dir, "tier", "")
	f := function(t, dir, "tier", stack...)
	_, err := f.Invoke(t.Context(), struct{}{})
	var own *lambdatest.FunctionError
	if !errors.As(err, &own) || !strings.Contains(own.Message, "looking who drains tier groups") {
		t.Errorf("%v; want what it was doing", err)
	}
	if st := f.Stats(); st.Starts != 1 || st.Errors != 1 {
		t.Errorf("%+v", st)
	}
}

// BenchmarkFirstPoll is how long a program takes from exec to asking for its
// first invocation.
func BenchmarkFirstPoll(b *testing.B) {
	dir := b.TempDir()
	build(b, dir, "tier", "")
	var all []time.Duration
	for b.Loop() {
		f := function(b, dir, "tier", stack...)
		f.Log = nil
		ctx, cancel := context.WithTimeout(b.Context(), 300*time.Millisecond)
		_, _ = f.Invoke(ctx, struct{}{}) // it fails, or takes too long: what counts is that it has polled
		cancel()
		all = append(all, f.Stats().FirstPoll...)
		f.Close()
	}
	slices.Sort(all)
	if len(all) > 0 {
		b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "ms-to-first-poll")
	}
}
