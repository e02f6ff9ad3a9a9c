package awstest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// nodeDir is where the Node programs and their lock file are.
func nodeDir() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "node")
}

const oldestNode = 22 // fauxqs needs it

// install brings the Node programs if they are missing or their lock file has
// changed. Several test binaries may come here at once.
func install(ctx context.Context, dir string) error {
	lock, err := os.ReadFile(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		return fmt.Errorf("the servers' lock file: %w", err)
	}
	sum := sha256.Sum256(lock)
	want, mark := hex.EncodeToString(sum[:]), filepath.Join(dir, "node_modules", ".installed")
	f, err := os.OpenFile(filepath.Join(dir, "install.lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	if have, err := os.ReadFile(mark); err == nil && string(have) == want {
		return nil
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return errors.New("the servers for these tests are Node programs: install Node (20 or later) with npm, then run again")
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts")
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci in %s: %w\n%s", dir, err, out)
	}
	return os.WriteFile(mark, []byte(want), 0o644)
}

// node finds a Node that is new enough: the system's, or the one that npm has
// brought.
func node(dir string) (string, error) {
	if path, err := exec.LookPath("node"); err == nil {
		out, _ := exec.Command(path, "--version").Output()
		major, _, _ := strings.Cut(strings.TrimPrefix(string(out), "v"), ".")
		if n, _ := strconv.Atoi(major); n >= oldestNode {
			return path, nil
		}
	}
	brought, _ := filepath.Glob(filepath.Join(dir, "node_modules", "node-*", "bin", "node")) // for this system only
	if len(brought) == 0 {
		return "", fmt.Errorf("the servers for these tests need Node %d or later: install it, then run again", oldestNode)
	}
	return brought[0], nil
}

// A process is a Node program that serves on a loopback port.
type process struct {
	addr  string
	stdin io.Closer
	cmd   *exec.Cmd
}

// spawn starts a program and waits until it serves.
func spawn(node, dir, script string) (*process, error) {
	c := exec.Command(node, script)
	c.Dir = dir
	var trouble tail
	c.Stderr = &trouble
	in, err := c.StdinPipe() // its end, by our own end at the latest, is the program's
	if err != nil {
		return nil, err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", script, err)
	}
	p := &process{stdin: in, cmd: c}
	line, err := bufio.NewReader(out).ReadString('\n')
	port, bad := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || bad != nil {
		p.stop()
		return nil, fmt.Errorf("%s did not start: %q\n%s", script, line, trouble.String())
	}
	go io.Copy(io.Discard, out)
	p.addr = fmt.Sprint("127.0.0.1:", port)
	return p, nil
}

func (p *process) stop() {
	p.stdin.Close()
	done := make(chan struct{})
	go func() { p.cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		p.cmd.Process.Kill()
		<-done
	}
}

// tail keeps the beginning of what is written to it. It is safe for concurrent
// use.
type tail struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.b.Len() < 16<<10 {
		t.b.Write(p)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}
