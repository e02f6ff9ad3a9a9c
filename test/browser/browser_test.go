//go:build prove

package browser

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

//go:embed look.js
var look string

// browser finds a Chromium.
func browser(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("this test needs a Chromium: apt-get install chromium")
	return ""
}

// TestReport makes the reports of a rough run and of a smooth one, and opens each
// in a browser by day and by night, on a desk and on a phone. The pictures are
// left in the directory that SLUICE_SHOTS names.
func TestReport(t *testing.T) {
	path := browser(t)
	shots := os.Getenv("SLUICE_SHOTS")
	if shots == "" {
		shots = t.TempDir()
	}
	roughPage, doc := rough(t)
	smoothPage, calm := smooth(t)
	t.Logf("rough: %s, %d points, %d bands, %d changes, %d bytes", doc.Verdict.Sum(), len(doc.Points), len(doc.Bands), len(doc.Changes), len(roughPage))
	kinds := map[string]int{}
	for _, b := range doc.Bands {
		kinds[b.Kind]++
	}
	if kinds["brake"] == 0 || kinds["outage"] == 0 || kinds["pause"] != 1 || len(doc.Changes) != 7 || doc.Verdict.Dead != 3 || len(doc.Causes) != 1 {
		t.Errorf("bands %v, %d changes, %d dead of %d causes: not all is shown that happened", kinds, len(doc.Changes), doc.Verdict.Dead, len(doc.Causes))
	}
	if !calm.Verdict.Complete() || len(calm.Bands)+len(calm.Changes) > 0 {
		t.Errorf("smooth: %+v, %v, %v", calm.Verdict, calm.Bands, calm.Changes)
	}
	opt := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path))
	if os.Geteuid() == 0 {
		opt = append(opt, chromedp.NoSandbox) // Chromium refuses to be root within one
	}
	chrome, stop := chromedp.NewExecAllocator(t.Context(), opt...)
	defer stop()
	for name, page := range map[string][]byte{"rough": roughPage, "smooth": smoothPage} {
		file := filepath.Join(shots, name+".html")
		if err := os.WriteFile(file, page, 0o644); err != nil {
			t.Fatal(err)
		}
		for _, width := range []int64{1280, 768, 390} {
			for _, scheme := range []string{"light", "dark"} {
				t.Run(fmt.Sprintf("%s-%d-%s", name, width, scheme), func(t *testing.T) {
					open(t, chrome, file, width, scheme, filepath.Join(shots, fmt.Sprintf("%s-%d-%s.png", name, width, scheme)))
				})
			}
		}
	}
}

// seen is what look.js has seen on a page.
type seen struct {
	Overflow int      `json:"overflow"` // pixels that the page is wider than its window
	Faint    []string `json:"faint"`    // texts of too little contrast
	Tiny     []string `json:"tiny"`     // texts that are too small
	Crossed  []string `json:"crossed"`  // texts of charts that lie on each other, or outside
	Charts   int      `json:"charts"`   // that show
	Empty    []string `json:"empty"`    // charts in which nothing is drawn
	Cut      []string `json:"cut"`      // tables of which a part is out of sight
	Unnamed  []string `json:"unnamed"`  // colours that no style names
	Alive    int      `json:"alive"`    // elements that a hostile answer would have made
	Dark     bool     `json:"dark"`
}

// open opens a page in a tab of its own, looks, and takes a picture.
func open(t *testing.T, chrome context.Context, file string, width int64, scheme, shot string) {
	t.Helper()
	ctx, stop := chromedp.NewContext(chrome)
	defer stop()
	ctx, late := context.WithTimeout(ctx, time.Minute)
	defer late()
	var mu sync.Mutex
	var trouble []string
	requests := 0
	complain := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		trouble = append(trouble, fmt.Sprintf(format, args...))
	}
	chromedp.ListenTarget(ctx, func(ev any) {
		switch ev := ev.(type) {
		case *runtime.EventExceptionThrown:
			complain("exception: %s", ev.ExceptionDetails.Error())
		case *runtime.EventConsoleAPICalled:
			complain("console: %s", ev.Type)
		case *log.EventEntryAdded:
			complain("log: %s: %s", ev.Entry.Level, ev.Entry.Text)
		case *network.EventRequestWillBeSent:
			if ev.Request.URL != "file://"+file && !strings.HasPrefix(ev.Request.URL, "data:") {
				complain("request: %s", ev.Request.URL)
			}
			mu.Lock()
			requests++
			mu.Unlock()
		}
	})
	var s seen
	var picture []byte
	err := chromedp.Run(ctx, network.Enable(), log.Enable(), runtime.Enable(),
		emulation.SetDeviceMetricsOverride(width, 900, 1, width < 500),
		emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}),
		chromedp.Navigate("file://"+file), chromedp.WaitReady("footer"), chromedp.Evaluate(look, &s), chromedp.FullScreenshot(&picture, 100))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(shot, picture, 0o644); err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, line := range trouble {
		t.Error(line)
	}
	if requests == 0 {
		t.Error("the page itself was not seen to be asked for: nothing is known of other requests")
	}
	judge(t, s, scheme)
}

func judge(t *testing.T, s seen, scheme string) {
	t.Helper()
	if s.Overflow > 0 {
		t.Errorf("the page is %d pixels wider than its window", s.Overflow)
	}
	for what, found := range map[string][]string{
		"too faint": s.Faint, "too small": s.Tiny, "on another or outside": s.Crossed, "an empty chart": s.Empty, "a table cut off": s.Cut, "a colour without a name": s.Unnamed,
	} {
		if len(found) > 0 {
			t.Errorf("%s: %d, such as %q", what, len(found), found[:min(len(found), 5)])
		}
	}
	if s.Charts != 4 {
		t.Errorf("%d charts show, want 4", s.Charts)
	}
	if s.Alive != 0 {
		t.Errorf("%d elements came from what the vendor answered", s.Alive)
	}
	if s.Dark != (scheme == "dark") {
		t.Errorf("the page is dark: %v, want %s", s.Dark, scheme)
	}
}
