package columns_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/sluicehq/sluice/internal/columns"
)

// brittle is a file that takes so many bytes and no more.
type brittle struct {
	memoryFile
	room int
}

var errFull = errors.New("it is over")

func (b *brittle) Write(p []byte) (int, error) {
	if b.room -= len(p); b.room < 0 {
		return 0, errFull
	}
	return b.memoryFile.Write(p)
}

// losing is an input that is gone at some time.
type losing struct {
	io.ReaderAt
	gone bool
}

func (l *losing) ReadAt(p []byte, at int64) (int, error) {
	if l.gone {
		return 0, errFull
	}
	return l.ReaderAt.ReadAt(p, at)
}

// TestUnclosed: whatever stops a cast, the files before are whole and closed,
// and the one under way is not made to last.
func TestUnclosed(t *testing.T) {
	var paths [][]string
	for i := range 40 {
		paths = append(paths, []string{"g", fmt.Sprintf("d%02d", i)})
	}
	good := object(t, "obj-a", 1500, paths...)
	lost := &losing{ReaderAt: good.File}
	for name, c := range map[string]struct {
		in    columns.Input
		room  int
		stops bool
	}{
		"an input is lost":     {columns.Input{File: lost, Size: good.Size}, 1 << 30, false},
		"it was told to stop":  {good, 1 << 30, true},
		"there is no room":     {good, 10_000, false},
		"there is no room yet": {good, 0, false},
	} {
		lost.gone = false
		ctx, cancel := context.WithCancelCause(context.Background())
		var files []*brittle
		made, err := columns.Cast(ctx, []columns.Input{c.in}, tableOf(), 1, func() (columns.File, error) {
			f := &brittle{room: 1 << 30}
			if files = append(files, f); len(files) == 2 || c.room == 0 {
				f.room, lost.gone = c.room, true
				if c.stops {
					cancel(errFull)
				}
			}
			return f, nil
		})
		cancel(nil)
		if !errors.Is(err, errFull) || len(files) != len(made)+1 || c.room > 0 && len(made) == 0 {
			t.Errorf("%s: of %d files %d were made: %v", name, len(files), len(made), err)
		}
		for i, f := range files {
			if whole := i < len(made); f.closed != whole {
				t.Errorf("%s: file %d is closed: %t", name, i, f.closed)
			}
		}
	}
}
