package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/cli"
)

// TestWatchOpensOnce: the status is shown again and again from a home that is
// opened once, with the open runs or the last one, until it is told to end.
func TestWatchOpensOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, small)
	w.run().want(t, 0)
	id := w.run("--again").want(t, 0).runID()
	var out, err buffer
	stop, ended := make(chan os.Signal, 1), make(chan int, 1)
	go func() {
		ended <- cli.Main(t.Context(), cli.Process{Args: []string{"status", "--watch", "--home", w.home}, Stop: stop, Stdout: &out, Stderr: &err})
	}()
	present := func(looks int) string {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); strings.Count(out.String(), "Ctrl-C ends") < looks; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("not %d looks:\n%s\n%s", looks, out.String(), err.String())
			}
		}
		here, err := filepath.Glob(filepath.Join(w.home, "presence", "*"))
		if err != nil || len(here) != 1 {
			t.Fatalf("%d processes have the home open: %v", len(here), err)
		}
		return here[0]
	}
	first := present(1)
	if later := present(3); later != first {
		t.Errorf("%s has the home open at the first look, %s at the third", first, later)
	}
	stop <- os.Interrupt
	if code := <-ended; code != 0 || err.String() != "" {
		t.Errorf("exit code %d\n%s", code, err.String())
	}
	looks := strings.Count(out.String(), "Ctrl-C ends")
	if n := strings.Count(out.String(), "Run "+id); n != looks || strings.Count(out.String(), "\nRun ") != looks {
		t.Errorf("%d looks show the last run %d times:\n%s", looks, n, out.String())
	}
}
