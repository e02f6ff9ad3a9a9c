package localfleet

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/sluicehq/sluice/internal/landing"
)

// Landing is where a vendor's results land: a directory.
func (h *Home) Landing(vendor string) *landing.Landing {
	return landing.New(objects{filepath.Join(h.dir, "landing", vendor)})
}

// LandingDir is the directory of a run's landed objects.
func (h *Home) LandingDir(vendor, run string) string {
	return filepath.Join(h.dir, "landing", vendor, filepath.FromSlash(strings.TrimSuffix(landing.Prefix(run, ""), "/")))
}

// objects implements landing.Store on a directory.
type objects struct{ dir string }

// Put implements landing.Store.
func (o objects) Put(ctx context.Context, name string, data []byte) error {
	return o.write(ctx, name, func(w io.Writer) error { _, err := w.Write(data); return err })
}

// write makes an object: written aside, synced, renamed, and the directory
// synced, so that it is there whole or not at all.
func (o objects) write(ctx context.Context, name string, fill func(io.Writer) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	path := filepath.Join(o.dir, filepath.FromSlash(name))
	dir := filepath.Dir(path)
	f, err := aside(dir)
	if err != nil {
		return plain(err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
			err = plain(err)
		}
	}()
	if err := fill(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// aside makes a file in a directory that whoever empties it may just be
// removing.
func aside(dir string) (f *os.File, err error) {
	for range 10 {
		if err = os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		if f, err = os.CreateTemp(dir, ".landing-*"); !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
	}
	return nil, err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Get implements landing.Store.
func (o objects) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return os.Open(filepath.Join(o.dir, filepath.FromSlash(name)))
}

// List implements landing.Store.
func (o objects) List(ctx context.Context, prefix string, each func(string) error) error {
	root := filepath.Join(o.dir, filepath.FromSlash(prefix))
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if d.IsDir() || strings.HasPrefix(d.Name(), ".") {
			return nil
		}
		rel, err := filepath.Rel(o.dir, path)
		if err != nil {
			return err
		}
		return each(filepath.ToSlash(rel))
	})
	return wrap(err, "listing landed objects in %s", root)
}
