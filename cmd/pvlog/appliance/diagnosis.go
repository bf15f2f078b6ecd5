package appliance

import (
	"fmt"
	"time"

	"pvlog/consumers/web"
	"pvlog/ingest"
	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/schema"
)

// diagnose walks the links in the order of a sample's way.
func diagnose(e *evidence) web.Diagnosis {
	d := web.Diagnosis{Asked: e.asked, PV: string(e.pv)}
	for _, link := range []struct {
		name string
		look func(*evidence) web.Link
	}{
		{"name", nameLink}, {"registry", registryLink}, {"policy", policyLink}, {"search", searchLink}, {"circuit", circuitLink},
		{"channel", channelLink}, {"rights", rightsLink}, {"subscription", subscriptionLink}, {"update", updateLink},
		{"log", logLink}, {"filter", filterLink}, {"buffer", bufferLink}, {"file", fileLink}, {"store", storeLink},
	} {
		found := link.look(e)
		found.Name = link.name
		d.Links = append(d.Links, found)
		if link.name == "name" && found.State == web.LinkBroken {
			break // nothing else can be known
		}
	}
	d.Conclude()
	return d
}

func holds(format string, args ...any) web.Link {
	return web.Link{State: web.LinkOK, Detail: fmt.Sprintf(format, args...)}
}

func waits(do, format string, args ...any) web.Link {
	return web.Link{State: web.LinkWaiting, Detail: fmt.Sprintf(format, args...), Do: do}
}

func broken(do, format string, args ...any) web.Link {
	return web.Link{State: web.LinkBroken, Detail: fmt.Sprintf(format, args...), Do: do}
}

func unknown(format string, args ...any) web.Link {
	return web.Link{State: web.LinkUnknown, Detail: fmt.Sprintf(format, args...)}
}

func since(l web.Link, t time.Time) web.Link {
	l.Since = t.UTC()
	if t.IsZero() {
		l.Since = time.Time{}
	}
	return l
}

func nameLink(e *evidence) web.Link {
	switch {
	case e.nameErr != nil:
		return broken("correct the name", "%v", e.nameErr)
	case e.known && e.found.Alias:
		return holds("%s is an alias: it stands for %s", e.asked, e.pv)
	case e.known && e.found.Field != "":
		return holds("%s is archived with the samples of %s", e.found.Field, e.pv)
	}
	return holds("%s is a PV name", e.pv)
}

func registryLink(e *evidence) web.Link {
	if !e.known {
		return broken(fmt.Sprintf("archive it with: pvlog archive %q", string(e.pv)), "nobody has asked for it to be archived, or it was deleted")
	}
	i := e.found.Info
	switch i.State {
	case schema.Paused:
		return since(broken(fmt.Sprintf("look why with: pvlog history %q; go on with: pvlog resume %q", string(e.pv), string(e.pv)), "paused"), i.Modified)
	case schema.Stopped:
		return since(broken(fmt.Sprintf("go on with: pvlog resume %q", string(e.pv)), "stopped"), i.Modified)
	}
	l := holds("asked to be archived on %s", stamp(i.Created))
	if !i.Expires.IsZero() {
		l.Detail += ", given up if it has not connected by " + stamp(i.Expires)
	}
	return since(l, i.Created)
}

func policyLink(e *evidence) web.Link {
	if !e.known {
		return unknown("no policy: it is not archived")
	}
	i := e.found.Info
	text := fmt.Sprintf("%s, period %v", i.SamplingMethod, i.SamplingPeriod)
	if i.Policy != "" {
		text = "policy " + i.Policy + ": " + text
	}
	if i.Deadband > 0 {
		text += fmt.Sprintf(", deadband %g", i.Deadband)
	}
	if i.ControllingPV == "" {
		return holds("%s", text)
	}
	return gateLink(e, text+fmt.Sprintf(", while %s is not 0", i.ControllingPV))
}

// gateLink is about a PV that is archived while another one says so.
func gateLink(e *evidence, text string) web.Link {
	g := e.state.Gate
	switch {
	case !e.running || g.PV == "":
		return holds("%s", text) // nothing is archived for another reason
	case !g.Open:
		return since(waits(fmt.Sprintf("nothing, or set %s to another value than 0", g.PV), "%s: it is %q now", text, g.Value), g.Since)
	case !g.Known:
		return holds("%s: its value was never seen, and until it is 0 the PV is archived", text)
	}
	return holds("%s: it is %q", text, g.Value)
}

// stamp is a time for people: UTC, to the second.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// ago is how long before now.
func (e *evidence) ago(t time.Time) string {
	d := e.now.Sub(t)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.1f s ago", max(0, d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min ago", d.Minutes())
	}
	return fmt.Sprintf("%.0f h ago", d.Hours())
}

func (e *evidence) connected() bool { return e.traced && e.trace.Connected }

func searchLink(e *evidence) web.Link {
	switch t := e.trace; {
	case !e.traced:
		return unknown("it is not searched")
	case t.State != caclient.Searched:
		return holds("found at %v", t.Found)
	case len(t.UDP) == 0 && len(t.TCP) == 0:
		return broken("set EPICS_CA_ADDR_LIST or ca.addr_list, or allow ca.auto_addr_list", "there is nowhere to search")
	case t.BackOff > 0:
		return waits("look at that server", "%v has it, but refuses or hangs up; it is asked again in %v", t.Found, t.BackOff.Round(time.Second))
	case t.Search.Tries == 0:
		return waits("wait a moment", "its first search is about to be sent")
	default:
		text := fmt.Sprintf("searched %d times, last %s, at %s; nobody answered", t.Search.Tries, e.ago(t.Search.Last), places(t))
		if t.Found.IsValid() {
			text += fmt.Sprintf(" (it was at %v)", t.Found)
		}
		return since(broken("is its IOC up, the name right, and the IOC in the address list? `pvlog ca search --trace` shows what is sent", "%s", text), e.sought())
	}
}

// sought is since when the PV is searched: it was asked for, or lost.
func (e *evidence) sought() time.Time {
	if !e.known {
		return time.Time{}
	}
	return latest(e.found.Info.Created, e.state.LastDisconnect)
}

// places lists where names are searched, the first few.
func places(t caclient.Trace) string {
	text, n := "", 0
	for _, addr := range t.UDP {
		if n++; n <= 4 {
			text += fmt.Sprintf(" %v", addr)
		}
	}
	for _, addr := range t.TCP {
		if n++; n <= 4 {
			text += fmt.Sprintf(" %v (TCP)", addr)
		}
	}
	if n > 4 {
		text += fmt.Sprintf(" and %d more", n-4)
	}
	return text[1:]
}

func circuitLink(e *evidence) web.Link {
	t := e.trace
	switch {
	case !e.traced || !t.Server.IsValid():
		return unknown("no circuit: no server is known")
	case !t.Dialled:
		return waits("a firewall may hold it up", "connecting to %v", t.Server)
	case t.Circuit == ca.CircuitUnresponsive || t.Circuit == ca.CircuitLost:
		return since(broken("is the IOC's host alive?", "%v does not answer any more (%s)", t.Server, t.Circuit), t.Heard)
	case t.Heard.IsZero():
		return waits("wait a moment", "%v has accepted the connection and not spoken yet", t.Server)
	}
	return holds("%v, CA 4.%d, last bytes %s", t.Server, e.state.Minor, e.ago(t.Heard))
}

func channelLink(e *evidence) web.Link {
	t := e.trace
	switch {
	case e.connected():
		return since(holds("connected: native type %v, up to %d elements", t.Info.Native, t.Info.Count), latest(e.state.Since, e.state.Restored))
	case t.State == caclient.Asked || t.State == caclient.Claimed:
		return waits("wait a moment", "the server is asked for a channel (%d claims failed before)", t.Failures)
	}
	return unknown("no channel")
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func rightsLink(e *evidence) web.Link {
	switch {
	case !e.connected():
		return unknown("not connected")
	case !e.trace.Info.Readable:
		return broken("ask for read access in the IOC's access security file for this host and user", "the IOC's access security does not let pvlog read it")
	}
	return holds("pvlog may read it")
}

func subscriptionLink(e *evidence) web.Link {
	switch {
	case !e.known || !e.connected():
		return unknown("not connected")
	case e.running && e.state.Connection == ingest.Connected && !e.state.Subscribed:
		return waits("wait a moment", "its type is being registered")
	case e.found.Info.SamplingMethod == schema.ScanGet:
		return holds("none: it is read every %v", e.found.Info.SamplingPeriod)
	case e.trace.Mask == 0:
		return broken("pause and resume it, and please report this", "connected, and not subscribed")
	}
	return holds("monitors %s", maskText(e.trace.Mask))
}

func maskText(mask uint16) string {
	text := ""
	for i, name := range []string{"VALUE", "LOG", "ALARM", "PROPERTY"} {
		if mask&(1<<i) != 0 {
			text += "|" + name
		}
	}
	if text == "" {
		return "nothing"
	}
	return text[1:]
}

func updateLink(e *evidence) web.Link {
	s := e.state
	switch {
	case !e.running:
		return unknown("no channel is running")
	case s.Received == 0:
		return waits("wait for the first update; `pvlog ca get` shows whether the IOC answers", "no update has come yet")
	case s.LastEvent.IsZero():
		return waits("it is searched again by itself", "no update since the connection was lost")
	case s.Observed != schema.UnknownType && s.Observed != s.Type:
		return broken("pause it and change its type, or see why the IOC's record changed", "the IOC now sends %v, registered is %v: its samples go to the drop log", s.Observed, s.Type)
	case s.OverflowDrops > 0:
		return waits("see the log's size and the archive's state in /healthz", "last update %s; %d were lost because the log was full", e.ago(s.LastEvent), s.OverflowDrops)
	}
	return since(holds("last update %s, %d in all; an IOC sends a value when it changes by more than its ADEL", e.ago(s.LastEvent), s.Received), s.LastEvent)
}

func logLink(e *evidence) web.Link {
	switch {
	case e.logErr != nil:
		return broken("see /healthz", "the log cannot be read: %v", e.logErr)
	case e.logged:
		return since(holds("newest message %d, stored %s", e.newest, e.ago(e.newestAt)), e.newestAt)
	case e.running && e.state.Appended > 0:
		return holds("its messages have been trimmed: they are archived")
	}
	return unknown("the log holds nothing of it")
}

func filterLink(e *evidence) web.Link {
	if e.dropsErr != nil {
		return unknown("the drop log cannot be read: %v", e.dropsErr)
	}
	if len(e.drops) == 0 {
		return holds("no sample was dropped")
	}
	d := e.drops[len(e.drops)-1]
	text := fmt.Sprintf("newest dropped sample: %s, %s (%s)", e.ago(d.Position.Time), d.Reason, d.Detail)
	if e.logged && d.Position.Seq >= e.newest {
		remedy := fmt.Sprintf("look with: pvlog drops %q", string(e.pv))
		if d.Reason == "file" && len(e.futures) > 0 {
			remedy = e.futureRemedy()
		}
		return since(broken(remedy, "%s", text), d.Position.Time)
	}
	return holds("%s; later ones were kept", text)
}

func bufferLink(e *evidence) web.Link {
	switch {
	case e.waiting > 0:
		return holds("%d samples wait for the next round", e.waiting)
	case e.logged && e.newest > e.health.Acked && !e.archived:
		return waits("the archive is behind: see /healthz", "message %d has not been taken: the archive is at %d", e.newest, e.health.Acked)
	}
	return holds("nothing waits")
}

// futureRemedy is what to do about a file that ends in the future.
func (e *evidence) futureRemedy() string {
	return fmt.Sprintf("move what is wrong aside: pvlog repair --future %s (new samples are archived all the same, but for those of that file's own time: pvlog replay --pv %s --reason file)", e.pv, e.pv)
}

func fileLink(e *evidence) web.Link {
	if len(e.futures) > 0 {
		f := e.futures[0]
		return since(broken(e.futureRemedy(), "%s ends in the future, at %v", f.Path, f.Last), f.Found)
	}
	if !e.archived || e.status.Path == "" {
		if e.logged {
			return waits("wait for the next round", "no file is written yet in this run")
		}
		return unknown("no sample was written in this run")
	}
	return holds("%s: %d bytes, last sample %s", e.status.Path, e.status.Bytes, stamp(time.Unix(e.status.Last.Sec, int64(e.status.Last.Nsec))))
}

func storeLink(e *evidence) web.Link {
	if e.health.Fault != nil {
		return since(broken("mend it; nothing is lost as long as the log has room, and the archive goes on by itself", "the archive cannot write: %v", e.health.Fault), e.health.Since)
	}
	text := "no sample of any PV was written in this run yet"
	if !e.health.Round.IsZero() {
		text = "the archive writes; last round " + e.ago(e.health.Round)
	}
	for _, s := range e.spaces {
		if s.Total <= 0 {
			continue
		}
		text += fmt.Sprintf("; %s has %.1f of %.1f GiB free", s.Store, gib(s.Free), gib(s.Total))
		if s.Free < s.Total/scarce {
			return waits("make room before the store is full", "%s", text)
		}
	}
	return holds("%s", text)
}

// scarce is the part of a file system below which its free space is worth a
// warning: a hundredth.
const scarce = 100

func gib(bytes int64) float64 { return float64(bytes) / (1 << 30) }
