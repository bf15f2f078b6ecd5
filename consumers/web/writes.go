package web

import (
	"context"
	"time"

	"pvlog/schema"
)

// Writes is what requests that change something need beside the registry.
type Writes struct {
	// CopyData copies a PV's files to another name and calls commit, which
	// registers that name, when they are durable; if commit refuses the copies
	// are gone again. Default: renamePV is refused.
	CopyData func(ctx context.Context, from, to schema.PVName, commit func() error) error
	// Convert converts the files of a PV that is not sampled to another type and
	// calls commit, which gives it that type, when the new ones are in place; if
	// commit refuses, the old ones are back. Default: changes of type are refused.
	Convert func(ctx context.Context, q Conversion, commit func(kept string) error) (Converted, error)
	// MergeFrom merges the samples of a paused PV into another's files, or only
	// counts them. Default: PVs are not joined.
	MergeFrom func(ctx context.Context, from, into schema.PVName, count bool) (Moved, error)
	// Retire moves the files of a paused PV to the trash and calls commit, which
	// ends its registration; if commit refuses, they are back.
	Retire func(ctx context.Context, pv schema.PVName, commit func(kept string) error) error
	// MergeIn merges what another archiver answers for a PV into its files.
	// Default: mergeInData is refused.
	MergeIn func(ctx context.Context, q External) (Moved, error)
	// StreamFields are the fields that are archived with the samples of their
	// PV and never as a PV of their own; default: those of the Appliance.
	StreamFields func() []string
	TimeLimit    time.Duration // a requested PV that does not connect for so long is given up; 0: never
	MaxImport    int64         // bytes of an imported configuration; default 256 MiB
}

func (w Writes) withDefaults() Writes {
	if w.StreamFields == nil {
		w.StreamFields = StandardFields
	}
	w.MaxImport = or(w.MaxImport, 256<<20)
	return w
}

// StandardFields are the fields that the Appliance's policies archive with the
// samples of their PV.
func StandardFields() []string {
	return []string{"HIHI", "HIGH", "LOW", "LOLO", "LOPR", "HOPR", "DRVH", "DRVL"}
}
