package partition

import (
	"errors"
	"io/fs"
	"syscall"
)

// Appender is [Append] with the descriptors kept from one append to the next,
// which halves its price. When it holds as many as it may, any one of them
// makes room: files are appended to in turn, so the oldest is as likely the
// next. Whoever replaces, renames, cuts or removes a file releases it first
// (design D16). It belongs to one goroutine.
type Appender struct {
	fs    FS
	limit int
	held  map[string]Handle
}

// NewAppender makes an appender that holds at most limit descriptors; 0 is half
// of what the process may open, 20,000 at most. Nothing is opened.
func NewAppender(fs FS, limit int) *Appender {
	if limit == 0 {
		limit = heldLimit()
	}
	return &Appender{fs: fs, limit: limit, held: map[string]Handle{}}
}

// Append is [Append]. A file of which no name is left is opened anew, and an
// error gives the descriptor back.
func (a *Appender) Append(path string, header, lines []byte, length int64) (newLength int64, dirs []string, err error) {
	if h := a.held[path]; h != nil {
		newLength, err = appendTo(h, path, header, lines, length)
		if err == nil {
			return newLength, nil, nil
		}
		a.Release(path)
		if !errors.Is(err, fs.ErrNotExist) {
			return length, nil, err
		}
	}
	h, dirs, err := openAppend(a.fs, path, length)
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		a.Close()
		var more []string
		h, more, err = openAppend(a.fs, path, length)
		dirs = append(dirs, more...)
	}
	if err != nil {
		return length, dirs, openError(err)
	}
	newLength, err = appendTo(h, path, header, lines, length)
	if err != nil || a.limit <= 0 {
		return closeAppend(h, path, newLength, length, err, dirs)
	}
	a.makeRoom()
	a.held[path] = h
	return newLength, dirs, nil
}

func (a *Appender) makeRoom() {
	for path := range a.held {
		if len(a.held) < a.limit {
			return
		}
		a.Release(path)
	}
}

// Release gives the descriptor of a file back, if it is held. What was written
// is not lost by an error of close on a local file system, and the sync of the
// round tells of others.
func (a *Appender) Release(path string) {
	if h := a.held[path]; h != nil {
		_ = h.Close()
		delete(a.held, path)
	}
}

// Close gives all descriptors back. The appender can still be used.
func (a *Appender) Close() {
	for path := range a.held {
		a.Release(path)
	}
}
