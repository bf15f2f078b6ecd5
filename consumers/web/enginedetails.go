package web

import (
	"maps"
	"slices"
	"strconv"

	"pvlog/schema"
)

// engineDetails are the lines of what the engine and the archive know of a PV.
func (s *Server) engineDetails(p standing) []detail {
	return append(append(s.samplingDetails(p), s.eventDetails(p)...), s.channelAccess(p)...)
}

// samplingDetails tell how a PV is sampled and connected.
func (s *Server) samplingDetails(p standing) []detail {
	c, d := p.channel, details{source: "pv"}
	monitored := p.info.SamplingMethod == schema.Monitor
	d.add("Channel Name", string(p.info.PV))
	d.add("Host name", or(c.Host, p.info.Host))
	d.add("Controlling PV", string(p.info.ControllingPV))
	if c.Gate != "" {
		d.add("What the controlling PV says", c.Gate)
	}
	d.add("Is engine currently archiving this?", yes(p.running, "yes", "no"))
	d.add("Archiver DBR type (initial)", p.info.DBRType.String())
	d.add("Archiver DBR type (from CA)", observed(p).String())
	d.add("Number of elements per event (from CA)", strconv.Itoa(c.Count))
	d.add("Is engine using monitors?", yes(monitored, "yes", "no"))
	d.add("What's the engine's sampling period?", javaFloat(p.info.SamplingPeriod.Seconds()))
	d.add("The SCAN period (ms) after applying the jitter factor", scanPeriod(p.info))
	d.add("Is this PV currently connected?", yes(c.Connected, "yes", "no"))
	d.add("Connection state at last connection changed event", connectionWord(c))
	d.add("When did we receive the last event?", reportTime(c.LastEvent))
	d.add("What did we last push the data to the short term store?", reportTime(c.LastFlush))
	d.add("When did we request CA to make a connection to this PV?", reportTime(later(s.started, p.info.Created)))
	d.add("When did we first establish a connection to this PV?", reportTime(c.FirstConnected))
	d.add("When did we last lose and reestablish a connection to this PV?", reportTime(c.LastConnected))
	d.add("When did we last lose a connection to this PV?", reportTime(c.LostAt))
	d.add("How many times have we lost and regained the connection to this PV?", strconv.FormatInt(c.Losses, 10))
	return d.lines
}

// observed is the type that the IOC serves now.
func observed(p standing) schema.DBRType {
	if p.channel.Observed != schema.UnknownType && p.channel.Observed != p.info.DBRType && p.channel.Connected {
		return p.channel.Observed
	}
	return p.info.DBRType
}

// scanPeriod is in ms, less the jitter that the Appliance allows for; 0 is
// for PVs that are not scanned.
func scanPeriod(info *schema.TypeInfo) string {
	if info.SamplingMethod == schema.Monitor {
		return "0"
	}
	return strconv.FormatInt(info.SamplingPeriod.Milliseconds()*95/100, 10)
}

// connectionWord is the state of a channel in the Appliance's words.
func connectionWord(c ChannelStatus) string {
	switch {
	case c.Connected && c.Received > 0:
		return "GotMonitor"
	case c.Connected:
		return "Connected"
	case c.State == "":
		return "Idle"
	}
	return c.State
}

// eventDetails tell what became of a PV's events.
func (s *Server) eventDetails(p standing) []detail {
	c, d := p.channel, details{source: "pv"}
	archived, _ := s.options.Archived(p.info.PV)
	times, types := s.dropped(p.info.PV, timestampReasons...), archived.Drops[typeReason]
	d.addInt("How many events so far?", c.Received)
	d.addInt("How many raw scan events so far?", scanned(p))
	d.addInt("How many events lost because the timestamp is in the far future or past so far?", times)
	d.add("Instant of last event from the IOC - correct or not.", reportTime(s.lastEvent(p.info.PV)))
	d.addInt("How many events lost because the sample buffer is full so far?", c.OverflowDrops)
	d.addInt("How many events lost because the DBR_Type of the PV has changed from what it used to be?", types)
	all := c.OverflowDrops
	for _, n := range archived.Drops {
		all += n
	}
	d.addInt("How many events lost totally so far?", all)
	if c.EventRate > 0 {
		d.add("Average bytes per event", round(c.ByteRate/c.EventRate))
	}
	kib := c.ByteRate / 1024
	d.add("Estimated event rate (events/sec)", round(c.EventRate))
	d.add("Estimated storage rate (KB/hour)", round(kib*3600))
	d.add("Estimated storage rate (MB/day)", round(kib*86400/1024))
	d.add("Estimated storage rate (GB/year)", round(kib*86400*365/(1<<20)))
	d.addInt("Samples that the log took", c.Appended)
	d.addInt("Samples stored", archived.Stored)
	d.addInt("Samples that were stored already", archived.Duplicate)
	for _, reason := range sortedKeys(archived.Drops) {
		d.addInt("Samples dropped: "+reason, archived.Drops[reason])
	}
	d.add("Newest partition", archived.Path)
	d.add("Channels for the extra fields", strconv.Itoa(len(p.info.ArchiveFields)))
	return d.lines
}

// channelAccess tells of the PV's channel.
func (s *Server) channelAccess(p standing) []detail {
	c, d := p.channel, details{source: "CA"}
	d.add("PV connection state machine state", connectionWord(c))
	d.add("Last monitor received at", reportTime(c.LastEvent))
	d.add("Last monitor had a valid DBR?", strconv.FormatBool(c.Received > 0))
	d.add("Last monitor event timestamp", reportTime(s.lastEvent(p.info.PV)))
	d.addInt("Various transient errors", c.Errors)
	d.add("Do we have a CA channel?", strconv.FormatBool(p.running))
	d.add("Do we have a subscription?", strconv.FormatBool(c.Subscribed))
	d.add("CAJ connection state", caState(c))
	d.add("The internal connected bool", strconv.FormatBool(c.Connected))
	d.add("The internal running bool", strconv.FormatBool(p.running))
	d.add("The CAJ command thread id", noThread)
	d.add("Has metafields?", strconv.FormatBool(len(p.info.ArchiveFields) > 0))
	d.add("Hostname of PV from CA", or(c.Host, "N/A"))
	return d.lines
}

// caState is the state of a channel in the words of the Java client library.
func caState(c ChannelStatus) string {
	switch {
	case c.Connected:
		return "CONNECTED"
	case c.FirstConnected.IsZero():
		return "NEVER_CONNECTED"
	}
	return "DISCONNECTED"
}

// scanned is how many updates of a scanned PV came, kept or not.
func scanned(p standing) uint64 {
	if p.info.SamplingMethod == schema.Scan {
		return p.channel.Received
	}
	return 0
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
