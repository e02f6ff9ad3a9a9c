package cli

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestWarningsAreNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		log := slog.New(newCalm(slog.NewTextHandler(&b, nil)))
		for range 60 {
			log.Warn("a write failed", "err", "disk full")
			log.Info("told every time")
			time.Sleep(time.Second)
		}
		log.Warn("a write failed", "err", "another")
		if w, i := strings.Count(b.String(), "WARN"), strings.Count(b.String(), "INFO"); w != 3 || i != 60 {
			t.Errorf("%d warnings, %d others", w, i)
		}
	})
}

func TestExplainAFullDisk(t *testing.T) {
	a := &app{home: "/srv/sluice"}
	for _, err := range []error{
		fmt.Errorf("landing: %w", syscall.ENOSPC),
		errors.New("sending 10 tasks: database or disk is full (13)"),
	} {
		if got := a.explain(err).Error(); !strings.HasPrefix(got, "the disk that holds /srv/sluice is full: make room") {
			t.Error(got)
		}
	}
}

func TestTexts(t *testing.T) {
	for got, want := range map[string]string{
		number(-1234567): "-1,234,567", number(999): "999", plural(1, "task"): "1 task", plural(25000, "task"): "25,000 tasks",
		rate(1000): "1,000/s", rate(0.05): "3.0/min", rate(5): "5/s", rate(0.25): "15/min",
		span(90 * time.Second): "90 s", span(1500 * time.Millisecond): "1.5 s", span(3 * time.Hour): "3.0 h",
		list([]string{"a", "b", "c"}): "a, b and c", quote("a b"): "'a b'", quote("base=http://x:1"): "base=http://x:1",
		clip("abc\ndef", 5): "abc …",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// A console is drawn with its block at the bottom, whatever is written.
func TestConsoleKeepsItsBlock(t *testing.T) {
	var b bytes.Buffer
	c := newConsole(&b, "xterm")
	c.show([]string{"one", "two"})
	fmt.Fprintln(c, "a warning")
	c.show(nil)
	want := "one\ntwo\n" + "\r\x1b[2A\x1b[Ja warning\none\ntwo\n" + "\r\x1b[2A\x1b[J"
	if b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
}
