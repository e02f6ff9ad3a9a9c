//go:build bench

package lake_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/internal/localfleet"
)

// TestLakeMemory measures the peak memory of converting and publishing a run in
// a process that has the memory of a Lambda of 512 MB, and of one four times as
// large.
func TestLakeMemory(t *testing.T) {
	if dir := os.Getenv("SLUICE_LAKE_MEMORY"); dir != "" {
		publishDay(t, dir)
		return
	}
	for _, mb := range []int{512, 2048} {
		dir := t.TempDir()
		cmd := exec.Command(os.Args[0], "-test.run", "^TestLakeMemory$", "-test.v")
		mbText := strconv.Itoa(mb)
		cmd.Env = append(os.Environ(), "SLUICE_LAKE_MEMORY="+dir, "SLUICE_LAKE_MB="+mbText, "GOMEMLIMIT=358MiB", "GOMAXPROCS=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v:\n%s", err, out)
		}
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, "peak") {
				t.Log(strings.TrimSpace(line))
			}
		}
	}
}

// publishDay lands in another process's time: what it measures is the memory
// from then on.
func publishDay(t *testing.T, dir string) {
	mb, err := strconv.Atoi(os.Getenv("SLUICE_LAKE_MB"))
	if err != nil {
		t.Fatal(err)
	}
	home, err := localfleet.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	b := newBooks()
	landDay(t, home.Landing("acme"), b, mb<<20)
	os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // VmHWM counts from here
	s := newSite(t, acme)
	s.lake.Landing, s.lake.Store, s.lake.Runs = home.Landing("acme"), home.Lake(), b
	var objects []string
	if err := home.Landing("acme").Objects(t.Context(), "acme-1", "data", func(name string) error { objects = append(objects, name); return nil }); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	for _, o := range objects {
		if err := s.lake.Convert(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	converted := time.Since(begin)
	begin = time.Now()
	p, err := s.lake.Publish(t.Context(), "acme-1", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	published := time.Since(begin)
	rows := p.Tables[0].Rows
	var raw int64
	filepath.Walk(filepath.Join(dir, "landing"), func(_ string, i os.FileInfo, err error) error {
		if err == nil && !i.IsDir() {
			raw += i.Size()
		}
		return nil
	})
	var bytesOut int64
	for _, f := range p.Tables[0].Files {
		bytesOut += f.Bytes
	}
	t.Logf("%d MB of answers in %d objects (%d MB packed), %d rows: peak memory %d MB (target 512); converted at %.0f rows/s, %.1f MB/s; published at %.0f rows/s into %d files, %d MB",
		mb, len(objects), raw>>20, rows, peak(t)>>10, float64(rows)/converted.Seconds(), float64(mb)/converted.Seconds(), float64(rows)/published.Seconds(), len(p.Tables[0].Files), bytesOut>>20)
	if peak(t)>>10 > 512 {
		t.Error("it is more than 512 MB")
	}
}

// peak is the process's largest resident memory in KB.
func peak(t *testing.T) int {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		if rest, ok := bytes.CutPrefix(line, []byte("VmHWM:")); ok {
			n, _ := strconv.Atoi(strings.Fields(string(rest))[0])
			return n
		}
	}
	return 0
}
