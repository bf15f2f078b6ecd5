package appliance

import (
	"context"
	"fmt"
	"time"

	"pvlog/consumers/web"
	"pvlog/schema"
	"pvlog/schema/logpb"
)

// writes is what web needs for requests that change something.
func (a *Appliance) writes() web.Writes {
	return web.Writes{CopyData: a.copyData, Convert: a.convert, MergeFrom: a.mergeFrom, Retire: a.archive.Retire, MergeIn: a.mergeIn, StreamFields: a.streamFields, TimeLimit: a.config.Archive.TimeLimit}
}

// streamFields are the fields that the site's policies let be archived with
// the samples of their PV; without policies in force, the Appliance's.
func (a *Appliance) streamFields() []string {
	if current := a.policies.source.Current(); current != nil {
		return current.StreamFields()
	}
	return web.StandardFields()
}

// publishTime is how long a copy waits for samples that are on their way to the
// log.
const publishTime = 5 * time.Second

// copyData copies the files of a paused PV to another name and registers that.
// Samples that were received before the pause may still wait for the log.
func (a *Appliance) copyData(ctx context.Context, from, to schema.PVName, commit func() error) error {
	if err := a.awaitWaiting(ctx, fmt.Sprintf("copy the data of %s to %s", from, to)); err != nil {
		return err
	}
	copied, err := a.archive.Copy(ctx, from, to, commit)
	if err == nil {
		a.log.Info("the files of a PV were copied to another name", "pv", string(from), "name", string(to), "files", copied.Files, "bytes", copied.Bytes)
	}
	return err
}

// awaitWaiting waits until the log has what was received before, so that the
// archive finds it there.
func (a *Appliance) awaitWaiting(ctx context.Context, what string) error {
	asked := time.Now()
	for time.Since(asked) < publishTime && a.streams.Samples().Waiting().Oldest > time.Since(asked) {
		select {
		case <-ctx.Done():
			return schema.Errorf(schema.Unavailable, "%s: it was ended, nothing was changed: %w", what, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// restoreData moves back from the trash what the newest deletion of a PV with
// its data has moved there: an older deletion's files are another life's.
func (a *Appliance) restoreData(ctx context.Context, pv schema.PVName) error {
	var deleted time.Time
	err := a.registry.History(ctx, pv, func(_ uint64, e *logpb.RegistryEvent) error {
		if e.GetDeleted().GetData() {
			deleted = time.Unix(0, e.GetTime())
		}
		return nil
	})
	if err != nil || deleted.IsZero() {
		return err
	}
	restored, err := a.archive.Restore(ctx, pv, deleted)
	if restored.Files > 0 {
		a.log.Info("the files of a PV were moved back from the trash", "pv", string(pv), "folder", restored.Folder, "files", restored.Files)
	}
	return err
}
