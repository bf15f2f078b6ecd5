package ingest

import (
	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/schema"
)

// realName finds what a PV's record calls itself and calls done once: with the
// PV's own name, with another one that the same server has as well, or with ""
// if no answer names a record. The error is that of a connection which fails;
// then nothing is known.
//
// An IOC answers NAME$ with the whole name, older ones NAME with its first 39
// bytes. What a gateway or another server makes of NAME need not be a name that
// can be reached from here, so the name is claimed before it is believed, and
// must be of the same kind of channel.
func realName(link *caclient.Channel, pv schema.PVName, kind caclient.Info, done func(real schema.PVName, err error)) {
	confirm := func(u caclient.Update, cut bool) {
		real, ok := nameOf(u, pv, cut)
		switch {
		case !ok:
			done("", nil)
		case real == pv:
			done(pv, nil)
		default:
			look(link, string(real), claimOnly, func(info caclient.Info, _ caclient.Update, err error) {
				switch {
				case err == nil && info.Native == kind.Native && info.Count == kind.Count:
					done(real, nil)
				case err == nil || denied(err):
					done("", nil)
				default:
					done("", err)
				}
			})
		}
	}
	name := pv.Record() + ".NAME"
	look(link, name+"$", ca.DBRChar, func(_ caclient.Info, u caclient.Update, err error) {
		switch {
		case err == nil:
			confirm(u, false)
		case !denied(err):
			done("", err)
		default:
			look(link, name, ca.DBRString, func(_ caclient.Info, u caclient.Update, err error) {
				if err == nil {
					confirm(u, true)
				} else if denied(err) {
					done("", nil)
				} else {
					done("", err)
				}
			})
		}
	})
}

// nameOf is the PV's name behind an answer to NAME: that of the record with the
// PV's own field. One that may have been cut, and one that no request could
// give, names nothing.
func nameOf(u caclient.Update, pv schema.PVName, cut bool) (schema.PVName, bool) {
	record := textOf(u)
	if record == "" || cut && len(record) >= ca.MaxStringSize-1 {
		return "", false
	}
	parsed, err := schema.ParsePVName(record)
	if err != nil || string(parsed) != record || parsed.Record() != record {
		return "", false
	}
	if field := pv.Field(); field != "" {
		record += "." + field
	}
	real, err := schema.ParsePVName(record)
	return real, err == nil && string(real) == record
}

// askName asks what the PV is really called: its first samples go to the files
// of that name.
func (q *discoveries) askName(d *discovery, link *caclient.Channel, kind caclient.Info) {
	pv := d.channel.pv
	realName(link, pv, kind, func(real schema.PVName, err error) {
		q.answer(d, err, func() {
			if real != "" && real != pv {
				d.found.RealName = real
			}
		})
	})
}
