package localfleet

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sluicehq/sluice/internal/landing"
)

// LakeDir is the directory of the lake: tables made from landed results.
func (h *Home) LakeDir() string { return filepath.Join(h.dir, "lake") }

// Lake is the lake's objects: a directory.
func (h *Home) Lake() Lake { return Lake{objects{h.LakeDir()}} }

// Lake keeps objects in a directory. Each is there whole or not at all. It is
// safe for concurrent use, also by several processes.
type Lake struct{ objects }

func (l Lake) path(name string) string { return filepath.Join(l.dir, filepath.FromSlash(name)) }

// Open opens an object to be read in ranges, and tells its size.
func (l Lake) Open(ctx context.Context, name string) (landing.ReadAtCloser, int64, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	f, err := os.Open(l.path(name))
	if err != nil {
		return nil, 0, plain(err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(plain(err), f.Close())
	}
	return f, info.Size(), nil
}

// PutFile puts a file's content in the place of any other object of that name.
func (l Lake) PutFile(ctx context.Context, name string, f *os.File) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return plain(err)
	}
	return wrap(l.write(ctx, name, func(w io.Writer) error { _, err := io.Copy(w, f); return err }), "writing %s", name)
}

// Tag reads an object with the tag that Swap wants; of one that is not there the
// tag is empty.
func (l Lake) Tag(ctx context.Context, name string) (data []byte, tag string, err error) {
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	data, err = os.ReadFile(l.path(name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, "", nil
	case err != nil:
		return nil, "", plain(err)
	}
	sum := sha256.Sum256(data)
	return data, hex.EncodeToString(sum[:]), nil
}

// Swap puts an object in the place of the version with the tag old, or where
// there is none if old is empty. landing.ErrSwapped: another one is there.
func (l Lake) Swap(ctx context.Context, name, old string, data []byte) (tag string, err error) {
	if err := os.MkdirAll(l.dir, 0o755); err != nil {
		return "", plain(err)
	}
	unlock, err := lockFile(filepath.Join(l.dir, ".swap.lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	_, have, err := l.Tag(ctx, name)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	tag = hex.EncodeToString(sum[:])
	switch {
	case have == tag: // written by a call whose answer was lost
		return tag, nil
	case have != old:
		return "", fmt.Errorf("replacing %s: %w", name, landing.ErrSwapped)
	}
	return tag, l.Put(ctx, name, data)
}

// Delete removes objects, and directories that are empty then. Missing ones are
// passed over.
func (l Lake) Delete(ctx context.Context, names ...string) error {
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		path := l.path(name)
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return plain(err)
		}
		for dir := filepath.Dir(path); dir != l.dir && len(dir) > len(l.dir); dir = filepath.Dir(dir) {
			if os.Remove(dir) != nil { // there is something in it
				break
			}
		}
	}
	return nil
}
