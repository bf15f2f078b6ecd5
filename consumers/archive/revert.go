package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"pvlog/schema"
)

// converted is the note in the trash of what there was, by path, when a
// conversion was through: as long as that is so, the old files can come back.
type converted map[string]standing

// standing is a file behind a conversion.
type standing struct {
	Bytes     int64
	Converted bool // else it was of the type already
}

func (a *Archive) convertedPath(pv schema.PVName, kept string) string {
	return filepath.Join(a.opt.Store.Root, trashName, kept, filepath.FromSlash(schema.ChunkKey(pv))+"converted.json")
}

func (a *Archive) noteConverted(pv schema.PVName, kept string, note converted) error {
	if kept == "" {
		return nil
	}
	b, err := json.Marshal(note)
	if err != nil {
		return err
	}
	path := a.convertedPath(pv, kept)
	made, err := makeFolder(filepath.Dir(path), a.opt.Store.Root)
	if err != nil {
		return err
	}
	return errors.Join(writeDurable(path, string(b)), syncDirs(made))
}

// Revert undoes a conversion: the files that it kept come back in the places of
// those that it made, which go to the trash themselves, into the folder whose
// name is given. to is the type that the registry gives the PV next, within
// moments: else all is as before. Samples that were written since are a
// [schema.Conflict], as taking the old files back would lose them; so is a trash
// that was emptied. A swap to the same type that is open already is no error.
func (a *Archive) Revert(ctx context.Context, pv schema.PVName, kept string, to schema.DBRType) (again string, err error) {
	release, err := a.holdEven(pv, pv)
	if err != nil {
		return "", err
	}
	defer release()
	asked := time.Now()
	what := fmt.Sprintf("bring the data of %s back as they were", pv)
	err = a.owning(ctx, what, func(ctx context.Context) error {
		if s := a.swap; s != nil && s.PV == pv && s.Type == to {
			again = s.Kept
			return nil
		}
		if err := a.takeUntil(ctx, asked); err != nil {
			return err
		}
		if a.recovering {
			return schema.Errorf(schema.Unavailable, "%s: the archive still takes in what the last run had left: try again in a moment", what)
		}
		s, err := a.planRevert(pv, kept, to)
		if err != nil {
			return err
		}
		again = s.Kept
		err = a.carryOut(s, func() error { return errLater })
		if errors.Is(err, errLater) {
			return nil
		}
		return err
	})
	return again, err
}

// errLater leaves a swap open.
var errLater = schema.Errorf(schema.Unavailable, "the registry decides")

func (a *Archive) planRevert(pv schema.PVName, kept string, to schema.DBRType) (*swap, error) {
	info, registered := a.opt.Registered(pv)
	if !registered || info.State == schema.Archiving {
		return nil, schema.Errorf(schema.Conflict, "PV %s is being archived: pause it first", pv)
	}
	note, err := a.readConverted(pv, kept)
	if err != nil {
		return nil, err
	}
	files, err := a.placedFiles(pv)
	if err != nil {
		return nil, err
	}
	s := &swap{PV: pv, Generation: info.Generation, Type: to}
	if kept != "" {
		s.Kept = time.Now().UTC().Format(trashLayout)
	}
	for _, f := range files {
		was, known := note[f.Path]
		if !known || was.Bytes != f.Size {
			return nil, schema.Errorf(schema.Conflict, "PV %s has samples that were written after the conversion, in %s, and taking it back would lose them: convert them back instead", pv, f.Path)
		}
		if !was.Converted {
			continue
		}
		old, err := keptPath(f.store, kept, f.Path)
		if err != nil {
			return nil, err
		}
		bin, err := keptPath(f.store, s.Kept, f.Path)
		if err != nil {
			return nil, err
		}
		info, err := os.Stat(old)
		if err != nil {
			return nil, emptied(pv, old)
		}
		note[f.Path] = standing{Bytes: info.Size(), Converted: true}
		s.Moves = append(s.Moves, move{Place: f.Path, Kept: bin, New: old})
	}
	if len(files) < len(note) {
		return nil, schema.Errorf(schema.Conflict, "files of %s that the conversion made are not there any more: what it replaced is in the trash (%s)", pv, kept)
	}
	return s, a.noteConverted(pv, s.Kept, note)
}

func (a *Archive) readConverted(pv schema.PVName, kept string) (note converted, err error) {
	if kept == "" { // there were no files
		return nil, nil
	}
	b, err := os.ReadFile(a.convertedPath(pv, kept))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, emptied(pv, kept)
	}
	if err == nil {
		err = json.Unmarshal(b, &note)
	}
	if err != nil {
		return nil, fmt.Errorf("read what was converted: %w", err)
	}
	return note, nil
}

func emptied(pv schema.PVName, where string) error {
	return schema.Errorf(schema.Conflict, "the data of %s as they were before the conversion are not in the trash any more (%s): convert them back instead", pv, where)
}
