package awstest_test

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/awsfleet"
	"github.com/sluicehq/sluice/internal/awsfleet/awstest"
	"github.com/sluicehq/sluice/internal/fanout"
)

// TestRun: servers without a test, and a process of its own that uses them.
func TestRun(t *testing.T) {
	s, err := awstest.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stack, err := s.MakeStack(t.Context(), "sim", map[string]string{"token": "hush"}, "groups")
	if err != nil {
		t.Fatal(err)
	}
	if stack.Table != "sluice-sim" || !strings.HasSuffix(stack.Queues["groups"].URL, "/sluice-sim-groups") {
		t.Errorf("names %+v", stack)
	}
	for _, e := range s.Env("AKIAENV") {
		k, v, _ := strings.Cut(e, "=")
		t.Setenv(k, v)
	}
	c, err := awsfleet.Open(t.Context(), awsfleet.Options{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Stack(t.Context(), "sim")
	if err != nil {
		t.Fatal(err)
	}
	v := c.Use(got)
	secret, err := v.Secrets().Secret("sim", "token")
	if err != nil || secret != "hush" {
		t.Error(err)
	}
	if err := v.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if err := v.Queue("sim", "groups").Send(t.Context(), []fanout.Task{{ID: "x", Run: "r"}}); err != nil {
		t.Error(err)
	}
	want := map[string]string{
		"ssm.GetParameter": "/sluice/sim/stack /sluice/sim/secrets/token", "dynamodb.GetItem": "sluice-sim", "sqs.SendMessageBatch": "sluice-sim-groups",
		"s3.ListObjectsV2": "sluice-sim-eu-central-1/landing/", "sqs.GetQueueAttributes": "sluice-sim-groups sluice-sim-groups-dead",
	}
	for _, r := range s.Record() {
		if r.Key != "AKIAENV" || !strings.Contains(want[r.Service+"."+r.Action], r.Resource) || r.Resource == "" || r.Status != 200 {
			t.Errorf("recorded: %s %s.%s on %q: %d", r.Key, r.Service, r.Action, r.Resource, r.Status)
		}
		delete(want, "")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	addr := strings.TrimPrefix(s.URL, "http://")
	if conn, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
		conn.Close()
		t.Error("the proxy outlives Close")
	}
}

// TestNoneIsLeft: the Node programs end with the process that started them,
// however it ends.
func TestNoneIsLeft(t *testing.T) {
	if os.Getenv("AWSTEST_DIE") == "1" {
		s, err := awstest.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, pid := range s.Processes() {
			os.Stdout.WriteString("pid " + pid + "\n")
		}
		me, _ := os.FindProcess(os.Getpid())
		me.Kill()
		select {}
	}
	c := exec.Command(os.Args[0], "-test.run=^TestNoneIsLeft$")
	c.Env = append(os.Environ(), "AWSTEST_DIE=1")
	out, _ := c.Output()
	var pids []string
	for line := range strings.Lines(string(out)) {
		if pid, ok := strings.CutPrefix(strings.TrimSpace(line), "pid "); ok {
			pids = append(pids, pid)
		}
	}
	if len(pids) != 2 {
		t.Fatalf("the process said %q", out)
	}
	deadline := time.Now().Add(5 * time.Second)
	for _, pid := range pids {
		for alive(pid) {
			if time.Now().After(deadline) {
				t.Fatalf("process %s is left", pid)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}

func alive(pid string) bool { return exec.Command("kill", "-0", pid).Run() == nil }
