package web

import (
	"strconv"
	"time"

	"pvlog/schema"
)

// The reasons of drops that the Appliance counts as wrong timestamps.
var timestampReasons = []string{"drift_future", "drift_past", "before_1991", "nanos", "order"}

// typeReason is that of samples whose type is not the registered one.
const typeReason = "type"

// dropped is how many samples of a PV were dropped for some reasons.
func (s *Server) dropped(pv schema.PVName, reasons ...string) uint64 {
	archived, _ := s.options.Archived(pv)
	var n uint64
	for _, reason := range reasons {
		n += archived.Drops[reason]
	}
	return n
}

// lastEvent is the stamp of the newest sample that was stored, as far as it is
// known without I/O: zero for a PV without samples since the start.
func (s *Server) lastEvent(pv schema.PVName) time.Time {
	archived, _ := s.options.Archived(pv)
	return archived.Last
}

// counting is a report of the PVs with a number above 0.
func (s *Server) counting(name string, number func(standing) uint64) report {
	return report{limit: -1,
		rank: func(p standing) (float64, bool) { n := number(p); return float64(n), n > 0 },
		row: func(p standing) texts {
			return texts{"pvName", string(p.info.PV), name, strconv.FormatUint(number(p), 10)}
		}}
}

func (s *Server) eventRates() report {
	return report{channels: true, limit: -1,
		rank: func(p standing) (float64, bool) { return p.channel.EventRate, true },
		row: func(p standing) texts {
			return texts{"pvName", string(p.info.PV), "eventRate", plain(p.channel.EventRate)}
		}}
}

func (s *Server) storageRates() report {
	return report{channels: true, limit: -1,
		rank: func(p standing) (float64, bool) { return p.channel.ByteRate, true },
		row: func(p standing) texts {
			kib := p.channel.ByteRate / 1024
			return texts{"pvName", string(p.info.PV), "storageRate_KBperHour", plain(kib * 3600),
				"storageRate_MBperDay", plain(kib * 86400 / 1024), "storageRate_GBperYear", plain(kib * 86400 * 365 / (1 << 20))}
		}}
}

func (s *Server) recentlyAdded() report {
	return report{limit: 100,
		rank: func(p standing) (float64, bool) { return instant(p.info.Created), true },
		row: func(p standing) texts {
			return texts{"pvName", string(p.info.PV), "instance", s.options.Identity, "creationTime", reportTime(p.info.Created)}
		}}
}

// recentlyModified is newest first; the Appliance begins with the oldest. That
// a PV was asked for and connected for the first time is no modification.
func (s *Server) recentlyModified() report {
	return report{limit: 100,
		rank: func(p standing) (float64, bool) {
			return instant(p.info.Modified), p.info.Sequence > p.info.Generation
		}, row: s.modified}
}

func (s *Server) pausedPVs() report {
	return report{limit: -1,
		rank: func(p standing) (float64, bool) {
			return instant(p.info.Modified), p.info.State == schema.Paused
		}, row: s.modified}
}

func (s *Server) modified(p standing) texts {
	return texts{"pvName", string(p.info.PV), "instance", s.options.Identity, "modificationTime", reportTime(p.info.Modified)}
}

func (s *Server) lostConnections() report {
	return report{channels: true, limit: -1,
		rank: func(p standing) (float64, bool) { return float64(p.channel.Losses), true },
		row: func(p standing) texts {
			connected := "No"
			if p.channel.Connected {
				connected = "Yes"
			}
			return texts{"pvName", string(p.info.PV), "instance", s.options.Identity,
				"lostConnections", strconv.FormatInt(p.channel.Losses, 10), "currentlyConnected", connected}
		}}
}

func (s *Server) silentPVs() report {
	return report{channels: true, limit: -1, ascending: true, stamps: true,
		row: func(p standing) texts {
			return texts{"pvName", string(p.info.PV), "instance", s.options.Identity, "lastKnownEvent", reportTime(p.last)}
		}}
}

func (s *Server) slowWithDrops() report {
	rep := s.counting("eventsDropped", func(p standing) uint64 {
		dropped := s.dropped(p.info.PV, timestampReasons...)
		if p.info.State == schema.Paused || dropped <= p.channel.Received-min(dropped, p.channel.Received) {
			return 0
		}
		return dropped
	})
	row := rep.row
	rep.row = func(p standing) texts {
		return append(row(p), "totalEvents", strconv.FormatUint(p.channel.Received, 10))
	}
	return rep
}

func (s *Server) waveforms() report {
	return report{limit: -1,
		rank: func(p standing) (float64, bool) {
			return float64(p.info.ElementCount), p.info.DBRType.Waveform() && p.info.State == schema.Archiving
		},
		row: func(p standing) texts {
			return texts{"pvName", string(p.info.PV), "samplingmethod", string(p.info.SamplingMethod), "dbrtype", p.info.DBRType.String(),
				"samplingperiod", javaFloat(p.info.SamplingPeriod.Seconds()), "elementCount", strconv.Itoa(p.info.ElementCount)}
		}}
}

// instant is a time as a number to sort by; the zero time is the smallest.
func instant(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixNano())
}

// plain writes a number without exponent and thousands separators: clients
// parse the values of reports.
func plain(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
