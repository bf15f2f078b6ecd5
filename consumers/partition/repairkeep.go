package partition

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Extensions of what a repair keeps beside a partition. No reader and no tool of
// the Appliance takes such a file for a partition.
const (
	backupExtension = ".bak"
	sideExtension   = ".aside"
)

// sideFile takes samples that cannot stand in the partition: it is a PB file of
// the same header, begun with the first of them.
type sideFile struct {
	fs     FS
	repair *Repair
	file   *Replacement
}

func (s *sideFile) add(line []byte) error {
	if s.file == nil {
		if err := s.begin(); err != nil {
			return err
		}
	}
	_, err := s.file.Write(line)
	return err
}

func (s *sideFile) begin() error {
	path, err := freeName(s.repair.Path + sideExtension)
	if err != nil {
		return err
	}
	if s.file, err = BeginReplacement(s.fs, path); err != nil {
		return err
	}
	s.repair.Side, s.repair.beside = path, append(s.repair.beside, s.file)
	_, err = s.file.Write(s.repair.head)
	return err
}

// end makes the side file durable, or takes the one that an interrupted repair
// has put there: its samples are the same.
func (s *sideFile) end() error {
	if s.file == nil {
		return nil
	}
	if err := s.file.Sync(); err != nil {
		return err
	}
	known, err := sameAmong(s.repair.Path+sideExtension, s.file.beside)
	if err != nil || known == "" {
		return err
	}
	s.repair.Side, s.repair.beside = known, nil
	return s.file.Discard()
}

// keep copies the file as it is, unless an interrupted repair has done so.
func (r *Repair) keep(fsys FS, root, dir string) error {
	base, err := r.backupBase(root, dir)
	if err != nil {
		return err
	}
	if r.Backup, err = sameAmong(base, r.Path); err != nil || r.Backup != "" {
		return err
	}
	if r.Backup, err = freeName(base); err != nil {
		return err
	}
	to, err := BeginReplacement(fsys, r.Backup)
	if err != nil {
		return err
	}
	r.beside = append(r.beside, to)
	if err := CopyTo(context.Background(), to, r.Path); err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	return to.Sync()
}

// backupBase is the backup's path but for a number.
func (r *Repair) backupBase(root, dir string) (string, error) {
	if dir == "" {
		return r.Path + backupExtension, nil
	}
	below, err := filepath.Abs(r.Path)
	if err == nil && root != "" {
		if root, err = filepath.Abs(root); err == nil {
			below, err = filepath.Rel(root, below)
		}
	}
	if err != nil {
		return "", fmt.Errorf("back up partition %s: %w", r.Path, err)
	}
	return filepath.Join(dir, filepath.Join(string(filepath.Separator), below)), nil
}

// numbered is a path with a number behind it, none for 0.
func numbered(base string, n int) string {
	if n == 0 {
		return base
	}
	return fmt.Sprintf("%s%d", base, n)
}

// maxNumber bounds the files of one base name.
const maxNumber = 1000

// freeName is the first path of base, base1, base2 ... at which there is nothing.
func freeName(base string) (string, error) {
	for n := range maxNumber {
		path := numbered(base, n)
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			return path, nil
		} else if err != nil {
			return "", fmt.Errorf("look for a free name: %w", err)
		}
	}
	return "", fmt.Errorf("%s has a thousand siblings; look at them", base)
}

// sameAmong is the one of base, base1, base2 ... that holds what a file holds,
// "" if none does.
func sameAmong(base, path string) (string, error) {
	for n := range maxNumber {
		other := numbered(base, n)
		same, err := SameContent(other, path)
		if errors.Is(err, fs.ErrNotExist) {
			return "", nil
		}
		if same || err != nil {
			return other, err
		}
	}
	return "", nil
}

// CopyTo writes a file's bytes to w in pieces, until ctx ends.
func CopyTo(ctx context.Context, w io.Writer, path string) (err error) {
	from, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("copy partition: %w", err)
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	for buffer := make([]byte, copyChunk); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := from.Read(buffer)
		if n > 0 {
			if _, err := w.Write(buffer[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("copy partition: %w", err)
		}
	}
}

// SameContent compares two files byte for byte.
func SameContent(a, b string) (same bool, err error) {
	fa, err := os.Open(a)
	if err != nil {
		return false, err
	}
	defer fa.Close() //nolint:errcheck // was only read
	fb, err := os.Open(b)
	if err != nil {
		return false, err
	}
	defer fb.Close() //nolint:errcheck // was only read
	ia, err := fa.Stat()
	if err != nil {
		return false, err
	}
	ib, err := fb.Stat()
	if err != nil || ia.Size() != ib.Size() || !ia.Mode().IsRegular() {
		return false, err
	}
	ba, bb := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, errA := io.ReadFull(fa, ba)
		m, errB := io.ReadFull(fb, bb)
		if n != m || !bytes.Equal(ba[:n], bb[:m]) {
			return false, nil
		}
		if errA != nil || errB != nil {
			return ended(errA) && ended(errB), nil
		}
	}
}

func ended(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }
