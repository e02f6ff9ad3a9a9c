package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// A console is where an operator reads. On a terminal it keeps a block of
// progress lines at the bottom, and writes everything else above it. It is safe
// for concurrent use.
type console struct {
	mu    sync.Mutex
	w     io.Writer
	fd    int // of a terminal, or -1
	block []string
	drawn int
}

func newConsole(w io.Writer, term string) *console {
	c := &console{w: w, fd: -1}
	if f, ok := w.(*os.File); ok && term != "dumb" {
		if _, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil {
			c.fd = int(f.Fd())
		}
	}
	return c
}

// terminal tells whether lines can be redrawn.
func (c *console) terminal() bool { return c.fd >= 0 }

// Write implements io.Writer: whole lines, above the progress.
func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.drawn == 0 {
		return c.w.Write(p)
	}
	var b bytes.Buffer
	c.erase(&b)
	b.Write(p)
	if !bytes.HasSuffix(p, []byte("\n")) {
		b.WriteByte('\n')
	}
	c.draw(&b)
	if _, err := c.w.Write(b.Bytes()); err != nil {
		return 0, err
	}
	return len(p), nil
}

// show replaces the progress lines, in one write so that nothing flickers.
func (c *console) show(lines []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b bytes.Buffer
	c.erase(&b)
	c.block = lines
	c.draw(&b)
	c.w.Write(b.Bytes()) //nolint:errcheck // a terminal that is gone
}

// clear takes the progress lines away.
func (c *console) clear() {
	if c.terminal() {
		c.show(nil)
	}
}

func (c *console) erase(b *bytes.Buffer) {
	if c.drawn > 0 {
		fmt.Fprintf(b, "\r\x1b[%dA\x1b[J", c.drawn)
	}
	c.drawn = 0
}

func (c *console) draw(b *bytes.Buffer) {
	width, height := c.size()
	for _, line := range c.block[:min(len(c.block), height-1)] {
		b.WriteString(clip(line, width-1))
		b.WriteByte('\n')
		c.drawn++
	}
}

// size of the terminal: a line that wraps would make a mess of the block.
func (c *console) size() (width, height int) {
	ws, err := unix.IoctlGetWinsize(c.fd, unix.TIOCGWINSZ)
	if err != nil || ws.Col < 20 || ws.Row < 3 {
		return 80, 24
	}
	return int(ws.Col), int(ws.Row)
}

// clip is s in at most n columns, on one line.
func clip(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, s)
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
