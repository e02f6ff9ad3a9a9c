package localfleet

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// presence is a file that a living process holds locked. The kernel lets go of
// the lock when the process ends, however it ends.
type presence struct {
	id   string
	file *os.File
}

func announce(dir string) (*presence, error) {
	for {
		var b [6]byte
		rand.Read(b[:]) // never fails
		p := &presence{id: fmt.Sprintf("%d-%s", os.Getpid(), hex.EncodeToString(b[:]))}
		path := filepath.Join(dir, p.id)
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_EXCL, 0o644)
		if err != nil {
			return nil, fmt.Errorf("announcing this process in the home: %w", plain(err))
		}
		p.file = f
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if _, gone := os.Stat(path); err == nil && gone == nil {
			return p, nil
		}
		f.Close() // another process took the fresh file for a dead one's: try again
	}
}

func (p *presence) close(forget bool) error {
	if !forget {
		return p.file.Close()
	}
	return errors.Join(os.Remove(p.file.Name()), p.file.Close())
}

// reap makes visible, once a second, what dead processes held.
func (h *Home) reap(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		h.reapOnce(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (h *Home) reapOnce(ctx context.Context) {
	dir := filepath.Join(h.dir, "presence")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // the visibility of what they held ends in time
	}
	for _, e := range entries {
		if e.Name() == h.presence.id {
			continue
		}
		path := filepath.Join(dir, e.Name())
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			if h.release(ctx, e.Name()) == nil {
				os.Remove(path)
			}
		}
		f.Close()
	}
}

// release makes visible what a process held.
func (h *Home) release(ctx context.Context, owner string) error {
	_, err := h.db.ExecContext(ctx, `UPDATE messages SET visible = 0, owner = '' WHERE owner = ?`, owner)
	if err != nil {
		return fmt.Errorf("giving back what process %s held: %w", owner, err)
	}
	return nil
}
