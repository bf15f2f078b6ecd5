package web

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

// replayedText tells what a replay made of a PV: "12 samples replayed (from ... to
// ...); 3 there already; left out: 2 order, drift past 24h".
func replayedText(r *logpb.SamplesReplayed) string {
	parts := []string{fmt.Sprintf("%d samples replayed", r.GetAdded())}
	if r.GetAdded() > 0 {
		parts[0] += fmt.Sprintf(" (from %v to %v)", schema.TimeOf(time.Unix(0, r.GetFirst())), schema.TimeOf(time.Unix(0, r.GetLast())))
	}
	if n := r.GetThere(); n > 0 {
		parts = append(parts, fmt.Sprintf("%d there already", n))
	}
	var out []string
	if n := r.GetDiffers(); n > 0 {
		out = append(out, fmt.Sprintf("%d other at their instant", n))
	}
	for _, reason := range slices.Sorted(maps.Keys(r.GetRefused())) {
		out = append(out, fmt.Sprintf("%d %s", r.GetRefused()[reason], reason))
	}
	if len(out) > 0 {
		parts = append(parts, "left out: "+strings.Join(out, ", "))
	}
	if words := r.GetOverrides(); words != "" {
		parts = append(parts, "under "+words)
	}
	return strings.Join(parts, "; ")
}
