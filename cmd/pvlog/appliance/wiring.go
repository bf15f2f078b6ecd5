package appliance

import (
	"context"
	"fmt"
	"net"
	"time"

	"pvlog/consumers/retrieval"
	"pvlog/consumers/web"
	"pvlog/ingest"
	"pvlog/schema"
	"pvlog/streams"
)

// The parts below do not import each other; here they meet.

// tail gives retrieval what the archive holds in memory. A PV whose type has
// changed in between gives only the samples of the newest type: the others are
// of a file that is written by the time anybody asks for them.
func (a *Appliance) tail(pv schema.PVName) (schema.DBRType, []retrieval.TailLine) {
	samples := a.archive.Tail(pv)
	if len(samples) == 0 {
		return schema.UnknownType, nil
	}
	typ := samples[len(samples)-1].Type
	lines := make([]retrieval.TailLine, 0, len(samples))
	for _, s := range samples {
		if s.Type == typ {
			lines = append(lines, retrieval.TailLine{Year: s.Year, Event: s.Event})
		}
	}
	return typ, lines
}

// channel gives web the state of a PV's channel. One that is held by its
// controlling PV has none, and is no disconnected one.
func (a *Appliance) channel(pv schema.PVName) (web.ChannelStatus, bool) {
	s, ok := a.engine.State(pv)
	if held := s.Gate.PV != "" && !s.Gate.Open; !ok || held {
		return web.ChannelStatus{}, false
	}
	return web.ChannelStatus{
		State: string(s.Connection), Connected: s.Connection == ingest.Connected, Host: s.Host,
		LastEvent: s.LastEvent, LastFlush: a.archive.Health().Round,
		FirstConnected: s.Since, LastConnected: s.Restored, LostAt: s.LastDisconnect, First: s.First, Losses: int64(s.Disconnects),
		EventRate: s.EventRate, ByteRate: s.ByteRate,
		Subscribed: s.Subscribed, Type: s.Type, Count: s.Count, Observed: s.Observed,
		Received: s.Received, Appended: s.Appended, OverflowDrops: s.OverflowDrops, Errors: s.TransientErrors,
		Gated: s.Gate.PV != "" && !s.Gate.Open, Gate: gateWords(s.Gate),
	}, true
}

// gateWords tells what a controlling PV says.
func gateWords(g ingest.Gate) string {
	switch {
	case g.PV == "":
		return ""
	case !g.Known:
		return "its value is not known yet: archived"
	case g.Open:
		return "archived since " + g.Since.UTC().Format(time.RFC3339) + ": its value is " + g.Value
	}
	return "not archived since " + g.Since.UTC().Format(time.RFC3339) + ": its value is " + g.Value
}

// deleteData moves the files of a deleted PV aside.
func (a *Appliance) deleteData(ctx context.Context, pv schema.PVName) error {
	folder, err := a.archive.Trash(ctx, pv, time.Now())
	if err == nil && folder != "" {
		a.log.Info("the files of a deleted PV were moved to the trash", "pv", string(pv), "folder", folder)
	}
	return err
}

// health gathers what an operator must know.
func (a *Appliance) health() web.Health {
	h := a.archive.Health()
	waiting := a.streams.Samples().Waiting()
	counts := a.engine.Counts()
	out := web.Health{Details: map[string]any{
		"acknowledged_sequence": h.Acked, "last_round": h.Round, "round_seconds": h.Took.Seconds(),
		"waiting_samples": waiting.Samples, "oldest_waiting_seconds": waiting.Oldest.Seconds(),
		"pvs": counts.Total, "connected": counts.Connected,
	}}
	kept := a.streams.Drops().Keeping()
	out.Details["drops"], out.Details["expired_drops"] = kept.Drops, kept.Expired
	look := a.streams.Outlook()
	behind(out.Details, look)
	if h.Fault != nil {
		out.Faults = append(out.Faults, web.Fault{Part: "archive", Since: h.Since, Message: fmt.Sprintf("%v; %v", h.Fault, look)})
	}
	if since, err := a.streams.Fault(); err != nil {
		out.Faults = append(out.Faults, web.Fault{Part: "log", Since: since,
			Message: fmt.Sprintf("samples cannot be stored and wait in memory, and when that is full the IOCs are read more slowly: %v; %v", err, look)})
	}
	if futures := a.archive.Futures(""); len(futures) > 0 {
		f := futures[0]
		out.Faults = append(out.Faults, web.Fault{Part: "files", Since: f.Found,
			Message: fmt.Sprintf("%d partitions end in the future, the first is %s of %s, at %v: new samples are archived, but for those of its own time, which go to the drop log; move what is wrong aside: pvlog repair --future %s", len(futures), f.Path, f.PV, f.Last, f.PV)})
	}
	for _, problem := range a.streams.Problems() {
		out.Faults = append(out.Faults, web.Fault{Part: "log", Message: problem})
	}
	if err := a.registry.Fault(); err != nil {
		out.Faults = append(out.Faults, web.Fault{Part: "registry", Message: err.Error()})
	}
	if err := a.policies.source.Fault(); err != nil {
		out.Faults = append(out.Faults, web.Fault{Part: "policies", Message: err.Error()})
	}
	if waiting.Oldest > a.config.Log.MaxWait {
		out.Faults = append(out.Faults, web.Fault{Part: "log", Since: time.Now().Add(-waiting.Oldest),
			Message: fmt.Sprintf("samples wait %v for the log, longer than log.max_wait %v", waiting.Oldest, a.config.Log.MaxWait)})
	}
	return out
}

// behind tells how far the archive is behind the log, and how long the log can
// hold on.
func behind(details map[string]any, look streams.Outlook) {
	details["behind_messages"], details["behind_samples"], details["behind_bytes"] = look.Messages, look.Samples, look.Bytes
	details["log_room_bytes"], details["log_bytes_per_second"] = look.Room, look.Rate
	if !look.Oldest.IsZero() {
		details["behind_seconds"] = time.Since(look.Oldest).Seconds()
	}
	if holds, ok := look.Holds(); ok {
		details["log_holds_seconds"] = holds.Seconds()
	}
}

// openWeb binds the HTTP address.
func (a *Appliance) openWeb(token string) error {
	a.web = web.New(web.Options{
		Registry: a.registry, Retrieval: a.retrieval, Channels: a.channel, DeleteData: a.deleteData, Drops: dropLog{a.streams.Drops(), a.archive.Holds}, Replays: a.replays, Health: a.health, Why: a.why, Live: a.engine.Get, Parts: a.parts(), Writes: a.writes(), Partitions: a.partitions(),
		Gatherer: a.metrics, Token: token, OpenWrites: a.config.OpenWrites, Hosts: a.config.Hosts,
		Version: Version(), Identity: a.config.Identity, Logger: a.log, Registerer: a.metrics,
	})
	listener, err := net.Listen("tcp", a.config.HTTP)
	if err != nil {
		return fmt.Errorf("listen for HTTP (another pvlog or program may use the port; --http names another, port 0 a free one): %w", err)
	}
	a.listener = listener
	a.addresses = Addresses{HTTP: listener.Addr().String(), NATS: a.streams.Addr()}
	return nil
}
