package appliance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"pvlog/consumers/archive"
	"pvlog/consumers/web"
	"pvlog/schema"
)

// convert converts the files of a paused PV to another type.
func (a *Appliance) convert(ctx context.Context, q web.Conversion, commit func(kept string) error) (web.Converted, error) {
	if err := a.awaitWaiting(ctx, fmt.Sprintf("convert the data of %s", q.PV)); err != nil {
		return web.Converted{}, err
	}
	done, err := a.archive.Convert(ctx, archive.Conversion{PV: q.PV, To: q.Type, Labels: q.Labels, Lossy: q.Lossy, DryRun: q.DryRun}, commit)
	if err == nil && !q.DryRun {
		a.log.Info("the files of a PV were converted", "pv", string(q.PV), "type", q.Type.String(), "files", done.Files, "samples", done.Samples, "lost", done.Lost, "kept", done.Kept)
	}
	return web.Converted{Files: done.Files, Samples: done.Samples, Lost: done.Lost, Losses: done.Losses, Bytes: done.Bytes}, err
}

// revert brings back files that were converted.
func (a *Appliance) revert(ctx context.Context, pv schema.PVName, kept string, to schema.DBRType) (string, error) {
	again, err := a.archive.Revert(ctx, pv, kept, to)
	if err == nil {
		a.log.Info("the files of a PV are what they were before they were converted", "pv", string(pv), "type", to.String(), "from", kept)
	}
	return again, err
}

// unjoin brings back the files of a PV that was joined with another.
func (a *Appliance) unjoin(ctx context.Context, pv schema.PVName, kept string) error {
	err := a.archive.Unretire(ctx, pv, kept)
	if err == nil {
		a.log.Info("the files of a PV that was joined with another were moved back from the trash", "pv", string(pv), "from", kept)
	}
	return err
}

// mergeFrom merges the samples of a PV into another's files.
func (a *Appliance) mergeFrom(ctx context.Context, from, into schema.PVName, count bool) (web.Moved, error) {
	if err := a.awaitWaiting(ctx, fmt.Sprintf("merge the data of %s", from)); err != nil {
		return web.Moved{}, err
	}
	moved, err := a.archive.MergeFrom(ctx, from, into, count)
	if err == nil && !count {
		a.log.Info("the samples of a PV were merged into another's files", "pv", string(from), "into", string(into), "samples", moved.Samples, "merged", moved.Merged)
	}
	return web.Moved(moved), err
}

// Bounds of what another archiver answers.
const (
	mergeHeaderTime = time.Minute // until it begins to answer
	mergeIdleTime   = time.Minute // between two parts of the answer
	mergeMaxBytes   = 16 << 30
)

// mergeIn merges what another archiver answers into the files of a PV.
func (a *Appliance) mergeIn(ctx context.Context, q web.External) (web.Moved, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	body, err := openRaw(ctx, q)
	if err != nil {
		return web.Moved{}, err
	}
	idle := time.AfterFunc(mergeIdleTime, func() { cancel(fmt.Errorf("nothing came for %v", mergeIdleTime)) })
	defer idle.Stop()
	moved, err := a.archive.MergeStream(ctx, q.PV, &watched{body: body, idle: idle, left: mergeMaxBytes})
	if closed := body.Close(); err == nil {
		err = closed
	}
	if err != nil && schema.CodeOf(err) == schema.Internal {
		err = schema.Errorf(schema.Unavailable, "read %s (what came before is merged, and may be merged again): %w", q.Raw.Redacted(), errors.Join(err, context.Cause(ctx)))
	}
	if err == nil {
		a.log.Info("samples of another archiver were merged", "pv", string(q.PV), "from", q.Raw.Redacted(), "samples", moved.Samples, "merged", moved.Merged)
	}
	return web.Moved(moved), err
}

// openRaw asks the other archiver. Its 404 is an archiver without the PV.
func openRaw(ctx context.Context, q web.External) (io.ReadCloser, error) {
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: mergeHeaderTime, DisableKeepAlives: true,
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, q.Raw.String(), nil)
	if err != nil {
		return nil, schema.Errorf(schema.Invalid, "ask %s: %w", q.Raw.Redacted(), err)
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return nil, schema.Errorf(schema.Unavailable, "ask the other archiver for %s: %w", q.PV, err)
	}
	if response.StatusCode == http.StatusOK {
		return response.Body, nil
	}
	code := schema.Unavailable
	if response.StatusCode == http.StatusNotFound {
		code = schema.NotFound
	}
	return nil, errors.Join(schema.Errorf(code, "the other archiver answered %s to %s", response.Status, q.Raw.Redacted()), response.Body.Close())
}

// watched is an answer that is bounded in bytes, and in the time between two
// reads.
type watched struct {
	body io.Reader
	idle *time.Timer
	left int64
}

// Read reads on and winds the timer up.
func (w *watched) Read(b []byte) (int, error) {
	n, err := w.body.Read(b)
	w.idle.Reset(mergeIdleTime)
	if w.left -= int64(n); w.left < 0 {
		return n, schema.Errorf(schema.Invalid, "the other archiver answers more than %d GiB: ask for shorter times", mergeMaxBytes>>30)
	}
	return n, err
}
