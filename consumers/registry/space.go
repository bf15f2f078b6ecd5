package registry

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"pvlog/schema"
)

// On a full disk the reserve file is given up for Badger's opening or closing,
// either of which may write a memory table out.
const (
	reserveFileBytes = 2 * memTableBytes
	tableOutBytes    = memTableBytes + 1<<20
)

func (r *Registry) reserveFile() string { return filepath.Join(r.opt.Dir, "reserve") }

// room says with an [schema.Unavailable] error that the file system is too
// full to write to Badger. Compactions may write the whole state again, so its
// size counts too. Called with storeMu held.
func (r *Registry) room() error {
	free, total, err := r.space(r.opt.Dir)
	if err != nil {
		return schema.Errorf(schema.Unavailable, "the free space of %s is not known: %w", r.opt.Dir, err)
	}
	need := min(r.opt.Reserve, total/8)
	if r.store != nil {
		need += r.store.bytes()
	}
	if free < need {
		return diskFull(r.opt.Dir, free, need)
	}
	return nil
}

func diskFull(dir string, free, need int64) error {
	return schema.Errorf(schema.Unavailable,
		"disk full: %s has %d KiB free and the registry needs %d: make room, nothing else has to be done", dir, free>>10, need>>10)
}

// roomToOpen makes sure that Badger's files can be made, from the reserve file
// if need be.
func (r *Registry) roomToOpen() error {
	if r.room() == nil {
		return r.keepReserve()
	}
	if err := r.giveReserve(); err != nil {
		return err
	}
	free, _, err := r.space(r.opt.Dir)
	if err != nil {
		return fmt.Errorf("find free space of %s: %w", r.opt.Dir, err)
	}
	if free < tableOutBytes {
		return diskFull(r.opt.Dir, free, tableOutBytes)
	}
	return nil
}

// roomToClose refuses to close Badger when its last write could hit a hole
// that the disk has no block for, which would kill the process before the
// other parts are closed. It is then left as after a kill; nothing is lost.
func (r *Registry) roomToClose() error {
	if r.room() == nil {
		return nil
	}
	if err := r.giveReserve(); err != nil {
		return err
	}
	free, _, err := r.space(r.opt.Dir)
	if err != nil {
		return fmt.Errorf("find free space of %s: %w", r.opt.Dir, err)
	}
	if free < tableOutBytes {
		return fmt.Errorf("leave badger open: %w", diskFull(r.opt.Dir, free, tableOutBytes))
	}
	return nil
}

func (r *Registry) giveReserve() error {
	if err := os.Remove(r.reserveFile()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("give up reserve: %w", err)
	}
	return nil
}

// keepReserve makes the reserve file if it is missing and there is ample room.
func (r *Registry) keepReserve() error {
	if info, err := os.Stat(r.reserveFile()); err == nil && info.Size() == reserveFileBytes {
		return nil
	}
	free, total, err := r.space(r.opt.Dir)
	if err != nil {
		return fmt.Errorf("find free space of %s: %w", r.opt.Dir, err)
	}
	if free < min(r.opt.Reserve, total/8)+2*reserveFileBytes {
		return nil
	}
	// Written, not truncated to length: a hole would reserve nothing.
	if err := os.WriteFile(r.reserveFile(), make([]byte, reserveFileBytes), 0o644); err != nil {
		return errors.Join(fmt.Errorf("write reserve: %w", err), r.giveReserve())
	}
	return nil
}
