package ingest

import (
	"fmt"
	"log/slog"
	"runtime/debug"

	"pvlog/schema"
)

// calmly runs a part of what is done for one PV on a goroutine that serves all
// of them: a panic in it is an error of this program that is told and counted,
// and harms nobody else (S54). What circuits call is caught by caclient.
func (e *Engine) calmly(pv schema.PVName, f func()) {
	defer func() {
		if p := recover(); p != nil {
			e.metrics.panics.Inc()
			e.log.Error("a panic was caught, please report it", slog.String("pv", string(pv)),
				slog.Any("err", fmt.Errorf("panic: %v", p)), slog.String("stack", string(debug.Stack())))
		}
	}()
	f()
}
