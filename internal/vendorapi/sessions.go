package vendorapi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Sessions keeps what a login yielded for all processes of a fleet, so that it is
// made once. What it keeps is as secret as the credentials. It is safe for
// concurrent use.
type Sessions interface {
	// Session lets f see what is kept for a vendor, nil for nothing, and keeps what
	// f returns unless that is nil; one f at a time in the whole fleet. The error of
	// f is returned as it is, and nothing is kept then.
	Session(ctx context.Context, vendor string, f func(ctx context.Context, kept []byte) (keep []byte, err error)) error
}

// ownSessions keeps sessions for one client.
type ownSessions struct {
	once sync.Once
	lock chan struct{}
	kept []byte
}

func (o *ownSessions) Session(ctx context.Context, _ string, f func(context.Context, []byte) ([]byte, error)) error {
	o.once.Do(func() { o.lock = make(chan struct{}, 1) })
	select {
	case o.lock <- struct{}{}:
		defer func() { <-o.lock }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	keep, err := f(ctx, o.kept)
	if err == nil && keep != nil {
		o.kept = keep
	}
	return err
}

// Session implements [Sessions]: in a file beside the secrets, which only its owner
// may read. A lock on another keeps other processes waiting; one that dies leaves
// it.
func (h HomeSecrets) Session(ctx context.Context, vendor string, f func(context.Context, []byte) ([]byte, error)) error {
	dir := filepath.Join(h.Home, "secrets")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("keeping the session of %s: %w", vendor, err)
	}
	path := filepath.Join(dir, vendor+".session")
	lock, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("keeping the session of %s: %w", vendor, err)
	}
	defer lock.Close() // and others may go on
	for unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
	keep, err := f(ctx, readSession(path))
	if err != nil || keep == nil {
		return err
	}
	if err := writeSession(path, keep); err != nil {
		return fmt.Errorf("keeping the session of %s: %w", vendor, err)
	}
	return nil
}

// readSession is nil for a file that is not there, or that others could have read.
func readSession(path string) []byte {
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o077 != 0 {
		return nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return b
}

func writeSession(path string, b []byte) error {
	next := path + ".new"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.WriteFile(next, b, 0o600); err != nil {
		return err
	}
	return os.Rename(next, path)
}
